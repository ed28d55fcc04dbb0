package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

func TestOffer(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)

	t.Run("the core is woken by MQTT", func(t *testing.T) {
		s := s.with(t)
		d := s.offered(s.create(s.mill("woken")))
		var got mqttMessage
		testkit.Until(s.t, "the wake message", func() bool { got = s.mqtt.last(); return got.topic != "" })
		if got.topic != "$aws/things/woken-gda/shadow/update/delta" || got.partition != home {
			t.Errorf("published to %s in %s", got.topic, got.partition)
		}
		var payload struct {
			Version   int64
			Timestamp int64
			State     struct{ DeploymentID, GroupID string }
		}
		if err := json.Unmarshal(got.payload, &payload); err != nil {
			t.Fatal(err)
		}
		if payload.Version != d.Epoch || payload.State.DeploymentID != d.ID || payload.State.GroupID != d.GroupID || payload.Timestamp == 0 {
			t.Errorf("payload %s", got.payload)
		}
	})
	t.Run("without MQTT it is offered all the same", func(t *testing.T) {
		s := open(t)
		s.mqtt.failure = errors.New("broker is down")
		s.run(s.Engine)
		d := s.offered(s.create(s.mill("asleep")))
		if offer := s.poll("asleep", 0); offer.DeploymentID != d.ID {
			t.Errorf("offered %+v", offer)
		}
	})
	t.Run("a newer one supersedes what was not claimed", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("impatient"))
		first, second := s.offered(id, version), s.offered(id, version)
		s.wantFailure(s.read(first), problem{fescue.DeploymentSuperseded, "deployment " + second.ID + " took its place"})
		if offer := s.poll("impatient", 0); offer.DeploymentID != second.ID || second.Epoch != first.Epoch+1 {
			t.Errorf("offered %+v, second is %+v", offer, second)
		}
		if _, err := s.report(first, fescue.EventClaimed); !errors.Is(err, fescue.ErrEnded) {
			t.Errorf("claim of the superseded one: %v", err)
		}
	})
	t.Run("a newer one waits behind what was claimed", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(s.mill("busy"))
		first := s.reports(s.offered(id, version), fescue.EventClaimed)
		second := s.offered(id, version)
		if offer := s.poll("busy", 0); offer.DeploymentID != first.ID || offer.Phase != fescue.Claimed {
			t.Errorf("offered %+v, want the claimed one", offer)
		}
		s.reports(first, fescue.EventSucceeded)
		for _, after := range []int64{0, first.Epoch} {
			if offer := s.poll("busy", after); offer.DeploymentID != second.ID || offer.Phase != fescue.Offered {
				t.Errorf("after it: %+v", offer)
			}
		}
	})
}

