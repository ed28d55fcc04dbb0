package invoke_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
)

const (
	mill   = "arn:aws:lambda:eu-west-1:123456789012:function:Mill:1"
	router = "arn:aws:lambda:::function:GGRouter"
)

var (
	press = invoke.Worker{ID: "p1", FunctionARN: "arn:aws:lambda:eu-west-1:123456789012:function:Press:1"}
	oven  = invoke.Worker{ID: "o1", FunctionARN: "arn:aws:lambda:eu-west-1:123456789012:function:Oven:1"}
)

// held is a target that ends nothing by itself.
type held struct {
	taken []*invoke.Invocation
	err   error
}

func (h *held) Invoke(_ context.Context, i *invoke.Invocation) error {
	if h.err == nil {
		h.taken = append(h.taken, i)
	}
	return h.err
}

func outcome(t *testing.T, r *invoke.Registry, caller invoke.Worker, arn, id string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got string
	err := r.Result(ctx, caller, arn, id, func(o invoke.Outcome) { got = string(o.Error) + string(o.Payload) })
	return got, err
}

func call(t *testing.T, r *invoke.Registry, caller invoke.Worker, arn string) string {
	t.Helper()
	id, err := r.Invoke(t.Context(), caller, invoke.Call{ARN: arn, Type: invoke.RequestResponse})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRegistry(t *testing.T) {
	t.Parallel()

	t.Run("user functions and parts of the core stand alike", func(t *testing.T) {
		t.Parallel()
		r := invoke.NewRegistry(invoke.Options{})
		functions := &held{}
		r.Register(mill, functions)
		r.Register(router+":1", invoke.Func(func(_ context.Context, caller invoke.Worker, c invoke.Call) (invoke.Outcome, error) {
			return invoke.Outcome{Payload: append([]byte(caller.ID+" "), c.Payload...)}, nil
		}))
		for _, arn := range []string{router, router + ":1"} {
			id, err := r.Invoke(t.Context(), press, invoke.Call{ARN: arn, Type: invoke.RequestResponse, Payload: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := outcome(t, r, press, router, id); err != nil || got != "p1 x" {
				t.Errorf("%s: %q, %v", arn, got, err)
			}
		}
		id := call(t, r, press, mill)
		if i := functions.taken[0]; i.ID != id || i.Caller != press || i.Source != press.FunctionARN || i.ARN != mill {
			t.Errorf("the function got %+v", i)
		}
		go functions.taken[0].End(invoke.Outcome{Payload: []byte("y"), Error: invoke.Handled})
		if got, err := outcome(t, r, press, mill, id); err != nil || got != "Handledy" {
			t.Errorf("got %q, %v", got, err)
		}
	})

	for _, test := range []struct {
		name, arn string
		want      error
	}{
		{"a function that is not there", mill, invoke.ErrNotFound},
		{"another version", mill + "0", invoke.ErrNotFound},
		{"a part that this core lacks", "arn:aws:lambda:::function:GGSecretManager:1", invoke.ErrNotFound},
		{"a part that is not for functions", "arn:aws:lambda:::function:GGCloudSpooler:1", invoke.ErrForbidden},
		{"a part that nobody knows", "arn:aws:lambda:::function:GGOther", invoke.ErrForbidden},
		{"no ARN", "Mill", invoke.ErrNotFound},
		{"nothing", "", invoke.ErrNotFound},
	} {
		t.Run(test.name+" is refused", func(t *testing.T) {
			t.Parallel()
			r := invoke.NewRegistry(invoke.Options{})
			r.Register(mill, &held{})
			r.Unregister(mill)
			if _, err := r.Invoke(t.Context(), press, invoke.Call{ARN: test.arn}); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}

	t.Run("what the target refuses has no result", func(t *testing.T) {
		t.Parallel()
		r := invoke.NewRegistry(invoke.Options{})
		r.Register(mill, &held{err: fmt.Errorf("x: %w", invoke.ErrQueueFull)})
		if _, err := r.Invoke(t.Context(), press, invoke.Call{ARN: mill, Type: invoke.RequestResponse}); !errors.Is(err, invoke.ErrQueueFull) {
			t.Errorf("got %v", err)
		}
	})
}

func TestResults(t *testing.T) {
	t.Parallel()
	// ended makes a registry whose function answers at once with n bytes.
	ended := func(o invoke.Options, n int) *invoke.Registry {
		r := invoke.NewRegistry(o)
		r.Register(mill, invoke.Func(func(context.Context, invoke.Worker, invoke.Call) (invoke.Outcome, error) {
			return invoke.Outcome{Payload: bytes.Repeat([]byte("x"), n)}, nil
		}))
		return r
	}

	t.Run("belong to their caller and are handed out once", func(t *testing.T) {
		t.Parallel()
		r := ended(invoke.Options{}, 1)
		id := call(t, r, press, mill)
		if _, err := outcome(t, r, oven, mill, id); !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("another caller: %v", err)
		}
		if _, err := outcome(t, r, press, router, id); !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("another function: %v", err)
		}
		if got, err := outcome(t, r, press, mill, id); err != nil || got != "x" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := outcome(t, r, press, mill, id); !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("a second time: %v", err)
		}
	})

	t.Run("of events are not kept", func(t *testing.T) {
		t.Parallel()
		r := ended(invoke.Options{}, 1)
		id, err := r.Invoke(t.Context(), press, invoke.Call{ARN: mill, Type: invoke.Event})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := outcome(t, r, press, mill, id); !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("wait for a while only", func(t *testing.T) {
		t.Parallel()
		r := ended(invoke.Options{KeepResult: time.Millisecond}, 1)
		deadline := time.Now().Add(30 * time.Second)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for time.Now().Before(deadline) {
			id := call(t, r, press, mill)
			<-tick.C
			if _, err := outcome(t, r, press, mill, id); errors.Is(err, invoke.ErrNotFound) {
				return
			}
		}
		t.Error("they wait for ever")
	})

	t.Run("are forgotten with their caller, also before they come", func(t *testing.T) {
		t.Parallel()
		r := invoke.NewRegistry(invoke.Options{})
		functions := &held{}
		r.Register(mill, functions)
		first, second := call(t, r, press, mill), call(t, r, press, mill)
		others := call(t, r, oven, mill)
		functions.taken[0].End(invoke.Outcome{})
		waiting := make(chan error, 1)
		go func() {
			waiting <- r.Result(context.Background(), press, mill, second, func(invoke.Outcome) {})
		}()
		r.Forget(press.ID)
		functions.taken[1].End(invoke.Outcome{})
		functions.taken[2].End(invoke.Outcome{})
		if _, err := outcome(t, r, press, mill, first); !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("one that had ended: %v", err)
		}
		if err := <-waiting; !errors.Is(err, invoke.ErrNotFound) {
			t.Errorf("one that had not: %v", err)
		}
		if _, err := outcome(t, r, oven, mill, others); err != nil {
			t.Errorf("another caller's: %v", err)
		}
	})

	t.Run("that find no room say so, and those of others are not lost", func(t *testing.T) {
		t.Parallel()
		r := ended(invoke.Options{MaxResults: 100 << 10}, 20<<10)
		var ids []string
		for range 100 {
			ids = append(ids, call(t, r, press, mill))
		}
		if got, err := outcome(t, r, oven, mill, call(t, r, oven, mill)); err != nil || len(got) != 20<<10 {
			t.Errorf("another caller got %.200s, %v", got, err)
		}
		lost := 0
		for _, id := range ids {
			if _, err := outcome(t, r, press, mill, id); err != nil {
				lost++
			}
		}
		if lost != 97 {
			t.Errorf("%d of 100 were lost, want 97", lost)
		}
		if got, err := outcome(t, r, press, mill, call(t, r, press, mill)); err != nil || len(got) != 20<<10 {
			t.Errorf("when there is room again: %.200s, %v", got, err)
		}
		large := ended(invoke.Options{MaxResults: 10 << 10}, 20<<10)
		got, err := outcome(t, large, press, mill, call(t, large, press, mill))
		if err != nil || !strings.HasPrefix(got, "Unhandled") || !strings.Contains(got, "no room for the outcome of 20480 bytes") {
			t.Errorf("one that can never be kept: %q, %v", got, err)
		}
	})

	t.Run("count until they are delivered", func(t *testing.T) {
		t.Parallel()
		r := ended(invoke.Options{MaxResults: 30 << 10}, 20<<10)
		first := call(t, r, press, mill)
		err := r.Result(t.Context(), press, mill, first, func(invoke.Outcome) {
			if got, err := outcome(t, r, oven, mill, call(t, r, oven, mill)); err != nil || !strings.HasPrefix(got, "Unhandled") {
				t.Errorf("while the first is being delivered: %.200s, %v", got, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := outcome(t, r, oven, mill, call(t, r, oven, mill)); err != nil || len(got) != 20<<10 {
			t.Errorf("afterwards: %.200s, %v", got, err)
		}
	})
}
