package fescue_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/testkit"
)

// speaker is a Listener that gives the same messages to everybody.
type speaker struct{ err error }

func (s speaker) Listen(ctx context.Context, p fescue.Partition, filter string, ready func(), deliver func(string, []byte, bool) error) error {
	ready()
	if err := deliver(filter, []byte(p.Account), true); err != nil {
		return err
	}
	if s.err != nil {
		return s.err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, listener api.Listener) func(t *testing.T, key, filter string) *http.Response {
		service := api.New(api.Options{Listener: listener, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			service.ServeCall(w, r, &awsapi.Call{Partition: here, RequestID: "request-1", KeyID: fescue.NewID(), Caller: identity.Caller{Holder: r.Header.Get("Key")}})
		}))
		t.Cleanup(server.Close)
		return func(t *testing.T, key, filter string) *http.Response {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/fescue/v1/messages?filter="+filter, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Key", key)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { resp.Body.Close() })
			return resp
		}
	}
	lines := func(t *testing.T, resp *http.Response, n int) (list []api.StreamedMessage) {
		t.Helper()
		dec := json.NewDecoder(bufio.NewReader(resp.Body))
		for range n {
			var m api.StreamedMessage
			if err := dec.Decode(&m); err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		return list
	}
	t.Run("messages come as they are", func(t *testing.T) {
		t.Parallel()
		got := lines(t, open(t, speaker{errors.New("the broker went")})(t, "K", "a/%23"), 3)
		if got[0].Subscribed != "a/#" || got[1].Topic != "a/#" || string(got[1].Payload) != here.Account || !got[1].Retained || got[1].At == nil || got[2].Error != "the broker went" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a key has only so many", func(t *testing.T) {
		t.Parallel()
		get := open(t, speaker{})
		first := get(t, "K", "a")
		for range 7 {
			lines(t, get(t, "K", "a"), 2)
		}
		if resp := get(t, "K", "a"); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("x-amzn-ErrorType") != "ThrottlingException" {
			t.Errorf("the ninth: %s", resp.Status)
		}
		if resp := get(t, "L", "a"); resp.StatusCode != http.StatusOK {
			t.Errorf("another key's: %s", resp.Status)
		}
		first.Body.Close()
		testkit.Until(t, "the place of one that ended is given again", func() bool { return get(t, "K", "a").StatusCode == http.StatusOK })
	})
	t.Run("what is refused", func(t *testing.T) {
		t.Parallel()
		get := open(t, speaker{})
		for _, filter := range []string{"", "a/%23/b", "a%2B", "$SYS/%23", "$aws/rules/x", strings.Repeat("a", 300)} {
			if resp := get(t, "K", filter); resp.StatusCode != http.StatusBadRequest || resp.Header.Get("x-amzn-ErrorType") != "BadRequestException" {
				t.Errorf("%q: %s", filter, resp.Status)
			}
		}
	})
}
