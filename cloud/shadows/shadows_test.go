package shadows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/shadows"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/shadow"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	home      = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	elsewhere = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	lamp      = shadow.ID{Thing: "lamp"}
)

// message is what was published.
type message struct {
	Partition fescue.Partition
	Topic     string
	Payload   string
}

// recorder is a publisher that keeps what it is given.
type recorder struct {
	mu       sync.Mutex
	messages []message
	err      error
}

func (r *recorder) Publish(_ context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if qos != 1 || retain {
		return fmt.Errorf("QoS %d, retain %v", qos, retain)
	}
	r.messages = append(r.messages, message{p, topic, string(payload)})
	return r.err
}

// take returns what was published since the last call.
func (r *recorder) take() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.messages
	r.messages = nil
	return m
}

func open(t testing.TB) (*shadows.Service, *recorder) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	s := storetest.Open(t)
	r := &recorder{}
	return shadows.New(shadows.Options{Store: s.Shadows(), Publisher: r, Now: func() time.Time { return time.Unix(1000, 0) }, Logger: logger}), r
}

// TestReceive sends messages one after another and looks at what each makes the
// service publish, as "rest of the topic payload".
func TestReceive(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	const p = "$aws/things/lamp/shadow/"
	for _, tc := range []struct {
		topic, payload string
		want           []string
	}{
		{p + "get", ``, []string{`get/rejected {"code":404,"message":"No shadow exists with name: 'lamp'","timestamp":1000}`}},
		{p + "delete", `{"clientToken":"t"}`, []string{`delete/rejected {"code":404,"message":"No shadow exists with name: 'lamp'","timestamp":1000,"clientToken":"t"}`}},
		{p + "update", `{"state":{"desired":{"on":true}},"clientToken":"t"}`, []string{
			`update/delta {"state":{"on":true},"metadata":{"on":{"timestamp":1000}},"version":1,"timestamp":1000,"clientToken":"t"}`,
			`update/documents {"previous":null,"current":{"metadata":{"desired":{"on":{"timestamp":1000}}},"state":{"desired":{"on":true}},"version":1},"timestamp":1000,"clientToken":"t"}`,
			`update/accepted {"state":{"desired":{"on":true}},"metadata":{"desired":{"on":{"timestamp":1000}}},"version":1,"timestamp":1000,"clientToken":"t"}`,
		}},
		{p + "update", `{"state":{"reported":{"on":true}},"version":2,"clientToken":"u"}`, []string{`update/rejected {"code":409,"message":"Version conflict","timestamp":1000,"clientToken":"u"}`}},
		{p + "update", `{"state":{"reported":{"on":true}},"version":1}`, []string{
			`update/documents {"previous":{"metadata":{"desired":{"on":{"timestamp":1000}}},"state":{"desired":{"on":true}},"version":1},"current":{"metadata":{"desired":{"on":{"timestamp":1000}},"reported":{"on":{"timestamp":1000}}},"state":{"desired":{"on":true},"reported":{"on":true}},"version":2},"timestamp":1000}`,
			`update/accepted {"state":{"reported":{"on":true}},"metadata":{"reported":{"on":{"timestamp":1000}}},"version":2,"timestamp":1000}`,
		}},
		{p + "get", `{"clientToken":"g"}`, []string{`get/accepted {"state":{"desired":{"on":true},"reported":{"on":true}},"metadata":{"desired":{"on":{"timestamp":1000}},"reported":{"on":{"timestamp":1000}}},"version":2,"timestamp":1000,"clientToken":"g"}`}},
		{p + "update", `{`, []string{`update/rejected {"code":400,"message":"Invalid JSON","timestamp":1000}`}},
		{p + "update", `{"state":1,"clientToken":"t"}`, []string{`update/rejected {"code":400,"message":"State node must be an object","timestamp":1000,"clientToken":"t"}`}},
		{p + "get", `[`, []string{`get/rejected {"code":400,"message":"Invalid JSON","timestamp":1000}`}},
		{p + "delete", `{"version":1}`, []string{`delete/rejected {"code":409,"message":"Version conflict","timestamp":1000}`}},
		{p + "delete", `{"version":2,"clientToken":"d"}`, []string{`delete/accepted {"version":2,"timestamp":1000,"clientToken":"d"}`}},
		{p + "name/night/update", `{"state":{"reported":{}}}`, []string{
			`name/night/update/documents {"previous":null,"current":{"metadata":{},"state":{},"version":1},"timestamp":1000}`,
			`name/night/update/accepted {"state":{},"metadata":{},"version":1,"timestamp":1000}`,
		}},
		{p + "name/update/get", ``, []string{`name/update/get/rejected {"code":404,"message":"No shadow exists with name: 'update'","timestamp":1000}`}},
		{p + "name/a b/get", ``, []string{`name/a b/get/rejected {"code":400,"message":"Invalid shadow name","timestamp":1000}`}},
		{p + "name/night", ``, nil},
		{p + "name//get", ``, nil},
		{p + "name/night/get/x", ``, nil},
		{p + "update/accepted", `{}`, nil},
		{p + "put", ``, nil},
		{p, ``, nil},
		{"$aws/things/lamp/jobs/get", ``, nil},
		{"$aws/things/lamp", ``, nil},
		{"things/lamp/shadow/get", ``, nil},
	} {
		s.Receive(t.Context(), home, tc.topic, []byte(tc.payload))
		var got []string
		for _, m := range r.take() {
			if m.Partition != home {
				t.Errorf("%s: published in %s", tc.topic, m.Partition)
			}
			got = append(got, strings.TrimPrefix(m.Topic, p)+" "+m.Payload)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tc.topic, tc.payload, diff)
		}
	}
}