func TestReport(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	id, version := s.create(s.mill("reporting"))
	const claimed, staged, switched, succeeded, failed = fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded, fescue.EventFailed

	for _, tc := range []struct {
		name   string
		before []fescue.DeploymentEvent
		event  fescue.DeploymentEvent
		status fescue.DeploymentStatus
		phase  fescue.DeploymentPhase
		want   error
	}{
		{"claim", nil, claimed, fescue.InProgress, fescue.Claimed, nil},
		{"claim again", []fescue.DeploymentEvent{claimed}, claimed, fescue.InProgress, fescue.Claimed, nil},
		{"stage", []fescue.DeploymentEvent{claimed}, staged, fescue.InProgress, fescue.Staged, nil},
		{"switch", []fescue.DeploymentEvent{claimed, staged}, switched, fescue.InProgress, fescue.Switched, nil},
		{"switch, the report on staging lost", []fescue.DeploymentEvent{claimed}, switched, fescue.InProgress, fescue.Switched, nil},
		{"staged, reported late", []fescue.DeploymentEvent{claimed, switched}, staged, fescue.InProgress, fescue.Switched, nil},
		{"claimed, reported late", []fescue.DeploymentEvent{claimed, staged}, claimed, fescue.InProgress, fescue.Staged, nil},
		{"success", []fescue.DeploymentEvent{claimed, staged, switched}, succeeded, fescue.Success, "", nil},
		{"success again", []fescue.DeploymentEvent{claimed, switched, succeeded}, succeeded, fescue.Success, "", nil},
		{"failure", []fescue.DeploymentEvent{claimed, switched}, failed, fescue.Failure, "", nil},
		{"failure again", []fescue.DeploymentEvent{claimed, failed}, failed, fescue.Failure, "", nil},
		{"failure after success", []fescue.DeploymentEvent{claimed, succeeded}, failed, fescue.Success, "", fescue.ErrEnded},
		{"success after failure", []fescue.DeploymentEvent{claimed, failed}, succeeded, fescue.Failure, "", fescue.ErrEnded},
		{"claim after the end", []fescue.DeploymentEvent{claimed, succeeded}, claimed, fescue.Success, "", fescue.ErrEnded},
		{"stage before the claim", nil, staged, fescue.InProgress, fescue.Offered, fescue.ErrTransition},
		{"success before the claim", nil, succeeded, fescue.InProgress, fescue.Offered, fescue.ErrTransition},
		{"failure before the claim", nil, failed, fescue.InProgress, fescue.Offered, fescue.ErrTransition},
		{"an event of the cloud", nil, fescue.EventSuperseded, fescue.InProgress, fescue.Offered, deploy.ErrReport},
		{"an unknown event", nil, "claimed", fescue.InProgress, fescue.Offered, deploy.ErrReport},
		{"no event", nil, "", fescue.InProgress, fescue.Offered, deploy.ErrReport},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := s.with(t)
			d := s.offered(id, version)
			s.reports(d, tc.before...)
			got, err := s.report(d, tc.event)
			if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err == nil && (got.Status != tc.status || got.Phase != tc.phase) {
				t.Errorf("answered %s %s", got.Status, got.Phase)
			}
			if d = s.read(d); d.Status != tc.status || d.Phase != tc.phase {
				t.Errorf("deployment is %s %s, want %s %s", d.Status, d.Phase, tc.status, tc.phase)
			}
		})
	}

	d := s.reports(s.offered(id, version), claimed)
	s.certificate(home, "other")
	for _, tc := range []struct {
		name   string
		change func(r *corelink.StatusReport)
		thing  string
		want   error
	}{
		{"an old epoch", func(r *corelink.StatusReport) { r.Epoch-- }, "", fescue.ErrWrongEpoch},
		{"an epoch to come", func(r *corelink.StatusReport) { r.Epoch++ }, "", fescue.ErrWrongEpoch},
		{"no epoch", func(r *corelink.StatusReport) { r.Epoch = 0 }, "", deploy.ErrReport},
		{"a negative epoch", func(r *corelink.StatusReport) { r.Epoch = -1 }, "", deploy.ErrReport},
		{"another core", func(*corelink.StatusReport) {}, "other", fescue.ErrNotFound},
		{"no core", func(*corelink.StatusReport) {}, "\x00", fescue.ErrNotFound},
		{"a failure without a message", func(r *corelink.StatusReport) { r.Message = "" }, "", deploy.ErrReport},
		{"a long message", func(r *corelink.StatusReport) { r.Message = strings.Repeat("x", 8<<10+1) }, "", deploy.ErrReport},
		{"a long note", func(r *corelink.StatusReport) { r.Note = strings.Repeat("x", 8<<10+1) }, "", deploy.ErrReport},
		{"a long detail", func(r *corelink.StatusReport) {
			r.Details = []fescue.ErrorDetail{{DetailedErrorMessage: strings.Repeat("x", 8<<10+1)}}
		}, "", deploy.ErrReport},
		{"many details", func(r *corelink.StatusReport) { r.Details = make([]fescue.ErrorDetail, 201) }, "", deploy.ErrReport},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := corelink.StatusReport{Event: failed, Epoch: d.Epoch, Message: "it did not work"}
			tc.change(&r)
			thing := d.CoreThing
			if tc.thing != "" {
				thing = tc.thing
			}
			if _, err := s.Report(t.Context(), home, thing, d.GroupID, d.ID, r); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if got := s.with(t).read(d); got.Revision != d.Revision {
				t.Errorf("deployment changed: %+v", got)
			}
		})
	}
	t.Run("the deployment under another group, or in another Region", func(t *testing.T) {
		r := corelink.StatusReport{Event: succeeded, Epoch: d.Epoch}
		if _, err := s.Report(t.Context(), home, d.CoreThing, fescue.NewID(), d.ID, r); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("another group: %v", err)
		}
		if _, err := s.Report(t.Context(), elsewhere, d.CoreThing, d.GroupID, d.ID, r); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("another Region: %v", err)
		}
	})
	t.Run("while it is being built", func(t *testing.T) {
		s := open(t)
		d := s.accept(s.create(s.mill("early")))
		r := corelink.StatusReport{Event: claimed, Epoch: 1}
		if _, err := s.Report(t.Context(), home, "early", d.GroupID, d.ID, r); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the same report many times at once", func(t *testing.T) {
		s := s.with(t)
		d := s.offered(s.create(s.mill("eager")))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.report(d, claimed); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := s.read(d); got.Phase != fescue.Claimed || got.Revision != d.Revision+1 {
			t.Errorf("deployment is %+v", got)
		}
	})
	t.Run("why it failed is kept, but for what no database keeps", func(t *testing.T) {
		s := s.with(t)
		d := s.reports(s.offered(s.create(s.mill("failing"))), claimed)
		details := []fescue.ErrorDetail{{DetailedErrorCode: "RUNTIME_MISSING_ERROR", DetailedErrorMessage: "no python3.7: \x00"}}
		got, err := s.Report(t.Context(), home, "failing", d.GroupID, d.ID, corelink.StatusReport{
			Event: failed, Epoch: d.Epoch, Message: "a\x00b\xffc", Details: details, Note: "\x00",
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, s.read(d), cmp.Comparer(sameMillisecond)); diff != "" {
			t.Error(diff)
		}
		want := []fescue.ErrorDetail{{DetailedErrorCode: "RUNTIME_MISSING_ERROR", DetailedErrorMessage: "no python3.7: \uFFFD"}}
		if diff := cmp.Diff(want, got.ErrorDetails); diff != "" || got.ErrorMessage != "a\uFFFDb\uFFFDc" {
			t.Errorf("ErrorMessage %q, %s", got.ErrorMessage, diff)
		}
	})
}

