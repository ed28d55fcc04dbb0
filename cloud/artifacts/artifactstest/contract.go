// Package artifactstest holds the contract that every artifacts.Store passes,
// whatever it keeps blobs in. It is for tests alone.
package artifactstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
)

// Hash is the name that content is kept under.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// BadHashes are names that no store takes, tricks with paths among them.
func BadHashes() []string {
	good := Hash(nil)
	return []string{
		"", "ab", good[:63], good + "0", strings.ToUpper(good), "../" + good[3:], "..%2f" + good[5:],
		good[:62] + "/x", good[:62] + "\x00a", good[:63] + "\n", "/" + good[1:], good[:60] + "\xff\xfe\xfd\xfc",
	}
}

// TestStore checks that a store, empty when open returns it, keeps its promises.
func TestStore(t *testing.T, open func(t *testing.T) artifacts.Store) {
	ctx := context.Background()
	content := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	hash := Hash(content)

	put := func(t *testing.T, s artifacts.Store) {
		t.Helper()
		if err := s.Put(ctx, hash, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	wantContent := func(t *testing.T, s artifacts.Store, hash string, offset int64, want []byte) {
		t.Helper()
		r, err := s.Open(ctx, hash, offset)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("blob at %d has %d bytes that differ from the %d expected", offset, len(got), len(want))
		}
	}

	t.Run("what was put is read", func(t *testing.T) {
		s := open(t)
		put(t, s)
		wantContent(t, s, hash, 0, content)
		info, err := s.Stat(ctx, hash)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != int64(len(content)) || info.StoredAt.IsZero() {
			t.Errorf("Stat = %+v", info)
		}
	})
	t.Run("an empty blob is a blob", func(t *testing.T) {
		s := open(t)
		if err := s.Put(ctx, Hash(nil), strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
		wantContent(t, s, Hash(nil), 0, nil)
	})
	t.Run("putting twice changes nothing", func(t *testing.T) {
		s := open(t)
		put(t, s)
		put(t, s)
		wantContent(t, s, hash, 0, content)
	})
	t.Run("offsets", func(t *testing.T) {
		s := open(t)
		put(t, s)
		size := int64(len(content))
		for _, offset := range []int64{0, 1, 70_001, size - 1, size} {
			wantContent(t, s, hash, offset, content[offset:])
		}
		for _, offset := range []int64{-1, size + 1, 1 << 62} {
			if _, err := s.Open(ctx, hash, offset); !errors.Is(err, artifacts.ErrOffset) {
				t.Errorf("Open at %d = %v, want ErrOffset", offset, err)
			}
		}
	})
	t.Run("other content is refused and not kept", func(t *testing.T) {
		s := open(t)
		if err := s.Put(ctx, hash, strings.NewReader("something else")); !errors.Is(err, artifacts.ErrContent) {
			t.Fatalf("Put = %v, want ErrContent", err)
		}
		if _, err := s.Stat(ctx, hash); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("Stat = %v, want ErrNotFound", err)
		}
	})
	t.Run("a failed second put leaves the first", func(t *testing.T) {
		s := open(t)
		put(t, s)
		broken := errors.New("connection lost")
		if err := s.Put(ctx, hash, io.MultiReader(bytes.NewReader(content[:5]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Fatalf("Put = %v, want the reader's error", err)
		}
		wantContent(t, s, hash, 0, content)
	})
	t.Run("unknown blobs are not found", func(t *testing.T) {
		s := open(t)
		if _, err := s.Open(ctx, hash, 0); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("Open = %v, want ErrNotFound", err)
		}
		if _, err := s.Stat(ctx, hash); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("Stat = %v, want ErrNotFound", err)
		}
	})
	t.Run("deleting", func(t *testing.T) {
		s := open(t)
		put(t, s)
		for range 2 { // the second time there is nothing left to delete
			if err := s.Delete(ctx, hash); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Stat(ctx, hash); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("Stat = %v, want ErrNotFound", err)
		}
	})
	t.Run("what is no hash is refused", func(t *testing.T) {
		s := open(t)
		for _, bad := range BadHashes() {
			_, openErr := s.Open(ctx, bad, 0)
			_, statErr := s.Stat(ctx, bad)
			for what, err := range map[string]error{
				"Put": s.Put(ctx, bad, strings.NewReader("")), "Open": openErr, "Stat": statErr, "Delete": s.Delete(ctx, bad),
			} {
				if !errors.Is(err, artifacts.ErrHash) {
					t.Errorf("%s(%q) = %v, want ErrHash", what, bad, err)
				}
			}
		}
	})
	t.Run("a cancelled put keeps nothing", func(t *testing.T) {
		s := open(t)
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Put(cancelled, hash, bytes.NewReader(content)); !errors.Is(err, context.Canceled) {
			t.Fatalf("Put = %v, want context.Canceled", err)
		}
		if _, err := s.Stat(ctx, hash); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("Stat = %v, want ErrNotFound", err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		s := open(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := s.Put(ctx, hash, bytes.NewReader(content)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantContent(t, s, hash, 0, content)
	})
}
