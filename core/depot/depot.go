// Package depot keeps on the core's disk what deployments consist of, each piece in
// a place of its own that is named by its hash and never changed: it downloads what
// a manifest names and is not there, goes on where a download broke off, verifies,
// unpacks, and removes what no manifest names any more.
//
// It knows nothing of what the pieces are for, nor of the wire to the cloud (behind
// Source).
package depot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/disk"
)

// Source is where pieces come from; corelink.Client is one.
type Source interface {
	// GetArtifact opens a piece at an offset. For an offset above 0 the error may be
	// corelink.ErrNotContinued.
	GetArtifact(ctx context.Context, groupID, deploymentID, hash string, offset int64) (io.ReadCloser, error)
}

// Progress is called with what is done.
type Progress interface {
	// Doing says what is done now, in a few words.
	Doing(format string, args ...any)
	// ToFetch says how many bytes there are to be downloaded.
	ToFetch(bytes int64)
	// Fetched says that so many more were.
	Fetched(bytes int64)
}

// Options is what a depot is made of. All are needed.
type Options struct {
	Disk disk.FS
	// Folder is the absolute path of the folder that holds the pieces. It is made
	// with Mode.
	Folder string
	Mode   fs.FileMode
	Source Source
	// Stall is how long a download may be silent.
	Stall  time.Duration
	Logger *slog.Logger
}

// Depot is the pieces on one core's disk.
type Depot struct{ Options }

// New makes a depot. It touches nothing.
func New(o Options) *Depot { return &Depot{o} }

// partSuffix is of a download that is not finished yet, disk.NewSuffix of what is
// being unpacked.
const partSuffix = ".part"

// Path is where a piece lies once it is staged: a file, or the folder of what was
// unpacked.
func (d *Depot) Path(hash string) string { return filepath.Join(d.Folder, hash) }

// ModelPath is where the folder of a model lies once it is staged. It is in one of its
// own, which is a door: whoever may not pass it gets to nothing in the model.
func (d *Depot) ModelPath(hash string) string {
	return filepath.Join(d.Path(hash)+modelSuffix, modelFolder)
}

// modelSuffix is of the folder that a model's lies in. What is the package of a
// function as well has other owners there.
const (
	modelSuffix = ".model"
	modelFolder = "files"
)

// place is the name of a piece in the depot's folder.
func place(art bundle.Artifact) string {
	if art.Kind == bundle.ModelArchive {
		return art.SHA256 + modelSuffix
	}
	return art.SHA256
}

func (d *Depot) place(art bundle.Artifact) string { return filepath.Join(d.Folder, place(art)) }

func (d *Depot) part(art bundle.Artifact) string { return d.place(art) + partSuffix }

// Bounds of what is downloaded, in bytes.
const (
	// MaxDocument bounds a group document; 10,000 subscriptions need 4 MB.
	MaxDocument = 16 << 20
	maxPackage  = bundle.MaxUnpacked
)

func maxSize(art bundle.Artifact) int64 {
	switch art.Kind {
	case bundle.GroupDocument:
		return MaxDocument
	case bundle.ModelArchive:
		return bundle.MaxModel
	}
	return maxPackage
}

// maxUnpacked bounds what an archive holds, in bytes.
func maxUnpacked(art bundle.Artifact) int64 {
	if art.Kind == bundle.ModelArchive {
		return bundle.MaxModelUnpacked
	}
	return bundle.MaxUnpacked
}

// title is what the original's messages call an artifact.
func title(art bundle.Artifact) string {
	if art.Kind == bundle.GroupDocument {
		return "the Group definition file"
	}
	return art.Name
}

// described is what the core's own messages call an artifact.
func described(art bundle.Artifact) string {
	if art.Kind == bundle.GroupDocument {
		return "the group file"
	}
	if art.Kind == bundle.ModelArchive {
		return "the model of resource " + art.Name
	}
	return "the package of function " + art.Name
}

// Missing is an artifact that is not on the disk, or not whole: had bytes of it are.
type Missing struct {
	bundle.Artifact
	had int64
}

// Missing lists what of a manifest is not on the disk.
func (d *Depot) Missing(m bundle.Manifest) ([]Missing, error) {
	var list []Missing
	for _, art := range m.Downloads() {
		there, err := disk.Exists(d.Disk, d.place(art))
		if err != nil {
			return nil, err
		}
		if there {
			continue
		}
		had, err := d.partSize(art)
		if err != nil {
			return nil, err
		}
		list = append(list, Missing{art, had})
	}
	return list, nil
}

