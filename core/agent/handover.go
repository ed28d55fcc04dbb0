package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/disk"
)

// A deployment can come as a file, see bundle.Carried. HandOver lays it out in a folder
// beside the deployment, with one rename, and the agent takes it from there by the same
// steps as one that the control plane offers. What it makes of it stands in another
// file. What is to be reported is reported when there is a line.

// Handover is how far the agent is with what was handed over.
type Handover struct {
	DeploymentID string `json:"deploymentId"`
	// Activity is what is done, in a few words.
	Activity string `json:"activity,omitempty"`
	// Done says that nothing more comes. Without a Message it succeeded.
	Done    bool                 `json:"done,omitempty"`
	Message string               `json:"message,omitempty"`
	Details []fescue.ErrorDetail `json:"details,omitempty"`
}

// maxHandover bounds the file of it, in bytes.
const maxHandover = 4 << 20

// carriedListFile is the list of a bundle that was handed over.
const carriedListFile = "bundle.json"

// ErrHandedOver means that the agent is still at work on what was handed over before.
var ErrHandedOver = errors.New("the core is still at work on the bundle before")

// HandOver lays a carried deployment out where the agent of a deployment folder finds
// it. One process at a time may call it. Errors that wrap bundle.ErrCarried are of the
// file. progress is called with how many of all bytes are there.
func HandOver(ctx context.Context, on disk.FS, folder string, file io.Reader, progress func(done, all int64)) (list bundle.Carried, err error) {
	l := layout{folder}
	if err := vacant(ctx, on, l); err != nil {
		return list, err
	}
	temp := l.carried() + disk.NewSuffix
	if err := on.RemoveAll(temp); err != nil {
		return list, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, on.RemoveAll(temp))
		}
	}()
	if err := disk.EnsureFolder(on, folder, passable); err != nil {
		return list, err
	}
	if err := on.MkdirAll(temp, private); err != nil {
		return list, err
	}
	var done, all int64
	begin := func(c bundle.Carried) error {
		all = c.Size()
		// What is unpacked needs as much again, which the agent looks at.
		if d, ok := on.(interface {
			Free(folder string) (int64, error)
		}); ok {
			if free, err := d.Free(folder); err == nil && free < all {
				return fmt.Errorf("the bundle has %d MB and %s has room for %d MB; free space", all>>20, folder, free>>20)
			}
		}
		return nil
	}
	list, err = bundle.ReadCarried(disk.Reader(ctx, file), begin, func(name string, size int64, content io.Reader) error {
		err := writeStream(on, filepath.Join(temp, name), content)
		done += size
		progress(done, all)
		return err
	})
	if err != nil {
		return list, err
	}
	text, err := json.Marshal(list)
	if err != nil {
		return list, err
	}
	for _, step := range []func() error{
		func() error { return disk.WriteSynced(on, filepath.Join(temp, carriedListFile), text, 0o600) },
		func() error { return on.SyncDir(temp) },
		func() error { return disk.RemoveIfThere(on, l.handover()) },
		// The status of the bundle before must not outlive this one's coming.
		func() error { return on.SyncDir(folder) },
		func() error { return on.Rename(temp, l.carried()) },
		func() error { return on.SyncDir(folder) },
	} {
		if err := step(); err != nil {
			return list, err
		}
	}
	return list, nil
}

// ClearHandOver removes what a power cut left of a bundle that was being written. Only who
// keeps others from HandOver may call it.
func ClearHandOver(on disk.FS, folder string) error {
	return on.RemoveAll(layout{folder}.carried() + disk.NewSuffix)
}

// leaving is how long a bundle that the agent is done with may still lie there.
const leaving = 2 * time.Second

// vacant makes sure that nothing lies where a bundle is handed over: what the agent is
// done with goes, the rest is ErrHandedOver.
func vacant(ctx context.Context, on disk.FS, l layout) error {
	for wait := time.Duration(0); ; wait += leaving / 100 {
		there, err := disk.Exists(on, l.carried())
		if err != nil || !there {
			return err
		}
		var list bundle.Carried
		data, err := disk.ReadFile(on, filepath.Join(l.carried(), carriedListFile), maxEnvelopeFile)
		if err == nil {
			err = json.Unmarshal(data, &list)
		}
		h, unread := ReadHandover(on, l.root)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it goes just now
		case err != nil || unread != nil || !h.Done || h.DeploymentID != list.DeploymentID:
			return fmt.Errorf("%w; wait for that, start the core if none runs, or remove %s", ErrHandedOver, l.carried())
		}
		if wait >= leaving {
			return on.RemoveAll(l.carried()) // the power failed before the agent did
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(leaving / 100):
		}
	}
}

// writeStream writes a file and has it last.
func writeStream(on disk.FS, name string, content io.Reader) (err error) {
	f, err := on.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadHandover reads how far the agent of a deployment folder is; the zero one before it
// has begun.
func ReadHandover(on disk.FS, folder string) (h Handover, err error) {
	data, err := disk.ReadFile(on, layout{folder}.handover(), maxHandover)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	return h, err
}
