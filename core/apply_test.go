package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/testkit"
)

// carried is a bundle that a core refuses, for it trusts no key yet.
func carried(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	list := bundle.Carried{GroupID: groupID, DeploymentID: fescue.NewID(), CoreThingArn: coreARN}
	err := bundle.Carry(&out, list, []byte("{}"), []byte("{}"), nil, func(string) (io.ReadCloser, error) { return nil, errors.New("there is none") })
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// applyOptions are those of start.
func applyOptions(root string) core.Options {
	nobody, anyPort := uint32(65534), 0
	return core.Options{Root: root, IPCPort: &anyPort, DefaultUID: &nobody, DefaultGID: &nobody, Output: io.Discard}
}

// holdLock is a core that runs on a folder, as far as others can see.
func holdLock(t *testing.T, root string) *os.File {
	t.Helper()
	folder := filepath.Join(root, "ggc")
	if err := os.MkdirAll(folder, 0o711); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(folder, "core.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	_, err = fmt.Fprintln(f, os.Getpid())
	if err = errors.Join(err, syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestApplyAsAnotherUser: what another user handed over the core could not read, and it
// could not open a lock that became that user's.
func TestApplyAsAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give a folder to somebody else; run the tests as root to include this one")
	}
	const other = 65534
	c := newCloud(t)
	for name, tc := range map[string]struct {
		lock, folder int
		refused      bool
	}{
		"the lock is another's":                    {other, 0, true},
		"the lock and the folder are":              {other, other, true},
		"the folder is, and no core has run":       {-1, other, true},
		"the folder is, and a core has run as now": {0, other, false},
		"nothing is":                      {0, 0, false},
		"nothing is, and no core has run": {-1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t, c)
			ggc := filepath.Join(root, "ggc")
			err := os.Mkdir(ggc, 0o711)
			if tc.lock >= 0 {
				path := filepath.Join(ggc, "core.lock")
				err = errors.Join(err, os.WriteFile(path, nil, 0o600), os.Chown(path, tc.lock, -1))
			}
			if err = errors.Join(err, os.Chown(ggc, tc.folder, -1)); err != nil {
				t.Fatal(err)
			}
			before := len(testNames(t, ggc))
			_, err = core.Apply(t.Context(), applyOptions(root), strings.NewReader("no bundle"), func(string) {})
			if !tc.refused {
				if !errors.Is(err, bundle.ErrCarried) {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || errors.Is(err, bundle.ErrCarried) || !strings.Contains(err.Error(), "uid 65534") || !strings.Contains(err.Error(), "sudo -u ") {
				t.Errorf("%v", err)
			}
			if names := testNames(t, ggc); len(names) != before {
				t.Errorf("it wrote something: %v", names)
			}
		})
	}
	t.Run("a start beside a core leaves that its lock", func(t *testing.T) {
		t.Parallel()
		root := newRoot(t, c)
		lock := holdLock(t, root)
		if err := lock.Chown(other, -1); err != nil {
			t.Fatal(err)
		}
		k, err := core.New(applyOptions(root))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Run(t.Context()); !errors.Is(err, core.ErrRunning) {
			t.Errorf("%v", err)
		}
		info, err := lock.Stat()
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != other {
			t.Errorf("%+v, %v", info.Sys(), err)
		}
	})
}

func testNames(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestApplyOutlivesTheCore: the core that has a bundle may end before that does.
func TestApplyOutlivesTheCore(t *testing.T) {
	t.Parallel()
	root := newRoot(t, newCloud(t))
	lock := holdLock(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type outcome struct {
		core.Applied
		error
	}
	ended := make(chan outcome, 1)
	file, said := bytes.NewReader(carried(t)), new(lines)
	go func() {
		result, err := core.Apply(ctx, applyOptions(root), file, func(text string) { fmt.Fprintln(said, text) })
		ended <- outcome{result, err}
	}()
	testkit.Until(t, "apply does not find the core that runs", func() bool { return strings.Contains(said.String(), "a core runs") })
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	var got outcome
	testkit.Until(t, "apply waits for a core that has ended", func() bool {
		select {
		case got = <-ended:
			return true
		default:
			return false
		}
	})
	if got.error != nil || !got.Done || !got.Started || !strings.Contains(got.Message, "none is taken from a bundle") {
		t.Errorf("%+v", got)
	}
}

// TestStartClearsHandOver: what a power cut left of a bundle goes at the next start.
func TestStartClearsHandOver(t *testing.T) {
	t.Parallel()
	root := newRoot(t, newCloud(t))
	left := filepath.Join(root, "ggc", "deployment", ".bundle.new")
	if err := errors.Join(os.MkdirAll(left, 0o700), os.WriteFile(filepath.Join(left, "manifest.dsse"), []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	start(t, root, nil)
	if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", left, err)
	}
}
