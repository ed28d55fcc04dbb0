package agent

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
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
	SigningKeys(ctx context.Context) (corelink.SigningKeys, error)
	GetArtifact(ctx context.Context, groupID, deploymentID, hash string, offset int64) (io.ReadCloser, error)
}

// Edge is what runs a deployment on this machine.
type Edge interface {
	// Check says which functions could not run here. It starts nothing.
	Check(ctx context.Context, functions []Function) []Trouble
	// Apply makes exactly this plan run, touching only what changes, and
	// returns when it is being started.
	Apply(ctx context.Context, plan Plan) error
	// WaitReady waits, for as long as it finds right, for what the last Apply
	// started, and gives what did not come up.
	WaitReady(ctx context.Context) []Trouble
	// Reset removes what functions left behind on this machine, such as their
	// logs. Nothing runs when it is called.
	Reset(ctx context.Context) error
}

// Trouble is a function that does not run, and why.
type Trouble struct {
	ARN, Cause string
	// Kind is for what Check finds.
	Kind TroubleKind
	// LastLines are the function's last log lines, oldest first.
	LastLines []string
}

// TroubleKind is why a function could not run here.
type TroubleKind int

// What Check finds.
const (
	// RuntimeMissing: nothing on this machine runs functions of its kind.
	RuntimeMissing TroubleKind = iota
	// Closed: its user may not use a file or a folder that it needs.
	Closed
	// ProgramInvalid: its program or package is not one that can be started.
	ProgramInvalid
)

// code is the deployment's failure.
func (k TroubleKind) code() fescue.FailureCode {
	switch k {
	case Closed:
		return fescue.FunctionClosed
	case ProgramInvalid:
		return fescue.ProgramInvalid
	}
	return fescue.RuntimeMissing
}

