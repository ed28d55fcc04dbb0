package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/agent"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/plan/plantest"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/archive"
)

// gateway is the core's end: a folder, and a record of what was made to run.
type gateway struct {
	info      func(context.Context) fescue.CoreInfo
	telemetry agent.Telemetry
	t         testing.TB
	root      string
	client    agent.Cloud
	log       *testkit.Buffer

	// The agent is made with these.
	disk      disk.FS
	accounts  plan.Accounts
	connected func() bool
	allowRoot bool
	// lacks is what the machine lacks for containers.
	lacks []string
	// private are the core's own folders.
	private      []sandbox.HostPath
	certificates func() []agent.Certificate
	uid, gid     *int
	functionUIDs plan.FunctionUIDs
	times        agent.Times
	// secretKey is the file of the key for secrets.
	secretKey string
	now       func() time.Time

	mu    testkit.Monitor
	plans []plan.Plan
	// sick are the functions that do not get ready, missing those that cannot
	// run here, by ARN.
	sick, missing map[string]string
	// blocked has client devices not served.
	blocked bool
	// kind is what the missing ones lack.
	kind       plan.TroubleKind
	resets     int
	applyError error
	// waiting blocks WaitReady while it is not nil.
	waiting chan struct{}
}

func newGateway(t testing.TB, p *peer) *gateway {
	t.Helper()
	g := &gateway{
		t: t, root: t.TempDir(), client: p.client(), log: new(testkit.Buffer),
		accounts: plantest.Ordinary{},
		sick:     map[string]string{}, missing: map[string]string{},
		times: agent.Times{Retry: time.Millisecond, MaxRetry: 20 * time.Millisecond},
	}
	if err := os.MkdirAll(filepath.Join(g.root, "certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	return g
}

// trust puts the peer's key where an operator would.
func (g *gateway) trust(pem []byte) {
	g.t.Helper()
	if err := os.WriteFile(g.keyFile(), pem, 0o644); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) keyFile() string { return filepath.Join(g.root, "certs", "fescue-signing.pub") }
func (g *gateway) path(parts ...string) string {
	return filepath.Join(append([]string{g.root, "ggc", "deployment"}, parts...)...)
}

// run starts an agent; stop ends it and waits.
func (g *gateway) run() (a *agent.Agent, stop func()) {
	g.t.Helper()
	return g.runUntil(context.Background())
}

func (g *gateway) runUntil(ctx context.Context) (a *agent.Agent, stop func()) {
	g.t.Helper()
	a = g.agent()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				g.t.Errorf("the agent ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			g.t.Error("the agent does not end")
		}
	})
	g.t.Cleanup(stop)
	return a, stop
}

// agent makes an agent on this gateway.
func (g *gateway) agent() *agent.Agent {
	return agent.New(agent.Options{
		ThingARN: coreARN, ThingName: coreName, Folder: g.path(), KeyFile: g.keyFile(), SecretKey: g.secretKey,
		Cloud: g.client, Edge: g, Logger: slog.New(slog.NewTextHandler(g.log, nil)), Connected: g.connected, Certificates: g.certificates, Info: g.info, Telemetry: g.telemetry,
		Plan: plan.Options{Missing: g.lacks, Private: g.private, AllowRoot: g.allowRoot, DefaultUID: g.uid, DefaultGID: g.gid, FunctionUIDs: g.functionUIDs, Accounts: g.accounts},
		Disk: g.disk, Times: g.times, Now: g.now,
	})
}

// await waits until cond, which is called with the gateway locked, holds.
func (g *gateway) await(what string, cond func() bool) {
	g.t.Helper()
	g.mu.Await(g.t, what, cond, func() string { return "log:\n" + g.log.String() })
}

// awaitPlan waits until exactly these functions run.
func (g *gateway) awaitPlan(arns ...string) {
	g.t.Helper()
	g.await(fmt.Sprint("functions ", arns), func() bool {
		return len(g.plans) > 0 && slices.Equal(running(g.plans[len(g.plans)-1]), arns)
	})
}

func running(p plan.Plan) []string {
	list := []string{}
	for _, f := range p.Functions {
		list = append(list, f.ARN)
	}
	return list
}

func (g *gateway) last() plan.Plan {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.plans) == 0 {
		g.t.Fatal("nothing was applied")
	}
	return g.plans[len(g.plans)-1]
}

// applied lists everything that was made to run.
func (g *gateway) applied() []plan.Plan {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.plans)
}

// Check implements agent.Edge.
func (g *gateway) Check(_ context.Context, functions []plan.Function) []plan.Trouble {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []plan.Trouble
	for _, f := range functions {
		if cause, ok := g.missing[f.ARN]; ok {
			list = append(list, plan.Trouble{ARN: f.ARN, Cause: cause, Kind: g.kind})
		}
	}
	return list
}

