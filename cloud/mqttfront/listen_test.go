package mqttfront_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/topic"
)

// listener is a Listen that runs.
type listener struct {
	messages chan string
	ended    chan error
}

func (c *cloud) listen(ctx context.Context, p fescue.Partition, filter string) *listener {
	c.t.Helper()
	l := &listener{make(chan string, 16), make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		l.ended <- c.front.Listen(ctx, p, filter, func() { close(ready) }, func(topic string, payload []byte, retained bool) error {
			if string(payload) == "stop" {
				return errors.New("enough")
			}
			l.messages <- fmt.Sprint(topic, " ", string(payload), " ", retained)
			return nil
		})
	}()
	select {
	case <-ready:
	case err := <-l.ended:
		c.t.Fatal(err)
	case <-time.After(patience):
		c.t.Fatal("no subscription")
	}
	return l
}

// next is what a channel gives soon.
func next[T any](t *testing.T, what string, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %s", what, patience)
	}
	return got
}

func TestListen(t *testing.T) {
	t.Parallel()
	c := start(t, nil)
	a := c.connect(c.device(home, allowAll), "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	mill, all := c.listen(ctx, home, "mill/#"), c.listen(ctx, home, "#")
	abroad := c.listen(ctx, fescue.Partition{AWS: "aws", Account: "999999999999", Region: "us-west-2"}, "#")
	a.publish("other", 1, "x")
	a.publish("mill/1", 1, "y")
	for _, want := range []string{"mill/1 y false"} {
		if got := next(t, want, mill.messages); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, want := range []string{"other x false", "mill/1 y false"} {
		if got := next(t, want, all.messages); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	a.publish("mill/1", 1, "stop")
	if err := next(t, "its end", mill.ended); err == nil || err.Error() != "enough" {
		t.Errorf("a listener that has enough: %v", err)
	}
	cancel()
	if err := next(t, "its end", abroad.ended); !errors.Is(err, context.Canceled) || len(abroad.messages) > 0 {
		t.Errorf("another partition's: %v, %d messages", err, len(abroad.messages))
	}
	for filter, want := range map[string]error{"a/#/b": topic.ErrWildcard, "": topic.ErrEmpty, "$SYS/#": mqttfront.ErrForbidden} {
		err := c.front.Listen(t.Context(), home, filter, func() { t.Errorf("%q is taken", filter) }, nil)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v", filter, err)
		}
	}
	// The broker acknowledges a message before it gives it to later subscribers.
	a.wait(a.Publish("kept", 1, true, "old"), "PUBLISH")
	for deadline := time.Now().Add(patience); ; {
		kept, cancel := context.WithCancel(t.Context())
		l := c.listen(kept, home, "kept")
		a.publish("kept", 1, "new")
		first := next(t, "a message", l.messages)
		cancel()
		if first == "kept old true" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the first message is %q", first)
		}
	}
	last := c.listen(t.Context(), home, "#")
	c.front.Close()
	if err := next(t, "its end", last.ended); !errors.Is(err, mqttfront.ErrClosed) {
		t.Errorf("when the front closes: %v", err)
	}
}
