package deploy_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

func TestMain(m *testing.M) {
	os.Exit(failurecoverage.Check(pgtest.Run(m), []string{"."}, "features.go", "resources.go"))
}

// The model of what the services promise: groups, whose versions only grow in
// number, deployments that end once, and cores that one group owns at a time.
type (
	modelGroup struct {
		id          string
		gone        bool
		versions    []modelVersion
		deployments []*modelDeployment // oldest first
	}
	// modelVersion is a version of a group that names a core.
	modelVersion    struct{ id, thing string }
	modelDeployment struct {
		group   *modelGroup
		id      string
		of      modelVersion // of a reset the core alone
		reset   bool
		status  fescue.DeploymentStatus
		claimed bool
	}
	model struct {
		groups []*modelGroup
		owner  map[string]*modelGroup      // of cores
		ran    map[string]*modelDeployment // what succeeded last on each core
		bodies map[string]json.RawMessage  // of group versions, by core
	}
)

func (g *modelGroup) unfinished() bool {
	return slices.ContainsFunc(g.deployments, func(d *modelDeployment) bool { return d.status == fescue.InProgress })
}

// core is the one that a group owns.
func (m *model) core(g *modelGroup) string {
	for thing, owner := range m.owner {
		if owner == g {
			return thing
		}
	}
	return ""
}

// underWay is what has not ended and is for a core or, on whatever core, of a group.
func (m *model) underWay(thing string, of *modelGroup) (list []*modelDeployment) {
	for _, g := range m.groups {
		for _, d := range g.deployments {
			if (g == of || d.of.thing == thing) && d.status == fescue.InProgress {
				list = append(list, d)
			}
		}
	}
	return list
}

// offer is what becomes of a deployment that is built.
func (m *model) offer(d *modelDeployment) {
	if owner := m.owner[d.of.thing]; owner != nil && owner != d.group {
		d.status = fescue.Failure
		return
	}
	for _, other := range m.underWay(d.of.thing, d.group) {
		if !other.claimed {
			other.status = fescue.Failure
		}
	}
	d.status = fescue.InProgress
}

// giveBack frees the core of a deployment that failed and that runs nothing of the
// group; the core on which the group runs is its own again.
func (m *model) giveBack(d *modelDeployment) {
	var runs *modelDeployment
	for _, other := range d.group.deployments {
		if other.status == fescue.Success {
			runs = other
		}
	}
	if runs != nil && runs.reset {
		runs = nil
	}
	if m.owner[d.of.thing] != d.group || runs != nil && runs.of.thing == d.of.thing {
		return
	}
	for _, other := range d.group.deployments {
		if other.of.thing == d.of.thing && other.claimed && other.status == fescue.InProgress {
			return
		}
	}
	delete(m.owner, d.of.thing)
	if runs != nil && m.owner[runs.of.thing] == nil && m.ran[runs.of.thing] == runs {
		m.owner[runs.of.thing] = d.group
	}
}

// play drives the services and the model by the same steps.
type play struct {
	*site
	model
	random      *rand.Rand
	engines     []*deploy.Engine
	definitions *definitions.Service
	done        []string
}

func (p *play) group() *modelGroup     { return p.groups[p.random.IntN(len(p.groups))] }
func (p *play) engine() *deploy.Engine { return p.engines[p.random.IntN(len(p.engines))] }

// wants checks what a call said.
func (p *play) wants(err, want error) bool {
	p.t.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		p.t.Fatalf("error %v, want %v", err, want)
	}
	return want == nil
}

// take has the model know a deployment that was accepted, once it is built.
func (p *play) take(g *modelGroup, made fescue.Deployment, d *modelDeployment) *modelDeployment {
	p.t.Helper()
	d.id, d.group = p.built(made).ID, g
	g.deployments = append(g.deployments, d)
	return d
}