// Times are the agent's waits. A zero member takes the default given with it.
type Times struct {
	// Poll is the pause between polls while the cloud can wake the core over
	// MQTT: 5 minutes.
	Poll time.Duration
	// Retry and MaxRetry bound the back-off after an error: 1 s and 60 s.
	Retry, MaxRetry time.Duration
	// Stall is how long a download may be silent: 60 s.
	Stall time.Duration
	// Note bounds a report that nothing waits for: 10 s.
	Note time.Duration
	// Progress is the pause between reports on work that takes longer: 5 s.
	Progress time.Duration
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
	Cloud           Cloud
	Edge            Edge
	Logger          *slog.Logger
	// Connected reports whether the cloud can wake the core over MQTT; nil
	// means never.
	Connected func() bool
	// AllowRoot permits functions with UID or GID 0.
	AllowRoot bool
	// Certificates tells those that the core depends on; nil means none.
	Certificates func() []Certificate
	// Info tells what the core is, but for what its software reads and serves, which
	// the agent adds; nil means nothing.
	Info func(ctx context.Context) fescue.CoreInfo
	// DefaultUID and DefaultGID take the place of ggc_user and ggc_group.
	DefaultUID, DefaultGID *int
	// FunctionUIDs takes the place of DefaultUID; nil where functions share it.
	FunctionUIDs FunctionUIDs
	// Disk is the machine's file system if nil, Accounts its accounts.
	Disk     disk.FS
	Accounts Accounts
	Times    Times
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Agent brings deployments onto one core. Make one with New; Run owns it.
type Agent struct {
	thingARN, thingName    string
	layout                 layout
	keyFile                string
	cloud                  Cloud
	edge                   Edge
	logger                 *slog.Logger
	connected              func() bool
	certificates           func() []Certificate
	info                   func(context.Context) fescue.CoreInfo
	allowRoot              bool
	defaultUID, defaultGID *int
	functionUIDs           FunctionUIDs
	disk                   disk.FS
	accounts               Accounts
	times                  Times
	now                    func() time.Time

	wake chan struct{}
	// woken is true after a wake, however it was heeded, until the next poll.
	woken atomic.Bool
	ready chan struct{}

	// The rest belongs to the goroutine of Run.

	// overslept says that the agent asks without having been woken, unheard that
	// the cloud's wakes do not arrive.
	overslept, unheard bool

	state state
	// work is what is done for the deployment under way.
	work *work
	// stateSaved says that a state file is on the disk, unsaved that it is older
	// than state because the last could not be written.
	stateSaved, unsaved bool
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
	// noticedKey is the signing key that the cloud mentioned last.
	noticedKey string
	// silentUntil is when the cloud, which would not hear what the core is, is to be
	// told again.
	silentUntil time.Time
}

// New makes an agent. It does nothing before Run.
func New(o Options) *Agent {
	a := &Agent{
		thingARN: o.ThingARN, thingName: o.ThingName,
		layout: layout{o.Folder}, keyFile: o.KeyFile,
		cloud: o.Cloud, edge: o.Edge, logger: o.Logger,
		connected: o.Connected, allowRoot: o.AllowRoot,
		defaultUID: o.DefaultUID, defaultGID: o.DefaultGID, functionUIDs: o.FunctionUIDs,
		disk: o.Disk, accounts: o.Accounts, times: o.Times.withDefaults(), now: o.Now,
		wake:  make(chan struct{}, 1),
		ready: make(chan struct{}),
		work:  new(work),
	}
	if a.certificates = o.Certificates; a.certificates == nil {
		a.certificates = func() []Certificate { return nil }
	}
	if a.info = o.Info; a.info == nil {
		a.info = func(context.Context) fescue.CoreInfo { return fescue.CoreInfo{} }
	}
	if a.connected == nil {
		a.connected = func() bool { return false }
	}
	if a.disk == nil {
		a.disk = disk.Local{}
	}
	if a.accounts == nil {
		a.accounts = System{}
	}
	if a.now == nil {
		a.now = time.Now
	}
	return a
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
	retry := backoff{first: a.times.Retry, most: a.times.MaxRetry}
	for ctx.Err() == nil {
		began := a.now()
		again, err := a.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			pause := retry.next()
			a.logger.Warn("The deployment agent tries again.", slog.String("errorString", err.Error()), slog.Duration("after", pause))
			// A wake shortens a long pause, but never below the first one.
			if a.sleep(ctx, min(pause, a.times.Retry)) && pause > a.times.Retry {
				a.idle(ctx, pause-a.times.Retry)
			}
		case again:
			retry.reset()
		case a.unsaved:
			retry.reset()
			a.idle(ctx, min(a.times.MaxRetry, a.times.Poll))
		case a.canBeWoken():
			retry.reset()
			a.overslept = !a.idle(ctx, a.times.Poll)
		default:
			retry.reset()
			// A long poll that is answered at once must not become a storm.
			if passed := a.now().Sub(began); passed < a.times.Retry {
				a.idle(ctx, a.times.Retry-passed)
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

// canBeWoken reports whether it is enough to poll now and then.
func (a *Agent) canBeWoken() bool { return a.connected() && !a.unheard }

// oversleep takes note that something waited for the core when it asked without
// having been woken: until a wake comes it waits at the cloud.
func (a *Agent) oversleep() {
	if !a.overslept || !a.canBeWoken() {
		return
	}
	a.unheard = true
	a.logger.Warn("The cloud's word that a deployment waits did not arrive over MQTT; the core polls for deployments until it does. Check the core's IoT policy for iot:Receive.",
		slog.String("topic", corelink.WakeTopic(a.thingName)))
}

// step does the next thing that is to be done. With again there is more to do
// at once.
func (a *Agent) step(ctx context.Context) (again bool, err error) {
	if err := a.firstContact(ctx); err != nil {
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
	if a.state.Ended != nil {
		return true, a.reportEnd(ctx)
	}
	a.watchFindings() // also while the control plane does not answer
	if a.woken.Swap(false) {
		a.overslept, a.unheard = false, false
	}
	wait := corelink.MaxPoll
	if a.canBeWoken() || a.unsaved {
		wait = 0
	}
	info := a.info(ctx)
	info.Formats, info.Unserved, info.Findings = bundle.Formats(), fescue.UnservedNames(), a.attention()
	poll := corelink.Poll{After: a.state.Epoch, Wait: wait, Formats: info.Formats}
	if !a.now().Before(a.silentUntil) {
		poll.Info = info.Hash()
	}
	offer, err := a.cloud.GetDeployment(ctx, a.thingName, poll)
	if err != nil {
		return false, err
	}
	if offer.WantInfo {
		a.reportCore(ctx, info)
	}
	if offer.Check != nil || offer.DeploymentID != "" {
		a.oversleep()
	}
	a.overslept = false
	a.noticeKey(ctx, offer.SigningKeyID)
	if offer.Check != nil {
		return true, a.answer(ctx, *offer.Check)
	}
	if offer.DeploymentID == "" {
		return offer.WantInfo, nil
	}
	return true, a.deploy(ctx, offer)
}

// reportCore tells the cloud what the core is. What waits for the core is not to
// wait for that, so it is left for later when it fails.
func (a *Agent) reportCore(ctx context.Context, info fescue.CoreInfo) {
	if err := a.cloud.ReportCore(ctx, a.thingName, info); err != nil {
		a.silentUntil = a.now().Add(a.times.Poll)
		a.logger.Warn("The control plane was not told what this core is; it is told again later.",
			slog.String("errorString", err.Error()), slog.Duration("after", a.times.Poll))
	}
}