func mustParse(t testing.TB, payload string) shadow.Update {
	t.Helper()
	u, err := shadow.ParseUpdate([]byte(payload), shadow.CloudLimits)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Eight devices write at once: each update is one version, and the messages are
// in the order of versions.
func TestVersionsInOrder(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	const devices, each = 8, 10
	var wg sync.WaitGroup
	for i := range devices {
		u := mustParse(t, fmt.Sprintf(`{"state":{"reported":{"device%d":1}}}`, i))
		wg.Go(func() {
			for range each {
				if _, err := s.Update(t.Context(), home, lamp, u); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var versions []int64
	for _, m := range r.take() {
		if strings.HasSuffix(m.Topic, "/accepted") {
			var body struct{ Version int64 }
			if err := json.Unmarshal([]byte(m.Payload), &body); err != nil {
				t.Fatal(err)
			}
			versions = append(versions, body.Version)
		}
	}
	if len(versions) != devices*each || !slices.IsSorted(versions) || versions[0] != 1 || versions[len(versions)-1] != devices*each {
		t.Errorf("versions %v", versions)
	}
}

// Of all that expect the same version one is taken.
func TestExpectedVersionOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	if _, err := s.Update(t.Context(), home, lamp, mustParse(t, `{"state":{}}`)); err != nil {
		t.Fatal(err)
	}
	u := mustParse(t, `{"state":{"reported":{"a":1}},"version":1}`)
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := s.Update(t.Context(), home, lamp, u)
			results <- err
		}()
	}
	taken := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			taken++
		case !errors.Is(err, shadow.ErrConflict):
			t.Error(err)
		}
	}
	if taken != 1 {
		t.Errorf("%d were taken", taken)
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	if _, err := s.Update(t.Context(), home, lamp, mustParse(t, `{"state":{"reported":{"secret":1}}}`)); err != nil {
		t.Fatal(err)
	}
	var refusal *shadow.Error
	if got, err := s.Get(t.Context(), elsewhere, lamp, ""); !errors.As(err, &refusal) || refusal.Code != 404 {
		t.Errorf("read from elsewhere: %s, %v", got, err)
	}
	if got, err := s.Delete(t.Context(), elsewhere, lamp, shadow.Request{}); !errors.As(err, &refusal) || refusal.Code != 404 {
		t.Errorf("deleted from elsewhere: %s, %v", got, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for _, name := range []string{"", "c", "a", "b"} {
		if _, err := s.Update(t.Context(), home, shadow.ID{Thing: "lamp", Name: name}, mustParse(t, `{"state":{}}`)); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for after, pages := "", 0; ; pages++ {
		names, next, err := s.Names(t.Context(), home, "lamp", fescue.Page{After: after, Limit: 2})
		if err != nil || pages > 2 {
			t.Fatalf("page %d: %v", pages, err)
		}
		all = append(all, names...)
		if after = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, all); diff != "" {
		t.Error(diff)
	}
	if _, _, err := s.Names(t.Context(), home, "a b", fescue.Page{Limit: 2}); !errors.Is(err, shadow.ErrThingName) {
		t.Error(err)
	}
}

// broken is a store that fails.
type broken struct{ shadows.Store }

func (broken) Shadows(context.Context, fescue.Partition, []shadow.ID) ([]shadows.Kept, error) {
	return nil, errors.New("the disk is secret")
}

func TestStoreFails(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	s := shadows.New(shadows.Options{Store: broken{}, Publisher: r, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	s.Receive(t.Context(), home, "$aws/things/lamp/shadow/get", []byte(`{"clientToken":"t"}`))
	got := r.take()
	if len(got) != 1 || got[0].Topic != "$aws/things/lamp/shadow/get/rejected" || !strings.Contains(got[0].Payload, `"code":500,"message":"Internal service failure"`) {
		t.Errorf("%+v", got)
	}
}

// FuzzReceive: whatever a device publishes, the service answers below the shadow
// that was asked, or not at all.
func FuzzReceive(f *testing.F) {
	for _, topic := range []string{"$aws/things/lamp/shadow/update", "$aws/things/lamp/shadow/name/n/delete", "$aws/things//shadow/get", "$aws/things/a/shadow/name/get"} {
		f.Add(topic, []byte(`{"state":{"desired":{"a":1}}}`))
	}
	s, r := open(f)
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		s.Receive(t.Context(), home, topic, payload)
		for _, m := range r.take() {
			if !strings.HasPrefix(m.Topic, topic+"/") || !json.Valid([]byte(m.Payload)) {
				t.Errorf("%q %q: %+v", topic, payload, m)
			}
		}
	})
}

func TestTooManyNamedShadows(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	u := mustParse(t, `{"state":{"reported":{"a":1}}}`)
	update := func(p fescue.Partition, thing, name string) error {
		_, err := s.Update(t.Context(), p, shadow.ID{Thing: thing, Name: name}, u)
		return err
	}
	for i := range shadows.MaxNamed {
		if err := update(home, "lamp", fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := update(home, "lamp", "more"); !errors.Is(err, shadows.ErrTooManyNamed) {
		t.Errorf("one more: %v", err)
	}
	for what, err := range map[string]error{
		"one that is there":    update(home, "lamp", "n7"),
		"the classic one":      update(home, "lamp", ""),
		"of another thing":     update(home, "fan", "more"),
		"in another partition": update(elsewhere, "lamp", "more"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Delete(t.Context(), home, shadow.ID{Thing: "lamp", Name: "n7"}, shadow.Request{}); err != nil {
		t.Fatal(err)
	}
	if err := update(home, "lamp", "more"); err != nil {
		t.Errorf("after one was deleted: %v", err)
	}
	if err := update(home, "lamp", "n7"); !errors.Is(err, shadows.ErrTooManyNamed) {
		t.Errorf("the deleted one again: %v", err)
	}
}

// TestTogether has two servers change the same documents many at a time and one by one:
// nobody waits for ever, each change is one version, and the messages of a document leave a
// server in the order of versions.
func TestTogether(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t)
	var servers []*shadows.Service
	var published []*recorder
	for range 2 {
		r := &recorder{}
		published = append(published, r)
		servers = append(servers, shadows.New(shadows.Options{
			Store: db.Shadows(), Publisher: r, Now: func() time.Time { return time.Unix(1000, 0) }, Logger: slog.New(slog.DiscardHandler),
		}))
	}
	const documents, workers, each = 12, 4, 5
	id := func(i int) shadow.ID { return shadow.ID{Thing: fmt.Sprint("t", i%documents)} }
	var wg sync.WaitGroup
	for w := range workers {
		s := servers[w%2]
		wg.Go(func() {
			for n := range each {
				var entries []*shadows.Entry
				for i := range documents { // each worker in its own order
					at := i + w
					if w > 1 {
						at = documents + w - i
					}
					entries = append(entries, &shadows.Entry{ID: id(at), Operation: shadow.OpUpdate, Update: mustParse(t, fmt.Sprintf(`{"state":{"reported":{"w%d":%d}}}`, w, n))})
				}
				s.Together(t.Context(), home, entries)
				for i, e := range entries {
					if e.Err != nil || e.Document.Reported[fmt.Sprint("w", w)] != json.Number(fmt.Sprint(n)) {
						t.Errorf("%d: %+v", i, e)
					}
				}
			}
		})
		wg.Go(func() {
			for n := range each {
				if _, err := s.Update(t.Context(), home, id(n), mustParse(t, fmt.Sprintf(`{"state":{"reported":{"alone%d":%d}}}`, w, n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	versions := make(map[string][]int64)
	for _, r := range published {
		last := make(map[string]int64)
		for _, m := range r.take() {
			var body struct{ Version int64 }
			if !strings.HasSuffix(m.Topic, "/accepted") {
				continue
			}
			if err := json.Unmarshal([]byte(m.Payload), &body); err != nil || body.Version <= last[m.Topic] {
				t.Errorf("%s after version %d: %s, %v", m.Topic, last[m.Topic], m.Payload, err)
			}
			last[m.Topic] = body.Version
			versions[m.Topic] = append(versions[m.Topic], body.Version)
		}
	}
	for i := range documents {
		e := &shadows.Entry{ID: id(i), Operation: shadow.OpGet}
		servers[0].Together(t.Context(), home, []*shadows.Entry{e})
		want := int64(workers * each)
		if i < each {
			want += workers
		}
		of := versions[id(i).Topic("update/accepted")]
		slices.Sort(of)
		if e.Err != nil || e.Document.Version != want || int64(len(of)) != want || of[0] != 1 || of[want-1] != want {
			t.Errorf("%d: version %d, want %d, published %v, %v", i, e.Document.Version, want, of, e.Err)
		}
	}
}
