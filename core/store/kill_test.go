package store

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// childFile is in the environment of the process that is killed.
const childFile = "FESCUE_TEST_STORE_FILE"

// TestMain makes a process that queues without end of one that a test has started.
func TestMain(m *testing.M) {
	if file := os.Getenv(childFile); file != "" {
		queueForEver(file)
	}
	os.Exit(m.Run())
}

// queueForEver adds messages and takes out the oldest, and says of each what is on the
// disk: "first last". The first is that of the oldest message that is there. What is there
// at its start has "there" behind it, and is to have no gap.
func queueForEver(file string) {
	db := New(file, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	q := db.Queue()
	ctx := context.Background()
	there, err := q.Read(ctx, 0, math.MaxInt64)
	for i, m := range there {
		if m.Number != there[0].Number+uint64(i) {
			err = fmt.Errorf("%d follows %d", m.Number, there[i-1].Number)
		}
	}
	if len(there) > 0 && err == nil {
		fmt.Println(there[0].Number, there[len(there)-1].Number, "there")
	}
	for err == nil {
		c := Change{Room: math.MaxInt64}
		for i := range rand.IntN(min(len(there), 4) + 1) {
			c.Done = append(c.Done, there[i].Number)
		}
		there = there[len(c.Done):]
		for range rand.IntN(5) + 1 {
			c.Add = append(c.Add, Message{Topic: "t", Payload: make([]byte, rand.IntN(3000))})
		}
		var now Queued
		now, err = q.Apply(ctx, c)
		for i, m := range c.Add {
			there = append(there, Numbered{Number: now.First + uint64(i), Message: m})
		}
		if len(there) > 0 {
			fmt.Println(there[0].Number, now.Newest)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process is killed at any instant, and what it had said to be on the disk is there,
// in order and once; what it was about to do is there or not.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	for round := range 10 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childFile+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var first, last uint64
		said := bufio.NewScanner(out)
		for n := 1; said.Scan(); n++ {
			if _, err := fmt.Sscan(said.Text(), &first, &last); err != nil {
				t.Fatal(err)
			}
			if n == 20 {
				// Any time from now on; what it says until then counts.
				time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { child.Process.Kill() })
			}
		}
		_ = child.Wait() // it was killed
		if last == 0 {
			t.Fatal("the process said nothing")
		}
		db, log := open(t, path)
		q := db.Queue()
		list, err := q.Read(t.Context(), 0, math.MaxInt64)
		if err != nil || log.Len() > 0 || len(list) == 0 {
			t.Fatalf("%d messages, %v; log:\n%s", len(list), err, log)
		}
		for i, m := range list {
			if m.Number != list[0].Number+uint64(i) {
				t.Fatalf("round %d: %d follows %d", round, m.Number, list[i-1].Number)
			}
		}
		// It may have taken out 4 more, and added 5 more, than it could say.
		begin, end := list[0].Number, list[len(list)-1].Number
		if begin < first || begin > first+4 || end < last || end > last+5 {
			t.Errorf("round %d: there are %d to %d, said were %d to %d", round, begin, end, first, last)
		}
		if now, err := q.Apply(t.Context(), Change{Room: math.MaxInt64}); err != nil || now.Messages != len(list) || now.Newest != end {
			t.Errorf("%+v, %v", now, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
