package agent

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
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// Limits of downloads.
const (
	// maxGroupFile bounds group.json, in bytes; 10,000 subscriptions need 4 MB.
	maxGroupFile = 16 << 20
	// maxPackage bounds a function's zip, in bytes.
	maxPackage = bundle.MaxUnpacked
)

// errStalled ends a download whose connection is up but silent.
var errStalled = errors.New("no data came for too long")

// stage brings everything that the manifest names into the store. Its errors are
// a failure, or something that trying again may cure: then the next attempt goes
// on where this one stopped.
func (a *Agent) stage(ctx context.Context, m bundle.Manifest) error {
	if err := makeFolder(a.disk, a.layout.store(), passable); err != nil {
		return diskFailure("prepare the deployment folder", err)
	}
	list, err := a.lacking(m)
	if err != nil {
		return diskFailure("look for what is to be downloaded", err)
	}
	if err := a.needSpace("stage the deployment", spaceToStage(list)); err != nil {
		return err
	}
	a.work.toFetch.Store(toFetch(list))
	for _, art := range m.Artifacts {
		if err := a.stageArtifact(ctx, m, art); err != nil {
			return err
		}
	}
	return nil
}

// lack is an artifact that is not on the disk, or not whole: had bytes of it are.
type lack struct {
	bundle.Artifact
	had int64
}

// lacking lists what of a manifest is not on the disk.
func (a *Agent) lacking(m bundle.Manifest) ([]lack, error) {
	var list []lack
	for _, art := range m.Downloads() {
		there, err := disk.Exists(a.disk, a.layout.artifact(art.SHA256))
		if err != nil {
			return nil, err
		}
		if there {
			continue
		}
		had, err := a.partSize(art)
		if err != nil {
			return nil, err
		}
		list = append(list, lack{art, had})
	}
	return list, nil
}

// toFetch is how many bytes are to be downloaded.
func toFetch(list []lack) (bytes int64) {
	for _, l := range list {
		bytes += l.Size - l.had
	}
	return bytes
}

// maxSize bounds what is downloaded, in bytes.
func maxSize(art bundle.Artifact) int64 {
	if art.Kind == bundle.GroupDocument {
		return maxGroupFile
	}
	return maxPackage
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
	return "the package of function " + art.Name
}

func (a *Agent) stageArtifact(ctx context.Context, m bundle.Manifest, art bundle.Artifact) error {
	if there, err := disk.Exists(a.disk, a.layout.artifact(art.SHA256)); there || err != nil {
		return err
	}
	if art.Size > maxSize(art) {
		return fail(fescue.ArtifactTooLarge, described(art), art.Size, maxSize(art))
	}
	if err := a.fetch(ctx, m, art); err != nil {
		return err
	}
	if art.Unpack == bundle.Plain {
		if err := a.keepFile(art); err != nil {
			return diskFailure("store "+described(art), err)
		}
		return nil
	}
	bytes, err := a.spaceToUnpack(art)
	if err != nil {
		return diskFailure("unpack "+described(art), err)
	}
	if err := a.needSpace("unpack "+described(art), bytes); err != nil {
		return err
	}
	a.work.doing("unpacking %s", title(art))
	switch err := a.unpack(ctx, art); {
	case err == nil:
		return nil
	case errors.Is(err, ErrArchive):
		return fail(fescue.ArtifactUnpack, art.Name, err)
	case ctx.Err() != nil:
		return err
	default:
		return diskFailure("unpack "+described(art), err)
	}
}

// keepFile puts what was downloaded in its place, as it is.
func (a *Agent) keepFile(art bundle.Artifact) error {
	part := a.layout.part(art.SHA256)
	// A group document may hold secrets in its environment variables.
	if err := a.disk.Chmod(part, 0o600); err != nil {
		return err
	}
	if err := a.disk.Rename(part, a.layout.artifact(art.SHA256)); err != nil {
		return err
	}
	return a.disk.SyncDir(a.layout.store())
}

