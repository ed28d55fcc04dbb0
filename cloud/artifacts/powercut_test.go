package artifacts_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/artifacts/artifactstest"
	"github.com/fescue-edge/fescue/testkit/crashfs"
)

// TestPowerCut lets the power fail at every step of storing and deleting. What was
// promised is there then and whole; what was not is whole or absent.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	content := make(map[string][]byte)
	var names []string
	for i := range 4 {
		data := bytes.Repeat([]byte{byte(i)}, 100_000)
		names = append(names, artifactstest.Hash(data))
		content[names[i]] = data
	}
	for _, fate := range []struct {
		name string
		keep int // in percent
	}{{"all is lost", 0}, {"half is lost", 50}, {"most is lost", 80}, {"all is kept", 100}} {
		t.Run(fate.name, func(t *testing.T) {
			t.Parallel()
			for step, more := 0, true; more; step++ {
				r := rand.New(rand.NewPCG(uint64(fate.keep), uint64(step)))
				disk := crashfs.New()
				if err := disk.MkdirAll("/data", 0o700); err != nil {
					t.Fatal(err)
				}
				disk.Restore(func() bool { return true })
				disk.FailAfter(step, func() {})
				stored, deleted := make(map[string]bool), make(map[string]bool)
				err := func() error {
					f, err := artifacts.OpenFolderOn(disk, "/data/artifacts", time.Now)
					if err != nil {
						return err
					}
					for _, name := range names {
						if err := f.Put(ctx, name, bytes.NewReader(content[name])); err != nil {
							return err
						}
						stored[name] = true
					}
					delete(stored, names[0])
					if err := f.Delete(ctx, names[0]); err != nil {
						return err
					}
					deleted[names[0]] = true
					return nil
				}()
				if more = disk.Failed(); !more && err != nil {
					t.Fatal(err)
				}
				disk.Restore(func() bool { return r.IntN(100) < fate.keep })
				f, err := artifacts.OpenFolderOn(disk, "/data/artifacts", time.Now)
				if err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				for _, name := range names {
					if err := whole(ctx, f, name, content[name]); err != nil && stored[name] {
						t.Errorf("step %d: what was stored: %v", step, err)
					} else if err == nil && deleted[name] {
						t.Errorf("step %d: what was deleted is back", step)
					}
					if _, err := f.Stat(ctx, name); err == nil {
						if err := whole(ctx, f, name, content[name]); err != nil {
							t.Errorf("step %d: what is there: %v", step, err)
						}
					}
				}
			}
		})
	}
}

func whole(ctx context.Context, f *artifacts.Folder, name string, want []byte) error {
	r, err := f.Open(ctx, name, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%d bytes that are not the %d stored", len(got), len(want))
	}
	return err
}
