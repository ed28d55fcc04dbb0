package forward_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/cloud/forward"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/testkit"
)

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}

// queues are Queues in memory.
type queues struct {
	mu   sync.Mutex
	all  map[string]*queue
	fail error
}

type queue struct {
	*queues
	items []forward.Item
	last  uint64
}

func (q *queues) Queue(_ context.Context, name string, _ int64) (forward.Queue, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.all == nil {
		q.all = map[string]*queue{}
	}
	if q.all[name] == nil {
		q.all[name] = &queue{queues: q}
	}
	return q.all[name], nil
}

func (q *queues) RemoveOthers(_ context.Context, names []string) (map[string]uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	removed := map[string]uint64{}
	for name, of := range q.all {
		if !slices.Contains(names, name) {
			removed[name] = uint64(len(of.items))
			delete(q.all, name)
		}
	}
	return removed, nil
}

func (q *queue) Add(_ context.Context, record []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fail != nil {
		return q.fail
	}
	q.last++
	q.items = append(q.items, forward.Item{Sequence: q.last, At: time.Now(), Record: record})
	return nil
}

func (q *queue) Next(_ context.Context, after uint64) (forward.Item, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, item := range q.items {
		if item.Sequence > after {
			return item, nil
		}
	}
	return forward.Item{}, forward.ErrEmpty
}

func (q *queue) Remove(_ context.Context, sequence uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = slices.DeleteFunc(q.items, func(i forward.Item) bool { return i.Sequence == sequence })
	return nil
}

func (q *queue) State(context.Context) (forward.QueueState, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return forward.QueueState{Items: uint64(len(q.items)), Last: q.last}, nil
}

// inbox is what a target took, in its order; answer says what it answers.
type inbox struct {
	mu     sync.Mutex
	got    []string
	answer func(topic, payload string) int
	seen   []*http.Request

	receiving sync.Mutex // over a request of the webhook
	ids       []string   // of the messages that the webhook took
}

func (i *inbox) take(topic, payload string) (status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	status = http.StatusNoContent
	if i.answer != nil {
		status = i.answer(topic, payload)
	}
	if status/100 == 2 {
		i.got = append(i.got, topic+" "+payload)
	}
	return status
}

func (i *inbox) answers(answer func(topic, payload string) int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// of are the payloads that came to a topic.
func (i *inbox) of(topic string) (list []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, text := range i.got {
		if name, payload, _ := strings.Cut(text, " "); name == topic {
			list = append(list, payload)
		}
	}
	return list
}

func (i *inbox) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.got)
}

func (i *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	payload, _ := io.ReadAll(r.Body)
	i.mu.Lock()
	i.seen = append(i.seen, r)
	i.mu.Unlock()
	// What was on the way when the sender stopped comes again: at least once.
	id := r.Header.Get(forward.MessageIDHeader)
	i.receiving.Lock()
	defer i.receiving.Unlock()
	if slices.Contains(i.ids, id) {
		return
	}
	status := i.take(r.Header.Get(forward.TopicHeader), string(payload))
	if status/100 == 2 {
		i.ids = append(i.ids, id)
	}
	w.WriteHeader(status)
}

// hook is a webhook that takes to an inbox.
func hook(t *testing.T) (*inbox, string) {
	i := &inbox{}
	s := httptest.NewServer(i)
	t.Cleanup(s.Close)
	return i, s.URL
}

// Connect, and the methods below, make the inbox a broker on our session loop.
type brokerSession struct {
	*inbox
	user, password string
	session        *mqtt.Session
}

func (b *brokerSession) Connect(_ context.Context, s *mqtt.Session, c *mqtt.Connect) mqtt.Connack {
	b.session = s
	if c.Username != b.user || string(c.Password) != b.password {
		return mqtt.Connack{Code: mqtt.RefusedNotAuthorized}
	}
	return mqtt.Connack{}
}

func (b *brokerSession) Publish(_ context.Context, p *mqtt.Publish) error {
	if b.take(p.Topic, string(p.Payload))/100 != 2 {
		return errors.New("out of order")
	}
	return b.session.Send(&mqtt.Puback{ID: p.ID})
}

func (*brokerSession) Subscribe(context.Context, *mqtt.Subscribe) error     { return errors.New("no") }
func (*brokerSession) Unsubscribe(context.Context, *mqtt.Unsubscribe) error { return errors.New("no") }
func (*brokerSession) Puback(context.Context, uint16) error                 { return nil }

