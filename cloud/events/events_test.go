package events_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

const patience = testkit.Patience

var secret = []byte("a secret of the webhook's owner")

// hook is a webhook's receiver.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(r *http.Request, body []byte) int
	got    []events.StatusChange
}

// receive starts a receiver whose answers are 200 unless answer says otherwise;
// what it answers with 200 it keeps.
func receive(t *testing.T, answer func(r *http.Request, body []byte) int) *hook {
	t.Helper()
	h := &hook{answer: answer}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		status := http.StatusOK
		if h.answer != nil {
			status = h.answer(r, body)
		}
		if status == http.StatusOK {
			var change events.StatusChange
			if err := json.Unmarshal(body, &change); err != nil || change.ID != r.Header.Get(events.EventIDHeader) {
				t.Errorf("%s: %v", body, err)
			}
			h.mu.Lock()
			h.got = append(h.got, change)
			h.mu.Unlock()
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(h.Close)
	return h
}

// statuses is what a receiver got of each deployment.
func (h *hook) statuses() map[string][]fescue.DeploymentStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	received := make(map[string][]fescue.DeploymentStatus)
	for _, c := range h.got {
		received[c.Detail.DeploymentID] = append(received[c.Detail.DeploymentID], c.Detail.Status)
	}
	return received
}