// steps are what may happen, by name.
var steps = map[string]func(p *play){
	"a version is made": func(p *play) {
		g, thing := p.group(), []string{"Shared", "Own"}[p.random.IntN(2)]
		v, err := p.definitions.AddVersion(p.t.Context(), home, fescue.GroupKind, g.id, p.bodies[thing], fescue.Token{})
		if want := map[bool]error{true: fescue.ErrNotFound}[g.gone]; p.wants(err, want) {
			g.versions = append(g.versions, modelVersion{v.ID, thing})
		}
	},
	"the group is deleted": func(p *play) {
		g := p.group()
		var want error
		switch {
		case g.gone:
			want = fescue.ErrNotFound
		case p.core(g) != "" || g.unfinished():
			want = fescue.ErrInUse
		}
		if p.wants(p.store.Definitions().DeleteDefinition(p.t.Context(), home, fescue.GroupKind, g.id), want) {
			g.gone = true
		}
	},
	"a version is deployed": func(p *play) {
		g := p.group()
		version, want := g.versions[p.random.IntN(len(g.versions))], error(nil)
		if p.random.IntN(8) == 0 {
			version.id, want = fescue.NewID(), deploy.ErrUnknownVersion
		}
		if g.gone {
			want = deploy.ErrUnknownGroup
		}
		made, err := p.engine().Create(p.t.Context(), home, g.id, fescue.NewDeployment, version.id, "", fescue.Token{})
		if p.wants(err, want) {
			p.offer(p.take(g, made, &modelDeployment{of: version}))
		}
	},
	"a deployment is repeated": func(p *play) {
		g, of := p.group(), p.group()
		if len(of.deployments) == 0 {
			return
		}
		earlier := of.deployments[p.random.IntN(len(of.deployments))]
		made, err := p.engine().Create(p.t.Context(), home, g.id, fescue.Redeployment, "", earlier.id, fescue.Token{})
		var refusal *deploy.TypeError
		switch {
		case g.gone:
			p.wants(err, deploy.ErrUnknownGroup)
		case of != g || earlier.reset:
			if !errors.As(err, &refusal) {
				p.t.Fatalf("error %v", err)
			}
		default:
			p.wants(err, nil)
			if made.GroupVersionID != earlier.of.id {
				p.t.Fatalf("version %s is deployed again, not %s", made.GroupVersionID, earlier.of.id)
			}
			p.offer(p.take(g, made, &modelDeployment{of: earlier.of}))
		}
	},
	"deployments are reset": func(p *play) {
		g := p.group()
		var want error
		switch {
		case g.gone:
			want = deploy.ErrUnknownGroup
		case g.unfinished():
			want = deploy.ErrUnfinished
		case p.core(g) == "":
			want = deploy.ErrNotDeployed
		}
		made, err := p.engine().Reset(p.t.Context(), home, g.id, false, fescue.Token{})
		if p.wants(err, want) {
			p.offer(p.take(g, made, &modelDeployment{reset: true, of: modelVersion{thing: p.core(g)}}))
		}
	},
	"deployments are reset by force": func(p *play) {
		g := p.group()
		made, err := p.engine().Reset(p.t.Context(), home, g.id, true, fescue.Token{})
		if want := map[bool]error{true: deploy.ErrUnknownGroup}[g.gone]; p.wants(err, want) {
			thing := p.core(g)
			for _, d := range p.underWay(cmp.Or(thing, "none"), g) {
				d.status = fescue.Failure
			}
			delete(p.owner, thing)
			d := p.take(g, made, &modelDeployment{reset: true})
			d.status = fescue.Success
			p.ran[thing] = d
		}
	},
	"a core goes on": func(p *play) {
		list := p.underWay([]string{"Shared", "Own"}[p.random.IntN(2)], nil)
		if len(list) == 0 {
			return
		}
		d := list[0] // the oldest, as cores do
		stored := p.read(fescue.Deployment{GroupID: d.group.id, ID: d.id})
		event := fescue.EventSucceeded
		switch {
		case !d.claimed:
			event = fescue.EventClaimed
			if d.claimed = true; !d.reset {
				delete(p.owner, p.core(d.group))
				p.owner[d.of.thing] = d.group
			}
		case p.random.IntN(3) == 0:
			event, d.status = fescue.EventFailed, fescue.Failure
			p.giveBack(d)
		default:
			p.ran[d.of.thing] = d
			if d.status = fescue.Success; d.reset && p.owner[d.of.thing] == d.group {
				delete(p.owner, d.of.thing)
			}
		}
		p.reports(stored, event)
	},
}

