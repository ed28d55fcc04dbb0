package buckets_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here      = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	elsewhere = []fescue.Partition{
		{AWS: "aws", Account: "123456789012", Region: "us-west-2"},
		{AWS: "aws", Account: "210987654321", Region: "eu-west-1"},
	}
)

// site is a service on a real store and a real folder, with a clock of its own.
type site struct {
	*buckets.Service
	store *store.DB
	blobs *blobs

	mu  sync.Mutex
	now time.Time
}

// blobs is the folder of contents, with faults.
type blobs struct {
	*artifacts.Folder
	dir string
	// afterPut and beforeDelete, if not nil, run between the steps of others.
	afterPut, beforeDelete func(hash string) error
}

func (b *blobs) Put(ctx context.Context, hash string, r io.Reader) error {
	err := b.Folder.Put(ctx, hash, r)
	if err == nil && b.afterPut != nil {
		err = b.afterPut(hash)
	}
	return err
}

func (b *blobs) Delete(ctx context.Context, hash string) error {
	if b.beforeDelete != nil {
		if err := b.beforeDelete(hash); err != nil {
			return err
		}
	}
	return b.Folder.Delete(ctx, hash)
}

// count is how many contents lie in the folder.
func (b *blobs) count(t *testing.T) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(b.dir, "??", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func open(t testing.TB) *site {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	st := storetest.Open(t)
	dir := t.TempDir()
	folder, err := artifacts.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{store: st, blobs: &blobs{Folder: folder, dir: dir}, now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	s.Service = buckets.New(buckets.Options{Store: st.Buckets(), Blobs: s.blobs, SpoolDir: t.TempDir(), Now: s.clock, Logger: logger})
	return s
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *site) bucket(t testing.TB, p fescue.Partition, name string) {
	t.Helper()
	if err := s.CreateBucket(t.Context(), p, name); err != nil {
		t.Fatal(err)
	}
}

func (s *site) put(t testing.TB, p fescue.Partition, bucket, key, content string) buckets.Object {
	t.Helper()
	o, err := s.Put(t.Context(), p, bucket, key, strings.NewReader(content), buckets.Put{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// read is an object's content, or the error.
func (s *site) read(t testing.TB, p fescue.Partition, bucket, key string) (string, error) {
	t.Helper()
	r, size, err := s.Open(t.Context(), p, bucket, key)
	if err != nil {
		return "", err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err == nil && int64(len(content)) != size {
		t.Errorf("%d bytes, the size returned is %d", len(content), size)
	}
	return string(content), err
}

func (s *site) wantContent(t testing.TB, p fescue.Partition, bucket, key, want string) {
	t.Helper()
	if got, err := s.read(t, p, bucket, key); err != nil || got != want {
		t.Errorf("%s/%q holds %.80q, %v; want %.80q", bucket, key, got, err, want)
	}
}

func refused(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