// Apply implements agent.Edge.
func (g *gateway) Apply(_ context.Context, p plan.Plan) error {
	var err error
	g.mu.Change(func() {
		if err, g.applyError = g.applyError, nil; err == nil {
			g.plans = append(g.plans, p)
		}
	})
	return err
}

// WaitReady implements agent.Edge.
func (g *gateway) WaitReady(ctx context.Context) []plan.Trouble {
	g.mu.Lock()
	waiting := g.waiting
	g.mu.Unlock()
	if waiting != nil {
		select {
		case <-waiting:
		case <-ctx.Done():
			return nil
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []plan.Trouble
	if g.blocked {
		list = append(list, plan.Trouble{Cause: "port 8883: address already in use", Kind: plan.PortTaken})
	}
	for _, f := range g.plans[len(g.plans)-1].Functions {
		if cause, ok := g.sick[f.ARN]; ok {
			list = append(list, plan.Trouble{ARN: f.ARN, Cause: cause, LastLines: []string{"line one", "line two"}})
		}
	}
	return list
}

// Reset implements agent.Edge.
func (g *gateway) Reset(context.Context) error {
	g.mu.Change(func() { g.resets++ })
	return nil
}

func functionARN(name string, version int) string {
	return fmt.Sprintf("arn:aws:lambda:us-east-1:123456789012:function:%s:%d", name, version)
}

// release is a deployment in the making.
type release struct {
	epoch    int64
	kind     fescue.DeploymentType
	packages map[string][]byte // ARN -> zip
	// edit changes the group document before it is hashed, manifest the
	// manifest before it is signed.
	edit     func(*bundle.Group)
	manifest func(*bundle.Manifest)
}

// simple is a release of one Python function.
func simple(t testing.TB, epoch int64, version int) release {
	code := fmt.Sprintf("VERSION = %d\n", version)
	return release{epoch: epoch, packages: map[string][]byte{
		functionARN("hello", version): archive.Zip(t, archive.Member{Name: "app.py", Content: code}, archive.Member{Name: "lib/", Mode: fs.ModeDir | 0o755}, archive.Member{Name: "lib/tool.sh", Content: "#!/bin/sh\n", Mode: 0o777}),
	}}
}

// build puts the artifacts into the peer and makes the manifest.
func (r release) build(p *peer) bundle.Manifest {
	p.t.Helper()
	if r.kind == "" {
		r.kind = fescue.NewDeployment
	}
	m := bundle.Manifest{
		AWS: "aws", Account: "123456789012", Region: "us-east-1",
		GroupID: groupID, DeploymentID: fescue.NewID(), DeploymentType: r.kind,
		CoreThingArn: coreARN, Epoch: r.epoch, CreatedAt: time.Now().UTC().Truncate(time.Second),
	}
	if r.kind == fescue.ResetDeployment || r.kind == fescue.ForceResetDeployment {
		return m
	}
	pinned := true
	group := bundle.Group{Arn: "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/" + groupID + "/versions/" + fescue.NewID()}
	group.Cores = []bundle.Identity{{ThingArn: coreARN}}
	var packages []bundle.Artifact
	for _, arn := range slices.Sorted(maps.Keys(r.packages)) {
		l := bundle.Lambda{FunctionArn: arn, DeploymentConfiguration: bundle.LambdaConfiguration{
			Priority: 1, Pinned: &pinned, Handler: "app.handler", Runtime: "python3.8",
		}}
		l.DeploymentConfiguration.Environment.Execution = &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}
		group.GroupDefinitions.Lambdas.Content = append(group.GroupDefinitions.Lambdas.Content, l)
		hash, size := p.put(r.packages[arn])
		packages = append(packages, bundle.PackageArtifact(arn, hash, size))
	}
	if r.edit != nil {
		r.edit(&group)
	}
	document, err := group.Encode()
	if err != nil {
		p.t.Fatal(err)
	}
	m.Artifacts = append([]bundle.Artifact{bundle.GroupArtifact(p.put(document))}, packages...)
	if r.manifest != nil {
		r.manifest(&m)
	}
	return m
}

// documentOf and packagesOf are the artifacts of a manifest by kind.
func documentOf(m bundle.Manifest) *bundle.Artifact { return &m.Artifacts[0] }

func packagesOf(m bundle.Manifest) []bundle.Artifact { return m.Artifacts[1:] }

// onDisk reads a file of the gateway.
func (g *gateway) onDisk(parts ...string) string {
	g.t.Helper()
	data, err := os.ReadFile(g.path(parts...))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(data)
}

// names lists a folder of the gateway.
func (g *gateway) names(parts ...string) []string {
	g.t.Helper()
	entries, err := os.ReadDir(g.path(parts...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		g.t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