// agrees compares everything that can be seen.
func (p *play) agrees() {
	p.t.Helper()
	ctx := p.t.Context()
	for i, g := range p.groups {
		d, err := p.store.Definitions().Definition(ctx, home, fescue.GroupKind, g.id)
		if g.gone != errors.Is(err, fescue.ErrNotFound) {
			p.t.Fatalf("group %d: gone %v in the model, %v", i, g.gone, err)
		}
		if !g.gone && d.LatestVersion != g.versions[len(g.versions)-1].id {
			p.t.Fatalf("group %d: the latest version is %s", i, d.LatestVersion)
		}
		list, err := p.engine().Deployments(ctx, home, g.id, fescue.Page{Limit: 1000})
		if err != nil || len(list) != len(g.deployments) {
			p.t.Fatalf("group %d: %d deployments, want %d, %v", i, len(list), len(g.deployments), err)
		}
		for n, want := range g.deployments {
			got := list[len(list)-1-n]
			read, err := p.engine().Status(ctx, home, g.id, want.id)
			if err != nil || got.ID != want.id || got.Status != want.status || read.Status != want.status || got.GroupVersionID != want.of.id {
				p.t.Fatalf("group %d, deployment %d: %s, read %s, %q, %v; want %s", i, n, got.Status, read.Status, got.ErrorMessage, err, want.status)
			}
		}
		var owner string
		if !g.gone {
			owner = p.core(g)
		}
		if thing, err := p.store.Cores().GroupCore(ctx, home, g.id); !g.unfinished() && thing != owner {
			p.t.Fatalf("group %d owns the core %q, want %q, %v", i, thing, owner, err)
		}
	}
}

// TestModel: whatever order versions, deletions, deployments, resets and
// redeployments come in, through two servers, the services agree with the model.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.Postgres} {
		for _, seed := range []uint64{1, 2, 1795990618469863628, uint64(time.Now().UnixNano())} {
			t.Run(fmt.Sprint(name, " seed ", seed), func(t *testing.T) {
				t.Parallel()
				p := &play{site: openOn(t, database(t)), random: rand.New(rand.NewPCG(seed, 0))}
				p.owner, p.ran = make(map[string]*modelGroup), make(map[string]*modelDeployment)
				p.engines = []*deploy.Engine{p.Engine, p.another(nil)}
				for _, e := range p.engines {
					p.run(e)
				}
				p.definitions = definitions.New(p.store.Definitions(), time.Now)
				p.bodies = make(map[string]json.RawMessage)
				shared := p.mill("Shared") // two groups want one core
				for i, g := range []group{shared, shared, p.mill("Own")} {
					id, version := p.create(g)
					v, err := p.store.Definitions().Version(t.Context(), home, fescue.GroupKind, id, version)
					if err != nil {
						t.Fatal(err)
					}
					thing := []string{"Shared", "Shared", "Own"}[i]
					p.bodies[thing] = v.Body
					p.groups = append(p.groups, &modelGroup{id: id, versions: []modelVersion{{version, thing}}})
				}
				defer func() {
					if t.Failed() {
						t.Logf("seed %d, after: %v", seed, p.done)
					}
				}()
				names := make([]string, 0, len(steps))
				for name := range steps {
					names = append(names, name)
				}
				slices.Sort(names)
				end := time.Now().Add(20 * time.Second)
				for range 300 {
					name := names[p.random.IntN(len(names))]
					if name == "the group is deleted" && p.random.IntN(4) != 0 {
						name = "a core goes on" // or all groups are soon gone
					}
					p.done = append(p.done, name)
					steps[name](p)
					if p.agrees(); time.Now().After(end) {
						t.Logf("%d steps until the time was over", len(p.done))
						break
					}
				}
			})
		}
	}
}