// broker is an MQTT broker that takes to an inbox.
func broker(t *testing.T, user, password string) (*inbox, string) {
	i := &inbox{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				mqtt.Serve(ctx, conn, &brokerSession{inbox: i, user: user, password: password}, mqtt.Options{})
			})
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); running.Wait() })
	return i, l.Addr().String()
}

// service runs with rules until stop.
func service(t *testing.T, q *queues, logs io.Writer, rules ...string) (s *forward.Service, stop func()) {
	t.Helper()
	var parsed []forward.Rule
	for _, text := range rules {
		r, err := forward.ParseRule(text, home)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, r)
	}
	s, err := forward.New(t.Context(), forward.Options{
		Queues: q, Rules: parsed, Logger: slog.New(slog.NewTextHandler(logs, nil)),
		Retries: backoff.Policy{First: time.Millisecond, Most: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return s, stop
}

func send(t *testing.T, s *forward.Service, p fescue.Partition, topic string, payloads ...string) {
	t.Helper()
	for _, payload := range payloads {
		if err := s.Forward(t.Context(), p, topic, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
}

func numbers(from, to int) (list []string) {
	for n := from; n < to; n++ {
		list = append(list, fmt.Sprint(n))
	}
	return list
}

func wants(t *testing.T, i *inbox, topic string, want []string) {
	t.Helper()
	testkit.Eventually(t, "messages of "+topic, func() error {
		if got := i.of(topic); len(got) < len(want) {
			return fmt.Errorf("%d of %d", len(got), len(want))
		}
		return nil
	})
	if got := i.of(topic); !slices.Equal(got, want) {
		t.Errorf("%s: %q", topic, got)
	}
}

func status(t *testing.T, s *forward.Service, at int) forward.Status {
	t.Helper()
	list, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list[at]
}

// TestForward: two targets and filters that overlap; one target is down and returns.
func TestForward(t *testing.T) {
	t.Parallel()
	web, url := hook(t)
	other, address := broker(t, "mill", "grain")
	var logs bytes.Buffer
	q := &queues{}
	rules := []string{
		"mill/#=" + url + "/in?key=QuerySecret", "mill/+/speed=" + url + "/in?key=QuerySecret",
		"mill/+/speed=mqtt://mill:grain@" + address, "210987654321:us-east-1:saw/#=mqtt://mill:grain@" + address,
	}
	web.answers(func(string, string) int { return http.StatusServiceUnavailable })
	s, stop := service(t, q, &logs, rules...)
	elsewhere := fescue.Partition{AWS: "aws", Account: "210987654321", Region: "us-east-1"}
	for n := range 100 {
		send(t, s, home, "mill/1/speed", fmt.Sprint(n))
		send(t, s, home, "mill/2/speed", fmt.Sprint(n))
		send(t, s, home, "mill/1/state", fmt.Sprint(n))
	}
	send(t, s, home, "saw/1", "of another partition")
	send(t, s, elsewhere, "saw/1", "0")
	send(t, s, elsewhere, "mill/1/speed", "of another partition")
	// The target that is there waits for no other.
	wants(t, other, "mill/1/speed", numbers(0, 100))
	wants(t, other, "mill/2/speed", numbers(0, 100))
	wants(t, other, "saw/1", []string{"0"})
	testkit.Eventually(t, "failures", func() error {
		if got := status(t, s, 0); got.Failed < 3 || got.Queued != 300 || got.Sent+got.Dropped > 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	stop() // what waits does so over a restart
	web.answers(nil)
	s, stop = service(t, q, &logs, rules...)
	for _, topic := range []string{"mill/1/speed", "mill/2/speed", "mill/1/state"} {
		wants(t, web, topic, numbers(0, 100))
	}
	if n := web.count(); n != 300 { // the target of two filters gets a message once
		t.Errorf("the webhook took %d messages", n)
	}
	if n := other.count(); n != 201 {
		t.Errorf("the broker took %d messages", n)
	}
	testkit.Eventually(t, "nothing waits", func() error {
		if got := status(t, s, 0); got.Queued != 0 || got.Sent != 300 || got.Dropped != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	r := web.seen[len(web.seen)-1]
	if r.Method != http.MethodPost || r.URL.String() != "/in?key=QuerySecret" || r.Header.Get(forward.AccountHeader) != home.Account ||
		r.Header.Get(forward.RegionHeader) != home.Region || r.Header.Get(forward.MessageIDHeader) == "" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if _, err := time.Parse(time.RFC3339Nano, r.Header.Get(forward.TimeHeader)); err != nil {
		t.Error(err)
	}
	stop()
	if text := logs.String(); !strings.Contains(text, "cannot forward messages") || strings.Contains(text, "grain") || strings.Contains(text, "QuerySecret") {
		t.Errorf("log:\n%s", text)
	}
	if _, stop = service(t, q, &logs, rules[0]); len(q.all) != 1 {
		t.Errorf("queues of targets that are gone stay: %d", len(q.all))
	}
	stop()
}

// TestMessageIDs: what two servers send to one target, and what comes after a queue was
// removed, is never taken for the same.
func TestMessageIDs(t *testing.T) {
	t.Parallel()
	web, url := hook(t)
	_, elsewhere := hook(t)
	one, rule := &queues{}, "a="+url
	for i, q := range []*queues{one, {}} {
		s, stop := service(t, q, io.Discard, rule)
		send(t, s, home, "a", fmt.Sprint(i))
		wants(t, web, "a", numbers(0, i+1))
		stop()
	}
	_, stop := service(t, one, io.Discard, "a="+elsewhere)
	stop()
	s, _ := service(t, one, io.Discard, rule)
	send(t, s, home, "a", "2")
	wants(t, web, "a", numbers(0, 3))
}

// TestRefusals: a message that its target does not want holds up no other; one that it
// may want later does.
func TestRefusals(t *testing.T) {
	t.Parallel()
	web, url := hook(t)
	web.answers(func(_, payload string) int {
		if payload == "3" {
			return http.StatusUnprocessableEntity
		}
		return http.StatusOK
	})
	s, _ := service(t, &queues{}, io.Discard, "#="+url)
	send(t, s, home, "a", numbers(0, 6)...)
	wants(t, web, "a", []string{"0", "1", "2", "4", "5"})
	testkit.Eventually(t, "the count of what was refused", func() error {
		if got := status(t, s, 0); got.Dropped != 1 || got.Queued != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	times := 0
	web.answers(func(_, payload string) int {
		if payload == "7" && times < 5 {
			times++
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	send(t, s, home, "b", numbers(6, 10)...)
	wants(t, web, "b", numbers(6, 10))
}

// TestLostConnection: a broker that ends connections gets every message, in order.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	other, address := broker(t, "", "")
	n := 0
	other.answers(func(string, string) int {
		if n++; n%7 == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	s, _ := service(t, &queues{}, io.Discard, "#=mqtt://"+address)
	send(t, s, home, "a", numbers(0, 60)...)
	testkit.Eventually(t, "all messages", func() error {
		if got := status(t, s, 0); got.Queued != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if got := slices.Compact(other.of("a")); !slices.Equal(got, numbers(0, 60)) {
		t.Errorf("%q", got)
	}
}

// TestBrokerRefuses: a message on which a broker closes the connection each time holds up
// no other, whichever topics these have; a broker that is away loses none.
func TestBrokerRefuses(t *testing.T) {
	t.Parallel()
	other, address := broker(t, "", "")
	times := map[string]int{}
	other.answers(func(_, payload string) int {
		if times[payload]++; payload == "large" || payload == "late" && times[payload] <= 2 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	var logs bytes.Buffer
	s, stop := service(t, &queues{}, &logs, "#=mqtt://"+address)
	send(t, s, home, "a", "0", "large", "1", "late", "2")
	send(t, s, home, "b", numbers(0, 40)...)
	send(t, s, home, "a", "large", "3")
	testkit.Eventually(t, "nothing waits", func() error {
		if got := status(t, s, 0); got.Queued != 0 || got.Dropped != 2 || got.Sent != 45 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if got := slices.Compact(other.of("a")); !slices.Equal(got, []string{"0", "1", "late", "2", "3"}) {
		t.Errorf("%q", got)
	}
	stop()
	if text := logs.String(); strings.Count(text, "a message was dropped: the broker closes the connection") != 2 || !strings.Contains(text, "topic=a size=5") {
		t.Error(text)
	}
}

// TestBrokerAway: what a broker closes as it goes and comes, and while it takes no
// connection, is no refusal.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	i := &inbox{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	// Connections: one that closes on the message, one that is closed before CONNACK, and so
	// on ten times; then they are served.
	i.answers(func(string, string) int { return http.StatusServiceUnavailable })
	running.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if n == 20 {
				i.answers(nil)
			}
			if n < 20 && n%2 == 1 {
				conn.Close()
				continue
			}
			running.Go(func() { mqtt.Serve(context.Background(), conn, &brokerSession{inbox: i}, mqtt.Options{}) })
		}
	})
	s, stop := service(t, &queues{}, io.Discard, "#=mqtt://"+l.Addr().String())
	send(t, s, home, "a", "0")
	wants(t, i, "a", []string{"0"})
	if got := status(t, s, 0); got.Dropped != 0 || got.Failed < 20 {
		t.Errorf("%+v", got)
	}
	stop()
}

// TestWrongCredentials: what a broker refuses waits.
func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	_, address := broker(t, "mill", "grain")
	var logs bytes.Buffer
	s, stop := service(t, &queues{}, &logs, "#=mqtt://mill:WrongPassword@"+address)
	send(t, s, home, "a", "0")
	testkit.Eventually(t, "failures", func() error {
		if got := status(t, s, 0); got.Failed < 2 || got.Queued != 1 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	stop()
	if text := logs.String(); !strings.Contains(text, "return code 5") || strings.Contains(text, "WrongPassword") {
		t.Error(text)
	}
}

// TestUnkept: what cannot be kept is not taken.
func TestUnkept(t *testing.T) {
	t.Parallel()
	_, url := hook(t)
	q := &queues{fail: errors.New("no room")}
	s, _ := service(t, q, io.Discard, "a="+url)
	if err := s.Forward(t.Context(), home, "a", nil); !errors.Is(err, q.fail) {
		t.Error(err)
	}
	if err := s.Forward(t.Context(), home, "b", nil); err != nil {
		t.Error(err)
	}
	if got := status(t, s, 0); got.Unkept != 1 {
		t.Errorf("%+v", got)
	}
}

func TestParseRule(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := file("good", "mill:gr:ain\n"), file("bad", "no colon\n")
	for _, tc := range []struct{ text, filter, partition, fails string }{
		{"mill/#=https://hooks.example.com/x?a=b=c", "mill/#", home.Key(), ""},
		{"a=b/+=https://hooks.example.com", "a=b/+", home.Key(), ""},
		{"#=http://127.0.0.1:8080/x", "#", home.Key(), ""},
		{"#=http://[::1]/x", "#", home.Key(), ""},
		{"$aws/events/#=mqtts://u:p@broker.example.com", "$aws/events/#", home.Key(), ""},
		{"a=mqtt://broker.example.com:1884", "a", home.Key(), ""},
		{"a=mqtts://broker.example.com#credentials=" + good, "a", home.Key(), ""},
		{"210987654321:us-east-1:a:b=https://h.example", "a:b", "210987654321/us-east-1", ""},
		{"1234:us-east-1:a=https://h.example", "1234:us-east-1:a", home.Key(), ""},

		{"", "", "", "FILTER=URL"},
		{"a", "", "", "FILTER=URL"},
		{"a=ftp://h.example", "", "", "FILTER=URL"},
		{"=https://h.example", "", "", "the filter"},
		{"a/#/b=https://h.example", "", "", "the filter"},
		{"a=https://", "", "", "names no host"},
		{"a=https://:80", "", "", "names no host"},
		{"a=https://h.example:port", "", "", "does not parse"},
		{"a=http://h.example/Secret", "", "", "https only"},
		{"a=mqtts://h.example/Secret", "", "", "no path"},
		{"a=mqtt://u:Secret@h.example", "", "", "mqtts only"},
		{"a=mqtt://h.example#credentials=" + good, "", "", "mqtts only"},
		{"a=https://u:Secret@h.example#credentials=" + good, "", "", "in a file"},
		{"a=https://h.example#credentials=" + bad, "", "", "USER:PASSWORD"},
		{"a=https://h.example#credentials=" + filepath.Join(dir, "none"), "", "", "read credentials"},
		{"a=https://h.example#ca=" + bad, "", "", "no certificate"},
		{"a=https://h.example#ca=x&ca=y", "", "", "each once"},
		{"a=https://h.example#Secret", "", "", "credentials=FILE and ca=FILE"},
		{"a=mqtts://h.example#u:Secret", "", "", "credentials=FILE and ca=FILE"},
	} {
		r, err := forward.ParseRule(tc.text, home)
		if tc.fails == "" {
			if err != nil || r.Filter != tc.filter || r.Partition.Key() != tc.partition {
				t.Errorf("%s: %+v, %v", tc.text, r, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "--forward") || !strings.Contains(err.Error(), tc.fails) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: %v", tc.text, err)
		}
	}
	t.Run("one target, two passwords", func(t *testing.T) {
		var rules []forward.Rule
		for _, text := range []string{"a=mqtt://u:p@127.0.0.1:1", "b=mqtt://u:q@127.0.0.1:1"} {
			r, err := forward.ParseRule(text, home)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, r)
		}
		if _, err := forward.New(t.Context(), forward.Options{Queues: &queues{}, Rules: rules, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "other credentials") {
			t.Error(err)
		}
	})
}
