package cloudlink_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/cloudlink"
)

// queues are the implementations of Queue, which keep the same promises.
var queues = map[string]func(t *testing.T, limit int64) cloudlink.Queue{
	"memory": func(_ *testing.T, limit int64) cloudlink.Queue { return cloudlink.NewMemory(limit) },
}

func TestQueue(t *testing.T) {
	t.Parallel()
	// A message of these tests has 100 bytes with what it costs beside its content.
	const each = 100
	message := func(n int) cloudlink.Message {
		return cloudlink.Message{Topic: fmt.Sprintf("t/%04d", n), Payload: make([]byte, 30)}
	}
	for name, open := range queues {
		for what, run := range map[string]func(t *testing.T, q cloudlink.Queue){
			"an empty one has nothing": func(t *testing.T, q cloudlink.Queue) {
				if _, _, ok := q.Take(); ok {
					t.Error("something was taken")
				}
				waits(t, q, 0, 0)
			},
			"first in, first out": func(t *testing.T, q cloudlink.Queue) {
				push(t, q, message, 0, 3)
				takes(t, q, 0, 1, 2)
				waits(t, q, 0, 0)
			},
			"the same again until it is done with": func(t *testing.T, q cloudlink.Queue) {
				push(t, q, message, 0, 2)
				_, number, _ := q.Take()
				settle(t, q, false)
				if m, again, ok := q.Take(); !ok || again != number || m.Topic != "t/0000" {
					t.Errorf("took %s, number %d after %d", m.Topic, again, number)
				}
				settle(t, q, true)
				if m, next, ok := q.Take(); !ok || next == number || m.Topic != "t/0001" {
					t.Errorf("took %s, number %d after %d", m.Topic, next, number)
				}
			},
			"the oldest gives way": func(t *testing.T, q cloudlink.Queue) {
				push(t, q, message, 0, 12)
				waits(t, q, 10, 2)
				takes(t, q, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
			},
			"but not the one in flight": func(t *testing.T, q cloudlink.Queue) {
				push(t, q, message, 0, 1)
				q.Take()
				push(t, q, message, 1, 12)
				settle(t, q, true)
				waits(t, q, 9, 2)
				takes(t, q, 3, 4, 5, 6, 7, 8, 9, 10, 11)
			},
			"nor before its flight has ended": func(t *testing.T, q cloudlink.Queue) {
				push(t, q, message, 0, 10)
				_, number, _ := q.Take()
				q.SetLimit(5 * each)
				waits(t, q, 5, 5)
				q.SetLimit(each / 2)
				waits(t, q, 1, 9)
				settle(t, q, false)
				waits(t, q, 0, 10)
				q.SetLimit(10 * each)
				push(t, q, message, 20, 21)
				if m, next, ok := q.Take(); !ok || next == number || m.Topic != "t/0020" {
					t.Errorf("took %s, number %d after %d", m.Topic, next, number)
				}
			},
			"a message larger than the bound gives way itself": func(t *testing.T, q cloudlink.Queue) {
				push(t, q, message, 0, 1)
				if dropped, err := q.Push(cloudlink.Message{Topic: "t", Payload: make([]byte, 11*each)}); err != nil || dropped != 2 {
					t.Errorf("%d dropped, %v", dropped, err)
				}
				waits(t, q, 0, 2)
			},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				run(t, open(t, 10*each))
			})
		}
	}
}

func push(t *testing.T, q cloudlink.Queue, message func(int) cloudlink.Message, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, err := q.Push(message(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func settle(t *testing.T, q cloudlink.Queue, done bool) {
	t.Helper()
	if err := q.Settle(done); err != nil {
		t.Fatal(err)
	}
}

// takes wants these messages, in order, and no more.
func takes(t *testing.T, q cloudlink.Queue, want ...int) {
	t.Helper()
	var got []string
	for m, _, ok := q.Take(); ok; m, _, ok = q.Take() {
		got = append(got, m.Topic)
		settle(t, q, true)
	}
	var topics []string
	for _, n := range want {
		topics = append(topics, fmt.Sprintf("t/%04d", n))
	}
	if diff := cmp.Diff(topics, got); diff != "" {
		t.Error(diff)
	}
}

func waits(t *testing.T, q cloudlink.Queue, messages int, dropped uint64) {
	t.Helper()
	if n, bytes, gone := q.Waiting(); n != messages || gone != dropped || bytes != int64(messages)*100 {
		t.Errorf("%d messages of %d bytes wait, %d were dropped; want %d and %d", n, bytes, gone, messages, dropped)
	}
}
