package models_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/models"
	"github.com/fescue-edge/fescue/testkit"
)

// flow is a bucket with one object, which comes as through does it.
type flow struct {
	mu      sync.Mutex
	content []byte
	version string
	// offsets are where it was read from, heads left out.
	offsets []int64
	through func(ctx context.Context, attempt int, r io.Reader) io.Reader
}

func (f *flow) Object(context.Context, fescue.Partition, string, string) (buckets.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return buckets.Object{ContentID: f.version, Size: int64(len(f.content))}, nil
}

func (f *flow) Read(ctx context.Context, p fescue.Partition, bucket, key string, choose func(buckets.Object) (buckets.Range, error)) (buckets.Object, io.ReadCloser, error) {
	o, _ := f.Object(ctx, p, bucket, key)
	want, err := choose(o)
	if err != nil {
		return o, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var r io.Reader = bytes.NewReader(f.content[want.Offset : want.Offset+want.Length])
	if want.Length != 4 {
		f.offsets = append(f.offsets, want.Offset)
		r = f.through(ctx, len(f.offsets), r)
	}
	return o, io.NopCloser(r), nil
}

// write replaces the object.
func (f *flow) write(version, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version, f.content = version, []byte(content)
}

func (f *flow) reads() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int64(nil), f.offsets...)
}

