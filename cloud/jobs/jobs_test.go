package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

// everything is a registry that has every thing but "none".
type everything struct{}

func (everything) Thing(_ context.Context, _ fescue.Partition, name string) (fescue.Thing, error) {
	if name == "none" {
		return fescue.Thing{}, fescue.ErrNotFound
	}
	return fescue.Thing{Name: name}, nil
}

// site is a service on a real store, with a clock and a publisher that remembers.
type site struct {
	*jobs.Service
	t testing.TB

	mu       sync.Mutex
	now      time.Time
	messages []string
}

func (s *site) Publish(_ context.Context, _ fescue.Partition, topic string, payload []byte, _ byte, _ bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, topic+" "+string(payload))
	return nil
}

// take returns what was published since the last call.
func (s *site) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages
	s.messages = nil
	return m
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func open(t testing.TB) *site {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	st := storetest.Open(t)
	s := &site{t: t, now: time.Unix(1000, 0).UTC()}
	s.Service = jobs.New(jobs.Options{Store: st.Jobs(), Things: everything{}, Publisher: s, AWS: "aws", Now: s.clock, Logger: logger})
	return s
}

func (s *site) create(id string, timeout time.Duration, things ...string) {
	s.t.Helper()
	var targets []string
	for _, thing := range things {
		targets = append(targets, home.ThingARN(thing))
	}
	if _, err := s.Create(s.t.Context(), home, jobs.Job{ID: id, Targets: targets, Document: "{}", Timeout: timeout}, fescue.Token{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) status(job, thing string) jobs.ExecutionStatus {
	s.t.Helper()
	e, err := s.Execution(s.t.Context(), home, thing, job)
	if err != nil {
		s.t.Fatal(err)
	}
	return e.Status
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		title         string
		timeout, step time.Duration
		after         time.Duration
		want          jobs.ExecutionStatus
	}{
		{"none", 0, 0, 1000 * time.Hour, jobs.ExecutionInProgress},
		{"the job's, not yet", time.Hour, 0, time.Hour - time.Second, jobs.ExecutionInProgress},
		{"the job's", time.Hour, 0, time.Hour, jobs.ExecutionTimedOut},
		{"the step's", 0, time.Minute, time.Minute, jobs.ExecutionTimedOut},
		{"the step's, within the job's", time.Hour, time.Minute, time.Minute, jobs.ExecutionTimedOut},
		{"the step's cannot outlast the job's", time.Hour, 2 * time.Hour, time.Hour, jobs.ExecutionTimedOut},
		{"the step's taken away", time.Hour, -time.Minute, time.Minute, jobs.ExecutionInProgress},
	} {
		t.Run(tc.title, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.create("j", tc.timeout, "lamp")
			if _, err := s.StartNext(t.Context(), home, "lamp", nil, tc.step); err != nil {
				t.Fatal(err)
			}
			s.pass(tc.after)
			if err := s.EndOverdue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := s.status("j", "lamp"); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	t.Run("what waits has no time", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.create("j", time.Minute, "lamp")
		s.pass(time.Hour)
		if err := s.EndOverdue(t.Context()); err != nil || s.status("j", "lamp") != jobs.ExecutionQueued {
			t.Errorf("%v, %s", err, s.status("j", "lamp"))
		}
	})
}

// A core that takes no updates ends those that wait for it, and nothing else.
func TestEndUpdates(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	s.create("other", 0, "mill", "lamp")
	s.create(jobs.UpdatePrefix+"1", 0, "mill", "lamp")
	s.create(jobs.UpdatePrefix+"2", 0, "mill")
	s.take()
	if _, err := s.Update(ctx, home, "mill", jobs.UpdatePrefix+"2", jobs.Change{Status: jobs.ExecutionInProgress}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.EndUpdates(ctx, home, "mill"); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		job, thing string
		want       jobs.ExecutionStatus
	}{
		{"other", "mill", jobs.ExecutionQueued},
		{jobs.UpdatePrefix + "1", "mill", jobs.ExecutionRejected},
		{jobs.UpdatePrefix + "1", "lamp", jobs.ExecutionQueued},
		{jobs.UpdatePrefix + "2", "mill", jobs.ExecutionInProgress}, // something there took it
	} {
		if got := s.status(tc.job, tc.thing); got != tc.want {
			t.Errorf("%s on %s: %s, want %s", tc.job, tc.thing, got, tc.want)
		}
	}
	if m := s.take(); len(m) != 2 || !strings.Contains(m[0], "mill/jobs/notify ") || !strings.Contains(m[1], "mill/jobs/notify-next ") {
		t.Errorf("%v", m)
	}
}

// Of all that expect the same version one changes the execution.
func TestExpectedVersionOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.create("j", 0, "lamp")
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := s.Update(t.Context(), home, "lamp", "j", jobs.Change{Status: jobs.ExecutionInProgress, ExpectedVersion: 1})
			results <- err
		}()
	}
	taken := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			taken++
		case !errors.Is(err, jobs.ErrVersion):
			t.Error(err)
		}
	}
	if taken != 1 {
		t.Errorf("%d were taken", taken)
	}
}

func TestCreateRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	many := make([]string, 101)
	for i := range many {
		many[i] = home.ThingARN(fmt.Sprint(i))
	}
	lamp := []string{home.ThingARN("lamp")}
	for title, job := range map[string]jobs.Job{
		"no id":              {Targets: lamp, Document: "{}"},
		"a long id":          {ID: strings.Repeat("x", 65), Targets: lamp, Document: "{}"},
		"the id of the next": {ID: jobs.NextID, Targets: lamp, Document: "{}"},
		"no target":          {ID: "j", Document: "{}"},
		"many targets":       {ID: "j", Targets: many, Document: "{}"},
		"an unknown thing":   {ID: "j", Targets: []string{home.ThingARN("none")}, Document: "{}"},
		"no ARN":             {ID: "j", Targets: []string{"lamp"}, Document: "{}"},
		"a certificate":      {ID: "j", Targets: []string{home.CertificateARN("x")}, Document: "{}"},
		"no document":        {ID: "j", Targets: lamp},
		"no JSON":            {ID: "j", Targets: lamp, Document: "do it"},
		"a large document":   {ID: "j", Targets: lamp, Document: `"` + strings.Repeat("x", 32<<10) + `"`},
		"a long description": {ID: "j", Targets: lamp, Document: "{}", Description: strings.Repeat("x", 2029)},
		"a short timeout":    {ID: "j", Targets: lamp, Document: "{}", Timeout: time.Second},
		"a long timeout":     {ID: "j", Targets: lamp, Document: "{}", Timeout: 8 * 24 * time.Hour},
	} {
		var refusal *jobs.InvalidError
		if _, err := s.Create(t.Context(), home, job, fescue.Token{}); !errors.As(err, &refusal) {
			t.Errorf("%s: %v", title, err)
		}
	}
	if m := s.take(); m != nil {
		t.Errorf("sent %v", m)
	}
}

// FuzzReceive: whatever a thing publishes, the service answers below the topic, or
// sends the thing its jobs, or does nothing.
func FuzzReceive(f *testing.F) {
	for _, topic := range []string{"$aws/things/lamp/jobs/get", "$aws/things/lamp/jobs/start-next", "$aws/things/lamp/jobs/$next/get", "$aws/things/lamp/jobs/j/update", "$aws/things//jobs/get"} {
		f.Add(topic, []byte(`{"clientToken":"t","status":"IN_PROGRESS","expectedVersion":"1","statusDetails":{"a":"b"}}`))
	}
	s := open(f)
	s.create("j", 0, "lamp")
	s.take()
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		s.Receive(t.Context(), home, topic, payload)
		for _, m := range s.take() {
			answered, body, _ := strings.Cut(m, " {")
			if !strings.HasPrefix(answered, topic+"/") && !strings.Contains(answered, "/jobs/notify") || !json.Valid([]byte("{"+body)) || strings.Contains(body, "InternalError") {
				t.Errorf("%q %q: %s", topic, payload, m)
			}
		}
	})
}