func sameMillisecond(a, b time.Time) bool { return a.UnixMilli() == b.UnixMilli() }

func TestMayFetch(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	id, version := s.create(s.mill("fetching").functions(reader+":1", reader+":2"))
	d := s.offered(id, version)
	m := s.manifest(s.poll("fetching", 0))
	other := s.offered(s.create(s.mill("other").functions(stats + ":1")))
	foreign := s.manifest(s.poll("other", 0)).Artifacts[1].SHA256

	for _, a := range m.Artifacts {
		if err := s.MayFetch(t.Context(), home, "fetching", id, d.ID, a.SHA256); err != nil {
			t.Errorf("artifact of the manifest: %v", err)
		}
	}
	group := m.Artifacts[0].SHA256
	for _, tc := range []struct {
		name, thing, group, deployment, hash string
		partition                            fescue.Partition
	}{
		{"a hash that was not offered", "fetching", id, d.ID, strings.Repeat("0", 64), home},
		{"a hash of another core's deployment", "fetching", id, d.ID, foreign, home},
		{"another core's deployment", "fetching", other.GroupID, other.ID, foreign, home},
		{"for another core", "other", id, d.ID, group, home},
		{"another group", "fetching", other.GroupID, d.ID, group, home},
		{"an unknown deployment", "fetching", id, fescue.NewID(), group, home},
		{"from another Region", "fetching", id, d.ID, group, elsewhere},
		{"no hash", "fetching", id, d.ID, "", home},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := s.MayFetch(t.Context(), tc.partition, tc.thing, tc.group, tc.deployment, tc.hash); !errors.Is(err, fescue.ErrNotFound) {
				t.Errorf("error %v, want %v", err, fescue.ErrNotFound)
			}
		})
	}
	t.Run("nothing once it has ended", func(t *testing.T) {
		s := s.with(t)
		s.reports(d, fescue.EventClaimed)
		if err := s.MayFetch(t.Context(), home, "fetching", id, d.ID, group); err != nil {
			t.Errorf("claimed: %v", err)
		}
		s.reports(d, fescue.EventSucceeded)
		if err := s.MayFetch(t.Context(), home, "fetching", id, d.ID, group); !errors.Is(err, fescue.ErrNotFound) {
			t.Errorf("ended: %v", err)
		}
	})
}

// wedged is a function service whose answers wait, so that a builder is in the
// middle of its work for as long as a test wants.
type wedged struct {
	deploy.Functions
	entered, release chan struct{}
}

func (w *wedged) Resolve(ctx context.Context, p fescue.Partition, arn string) (fescue.FunctionVersion, string, error) {
	close(w.entered)
	<-w.release
	return w.Functions.Resolve(ctx, p, arn)
}

func TestLease(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		// age is how long ago the builder took the deployment.
		age time.Duration
	}{
		{"another server leaves alone what is being built", 0},
		{"another server takes up what a dead one left", 31 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			w := &wedged{s.options.Functions, make(chan struct{}), make(chan struct{})}
			stopFirst := s.run(s.another(func(o *deploy.Options) {
				o.Functions, o.Now = w, func() time.Time { return time.Now().Add(-tc.age) }
			}))
			released := sync.OnceFunc(func() { close(w.release) })
			t.Cleanup(released)
			d := s.accept(s.create(s.mill("leased").functions(reader + ":1")))
			<-w.entered

			if tc.age == 0 {
				if list, err := s.store.Deployments().LeaseBuilding(t.Context(), "aws", time.Now().Add(time.Minute), 9); err != nil || len(list) > 0 {
					t.Errorf("a deployment under lease was handed out: %+v, %v", list, err)
				}
				released()
				d = s.built(d)
			} else {
				s.run(s.Engine)
				d = s.built(d)
				released()
				stopFirst()
			}
			if d.Status != fescue.InProgress || d.Epoch != 1 {
				t.Fatalf("deployment is %s %s, epoch %d", d.Status, d.ErrorMessage, d.Epoch)
			}
			// The builder that woke up again changed nothing.
			if again := s.read(d); again.Revision != d.Revision || s.poll("leased", 0).Epoch != 1 {
				t.Errorf("deployment is %+v, was %+v", again, d)
			}
		})
	}
}

