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
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// errStalled ends a download whose connection is up but silent.
var errStalled = errors.New("no data came for too long")

// fetch downloads an artifact into its part file, going on where an earlier
// attempt stopped, and verifies its hash.
func (d *Depot) fetch(ctx context.Context, m bundle.Manifest, art bundle.Artifact, p Progress) error {
	name := title(art)
	p.Doing("downloading %s", name)
	resumed, err := d.partSize(art)
	if err != nil {
		return failure.Disk("continue the download of "+name, err)
	}
	for {
		if err := d.download(ctx, m, art, resumed, p); err != nil {
			return err
		}
		ok, err := d.verifyPart(ctx, art)
		if err != nil {
			return err
		}
		if ok {
			return nil
		}
		if err := disk.RemoveIfThere(d.Disk, d.part(art)); err != nil {
			return failure.Disk("remove a bad download", err)
		}
		if resumed == 0 {
			return failure.Fail(fescue.ArtifactHash, name, "the content does not have the SHA-256 "+art.SHA256+" that the manifest names")
		}
		// A power cut may have left a part with holes: once more, from the start.
		resumed = 0
	}
}

// partSize is how much of an artifact lies on the disk already.
func (d *Depot) partSize(art bundle.Artifact) (int64, error) {
	info, err := d.Disk.Lstat(d.part(art))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > art.Size {
		return 0, d.Disk.RemoveAll(d.part(art))
	}
	return info.Size(), nil
}

func (d *Depot) download(ctx context.Context, m bundle.Manifest, art bundle.Artifact, from int64, p Progress) (err error) {
	name := title(art)
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if from == 0 {
		flags |= os.O_TRUNC
	}
	part, err := d.Disk.OpenFile(d.part(art), flags, 0o600)
	if err != nil {
		return failure.Disk("download "+name, err)
	}
	defer func() {
		if closed := part.Close(); err == nil && closed != nil {
			err = failure.Disk("download "+name, closed)
		}
	}()
	if from < art.Size || art.Size == 0 {
		if err := d.receive(ctx, m, art, from, part, p); err != nil {
			return err
		}
	}
	if err := part.Sync(); err != nil {
		return failure.Disk("download "+name, err)
	}
	return nil
}

func (d *Depot) receive(ctx context.Context, m bundle.Manifest, art bundle.Artifact, from int64, part disk.File, p Progress) error {
	name := title(art)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(d.Stall, func() { cancel(errStalled) })
	defer watch.Stop()
	body, err := d.Source.GetArtifact(ctx, m.GroupID, m.DeploymentID, art.SHA256, from)
	if err != nil {
		return d.downloadError(ctx, art, err)
	}
	defer body.Close()
	wanted := art.Size - from
	buf := make([]byte, 64<<10)
	for got := int64(0); ; {
		n, err := body.Read(buf)
		if n > 0 {
			watch.Reset(d.Stall)
			if got += int64(n); got > wanted {
				// Not a byte beyond the manifest's size is kept.
				return d.tooLong(art)
			}
			if _, err := part.Write(buf[:n]); err != nil {
				return failure.Disk("download "+name, err)
			}
			p.Fetched(int64(n))
		}
		switch {
		case err == io.EOF && got == wanted:
			return nil
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil:
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("download of %s broke after %d of %d bytes: %w", name, from+got, art.Size, err)
		}
	}
}

func (d *Depot) tooLong(art bundle.Artifact) error {
	if err := disk.RemoveIfThere(d.Disk, d.part(art)); err != nil {
		return failure.Disk("remove a bad download", err)
	}
	return failure.Fail(fescue.ArtifactHash, title(art), fmt.Sprintf("it is longer than the %d bytes that the manifest names", art.Size))
}

// downloadError separates what trying again cannot cure from the rest.
func (d *Depot) downloadError(ctx context.Context, art bundle.Artifact, err error) error {
	name := title(art)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("download of %s: %w", name, cause)
	}
	if errors.Is(err, corelink.ErrNotContinued) {
		if err := disk.RemoveIfThere(d.Disk, d.part(art)); err != nil {
			return failure.Disk("remove a download that cannot be continued", err)
		}
		return fmt.Errorf("download of %s starts anew: %w", name, err)
	}
	if _, refused := corelink.Refused(err); refused {
		return failure.Fail(fescue.ArtifactDownload, name, err)
	}
	return fmt.Errorf("download of %s: %w", name, err)
}

// verifyPart hashes what lies on the disk, not what came over the wire.
func (d *Depot) verifyPart(ctx context.Context, art bundle.Artifact) (bool, error) {
	f, err := d.Disk.OpenFile(d.part(art), os.O_RDONLY, 0)
	if err != nil {
		return false, failure.Disk("verify a download", err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, disk.Reader(ctx, f))
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, failure.Disk("verify a download", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != art.SHA256 || n != art.Size {
		d.Logger.Warn("A download does not have the hash that the manifest names.", slog.String("sha256", art.SHA256))
		return false, nil
	}
	return true, nil
}
