package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/depot"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/core/secrets"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// Cloud is the control plane as a core sees it; corelink.Client is one.
type Cloud interface {
	GetDeployment(ctx context.Context, thing string, poll corelink.Poll) (corelink.Offer, error)
	ReportCore(ctx context.Context, thing string, info fescue.CoreInfo) error
	UpdateStatus(ctx context.Context, groupID, deploymentID, coreARN string, report corelink.StatusReport) (corelink.StatusAnswer, error)
	UpdateProgress(ctx context.Context, groupID, deploymentID, coreARN string, report corelink.ProgressReport) (corelink.ProgressAnswer, error)
	AnswerCheck(ctx context.Context, groupID, checkID, coreARN string, report corelink.CheckReport) error
	trust.Source
	depot.Source
	secrets.Source
}

// Edge is what runs a deployment on this machine.
type Edge interface {
	plan.Runner
	// Apply makes exactly this plan run, touching only what changes, and
	// returns when it is being started.
	Apply(ctx context.Context, p plan.Plan) error
	// WaitReady waits, for as long as it finds right, for what the last Apply
	// started, and gives what did not come up.
	WaitReady(ctx context.Context) []plan.Trouble
	// Reset removes what functions left behind on this machine, such as their
	// logs. Nothing runs when it is called.
	Reset(ctx context.Context) error
}

// Telemetry is what sends figures of the core's health.
type Telemetry interface {
	// Switch is what it does.
	Switch() fescue.Telemetry
	// Set takes what the control plane wants and reports whether it does something else
	// from now on.
	Set(wanted fescue.Telemetry) (changed bool)
}

// noTelemetry is none, and says so.
type noTelemetry struct{}

func (noTelemetry) Switch() fescue.Telemetry  { return "" }
func (noTelemetry) Set(fescue.Telemetry) bool { return false }

// Times are the agent's waits. A zero member takes the default given with it.
type Times struct {
	// Poll is the pause between polls while the cloud can wake the core over
	// MQTT, where the cloud names no longer one: 5 minutes. That often the core looks at
	// itself, too, and reports what has changed.
	Poll time.Duration
	// Retry and MaxRetry bound the back-off after an error: 1 s and 60 s.
	Retry, MaxRetry time.Duration
	// Stall is how long a download may be silent: 60 s.
	Stall time.Duration
	// Note bounds a report that nothing waits for: 10 s.
	Note time.Duration
	// Progress is the pause between reports on work that takes longer: 5 s.
	Progress time.Duration
	// Handover is how often is looked for a bundle: 1 s.
	Handover time.Duration
}

func (t Times) withDefaults() Times {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Poll, 5 * time.Minute},
		{&t.Retry, time.Second},
		{&t.MaxRetry, time.Minute},
		{&t.Stall, time.Minute},
		{&t.Note, 10 * time.Second},
		{&t.Progress, 5 * time.Second},
		{&t.Handover, time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return t
}

