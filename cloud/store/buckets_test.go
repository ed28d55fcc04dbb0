package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

// blobOf is a hash that stands for a content.
func blobOf(name string) string { return fmt.Sprintf("%064x", name) }

func pieceOf(name string, number int) buckets.ObjectPart {
	return buckets.ObjectPart{Number: number, Hash: blobOf(name), Size: int64(len(name)), ETag: name, Checksum: buckets.Checksum{Algorithm: "CRC32", Value: name}, ModifiedAt: madeAt}
}

func objectOf(key, content string) buckets.Object {
	return buckets.Object{
		Key: key, ContentID: fescue.NewID(), Size: int64(len(content)), ETag: content, ModifiedAt: madeAt,
		ObjectSettings: buckets.ObjectSettings{ContentType: "a/b", Metadata: map[string]string{"k": "v"}},
	}
}

// writing is a write at madeAt.
func writing() buckets.ObjectWrite {
	return buckets.ObjectWrite{LookAt: madeAt.Add(time.Hour), HoldUntil: madeAt.Add(6 * time.Hour)}
}

func testBuckets(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	put := func(p fescue.Partition, bucket, key, content string, w buckets.ObjectWrite) error {
		var err error
		if w.Hold, err = s.Buckets().HoldBlob(ctx, blobOf(content), w.HoldUntil); err != nil {
			return err
		}
		return s.Buckets().PutObject(ctx, p, bucket, objectOf(key, content), pieceOf(content, 1), w)
	}
	for _, p := range append(slices.Clone(elsewhere), homePartition) {
		if err := s.Buckets().CreateBucket(ctx, p, buckets.Bucket{Name: "b", CreatedAt: madeAt}, 2); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, "a name twice", s.Buckets().CreateBucket(ctx, homePartition, buckets.Bucket{Name: "b", CreatedAt: madeAt}, 2), fescue.ErrExists)
	if err := s.Buckets().CreateBucket(ctx, homePartition, buckets.Bucket{Name: "a", CreatedAt: madeAt}, 2); err != nil {
		t.Fatal(err)
	}
	refused(t, "one too many", s.Buckets().CreateBucket(ctx, homePartition, buckets.Bucket{Name: "c", CreatedAt: madeAt}, 2), fescue.ErrQuota)
	if list := must(s.Buckets().Buckets(ctx, homePartition))(t); len(list) != 2 || list[0].Name != "a" || !list[1].CreatedAt.Equal(madeAt.Truncate(time.Millisecond)) {
		t.Errorf("%+v", list)
	}

	keys := []string{"B", "a", "a/b", "a-b", "ü", "\U0010FFFF", "b", strings.Repeat("k", 1024)}
	for _, key := range keys {
		if err := put(homePartition, "b", key, "one", writing()); err != nil {
			t.Fatal(err)
		}
	}
	var listed []string
	for _, o := range must(s.Buckets().Objects(ctx, homePartition, "b", "", "", 100))(t) {
		listed = append(listed, o.Key)
	}
	if slices.Sort(keys); !slices.Equal(listed, keys) {
		t.Errorf("keys are not in the order of their bytes: %q", listed)
	}
	if rest := must(s.Buckets().Objects(ctx, homePartition, "b", "a", "a", 1))(t); len(rest) != 1 || rest[0].Key != "a-b" {
		t.Errorf("%+v", rest)
	}
	if got := must(s.Buckets().Object(ctx, homePartition, "b", "a"))(t); got.ETag != "one" || got.Metadata["k"] != "v" || got.Size != 3 {
		t.Errorf("%+v", got)
	}
	for _, p := range elsewhere {
		if list := must(s.Buckets().Objects(ctx, p, "b", "", "", 100))(t); len(list) != 0 {
			t.Errorf("%v sees %+v", p, list)
		}
		_, err := s.Buckets().Object(ctx, p, "b", "a")
		refused(t, "another partition's object", err, fescue.ErrNotFound)
	}
	only := writing()
	only.OnlyNew = true
	refused(t, "only new", put(homePartition, "b", "a", "two", only), fescue.ErrPrecondition)
	only.OnlyNew, only.OnlyETag = false, "two"
	refused(t, "another ETag", put(homePartition, "b", "a", "two", only), fescue.ErrPrecondition)
	refused(t, "no bucket", put(homePartition, "none", "a", "two", writing()), fescue.ErrNotFound)
	refused(t, "a full bucket", s.Buckets().DeleteBucket(ctx, homePartition, "b", madeAt), fescue.ErrInUse)
	refused(t, "a copy of nothing", s.Buckets().CopyObject(ctx, homePartition, "b", objectOf("c", ""), "none", writing()), fescue.ErrConflict)
	from := must(s.Buckets().Object(ctx, homePartition, "b", "a"))(t)
	if err := s.Buckets().CopyObject(ctx, homePartition, "a", objectOf("copy", "one"), from.ContentID, writing()); err != nil {
		t.Fatal(err)
	}
	made := must(s.Buckets().Object(ctx, homePartition, "a", "copy"))(t)
	if parts := must(s.Buckets().ObjectParts(ctx, homePartition, made.ContentID, 0, 10))(t); len(parts) != 1 || parts[0].Hash != blobOf("one") || parts[0].Checksum.Value != "one" {
		t.Errorf("%+v", parts)
	}
	refused(t, "delete of nothing", s.Buckets().DeleteObject(ctx, homePartition, "b", "none", madeAt), fescue.ErrNotFound)

	t.Run("eight writers of one key", func(t *testing.T) {
		var wg sync.WaitGroup
		var first atomic.Int32
		for i := range 8 {
			wg.Go(func() {
				w := writing()
				w.OnlyNew = true
				if put(homePartition, "b", "race", fmt.Sprint("new ", i), w) == nil {
					first.Add(1)
				}
				for {
					err := put(homePartition, "b", "race", fmt.Sprint("any ", i), writing())
					if err == nil {
						return
					}
					refused(t, "put", err, fescue.ErrConflict)
				}
			})
		}
		wg.Wait()
		last := must(s.Buckets().Object(ctx, homePartition, "b", "race"))(t)
		if parts := must(s.Buckets().ObjectParts(ctx, homePartition, last.ContentID, 0, 10))(t); len(parts) != 1 || parts[0].ETag != last.ETag {
			t.Errorf("%+v of %+v", parts, last)
		}
		// What lost is garbage, and nothing else is.
		for _, look := range must(s.Buckets().BlobsToLookAt(ctx, madeAt.Add(7*time.Hour), 100))(t) {
			if named := look.Hash == blobOf(last.ETag) || look.Hash == blobOf("one"); look.Named != named {
				t.Errorf("%+v, want named %v", look, named)
			}
		}
		if first.Load() > 1 {
			t.Errorf("%d were the first", first.Load())
		}
	})
}