func (h *hook) destination(t *testing.T) events.Destination {
	t.Helper()
	d, err := events.NewWebhook(h.URL+"/hook?token=hidden", secret, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func serve(t *testing.T, s *store.DB, to ...events.Destination) *events.Service {
	t.Helper()
	service, err := events.New(t.Context(), events.Options{
		Store: s.Events(), Leases: s.Leases(), Destinations: to, AWS: "aws", Retention: time.Hour,
		FirstRetry: 5 * time.Millisecond, LastRetry: 50 * time.Millisecond,
		Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// run runs a service until the test, or the caller, ends it.
func run(t *testing.T, s *events.Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("it does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// fail makes a deployment that fails, and returns what there is to report of it.
func fail(t *testing.T, s *store.DB) string {
	t.Helper()
	return failIn(t, s, home)
}

func failIn(t *testing.T, s *store.DB, p fescue.Partition) string {
	t.Helper()
	now := time.Now().UTC()
	d, err := s.Deployments().CreateDeployment(t.Context(), fescue.Deployment{
		Partition: p, ID: fescue.NewID(), GroupID: fescue.NewID(), GroupVersionID: fescue.NewID(),
		Type: fescue.NewDeployment, Status: fescue.Building, CreatedAt: now, UpdatedAt: now,
	}, fescue.Token{})
	if err == nil {
		_, err = s.Deployments().ApplyStep(t.Context(), d, fescue.CloudActor, fescue.DeploymentStep{Event: fescue.EventBuildFailed, At: now, Message: "m"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.ID
}

// broker is a publisher that has no room for one account.
type broker struct {
	refused string
	got     chan string
}

func (b *broker) Publish(_ context.Context, p fescue.Partition, _ string, _ []byte, _ byte, _ bool) error {
	if p.Account == b.refused {
		return fmt.Errorf("publish: %w", fescue.ErrCrowded)
	}
	b.got <- p.Account
	return nil
}

// received waits until a receiver got the whole life of all, and nothing else.
func (h *hook) received(t *testing.T, ids ...string) {
	t.Helper()
	want := make(map[string][]fescue.DeploymentStatus)
	for _, id := range ids {
		want[id] = []fescue.DeploymentStatus{fescue.Building, fescue.Failure}
	}
	testkit.Eventually(t, "every change delivered", func() error {
		if diff := gocmp.Diff(want, h.statuses()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func status(t *testing.T, s *events.Service, name string) events.Status {
	t.Helper()
	list, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(st events.Status) bool { return st.Destination == name })
	if i < 0 {
		t.Fatalf("%s is not in %+v", name, list)
	}
	return list[i]
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	t.Run("a signature that the receiver can check", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		h := receive(t, func(r *http.Request, body []byte) int {
			at, mac, ok := strings.Cut(strings.TrimPrefix(r.Header.Get(events.SignatureHeader), "t="), ",v1=")
			seconds, err := strconv.ParseInt(at, 10, 64)
			sum := hmac.New(sha256.New, secret)
			fmt.Fprintf(sum, "%s.%s", at, body)
			if !ok || err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute ||
				mac != hex.EncodeToString(sum.Sum(nil)) || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%v", r.Header)
			}
			return http.StatusOK
		})
		service := serve(t, s, h.destination(t))
		run(t, service)
		h.received(t, fail(t, s))
		testkit.Eventually(t, "counted", func() error {
			if st := status(t, service, h.destination(t).Name()); st.Delivered != 2 || !st.Configured || st.Failed != 0 {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
	})
	t.Run("a dead destination does not hold the others", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		alive, dead := receive(t, nil), receive(t, nil)
		gone := dead.destination(t)
		dead.Close()
		service := serve(t, s, gone, alive.destination(t))
		run(t, service)
		var ids []string
		for range 20 {
			ids = append(ids, fail(t, s))
		}
		alive.received(t, ids...)
		testkit.Eventually(t, "failure seen", func() error {
			st := status(t, service, gone.Name())
			if st.Failed == 0 || st.Pending != 40 || st.Oldest.IsZero() || st.LastError == "" {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
		if st := status(t, service, gone.Name()); strings.Contains(st.LastError+st.Destination, "hidden") {
			t.Errorf("the URL is shown: %+v", st)
		}
	})
	t.Run("one that comes back gets everything, in order", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		var mu sync.Mutex
		refusals := 30
		h := receive(t, func(*http.Request, []byte) int {
			mu.Lock()
			defer mu.Unlock()
			if refusals--; refusals >= 0 {
				return []int{500, 302, 404, 429}[refusals%4]
			}
			return http.StatusOK
		})
		var ids []string
		service := serve(t, s, h.destination(t))
		for range 20 {
			ids = append(ids, fail(t, s))
		}
		run(t, service)
		h.received(t, ids...)
	})
	t.Run("one event that is always refused holds only its deployment", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		var poison string
		h := receive(t, func(_ *http.Request, body []byte) int {
			if strings.Contains(string(body), poison) {
				return http.StatusBadRequest
			}
			return http.StatusOK
		})
		service := serve(t, s, h.destination(t))
		poison = fail(t, s)
		ids := []string{fail(t, s), fail(t, s)}
		run(t, service)
		h.received(t, ids...)
		testkit.Eventually(t, "only the refused one's wait", func() error {
			if st := status(t, service, h.destination(t).Name()); st.Pending != 2 {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
	})
	t.Run("an account without room on the broker holds only its own", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		crowded := fescue.Partition{AWS: "aws", Account: "999999999999", Region: "us-east-1"}
		b := &broker{refused: crowded.Account, got: make(chan string, 10)}
		service, err := events.New(t.Context(), events.Options{
			Store: s.Events(), Leases: s.Leases(), Destinations: []events.Destination{events.Topic{Publisher: b}}, AWS: "aws", Retention: time.Hour,
			FirstRetry: time.Hour, LastRetry: time.Hour, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 70 { // more than are taken at once
			failIn(t, s, crowded)
		}
		run(t, service)
		testkit.Until(t, "all of its are refused", func() bool { return status(t, service, "mqtt").Failed == 70 })
		fail(t, s)
		for range 2 {
			select {
			case account := <-b.got:
				if account != home.Account {
					t.Errorf("%s got one", account)
				}
			case <-time.After(patience):
				t.Fatal("the others' do not go out")
			}
		}
	})
	t.Run("what two servers share goes out once", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		h := receive(t, nil)
		first, second := serve(t, s, h.destination(t)), serve(t, s, h.destination(t))
		stop := run(t, first)
		var ids []string
		for i := range 20 {
			ids = append(ids, fail(t, s))
			if i == 0 {
				h.received(t, ids...)
				run(t, second)
			}
		}
		h.received(t, ids...)
		// What is under way when a server stops may go out again: here nothing is.
		testkit.Eventually(t, "written down", func() error {
			if st := status(t, first, h.destination(t).Name()); st.Pending != 0 {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
		stop() // gives the lease back: the other goes on
		ids = append(ids, fail(t, s))
		h.received(t, ids...)
	})
	t.Run("what is too old is dropped and counted", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		h := receive(t, func(*http.Request, []byte) int { return http.StatusTeapot })
		serve(t, s, h.destination(t))
		fail(t, s)
		service, err := events.New(t.Context(), events.Options{
			Store: s.Events(), Leases: s.Leases(), Destinations: []events.Destination{h.destination(t)}, AWS: "aws", Retention: time.Hour,
			Now: func() time.Time { return time.Now().Add(2 * time.Hour) }, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		run(t, service)
		testkit.Eventually(t, "dropped", func() error {
			if st := status(t, service, h.destination(t).Name()); st.Dropped != 2 || st.Pending != 0 {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
	})
	t.Run("a destination of an earlier start is reported", func(t *testing.T) {
		t.Parallel()
		s := storetest.Open(t)
		h := receive(t, nil)
		serve(t, s, h.destination(t))
		id := fail(t, s)
		service := serve(t, s)
		if st := status(t, service, h.destination(t).Name()); st.Configured || st.Pending != 2 {
			t.Errorf("%+v", st)
		}
		run(t, serve(t, s, h.destination(t)))
		h.received(t, id)
	})
}

// recorder is an MQTT side that fails at first.
type recorder struct {
	mu       sync.Mutex
	failures int
	topics   []string
	last     []byte
}

func (r *recorder) Publish(_ context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failures--; r.failures >= 0 {
		return errors.New("the broker is away")
	}
	if p != home || qos != 1 || retain || !json.Valid(payload) {
		return fmt.Errorf("%s: %s, QoS %d, retained %v", p, payload, qos, retain)
	}
	r.topics, r.last = append(r.topics, topic), slices.Clone(payload)
	return nil
}

func TestTopic(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	r := &recorder{failures: 3}
	run(t, serve(t, s, events.Topic{Publisher: r}))
	id := fail(t, s)
	testkit.Eventually(t, "published", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.topics) != 2 || !strings.HasSuffix(r.topics[0], "/"+id+"/Building") || !strings.HasSuffix(r.topics[1], "/"+id+"/Failure") ||
			!strings.HasPrefix(r.topics[0], "$aws/events/greengrass/deployment/") {
			return fmt.Errorf("topics %q", r.topics)
		}
		return nil
	})
}

func TestWebhookURLs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url, secret string
		refusal     string
	}{
		{"https://example.com/hook", "0123456789abcdef", ""},
		{"https://user:password@example.com:8443/hook?x=y", "0123456789abcdef", ""},
		{"http://localhost:8080/", "0123456789abcdef", ""},
		{"http://127.0.0.9:8080", "0123456789abcdef", ""},
		{"http://[::1]:8080/x", "0123456789abcdef", ""},
		{"http://example.com/hook", "0123456789abcdef", "https only"},
		{"http://localhost.example.com/hook", "0123456789abcdef", "https only"},
		{"http://10.0.0.1/hook", "0123456789abcdef", "https only"},
		{"https://example.com/hook", "0123456789abcde", "at least 16 bytes"},
		{"https://example.com/hook", "", "FESCUE_EVENT_SECRET"},
		{"ftp://example.com/hook", "0123456789abcdef", "not an http or https URL"},
		{"https:///hook", "0123456789abcdef", "not an http or https URL"},
		{"https://:8443/hook", "0123456789abcdef", "not an http or https URL"},
		{"example.com/hook", "0123456789abcdef", "not an http or https URL"},
		{"https://exa mple.com", "0123456789abcdef", "not an http or https URL"},
		{"", "0123456789abcdef", "not an http or https URL"},
	} {
		d, err := events.NewWebhook(c.url, []byte(c.secret), time.Now)
		if c.refusal == "" {
			if err != nil || strings.Contains(d.Name(), "password") || strings.Contains(d.Name(), "hook") {
				t.Errorf("%q: %v, %v", c.url, d, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.refusal) || strings.Contains(err.Error(), "hook") {
			t.Errorf("%q: error %v, want one with %q and without the path", c.url, err, c.refusal)
		}
	}
	h := receive(t, nil)
	if _, err := events.New(t.Context(), events.Options{
		Store: storetest.Open(t).Events(), Leases: storetest.Open(t).Leases(), Destinations: []events.Destination{h.destination(t), h.destination(t)},
	}); err == nil {
		t.Error("the same URL twice is taken")
	}
}