// Options are what an agent stands on. Those without a default are required.
type Options struct {
	// ThingARN and ThingName are the core's identity.
	ThingARN, ThingName string
	// Folder is the deployment folder, KeyFile the file of trusted signing
	// keys, both absolute.
	Folder, KeyFile string
	// SecretKey is the private key that secrets are sealed for, absolute.
	SecretKey string
	Cloud     Cloud
	Edge      Edge
	Logger    *slog.Logger
	// Connected reports whether the cloud can wake the core over MQTT; nil
	// means never.
	Connected func() bool
	// Certificates returns those that the core depends on; nil means none.
	Certificates func() []Certificate
	// Info returns what the core is, but for what its software reads and serves, which
	// the agent adds; nil means nothing.
	Info func(ctx context.Context) fescue.CoreInfo
	// Site takes what the control plane says of the core's client devices, with each
	// poll; nil takes nothing.
	Site func(corelink.Site)
	// Telemetry takes what the control plane wants of telemetry, with each poll; nil
	// takes nothing.
	Telemetry Telemetry
	// Activity returns what the core does; nil means nothing.
	Activity func() corelink.Activity
	// Plan is what the machine and its operator say of what may run; what else a planner
	// needs the agent adds.
	Plan plan.Options
	// Disk is the machine's file system if nil.
	Disk  disk.FS
	Times Times
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Agent brings deployments onto one core. Make one with New; Run owns it.
type Agent struct {
	Options
	folder  *folder
	inbox   *inbox
	keys    *trust.Keys
	planner *plan.Planner
	sources *sources
	// retry is the pauses after errors.
	retry backoff.Policy

	wake chan struct{}
	// woken is true after a wake, however it was heeded, until the next poll.
	woken atomic.Bool
	ready chan struct{}

	// The rest belongs to the goroutine of Run.

	// overslept says that the agent asks without having been woken, wakesLost that
	// the cloud's wakes do not arrive.
	overslept, wakesLost bool
	// pollPause is how long the cloud has the core not poll while it can be woken, reported
	// what the last poll reported of the core.
	pollPause time.Duration
	reported  pollFacts

	state state
	// work is what is done for the deployment under way.
	work *work
	// unsaved says that the state file is older than state because the last could not be
	// written.
	unsaved bool
	// restored is false while the deployment on disk cannot be verified for
	// want of a key.
	restored bool
	// current is what the core starts from, previous what it goes back to.
	current, previous *deployed
	// unapplied says that current has still to be started.
	unapplied bool
	// resumed says that what is under way was taken up from the disk.
	resumed bool
	// emptied says that an operator put `{}` into group.json.
	emptied bool
	// found are the findings that were logged, lookedAt when they were looked for.
	found    []Finding
	lookedAt time.Time
	// silentUntil is when the core's facts are reported again to a cloud that refused
	// them.
	silentUntil time.Time
}

// New makes an agent. It does nothing before Run.
func New(o Options) *Agent {
	o = o.withDefaults()
	l := layout{o.Folder}
	from := &sources{Cloud: o.Cloud, disk: o.Disk, folder: l.carried()}
	keys := trust.New(trust.Options{Disk: o.Disk, File: o.KeyFile, Source: o.Cloud, Logger: o.Logger})
	f := &folder{
		layout: l, disk: o.Disk, keys: keys, thingARN: o.ThingARN, logger: o.Logger,
		depot: depot.New(depot.Options{
			Disk: o.Disk, Folder: l.store(), Mode: passable, Source: from, Stall: o.Times.Stall, Logger: o.Logger,
		}),
		vault: secrets.New(secrets.Options{
			Disk: o.Disk, Folder: l.secrets(), KeyFile: o.SecretKey, Source: from, Keys: keys, Logger: o.Logger,
		}),
	}
	p := o.Plan
	p.Disk, p.Runner, p.Secrets, p.Logger = o.Disk, o.Edge, f.vault, o.Logger
	p.Code, p.Model, p.Resources, p.Lambdas = f.depot.Path, f.depot.ModelPath, sandbox.HostPath(l.resources()), l.lambdas()
	retry := backoff.Policy{First: o.Times.Retry, Most: o.Times.MaxRetry}
	return &Agent{
		Options: o, folder: f, keys: keys, planner: plan.New(p), sources: from, retry: retry,
		inbox: &inbox{layout: l, disk: o.Disk, keys: keys, logger: o.Logger, retry: retry, now: o.Now},
		wake:  make(chan struct{}, 1),
		ready: make(chan struct{}),
		work:  new(work),
	}
}

func (o Options) withDefaults() Options {
	o.Times = o.Times.withDefaults()
	if o.Certificates == nil {
		o.Certificates = func() []Certificate { return nil }
	}
	if o.Info == nil {
		o.Info = func(context.Context) fescue.CoreInfo { return fescue.CoreInfo{} }
	}
	if o.Site == nil {
		o.Site = func(corelink.Site) {}
	}
	if o.Telemetry == nil {
		o.Telemetry = noTelemetry{}
	}
	if o.Activity == nil {
		o.Activity = func() corelink.Activity { return corelink.Activity{} }
	}
	if o.Connected == nil {
		o.Connected = func() bool { return false }
	}
	if o.Disk == nil {
		o.Disk = disk.Local{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Wake makes the agent ask the cloud soon. It is called when the cloud says over
// MQTT that a deployment waits, and when that connection comes or goes. It never
// waits.
func (a *Agent) Wake() {
	a.woken.Store(true)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Ready is closed when what lies on the disk has been started.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run starts what lies on the disk and then follows the cloud until ctx ends,
// which is no error. The error is a disk that cannot be used at all.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.restore(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	close(a.ready)
	var watching sync.WaitGroup
	defer watching.Wait()
	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	watching.Go(func() { a.inbox.watch(watched, a.Times.Handover, a.wake) })
	failures := 0
	for ctx.Err() == nil {
		began := a.Now()
		again, err := a.step(ctx)
		if err == nil {
			failures = 0
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			failures++
			pause := a.retry.Pause(failures)
			a.Logger.Warn("The deployment agent tries again.", slog.String("errorString", err.Error()), slog.Duration("after", pause))
			// A wake shortens a long pause, but never below the first one.
			if a.sleep(ctx, min(pause, a.Times.Retry)) && pause > a.Times.Retry {
				a.idle(ctx, pause-a.Times.Retry)
			}
		case again:
		case a.unsaved:
			a.idle(ctx, min(a.Times.MaxRetry, a.Times.Poll))
		case a.canBeWoken():
			a.overslept = !a.rest(ctx)
		default:
			// A long poll that is answered at once must not become a storm.
			if passed := a.Now().Sub(began); passed < a.Times.Retry {
				a.idle(ctx, a.Times.Retry-passed)
			}
		}
	}
	return nil
}

// sleep waits and is false when ctx ended before.
func (a *Agent) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// idle waits for a wake, or for d, and reports whether there was a wake.
func (a *Agent) idle(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-a.wake:
		return true
	}
	return false
}

// pollFacts is what a poll reports of a core beside its deployments.
type pollFacts struct {
	info      string
	telemetry fescue.Telemetry
}

// maxPollPause bounds pollPause.
const maxPollPause = 24 * time.Hour

// rest waits until it is time to poll although the core can be woken, and reports whether
// there was a wake. It is time, too, when the core is not what it was.
func (a *Agent) rest(ctx context.Context) (woken bool) {
	if a.pollPause <= a.Times.Poll {
		return a.idle(ctx, a.Times.Poll)
	}
	// Cores that came together do not ask together.
	for left := a.pollPause + rand.N(a.pollPause/2); left > 0 && a.canBeWoken(); left -= a.Times.Poll {
		if a.idle(ctx, min(left, a.Times.Poll)) || ctx.Err() != nil {
			return true
		}
		a.watchFindings()
		if a.facts(a.describe(ctx)) != a.reported {
			break
		}
	}
	return false
}

// describe is what the core is.
func (a *Agent) describe(ctx context.Context) fescue.CoreInfo {
	info := a.Info(ctx)
	info.Formats, info.Findings = bundle.Formats(), a.attention()
	serving := a.planner.Serving()
	info.Unserved, info.Missing = serving.Unserved, serving.Missing
	return info
}

// facts is what a poll has to report.
func (a *Agent) facts(info fescue.CoreInfo) pollFacts {
	f := pollFacts{telemetry: a.Telemetry.Switch()}
	if !a.Now().Before(a.silentUntil) {
		f.info = info.Hash()
	}
	return f
}

// canBeWoken reports whether it is enough to poll now and then.
func (a *Agent) canBeWoken() bool { return a.Connected() && !a.wakesLost }

// oversleep takes note that something waited for the core when it asked without
// having been woken: until a wake comes it waits at the cloud.
func (a *Agent) oversleep() {
	if !a.overslept || !a.canBeWoken() {
		return
	}
	a.wakesLost = true
	a.Logger.Warn("The cloud's word that a deployment waits did not arrive over MQTT; the core polls for deployments until it does. Check the core's IoT policy for iot:Receive.",
		slog.String("topic", corelink.WakeTopic(a.ThingName)))
}

// step does the next thing that is to be done. With again there is more to do
// at once.
func (a *Agent) step(ctx context.Context) (again bool, err error) {
	if taken, err := a.takeCarried(ctx); taken || err != nil {
		return true, err
	}
	if err := a.keys.FirstContact(ctx); err != nil {
		return false, err
	}
	if !a.restored {
		return true, a.restoreDeployment(ctx)
	}
	if err := a.reconcile(ctx); err != nil {
		return false, err
	}
	if a.unsaved {
		a.setState(a.state)
	}
	if err := a.sendUnsent(ctx); err != nil {
		return false, err
	}
	if a.state.Ended != nil {
		return true, a.reportEnd(ctx)
	}
	a.watchFindings() // also while the control plane does not answer
	if a.woken.Swap(false) {
		a.overslept, a.wakesLost = false, false
	}
	wait := corelink.MaxPoll
	if a.canBeWoken() || a.unsaved {
		wait = 0
	}
	info := a.describe(ctx)
	a.reported = a.facts(info)
	poll := corelink.Poll{After: a.state.Epoch, Wait: wait, Formats: info.Formats, Info: a.reported.info, Telemetry: a.reported.telemetry}
	polling, polled := a.inbox.polling(ctx)
	offer, err := a.Cloud.GetDeployment(polling, a.ThingName, poll)
	interrupted := polling.Err() != nil
	polled()
	if err != nil {
		if interrupted && ctx.Err() == nil {
			return true, nil // something was handed over
		}
		return false, err
	}
	a.pollPause = time.Duration(min(max(offer.Rest, 0), int64(maxPollPause/time.Second))) * time.Second
	if offer.WantInfo {
		a.reportCore(ctx, info)
	}
	if offer.Check != nil || offer.DeploymentID != "" {
		a.oversleep()
	}
	a.overslept = false
	if offer.Site != nil {
		a.Site(*offer.Site)
	}
	switched := a.Telemetry.Set(offer.Telemetry)
	a.keys.Notice(ctx, offer.SigningKeyID)
	if offer.Check != nil {
		return true, a.answer(ctx, *offer.Check)
	}
	if offer.DeploymentID == "" {
		return offer.WantInfo || switched, nil
	}
	return true, a.deploy(ctx, offer)
}

// reportCore reports to the cloud what the core is. What waits for the core is not to
// wait for that, so it is left for later when it fails.
func (a *Agent) reportCore(ctx context.Context, info fescue.CoreInfo) {
	if err := a.Cloud.ReportCore(ctx, a.ThingName, info); err != nil {
		a.silentUntil = a.Now().Add(a.Times.Poll)
		a.Logger.Warn("The control plane refused the report on what this core is; it is sent again later.",
			slog.String("errorString", err.Error()), slog.Duration("after", a.Times.Poll))
	}
}