func testUploads(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	if err := s.Buckets().CreateBucket(ctx, homePartition, buckets.Bucket{Name: "b", CreatedAt: madeAt}, 2); err != nil {
		t.Fatal(err)
	}
	begin := func(key string) buckets.ObjectUpload {
		u := buckets.ObjectUpload{ID: fescue.NewID(), Key: key, CreatedAt: madeAt, Checksum: buckets.Checksum{Algorithm: "CRC32", Composite: true}}
		if err := s.Buckets().CreateUpload(ctx, homePartition, "b", u); err != nil {
			t.Fatal(err)
		}
		return u
	}
	put := func(u buckets.ObjectUpload, content string, number int) error {
		w := writing()
		var err error
		if w.Hold, err = s.Buckets().HoldBlob(ctx, blobOf(content), w.HoldUntil); err != nil {
			return err
		}
		return s.Buckets().PutPart(ctx, homePartition, "b", u.ID, pieceOf(content, number), w)
	}
	complete := func(u buckets.ObjectUpload, parts ...buckets.ObjectPart) error {
		o := objectOf(u.Key, "whole")
		o.ContentID, o.PartCount = u.ID, len(parts)
		return s.Buckets().CompleteUpload(ctx, homePartition, "b", o, parts, writing())
	}
	refused(t, "no bucket", s.Buckets().CreateUpload(ctx, homePartition, "none", buckets.ObjectUpload{ID: "x", Key: "k"}), fescue.ErrNotFound)
	u := begin("k")
	if got := must(s.Buckets().Upload(ctx, homePartition, "b", u.ID))(t); got.Key != "k" || !got.Checksum.Composite {
		t.Errorf("%+v", got)
	}
	_, err := s.Buckets().Upload(ctx, elsewhere[0], "b", u.ID)
	refused(t, "another partition's upload", err, fescue.ErrNotFound)
	for number, content := range map[int]string{1: "one", 2: "two", 3: "three"} {
		if err := put(u, content, number); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(u, "two again", 2); err != nil {
		t.Fatal(err)
	}
	refused(t, "a part that was replaced", complete(u, pieceOf("one", 1), pieceOf("two", 2)), fescue.ErrConflict)
	refused(t, "a part that never was", complete(u, pieceOf("one", 1), pieceOf("four", 4)), fescue.ErrConflict)
	if err := complete(u, pieceOf("one", 1), pieceOf("two again", 2)); err != nil {
		t.Fatal(err)
	}
	refused(t, "twice", complete(u, pieceOf("one", 1)), fescue.ErrNotFound)
	refused(t, "a part of what is complete", put(u, "one", 1), fescue.ErrNotFound)
	if parts := must(s.Buckets().ObjectParts(ctx, homePartition, u.ID, 0, 10))(t); len(parts) != 2 || parts[1].Hash != blobOf("two again") {
		t.Errorf("%+v", parts)
	}
	refused(t, "abort of what is complete", s.Buckets().AbortUpload(ctx, homePartition, "b", u.ID, madeAt), fescue.ErrNotFound)

	one, two, other := begin("a"), begin("a"), begin("c")
	list := must(s.Buckets().Uploads(ctx, homePartition, "b", "", "", "", 10))(t)
	if len(list) != 3 || list[0].Key != "a" || list[2].ID != other.ID {
		t.Errorf("%+v", list)
	}
	if rest := must(s.Buckets().Uploads(ctx, homePartition, "b", "", "a", list[0].ID, 10))(t); len(rest) != 2 || rest[0].ID != list[1].ID {
		t.Errorf("%+v", rest)
	}
	if err := put(one, "never", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Buckets().AbortUpload(ctx, homePartition, "b", one.ID, madeAt); err != nil {
		t.Fatal(err)
	}
	if n := must(s.Buckets().AbortOldUploads(ctx, madeAt.Add(time.Hour), 10, madeAt))(t); n != 2 {
		t.Errorf("%d old uploads", n)
	}
	refused(t, "a part of an old one", put(two, "x", 1), fescue.ErrNotFound)
}

func testBlobs(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	at := madeAt.Truncate(time.Millisecond)
	look := func() buckets.BlobLook {
		t.Helper()
		list := must(s.Buckets().BlobsToLookAt(ctx, at.Add(7*time.Hour), 10))(t)
		if len(list) != 1 {
			t.Fatalf("%+v", list)
		}
		return list[0]
	}
	hold := func(until time.Duration) (string, error) {
		return s.Buckets().HoldBlob(ctx, blobOf("x"), at.Add(until))
	}
	first := must(hold(6 * time.Hour))(t)
	if list := must(s.Buckets().BlobsToLookAt(ctx, at.Add(5*time.Hour), 10))(t); len(list) != 0 {
		t.Errorf("looked at too early: %+v", list)
	}
	for _, until := range []time.Duration{6 * time.Hour, 5 * time.Hour} { // also for no longer than before
		stale := look()
		if again := must(hold(until))(t); again != first {
			t.Errorf("held by %s and %s", first, again)
		}
		refused(t, "condemn what is wanted again", s.Buckets().CondemnBlob(ctx, stale, at.Add(8*time.Hour)), fescue.ErrConflict)
	}
	seen := look()
	if err := s.Buckets().CondemnBlob(ctx, seen, at.Add(8*time.Hour)); err != nil {
		t.Fatal(err)
	}
	refused(t, "condemn twice", s.Buckets().CondemnBlob(ctx, seen, at.Add(8*time.Hour)), fescue.ErrConflict)
	_, err := hold(9 * time.Hour)
	refused(t, "hold what is condemned", err, fescue.ErrConflict)
	if list := must(s.Buckets().BlobsToLookAt(ctx, at.Add(7*time.Hour), 10))(t); len(list) != 0 {
		t.Errorf("somebody is at it: %+v", list)
	}
	if err := s.Buckets().ForgetBlob(ctx, seen); err != nil { // as it was before it was condemned
		t.Fatal(err)
	}
	late := must(s.Buckets().BlobsToLookAt(ctx, at.Add(9*time.Hour), 10))(t)
	if len(late) != 1 || !late[0].DoomedUntil.Equal(at.Add(8*time.Hour)) {
		t.Fatalf("a removal that was not finished: %+v", late)
	}
	if err := s.Buckets().ForgetBlob(ctx, late[0]); err != nil {
		t.Fatal(err)
	}
	second := must(hold(9 * time.Hour))(t)
	if err := s.Buckets().CreateBucket(ctx, homePartition, buckets.Bucket{Name: "b", CreatedAt: madeAt}, 2); err != nil {
		t.Fatal(err)
	}
	name := func(hold string) error {
		w := writing()
		w.Hold = hold
		return s.Buckets().PutObject(ctx, homePartition, "b", objectOf("k", "x"), pieceOf("x", 1), w)
	}
	refused(t, "what was put before the removal", name(first), fescue.ErrConflict)
	if err := name(second); err != nil {
		t.Error(err)
	}
}
