package buckets_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/buckets"
)

func (s *site) sweep(t *testing.T, want int) {
	t.Helper()
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.blobs.count(t); n != want {
		t.Errorf("%d blobs are left, want %d", n, want)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	t.Run("what has no name any more goes, after a while", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "bucket")
		s.bucket(t, elsewhere[0], "bucket")
		s.put(t, here, "bucket", "a", "one")
		s.put(t, here, "bucket", "a", "two") // replaces
		s.put(t, here, "bucket", "b", "three")
		s.put(t, elsewhere[0], "bucket", "b", "three") // the same blob
		s.put(t, here, "bucket", "c", "four")
		for _, key := range []string{"b", "c"} {
			if err := s.Delete(t.Context(), here, "bucket", key); err != nil {
				t.Fatal(err)
			}
		}
		s.sweep(t, 4)
		s.pass(7 * time.Hour)
		s.sweep(t, 2)
		s.wantContent(t, here, "bucket", "a", "two")
		s.wantContent(t, elsewhere[0], "bucket", "b", "three")
		if err := s.Delete(t.Context(), elsewhere[0], "bucket", "b"); err != nil {
			t.Fatal(err)
		}
		s.sweep(t, 2) // readers may be under way
		s.pass(2 * time.Hour)
		s.sweep(t, 1)
	})
	t.Run("a blob that was put and never named goes", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "bucket")
		crash := errors.New("power cut")
		s.blobs.afterPut = func(string) error { return crash }
		_, err := s.Put(t.Context(), here, "bucket", "k", strings.NewReader("x"), buckets.Put{})
		refused(t, "put", err, crash)
		s.sweep(t, 1)
		s.pass(7 * time.Hour)
		s.sweep(t, 0)
	})
	t.Run("uploads that nobody completes go", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "bucket")
		for _, id := range []string{"old", "aborted", "gone"} {
			bucket := "bucket"
			if id == "gone" {
				bucket = "gone"
				s.bucket(t, here, bucket)
			}
			u, err := s.CreateUpload(t.Context(), here, bucket, "k", buckets.Checksum{Algorithm: "CRC32"}, buckets.ObjectSettings{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.PutPart(t.Context(), here, bucket, "k", u.ID, 1, strings.NewReader(id), nil, buckets.Checksum{}); err != nil {
				t.Fatal(err)
			}
			switch id {
			case "aborted":
				err = s.Abort(t.Context(), here, bucket, "k", u.ID)
			case "gone":
				err = s.DeleteBucket(t.Context(), here, bucket)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		s.pass(7 * time.Hour)
		s.sweep(t, 1)
		s.pass(buckets.UploadLife)
		s.sweep(t, 1) // ended just now
		s.pass(2 * time.Hour)
		s.sweep(t, 0)
		if list, err := s.Uploads(t.Context(), here, "bucket", buckets.Uploads{Limit: 10}); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
	t.Run("a removal that was interrupted is finished", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "bucket")
		s.put(t, here, "bucket", "k", "x")
		if err := s.Delete(t.Context(), here, "bucket", "k"); err != nil {
			t.Fatal(err)
		}
		s.pass(7 * time.Hour)
		crash := errors.New("power cut")
		s.blobs.beforeDelete = func(string) error { return crash }
		refused(t, "sweep", s.Sweep(t.Context()), crash)
		s.blobs.beforeDelete = nil
		// Whether the blob is there is not known: nobody relies on it.
		_, err := s.Put(t.Context(), here, "bucket", "k", strings.NewReader("x"), buckets.Put{})
		refused(t, "put meanwhile", err, buckets.ErrBusy)
		s.sweep(t, 1)
		s.pass(time.Hour)
		s.sweep(t, 0)
		s.put(t, here, "bucket", "k", "x")
		s.wantContent(t, here, "bucket", "k", "x")
	})
	// A put comes between every pair of steps of a removal of the same content, and
	// a removal between every pair of steps of a put.
	t.Run("a put during a removal", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "bucket")
		s.put(t, here, "bucket", "k", "x")
		if err := s.Delete(t.Context(), here, "bucket", "k"); err != nil {
			t.Fatal(err)
		}
		s.pass(7 * time.Hour)
		var wg sync.WaitGroup
		s.blobs.beforeDelete = func(string) error {
			wg.Go(func() { s.put(t, here, "bucket", "k", "x") })
			return nil
		}
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		s.wantContent(t, here, "bucket", "k", "x")
	})
	t.Run("a removal during a put", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "bucket")
		removed := false
		s.blobs.afterPut = func(string) error {
			if removed {
				return nil
			}
			removed = true
			s.pass(7 * time.Hour) // a put that took very long
			return s.Sweep(t.Context())
		}
		s.put(t, here, "bucket", "k", "x")
		s.wantContent(t, here, "bucket", "k", "x")
	})
	t.Run("a removal during a put, and another put begun since", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.bucket(t, here, "bucket")
		removed := false
		s.blobs.afterPut = func(hash string) error {
			if removed {
				return nil
			}
			removed = true
			s.pass(7 * time.Hour)
			if err := s.Sweep(t.Context()); err != nil {
				return err
			}
			_, err := s.store.Buckets().HoldBlob(t.Context(), hash, s.clock().Add(6*time.Hour)) // and died
			return err
		}
		s.put(t, here, "bucket", "k", "x")
		s.wantContent(t, here, "bucket", "k", "x")
	})
}

// Writers of the same few contents and a sweeper never lose one that is named.
func TestSweepUnderLoad(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.bucket(t, here, "bucket")
	var wg, sweeping sync.WaitGroup
	stop := make(chan struct{})
	sweeping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			s.pass(3 * time.Hour)
			if err := s.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range 3 {
		wg.Go(func() {
			key := fmt.Sprint(w)
			for i := range 30 {
				content := fmt.Sprint(i % 3)
				if _, err := s.Put(t.Context(), here, "bucket", key, strings.NewReader(content), buckets.Put{}); err != nil {
					if !errors.Is(err, buckets.ErrBusy) {
						t.Error(err)
					}
					continue
				}
				s.wantContent(t, here, "bucket", key, content)
				if i%2 == 0 {
					if err := s.Delete(t.Context(), here, "bucket", key); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	sweeping.Wait()
}