// broken gives the first n bytes, and then an error.
func broken(r io.Reader, n int64) io.Reader {
	return io.MultiReader(io.LimitReader(r, n), failing{errors.New("connection reset by peer")})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// gate is a reader that waits, and ends with its context.
type gate struct {
	ctx  context.Context
	open chan struct{}
	r    io.Reader
}

func (g gate) Read(p []byte) (int, error) {
	select {
	case <-g.open:
		return g.r.Read(p)
	case <-g.ctx.Done():
		return 0, context.Cause(g.ctx)
	}
}

// writing does something before each read.
type writing struct {
	r      io.Reader
	before func()
}

func (w writing) Read(p []byte) (int, error) {
	w.before()
	return w.r.Read(p)
}

// silent is a flow of which no byte comes.
type silent struct{ *flow }

func (s silent) Read(ctx context.Context, p fescue.Partition, bucket, key string, choose func(buckets.Object) (buckets.Range, error)) (buckets.Object, io.ReadCloser, error) {
	o, r, err := s.flow.Read(ctx, p, bucket, key, choose)
	return o, io.NopCloser(gate{ctx: ctx, r: r}), err
}

const tarball = "\x1f\x8b and so on, for long"

func TestCopy(t *testing.T) {
	t.Parallel()
	service := func(t *testing.T, f *flow) (*models.Service, *artifacts.Folder) {
		f.write("1", tarball)
		blobs, err := artifacts.OpenFolder(filepath.Join(t.TempDir(), "artifacts"))
		if err != nil {
			t.Fatal(err)
		}
		return models.New(models.Options{Buckets: f, Blobs: blobs, SpoolDir: t.TempDir(), Stall: 300 * time.Millisecond}), blobs
	}
	content := func(t *testing.T, blobs *artifacts.Folder, m deploy.Model) string {
		r, err := blobs.Open(t.Context(), m.SHA256, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, tc := range []struct {
		name    string
		through func(ctx context.Context, attempt int, r io.Reader) io.Reader
		want    string // of the error
	}{
		{"what breaks off goes on where it was", func(_ context.Context, attempt int, r io.Reader) io.Reader {
			if attempt < 3 {
				return broken(r, 5)
			}
			return r
		}, ""},
		{"what ends early goes on", func(_ context.Context, attempt int, r io.Reader) io.Reader {
			return io.LimitReader(r, 7)
		}, ""},
		{"what hangs is asked again", func(ctx context.Context, attempt int, r io.Reader) io.Reader {
			if attempt == 2 {
				return r
			}
			return io.MultiReader(io.LimitReader(r, 6), gate{ctx: ctx})
		}, ""},
		{"what always hangs fails", func(ctx context.Context, _ int, r io.Reader) io.Reader { return gate{ctx: ctx} }, "no more of it came for 300ms, after 0 of"},
		{"what always breaks fails", func(_ context.Context, _ int, r io.Reader) io.Reader { return broken(r, 0) }, "connection reset by peer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := &flow{through: tc.through}
			s, blobs := service(t, f)
			var last int64
			m, err := s.Copy(t.Context(), home, "s3://b/k", func(n int64) { last = n })
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%v, want %q", err, tc.want)
				}
				return
			}
			if err != nil || content(t, blobs, m) != tarball || last != int64(len(tarball)) || m.Size != last {
				t.Errorf("%+v, %v, %d bytes", m, err, last)
			}
			for i, at := range f.reads() {
				if (at == 0) != (i == 0) {
					t.Errorf("read from %v", f.reads())
				}
			}
		})
	}
	t.Run("what is written meanwhile is copied as it is then", func(t *testing.T) {
		t.Parallel()
		f := new(flow)
		f.through = func(_ context.Context, attempt int, r io.Reader) io.Reader {
			if attempt == 1 {
				go f.write("2", tarball+"er")
				return io.MultiReader(broken(r, 5))
			}
			return r
		}
		s, blobs := service(t, f)
		m, err := s.Copy(t.Context(), home, "s3://b/k", func(int64) {})
		if err != nil || content(t, blobs, m) != tarball && content(t, blobs, m) != tarball+"er" {
			t.Errorf("%+v, %v", m, err)
		}
	})
	t.Run("what is written all the time is refused", func(t *testing.T) {
		t.Parallel()
		f := new(flow)
		f.through = func(_ context.Context, attempt int, r io.Reader) io.Reader {
			return io.MultiReader(broken(writing{r, func() { f.write(fmt.Sprint("version ", attempt), tarball) }}, 5))
		}
		s, _ := service(t, f)
		_, err := s.Copy(t.Context(), home, "s3://b/k", func(int64) {})
		var refusal *fescue.Refusal
		if !errors.As(err, &refusal) || !errors.Is(err, deploy.ErrModel) || !strings.Contains(err.Error(), "written 5 times") || len(f.reads()) != 5 {
			t.Errorf("%v, after %d reads", err, len(f.reads()))
		}
	})
	t.Run("a copy that panics does not keep those who wait", func(t *testing.T) {
		t.Parallel()
		waits := make(chan struct{})
		f := &flow{through: func(_ context.Context, attempt int, r io.Reader) io.Reader {
			if attempt == 1 {
				return writing{r, func() { <-waits; panic("a defect") }}
			}
			return r
		}}
		s, _ := service(t, f)
		var first sync.WaitGroup
		first.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("the copy did not panic")
				}
			}()
			s.Copy(t.Context(), home, "s3://b/k", func(int64) {})
		})
		testkit.Until(t, "the first reads", func() bool { return len(f.reads()) > 0 })
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		defer cancel()
		once := sync.OnceFunc(func() { close(waits) })
		m, err := s.Copy(ctx, home, "s3://b/k", func(int64) { once() })
		first.Wait()
		if err != nil || m.SHA256 == "" || len(f.reads()) != 2 {
			t.Errorf("%+v, %v, after %d reads", m, err, len(f.reads()))
		}
	})
	t.Run("a bucket that goes silent after its headers", func(t *testing.T) {
		t.Parallel()
		s := models.New(models.Options{Buckets: silent{&flow{content: []byte(tarball)}}, SpoolDir: t.TempDir(), Look: 50 * time.Millisecond})
		_, err := s.Model(t.Context(), home, "s3://b/k")
		var refusal *fescue.Refusal
		if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), "s3://b/k: its bucket did not answer within 50ms") {
			t.Error(err)
		}
	})
	t.Run("one content is copied once, and another beside it", func(t *testing.T) {
		t.Parallel()
		open := make(chan struct{})
		f := &flow{through: func(ctx context.Context, _ int, r io.Reader) io.Reader { return gate{ctx, open, r} }}
		s, _ := service(t, f)
		var all sync.WaitGroup
		got := make([]deploy.Model, 3)
		cancelled, cancel := context.WithCancel(t.Context())
		for i := range got {
			all.Go(func() {
				ctx := t.Context()
				if i == 0 {
					ctx = cancelled
				}
				got[i], _ = s.Copy(ctx, home, "s3://b/k", func(int64) {})
			})
			testkit.Until(t, "the first reads", func() bool { return len(f.reads()) > 0 })
		}
		cancel() // another goes on in the place of the first
		testkit.Until(t, "the second reads", func() bool { return len(f.reads()) == 2 })
		close(open)
		all.Wait()
		if got[1].SHA256 == "" || got[1] != got[2] || len(f.reads()) != 2 {
			t.Errorf("%+v, read from %v", got, f.reads())
		}
	})
}
