package router_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/router"
)

const (
	functionA = "arn:aws:lambda:eu-west-1:123456789012:function:A:1"
	functionB = "arn:aws:lambda:eu-west-1:123456789012:function:B:2"
	device    = "arn:aws:iot:eu-west-1:123456789012:thing/Pump7"
	connector = "arn:aws:greengrass:eu-west-1::/connectors/Modbus/versions/1"
)

func table(t testing.TB, rows ...fescue.Subscription) *router.Table {
	t.Helper()
	made, err := router.NewTable(rows)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestRoute(t *testing.T) {
	t.Parallel()
	made := table(t,
		fescue.Subscription{Id: "1", Source: functionA, Subject: "a/+", Target: functionB},
		fescue.Subscription{Id: "2", Source: functionA, Subject: "a/b", Target: fescue.CloudEndpoint},
		fescue.Subscription{Id: "3", Source: functionA, Subject: "#", Target: functionB},
		fescue.Subscription{Id: "4", Source: functionA, Subject: "a/#", Target: device},
		fescue.Subscription{Id: "5", Source: fescue.CloudEndpoint, Subject: "c/x", Target: functionA},
		fescue.Subscription{Id: "6", Source: fescue.CloudEndpoint, Subject: "c/#", Target: functionA},
		fescue.Subscription{Id: "7", Source: fescue.CloudEndpoint, Subject: "c/x", Target: functionB},
	)
	tests := []struct {
		name, source, topic string
		want                []string
	}{
		{"distinct targets, in the order in which the table names them", functionA, "a/b", []string{functionB, fescue.CloudEndpoint, device}},
		{"a level wildcard takes one level", functionA, "a/b/c", []string{functionB, device}},
		{"a/# does not take a", functionA, "a", []string{functionB}},
		{"# does not take reserved topics", functionA, "$aws/things/t/shadow/update", nil},
		{"case matters", functionA, "A/B", []string{functionB}},
		{"another source", functionB, "a/b", nil},
		{"another version of the source", strings.TrimSuffix(functionA, "1") + "2", "a/b", nil},
		{"from the cloud, exact before and after a filter", fescue.CloudEndpoint, "c/x", []string{functionB, functionA}},
		{"unknown", "", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := made.Route(test.source, test.topic)
			if len(got) == 0 {
				got = nil
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("the cloud's filters, each once", func(t *testing.T) {
		t.Parallel()
		if diff := cmp.Diff([]string{"c/x", "c/#"}, made.CloudFilters()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the targets, each once", func(t *testing.T) {
		t.Parallel()
		if diff := cmp.Diff([]string{functionB, fescue.CloudEndpoint, device, functionA}, made.Targets()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNewTable(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]fescue.Subscription{
		"no source":          {Id: "row7", Subject: "a", Target: "cloud"},
		"no target":          {Id: "row7", Source: "cloud", Subject: "a"},
		"no subject":         {Id: "row7", Source: "cloud", Target: functionA},
		"misplaced #":        {Id: "row7", Source: "cloud", Subject: "a/#/b", Target: functionA},
		"part of a level":    {Id: "row7", Source: "cloud", Subject: "a/b+", Target: functionA},
		"a subject too long": {Id: "row7", Source: "cloud", Subject: strings.Repeat("x", 257), Target: functionA},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			_, err := router.NewTable([]fescue.Subscription{{Id: "ok", Source: "cloud", Subject: "a", Target: functionA}, row})
			if err == nil || !strings.Contains(err.Error(), `"row7"`) {
				t.Errorf("got %v, want an error that names the row", err)
			}
		})
	}
}

// edge records what reaches functions and the cloud; full names what refuses.
type edge struct {
	mu       sync.Mutex
	log      []string
	full     map[string]bool
	refuses  map[string]error
	reserved int
	cloudErr error
}

var errFull = errors.New("full")

func (e *edge) ReserveEvent(arn, _, clientContext string, payload []byte) (func(bool), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refuses[arn]; err != nil {
		return nil, err
	}
	if e.full[arn] {
		return nil, errFull
	}
	e.reserved++
	return func(deliver bool) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.reserved--
		if deliver {
			text, _ := base64.StdEncoding.DecodeString(clientContext)
			e.log = append(e.log, fmt.Sprintf("%s %s %s", arn, text, payload))
		}
	}, nil
}

func (e *edge) KeepCloud(topic string, payload []byte, strict bool, kept func(error)) {
	e.mu.Lock()
	if e.cloudErr == nil || !strict {
		e.log = append(e.log, fmt.Sprintf("cloud %s %s", topic, payload))
	}
	e.mu.Unlock()
	kept(e.cloudErr)
}

func TestPublish(t *testing.T) {
	t.Parallel()
	rows := []fescue.Subscription{
		{Id: "1", Source: functionA, Subject: "t", Target: fescue.CloudEndpoint},
		{Id: "2", Source: functionA, Subject: "t", Target: functionB},
		{Id: "3", Source: functionA, Subject: "t", Target: functionA},
		{Id: "4", Source: functionA, Subject: "device", Target: device},
		{Id: "5", Source: fescue.CloudEndpoint, Subject: `q"uote`, Target: functionB},
	}
	toA, toB := functionA+` {"custom":{"subject":"t"}} m`, functionB+` {"custom":{"subject":"t"}} m`
	tests := []struct {
		name          string
		source, topic string
		all           bool
		full          string
		cloudErr      error
		want          []string
		wantErr       error
		wantLog       string
	}{
		{name: "to everyone, in row order", source: functionA, topic: "t", want: []string{"cloud t m", toB, toA}},
		{name: "all, with room for all", source: functionA, topic: "t", all: true, want: []string{"cloud t m", toB, toA}},
		{name: "best effort leaves out who is full", source: functionA, topic: "t", full: functionB,
			want: []string{"cloud t m", toA}, wantLog: "A message was dropped."},
		{name: "all, with one full, reaches nobody", source: functionA, topic: "t", all: true, full: functionA, wantErr: errFull},
		{name: "no route is a success", source: functionB, topic: "t", all: true, wantLog: "Failed to get routes. Discarding message."},
		{name: "a target that this core does not serve", source: functionA, topic: "device", wantLog: "A message was dropped."},
		{name: "all, with such a target", source: functionA, topic: "device", all: true, wantErr: router.ErrNoEndpoint},
		{name: "a message that the cloud link lost", source: functionA, topic: "t", cloudErr: errFull,
			want: []string{"cloud t m", toB, toA}, wantLog: "lost"},
		{name: "all, with one that the cloud link lost, reaches nobody", source: functionA, topic: "t", all: true, cloudErr: errFull, wantErr: errFull},
		{name: "a topic that JSON must quote", source: fescue.CloudEndpoint, topic: `q"uote`,
			want: []string{functionB + ` {"custom":{"subject":"q\"uote"}} m`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := &edge{full: map[string]bool{test.full: true}, cloudErr: test.cloudErr}
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			r := router.New(map[fescue.EndpointKind]router.Endpoint{
				fescue.EndpointFunction: router.ToFunctions(e),
				fescue.EndpointCloud:    router.ToCloud(e, func(m router.Message, err error) { logger.Error("lost", "topic", m.Topic) }),
			}, logger)
			r.SetTable(table(t, rows...))
			if !strings.Contains(log.String(), "cannot be reached") || !strings.Contains(log.String(), device) {
				t.Errorf("the log does not name the target that cannot be reached: %s", &log)
			}
			log.Reset()
			err := r.Publish(t.Context(), router.Message{Source: test.source, Topic: test.topic, Payload: []byte("m")}, test.all)
			if !errors.Is(err, test.wantErr) || (err == nil) != (test.wantErr == nil) {
				t.Errorf("got error %v, want %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, e.log); diff != "" {
				t.Error(diff)
			}
			if e.reserved != 0 {
				t.Errorf("%d places were not given back", e.reserved)
			}
			if !strings.Contains(log.String(), test.wantLog) {
				t.Errorf("log lacks %q: %s", test.wantLog, &log)
			}
		})
	}
}

// TestDropsInTheLog: who misses messages again and again is in the log once a minute, with
// how many, whoever sent them and on whatever topic.
func TestDropsInTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := &edge{full: map[string]bool{functionA: true, functionB: true}}
		r := router.New(map[fescue.EndpointKind]router.Endpoint{fescue.EndpointFunction: router.ToFunctions(e)}, slog.New(slog.NewTextHandler(&log, nil)))
		r.SetTable(table(t,
			fescue.Subscription{Id: "1", Source: fescue.CloudEndpoint, Subject: "#", Target: functionA},
			fescue.Subscription{Id: "2", Source: functionA, Subject: "#", Target: functionB}))
		for i := range 90 { // one a second
			r.FromCloud(t.Context(), fmt.Sprint("topic/", i), nil)
			if i == 10 {
				r.Publish(t.Context(), router.Message{Source: functionA, Topic: "t"}, false)
			}
			time.Sleep(time.Second)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "topic=topic/0 target="+functionA) ||
			!strings.Contains(lines[1], "target="+functionB) || !strings.Contains(lines[2], "topic=topic/60") || !strings.Contains(lines[2], "othersSince=59") {
			t.Errorf("the log has %d lines:\n%s", len(lines), &log)
		}
	})
}

// What devices send waits for nothing, and its source learns when it is kept.
func TestSend(t *testing.T) {
	t.Parallel()
	rows := []fescue.Subscription{
		{Id: "1", Source: device, Subject: "t", Target: fescue.CloudEndpoint},
		{Id: "2", Source: device, Subject: "t", Target: functionB},
		{Id: "3", Source: device, Subject: "local", Target: functionB},
	}
	toB := functionB + ` {"custom":{"subject":"t"}} m`
	for name, tc := range map[string]struct {
		topic    string
		once     bool
		cloudErr error
		want     []string
		wantErr  error
	}{
		"kept":                                 {topic: "t", want: []string{"cloud t m", toB}},
		"kept, and at most once":               {topic: "t", once: true, want: []string{"cloud t m", toB}},
		"not kept, which others do not suffer": {topic: "t", cloudErr: errFull, want: []string{toB}, wantErr: errFull},
		"not kept, and not to be":              {topic: "t", once: true, cloudErr: errFull, want: []string{"cloud t m", toB}},
		"for nobody":                           {topic: "else"},
		"for others alone":                     {topic: "local", want: []string{functionB + ` {"custom":{"subject":"local"}} m`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &edge{cloudErr: tc.cloudErr}
			r := router.New(map[fescue.EndpointKind]router.Endpoint{
				fescue.EndpointFunction: router.ToFunctions(e),
				fescue.EndpointCloud:    router.ToCloud(e, func(router.Message, error) {}),
			}, slog.New(slog.DiscardHandler))
			r.SetTable(table(t, rows...))
			var kept []error
			r.Send(t.Context(), router.Message{Source: device, Topic: tc.topic, Payload: []byte("m"), Once: tc.once}, func(err error) { kept = append(kept, err) })
			if len(kept) != 1 || !errors.Is(kept[0], tc.wantErr) {
				t.Errorf("kept was called with %v, want once with %v", kept, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, e.log); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What the cloud keeps is not taken while a function has no room, and taken else.
func TestKeptByCloud(t *testing.T) {
	t.Parallel()
	toB := functionB + ` {"custom":{"subject":"t"}} m`
	for name, tc := range map[string]struct {
		refuses error // of the first function
		want    []string
		wantErr error
	}{
		"room for all":              {want: []string{functionA + ` {"custom":{"subject":"t"}} m`, toB}},
		"a function's queue full":   {refuses: fmt.Errorf("%w: 1,024 items", invoke.ErrQueueFull), wantErr: invoke.ErrQueueFull},
		"a core that stops":         {refuses: invoke.ErrShuttingDown, wantErr: invoke.ErrShuttingDown},
		"a function that is gone":   {refuses: invoke.ErrNotFound, want: []string{toB}},
		"larger than what is taken": {refuses: invoke.ErrTooLarge, want: []string{toB}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &edge{refuses: map[string]error{functionA: tc.refuses}}
			r := router.New(map[fescue.EndpointKind]router.Endpoint{fescue.EndpointFunction: router.ToFunctions(e)}, slog.New(slog.DiscardHandler))
			r.SetTable(table(t,
				fescue.Subscription{Id: "1", Source: fescue.CloudEndpoint, Subject: "t", Target: functionA},
				fescue.Subscription{Id: "2", Source: fescue.CloudEndpoint, Subject: "t", Target: functionB},
				fescue.Subscription{Id: "3", Source: fescue.CloudEndpoint, Subject: "t", Target: device}, // not served here
			))
			if err := r.KeptByCloud(t.Context(), "t", []byte("m")); !errors.Is(err, tc.wantErr) {
				t.Errorf("error %v, want %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, e.log); diff != "" || e.reserved != 0 {
				t.Errorf("%d places are taken; %s", e.reserved, diff)
			}
		})
	}
}

// slowDisk is a link whose disk never has what it was given.
type slowDisk struct{ strict []bool }

func (s *slowDisk) KeepCloud(_ string, _ []byte, strict bool, _ func(error)) {
	s.strict = append(s.strict, strict)
}

// TestPost: it waits for no disk, and drops nothing that the disk does not take.
func TestPost(t *testing.T) {
	t.Parallel()
	var disk slowDisk
	r := router.New(map[fescue.EndpointKind]router.Endpoint{fescue.EndpointCloud: router.ToCloud(&disk, func(router.Message, error) {})}, slog.New(slog.DiscardHandler))
	r.SetTable(table(t, fescue.Subscription{Id: "1", Source: device, Subject: "t", Target: fescue.CloudEndpoint}))
	for range 2 {
		r.Post(t.Context(), router.Message{Source: device, Topic: "t"})
	}
	if diff := cmp.Diff([]bool{false, false}, disk.strict); diff != "" {
		t.Error(diff)
	}
}

func TestSetTable(t *testing.T) {
	t.Parallel()
	t.Run("a message goes by one table only", func(t *testing.T) {
		t.Parallel()
		e := &edge{}
		r := router.New(map[fescue.EndpointKind]router.Endpoint{fescue.EndpointFunction: router.ToFunctions(e)}, slog.New(slog.DiscardHandler))
		tables := []*router.Table{
			table(t, fescue.Subscription{Id: "1", Source: "cloud", Subject: "t", Target: functionA}),
			table(t, fescue.Subscription{Id: "1", Source: "cloud", Subject: "#", Target: functionB}),
		}
		var wait sync.WaitGroup
		wait.Go(func() {
			for i := range 1000 {
				r.SetTable(tables[i%2])
			}
		})
		r.SetTable(tables[0])
		for range 1000 {
			if err := r.FromCloud(t.Context(), "t", nil); err != nil {
				t.Error(err)
			}
		}
		wait.Wait()
		if len(e.log) != 1000 {
			t.Errorf("%d deliveries of 1000 messages", len(e.log))
		}
		r.SetTable(tables[1])
		if diff := cmp.Diff([]string{"#"}, r.Table().CloudFilters()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a new router has no routes", func(t *testing.T) {
		t.Parallel()
		r := router.New(nil, slog.New(slog.DiscardHandler))
		if err := r.Publish(t.Context(), router.Message{Source: functionA, Topic: "t"}, true); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkRoute is the way of a message among few rows and many.
// BenchmarkRoute is what finding the targets of a message takes, with the rows of one source
// and with those of 2,500 devices.
func BenchmarkRoute(b *testing.B) {
	for _, sources := range []int{1, 2500} {
		for _, n := range []int{10, 100, 10_000} {
			b.Run(fmt.Sprintf("%drows/%dsources", n, min(sources, n)), func(b *testing.B) {
				rows := make([]fescue.Subscription, n)
				for i := range rows {
					rows[i] = fescue.Subscription{Id: fmt.Sprint(i), Source: deviceARN(i % sources), Subject: fmt.Sprintf("a/%d/b", i), Target: deviceARN((i + 1) % 2500)}
					if i%2 == 0 {
						rows[i].Subject = fmt.Sprintf("a/%d/+", i)
					}
				}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				made := table(b, rows...)
				runtime.GC()
				runtime.ReadMemStats(&after)
				source := deviceARN(6 % sources)
				for b.Loop() {
					if len(made.Route(source, "a/6/b")) != 1 {
						b.Fatal("the row is not found")
					}
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/row")
				runtime.KeepAlive(rows)
			})
		}
	}
}

func deviceARN(n int) string {
	return fmt.Sprintf("arn:aws:iot:us-east-1:123456789012:thing/Device_%d", n)
}
