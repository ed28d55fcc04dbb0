package depot

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
)

// Margin is what must stay free on the core's disk besides what a deployment
// takes, in bytes: for the manifest, the state, logs and functions' own files.
const Margin = 4 << 20

// measured is a file system that knows how much room it has. One that does not is
// full when a write says so.
type measured interface {
	// Free is how many bytes a file in the folder may still take.
	Free(folder string) (int64, error)
}

// Free is the room beside the pieces in bytes, and whether it is known.
func (d *Depot) Free() (int64, bool) {
	disk, ok := d.Disk.(measured)
	if !ok {
		return 0, false
	}
	n, err := disk.Free(d.beside())
	return n, err == nil
}

// beside is the folder that the pieces' own lies in, which is there before it.
func (d *Depot) beside() string { return filepath.Dir(d.Folder) }

// Room is the failure of a disk that has no room for what is missing, nil when it
// has or does not know.
func (d *Depot) Room(list []Missing) error {
	return d.needSpace("stage the deployment", spaceToStage(list))
}

// needSpace is the failure of a disk that has no room for so many bytes and the
// margin. What is found out before anything is written leaves the core as it is.
func (d *Depot) needSpace(doing string, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	if free, known := d.Free(); known && free < bytes+Margin {
		return failure.Disk(doing, fmt.Errorf("%d kB and %d kB to spare are needed, %d kB are free in %s: %w",
			(bytes+1023)>>10, int64(Margin)>>10, free>>10, d.beside(), syscall.ENOSPC))
	}
	return nil
}

// spaceToStage is how many bytes staging takes at least: what is still to be
// downloaded, and for a package as much again unpacked.
func spaceToStage(list []Missing) (bytes int64) {
	for _, l := range list {
		// What is too large is refused for that, when its turn comes.
		switch {
		case l.Size > maxSize(l.Artifact):
		case l.Unpack == bundle.Plain:
			bytes += l.Size - l.had
		default:
			bytes += 2*l.Size - l.had
		}
	}
	return bytes
}

// spaceToUnpack is how many bytes a downloaded package says that it takes, at most
// what is accepted. What it says is no promise: the bytes are counted when they
// come. Of what is no archive it is 0: unpacking refuses that.
func (d *Depot) spaceToUnpack(art bundle.Artifact) (bytes int64, err error) {
	part, err := d.Disk.OpenFile(d.part(art), os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer part.Close()
	most := maxUnpacked(art)
	if art.Unpack == bundle.TarGz {
		// The last four bytes of gzip are how much it holds, without its billions.
		var tail [4]byte
		if _, err := part.ReadAt(tail[:], max(art.Size-4, 0)); err != nil {
			return 0, nil
		}
		return min(int64(binary.LittleEndian.Uint32(tail[:])), most), nil
	}
	archive, err := zip.NewReader(part, art.Size)
	if err != nil {
		return 0, nil
	}
	for _, e := range archive.File {
		bytes += int64(min(e.UncompressedSize64, uint64(most)))
		if bytes > most {
			return most, nil
		}
	}
	return bytes, nil
}