// unpack lays out what was downloaded, and removes the archive.
func (a *Agent) unpack(ctx context.Context, art bundle.Artifact) error {
	part, temp := a.layout.part(art.SHA256), a.layout.unpacking(art.SHA256)
	if err := a.disk.RemoveAll(temp); err != nil {
		return err
	}
	archive, err := a.disk.OpenFile(part, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = errors.Join(Unpack(ctx, a.disk, archive, art.Size, temp), archive.Close())
	if err != nil {
		return errors.Join(err, a.disk.RemoveAll(temp))
	}
	if err := a.disk.Rename(temp, a.layout.artifact(art.SHA256)); err != nil {
		return err
	}
	if err := a.disk.SyncDir(a.layout.store()); err != nil {
		return err
	}
	return a.disk.Remove(part)
}

// fetch downloads an artifact into its part file, going on where an earlier
// attempt stopped, and verifies its hash.
func (a *Agent) fetch(ctx context.Context, m bundle.Manifest, art bundle.Artifact) error {
	name := title(art)
	a.work.doing("downloading %s", name)
	resumed, err := a.partSize(art)
	if err != nil {
		return diskFailure("continue the download of "+name, err)
	}
	for {
		if err := a.download(ctx, m, art, resumed, name); err != nil {
			return err
		}
		ok, err := a.verifyPart(ctx, art)
		if err != nil {
			return err
		}
		if ok {
			return nil
		}
		if err := disk.RemoveIfThere(a.disk, a.layout.part(art.SHA256)); err != nil {
			return diskFailure("remove a bad download", err)
		}
		if resumed == 0 {
			return fail(fescue.ArtifactHash, name, "the content does not have the SHA-256 "+art.SHA256+" that the manifest names")
		}
		// A power cut may have left a part with holes: once more, from the start.
		resumed = 0
	}
}

// partSize is how much of an artifact lies on the disk already.
func (a *Agent) partSize(art bundle.Artifact) (int64, error) {
	info, err := a.disk.Lstat(a.layout.part(art.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > art.Size {
		return 0, a.disk.RemoveAll(a.layout.part(art.SHA256))
	}
	return info.Size(), nil
}

func (a *Agent) download(ctx context.Context, m bundle.Manifest, art bundle.Artifact, from int64, name string) (err error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if from == 0 {
		flags |= os.O_TRUNC
	}
	part, err := a.disk.OpenFile(a.layout.part(art.SHA256), flags, 0o600)
	if err != nil {
		return diskFailure("download "+name, err)
	}
	defer func() {
		if closed := part.Close(); err == nil && closed != nil {
			err = diskFailure("download "+name, closed)
		}
	}()
	if from < art.Size || art.Size == 0 {
		if err := a.receive(ctx, m, art, from, part, name); err != nil {
			return err
		}
	}
	if err := part.Sync(); err != nil {
		return diskFailure("download "+name, err)
	}
	return nil
}

func (a *Agent) receive(ctx context.Context, m bundle.Manifest, art bundle.Artifact, from int64, part disk.File, name string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(a.times.Stall, func() { cancel(errStalled) })
	defer watch.Stop()
	body, err := a.cloud.GetArtifact(ctx, m.GroupID, m.DeploymentID, art.SHA256, from)
	if err != nil {
		return a.downloadError(ctx, art, name, err)
	}
	defer body.Close()
	wanted := art.Size - from
	buf := make([]byte, 64<<10)
	for got := int64(0); ; {
		n, err := body.Read(buf)
		if n > 0 {
			watch.Reset(a.times.Stall)
			if got += int64(n); got > wanted {
				// Not a byte beyond the manifest's size is kept.
				return a.tooLong(art, name)
			}
			if _, err := part.Write(buf[:n]); err != nil {
				return diskFailure("download "+name, err)
			}
			a.work.fetched.Add(int64(n))
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

func (a *Agent) tooLong(art bundle.Artifact, name string) error {
	if err := disk.RemoveIfThere(a.disk, a.layout.part(art.SHA256)); err != nil {
		return diskFailure("remove a bad download", err)
	}
	return fail(fescue.ArtifactHash, name, fmt.Sprintf("it is longer than the %d bytes that the manifest names", art.Size))
}

// downloadError tells what trying again cannot cure from the rest.
func (a *Agent) downloadError(ctx context.Context, art bundle.Artifact, name string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("download of %s: %w", name, cause)
	}
	if errors.Is(err, corelink.ErrNotContinued) {
		if err := disk.RemoveIfThere(a.disk, a.layout.part(art.SHA256)); err != nil {
			return diskFailure("remove a download that cannot be continued", err)
		}
		return fmt.Errorf("download of %s starts anew: %w", name, err)
	}
	if _, refused := corelink.Refused(err); refused {
		return fail(fescue.ArtifactDownload, name, err)
	}
	return fmt.Errorf("download of %s: %w", name, err)
}

// verifyPart hashes what lies on the disk, not what came over the wire.
func (a *Agent) verifyPart(ctx context.Context, art bundle.Artifact) (bool, error) {
	f, err := a.disk.OpenFile(a.layout.part(art.SHA256), os.O_RDONLY, 0)
	if err != nil {
		return false, diskFailure("verify a download", err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, disk.Reader(ctx, f))
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, diskFailure("verify a download", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != art.SHA256 || n != art.Size {
		a.logger.Warn("A download does not have the hash that the manifest names.", slog.String("sha256", art.SHA256))
		return false, nil
	}
	return true, nil
}