// ToFetch is how many bytes are to be downloaded.
func ToFetch(list []Missing) (bytes int64) {
	for _, l := range list {
		bytes += l.Size - l.had
	}
	return bytes
}

// Stage brings everything that the manifest names onto the disk. The error is a
// failure.Error, or something that trying again may cure: then the next attempt
// goes on where this one stopped.
func (d *Depot) Stage(ctx context.Context, m bundle.Manifest, p Progress) error {
	if err := disk.EnsureFolder(d.Disk, d.Folder, d.Mode); err != nil {
		return failure.Disk("prepare the deployment folder", err)
	}
	list, err := d.Missing(m)
	if err != nil {
		return failure.Disk("look for what is to be downloaded", err)
	}
	if err := d.Room(list); err != nil {
		return err
	}
	p.ToFetch(ToFetch(list))
	for _, missing := range list {
		if err := d.stage(ctx, m, missing.Artifact, p); err != nil {
			return err
		}
	}
	return nil
}

func (d *Depot) stage(ctx context.Context, m bundle.Manifest, art bundle.Artifact, p Progress) error {
	if art.Size > maxSize(art) {
		return failure.Fail(fescue.ArtifactTooLarge, described(art), art.Size, maxSize(art))
	}
	if err := d.fetch(ctx, m, art, p); err != nil {
		return err
	}
	if art.Unpack == bundle.Plain {
		if err := d.keepFile(art); err != nil {
			return failure.Disk("store "+described(art), err)
		}
		return nil
	}
	bytes, err := d.spaceToUnpack(art)
	if err != nil {
		return failure.Disk("unpack "+described(art), err)
	}
	if err := d.needSpace("unpack "+described(art), bytes); err != nil {
		return err
	}
	p.Doing("unpacking %s", title(art))
	switch err := d.unpack(ctx, art); {
	case err == nil:
		return nil
	case errors.Is(err, ErrArchive):
		return failure.Fail(fescue.ArtifactUnpack, art.Name, err)
	case ctx.Err() != nil:
		return err
	default:
		return failure.Disk("unpack "+described(art), err)
	}
}

// keepFile puts what was downloaded in its place, as it is.
func (d *Depot) keepFile(art bundle.Artifact) error {
	part := d.part(art)
	// A group document may hold secrets in its environment variables.
	if err := d.Disk.Chmod(part, 0o600); err != nil {
		return err
	}
	if err := d.Disk.Rename(part, d.place(art)); err != nil {
		return err
	}
	return d.Disk.SyncDir(d.Folder)
}

// unpack lays out what was downloaded, and removes the archive.
func (d *Depot) unpack(ctx context.Context, art bundle.Artifact) error {
	part, temp := d.part(art), d.place(art)+disk.NewSuffix
	if err := d.Disk.RemoveAll(temp); err != nil {
		return err
	}
	archive, err := d.Disk.OpenFile(part, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	folder := temp
	if art.Kind == bundle.ModelArchive {
		folder = filepath.Join(temp, modelFolder)
		err = d.Disk.MkdirAll(temp, 0o700)
	}
	if err == nil {
		err = Unpack(ctx, d.Disk, archive, art.Size, folder, art.Unpack, maxUnpacked(art))
	}
	if folder != temp && err == nil {
		err = d.Disk.SyncDir(temp)
	}
	err = errors.Join(err, archive.Close())
	if err != nil {
		return errors.Join(err, d.Disk.RemoveAll(temp))
	}
	if err := d.Disk.Rename(temp, d.place(art)); err != nil {
		return err
	}
	if err := d.Disk.SyncDir(d.Folder); err != nil {
		return err
	}
	return d.Disk.Remove(part)
}

// Read reads a piece that is a file of at most MaxDocument bytes, and verifies it
// again: what it was verified as is what may be used.
func (d *Depot) Read(art bundle.Artifact) ([]byte, error) {
	data, err := disk.ReadFile(d.Disk, d.Path(art.SHA256), MaxDocument)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != art.SHA256 {
		return nil, fmt.Errorf("the group document in the store was changed since it was verified; deploy the group again")
	}
	return data, nil
}