// brokenArtifacts takes nothing.
type brokenArtifacts struct {
	puts   atomic.Int64
	panics bool
}

func (b *brokenArtifacts) Put(context.Context, string, io.Reader) error {
	b.puts.Add(1)
	if b.panics {
		panic("no space left on device")
	}
	return errors.New("no space left on device")
}

func TestInternalError(t *testing.T) {
	t.Parallel()
	for name, panics := range map[string]bool{"error": false, "panic": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testInternalError(t, panics)
		})
	}
}

// TestPatience: what went wrong after a long time of building, or of waiting for a
// server, is tried again as what went wrong at once.
func TestPatience(t *testing.T) {
	t.Parallel()
	s := open(t)
	var behind atomic.Int64
	behind.Store(int64(time.Hour))
	broken := new(brokenArtifacts)
	s.Engine = s.another(func(o *deploy.Options) {
		o.Artifacts = broken
		o.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
	})
	d := s.accept(s.create(s.mill("late")))
	behind.Store(int64(50 * time.Minute))
	s.run(s.Engine)
	testkit.Until(s.t, "the engine tried more than once", func() bool { return broken.puts.Load() > 2 || s.read(d).Status != fescue.Building })
	if got := s.read(d); got.Status != fescue.Building {
		t.Fatalf("gave up at once: %s %s", got.Status, got.ErrorMessage)
	}
}

func testInternalError(t *testing.T, panics bool) {
	s := open(t)
	// The engine's clock is behind, so that its leases are over at once and it
	// tries again without delay.
	var behind atomic.Int64
	behind.Store(int64(time.Hour))
	broken := &brokenArtifacts{panics: panics}
	s.Engine = s.another(func(o *deploy.Options) {
		o.Artifacts = broken
		o.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
	})
	d := s.accept(s.create(s.mill("broken")))
	s.run(s.Engine)
	testkit.Until(s.t, "the engine tried more than once", func() bool { return broken.puts.Load() > 2 })
	if got := s.read(d); got.Status != fescue.Building {
		t.Fatalf("gave up at once: %s %s", got.Status, got.ErrorMessage)
	}
	behind.Store(int64(54 * time.Minute))
	d = s.built(d)
	s.wantFailure(d, problem{fescue.InternalFailure, "no space left on device"})
	if !strings.HasPrefix(d.ErrorMessage, "Deployment "+d.ID+" of type NewDeployment for group "+d.GroupID+" failed error: ") {
		t.Errorf("ErrorMessage %q", d.ErrorMessage)
	}
}

func TestGroupDocument(t *testing.T) {
	t.Parallel()
	s := open(t)
	group, version := s.create(s.mill("document-core"))
	s.run(s.Engine)
	size := int(s.manifest(s.poll(s.offered(group, version).CoreThing, 0)).Artifacts[0].Size)
	for _, test := range []struct {
		name string
		most int
		kept bool // with the manifest
	}{
		{"as large as may be", size, true},
		{"larger", size - 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openOn(t, storetest.Database(t))
			s.options.MostDocument = test.most
			s.Engine = deploy.New(s.options)
			s.run(s.Engine)
			thing := s.offered(s.create(s.mill("document-core"))).CoreThing
			hash := s.manifest(s.poll(thing, 0)).Artifacts[0].SHA256
			_, err := s.store.Offers().Document(t.Context(), hash)
			if kept := err == nil; kept != test.kept || !kept && !errors.Is(err, fescue.ErrNotFound) {
				t.Errorf("kept with the manifest: %v, want %v", err, test.kept)
			}
			both := artifacts.WithDocuments(s.blobs, s.store.Offers())
			if info, err := both.Stat(t.Context(), hash); err != nil || info.Size != int64(size) {
				t.Errorf("%+v, %v; want %d bytes", info, err, size)
			}
			if _, err := s.blobs.Stat(t.Context(), hash); errors.Is(err, fescue.ErrNotFound) != test.kept {
				t.Errorf("among the artifacts: %v", err)
			}
		})
	}
}
