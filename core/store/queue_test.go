package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func messages(from, to int) (list []Message) {
	for n := from; n < to; n++ {
		list = append(list, Message{Topic: fmt.Sprintf("t/%04d", n), Payload: make([]byte, 30)})
	}
	return list
}

func topics(t *testing.T, q *Queue, after uint64) (list []string) {
	t.Helper()
	got, err := q.Read(t.Context(), after, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		list = append(list, m.Topic)
	}
	return list
}

func apply(t *testing.T, q *Queue, c Change) Queued {
	t.Helper()
	now, err := q.Apply(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func TestQueue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	db, _ := open(t, path)
	q := db.Queue()
	for _, step := range []struct {
		what   string
		change Change
		want   Queued
		left   []string
	}{
		{"nothing", Change{}, Queued{}, nil},
		{"three", Change{Add: messages(0, 3), Room: 1000}, Queued{Messages: 3, Bytes: 300, Newest: 3, First: 1}, []string{"t/0000", "t/0001", "t/0002"}},
		{"one out, one in", Change{Done: []uint64{2, 77}, Add: messages(3, 4), Room: 1000}, Queued{Messages: 3, Bytes: 300, Newest: 4, First: 4}, []string{"t/0000", "t/0002", "t/0003"}},
		{"the oldest give way", Change{Add: messages(4, 6), Room: 399}, Queued{Messages: 3, Bytes: 300, Newest: 6, First: 5, GaveWay: 2, Until: 3}, []string{"t/0003", "t/0004", "t/0005"}},
		{"but the one in flight", Change{Flying: []uint64{4}, Room: 200}, Queued{Messages: 2, Bytes: 200, Newest: 6, GaveWay: 1, Until: 5}, []string{"t/0003", "t/0005"}},
		{"whatever the room", Change{Flying: []uint64{2, 4}, Add: messages(6, 7)}, Queued{Messages: 1, Bytes: 100, Newest: 7, First: 7, GaveWay: 2, Until: 7}, []string{"t/0003"}},
		{"the last", Change{Done: []uint64{4}}, Queued{Newest: 7}, nil},
		{"numbers rise", Change{Add: messages(7, 8), Room: 1000}, Queued{Messages: 1, Bytes: 100, Newest: 8, First: 8}, []string{"t/0007"}},
	} {
		if diff := cmp.Diff(step.want, apply(t, q, step.change)); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
		if diff := cmp.Diff(step.left, topics(t, q, 0)); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
	}
	apply(t, q, Change{Done: []uint64{8}})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, _ = open(t, path)
	q = db.Queue()
	odd := []Message{{Topic: "ünïcode/\x01", Payload: []byte{0, 0xff}}, {Topic: "nothing"}}
	if now := apply(t, q, Change{Add: odd, Room: 1 << 20}); now.First != 9 || now.Bytes != odd[0].Size()+odd[1].Size() {
		t.Errorf("%+v", now)
	}
	got, err := q.Read(t.Context(), 0, 1)
	if err != nil || len(got) != 1 || got[0].Topic != odd[0].Topic || !slices.Equal(got[0].Payload, odd[0].Payload) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = q.Read(t.Context(), 9, 1); err != nil || len(got) != 1 || len(got[0].Payload) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// A file that was damaged is begun anew, and the queue says so.
func TestQueueAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	db, log := open(t, path)
	q := db.Queue()
	apply(t, q, Change{Add: messages(0, 200), Room: math.MaxInt64})
	content, err := os.ReadFile(path)
	if err == nil {
		err = errors.Join(os.WriteFile(path, bytes.Repeat([]byte{0xa5}, len(content)), 0o600), os.Truncate(path+"-wal", 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	// Damage is found when the pages are read, at the latest with the next opening.
	if err := db.drop(); err != nil {
		t.Log(err)
	}
	now := apply(t, q, Change{Done: []uint64{1}, Flying: []uint64{2}, Add: messages(200, 201), Room: math.MaxInt64})
	if diff := cmp.Diff(Queued{Messages: 1, Bytes: 100, Newest: 1, First: 1, Anew: true}, now); diff != "" {
		t.Errorf("%s; log:\n%s", diff, log)
	}
}

// A long queue gives the disk its room back.
func TestQueueShrinks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	db, _ := open(t, path)
	q := db.Queue()
	var done []uint64
	for range 40 {
		var list []Message
		for range 10 {
			list = append(list, Message{Topic: "t", Payload: make([]byte, 50_000)})
		}
		now := apply(t, q, Change{Add: list, Room: math.MaxInt64})
		for n := now.First; n <= now.Newest; n++ {
			done = append(done, n)
		}
	}
	size := func() int64 {
		if _, err := db.open.write.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if n := size(); n < 20_000_000 {
		t.Fatalf("%d bytes", n)
	}
	for chunk := range slices.Chunk(done, 40) {
		apply(t, q, Change{Done: chunk, Room: math.MaxInt64})
	}
	if n := size(); n > 8<<20 {
		t.Errorf("%d bytes after all messages were taken out", n)
	}
}
