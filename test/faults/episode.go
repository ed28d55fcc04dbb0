//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
)

// RunsPerEpisode is how many runs are made one after the other on one fresh
// control plane and core.
const RunsPerEpisode = 10

// run is one deployment, sometimes two of them at once, with the trouble that
// comes upon them.
type run struct {
	versions []*version
	// apart is how much later the second deployment is created.
	apart   time.Duration
	strikes []strike
	cancel  cancel
}

// cancel is somebody's wish to stop the first deployment; a zero after means
// that nobody has it.
type cancel struct {
	after time.Duration
	force bool
}

// drawRun draws everything before anything happens, so that a seed always means
// the same.
func drawRun(r *rand.Rand, number int, disk bool) run {
	first := drawVersion(r, fmt.Sprintf("v%d", number), disk)
	u := run{versions: []*version{&first}, apart: time.Duration(r.IntN(800)) * time.Millisecond}
	if second := drawVersion(r, fmt.Sprintf("w%d", number), disk); r.IntN(5) == 0 && !second.reset && !first.reset {
		u.versions = append(u.versions, &second)
	}
	u.strikes = drawStrikes(r, disk)
	return u
}

// drawCancel draws a wish that one run in six has.
func drawCancel(r *rand.Rand) cancel {
	c := cancel{after: time.Duration(1+r.IntN(600)) * time.Millisecond, force: r.IntN(2) == 0}
	if r.IntN(6) > 0 {
		return cancel{}
	}
	return c
}

func (u run) describe() string {
	var text string
	for i, v := range u.versions {
		if i > 0 {
			text += fmt.Sprintf(", %s later ", u.apart)
		}
		text += v.name
	}
	if u.cancel.after > 0 {
		text += fmt.Sprintf("; cancelled after %s, force %t", u.cancel.after, u.cancel.force)
	}
	for _, k := range u.strikes {
		text += fmt.Sprintf("; after %s for %s: %s", k.after.Round(time.Millisecond), k.lasts, k.name)
	}
	return text
}

// suffered reports whether a fault came upon the run.
func (u run) suffered(name string) bool {
	return slices.ContainsFunc(u.strikes, func(k strike) bool { return k.name == name })
}

// misled reports whether a clock was wrong by which deadlines go.
func (u run) misled() bool {
	return slices.ContainsFunc(u.strikes, func(k strike) bool { return k.clock })
}

// restarted reports whether functions may be started again because of what
// happened.
func (u run) restarted() bool {
	return slices.ContainsFunc(u.strikes, func(k strike) bool { return k.restarts })
}

// attempt is a deployment that was created.
type attempt struct {
	*version
	id  string
	end *greengrass.GetDeploymentStatusOutput
}

func (a attempt) status() fescue.DeploymentStatus {
	return fescue.DeploymentStatus(aws.ToString(a.end.DeploymentStatus))
}

func (a attempt) details() string {
	text := aws.ToString(a.end.ErrorMessage)
	for _, d := range a.end.ErrorDetails {
		text += "\n" + aws.ToString(d.DetailedErrorCode) + ": " + aws.ToString(d.DetailedErrorMessage)
	}
	return text
}

// episode plays the runs of one seed. The error is the first promise that was
// broken, with the number of its run.
func episode(ctx context.Context, s *site, programs Programs, seed uint64, runs int, count func(run, []attempt, time.Duration)) error {
	g, err := newGroup(ctx, s, programs)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	m, err := newModel(s)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	// What was added later has a sequence of its own, so that seeds keep their
	// meaning.
	r, wishes, clocks := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	walls, gifts, nodes := rand.New(rand.NewPCG(seed, 3)), rand.New(rand.NewPCG(seed, 4)), rand.New(rand.NewPCG(seed, 5))
	for number := range runs {
		u := drawRun(r, number, s.mounted)
		u.cancel = drawCancel(wishes)
		u.strikes = append(u.strikes, drawRare(clocks, clockFaults)...)
		if s.nodes != nil {
			u.strikes = append(u.strikes, drawRare(nodes, nodeFaults)...)
		}
		for _, v := range u.versions {
			v.contained = walls.IntN(2) == 0 && s.containers
			v.drawResources(gifts, s)
		}
		began := time.Now()
		attempts, err := g.play(ctx, u, m)
		if err == nil {
			err = m.check(ctx, g, u, attempts)
		}
		if err != nil {
			return fmt.Errorf("run %d (%s): %w", number, u.describe(), err)
		}
		count(u, attempts, time.Since(began))
	}
	return m.unchanged(ctx, g)
}

// play makes the deployments of a run while its faults strike, and waits until
// all have ended and everything is well again.
func (g *group) play(ctx context.Context, u run, m *model) ([]attempt, error) {
	var attempts []attempt
	for _, v := range u.versions {
		if err := g.prepare(ctx, v); err != nil {
			return nil, fmt.Errorf("make a version: %w", err)
		}
		if (v.again || v.reset) && m.cleared() {
			continue
		}
		attempts = append(attempts, attempt{version: v})
	}
	var trouble sync.WaitGroup
	for _, k := range u.strikes {
		trouble.Go(func() { k.happen(ctx, g.site) })
	}
	var err error
	for i := range attempts {
		if i > 0 {
			time.Sleep(u.apart)
		}
		if attempts[i].id, err = g.create(ctx, attempts[i].version, m); err != nil {
			err = fmt.Errorf("create a deployment: %w", err)
			break
		}
		if i == 0 && u.cancel.after > 0 {
			trouble.Go(func() { g.stop(ctx, attempts[0].id, u.cancel) })
		}
	}
	trouble.Wait()
	if err != nil {
		return nil, err
	}
	// A run without a deployment ends when a server that was killed is there again.
	err = eventually(ctx, func() error {
		_, err := g.greengrass.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: &g.id})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the server does not come back: %w", err)
	}
	for i := range attempts {
		a := &attempts[i]
		err := eventually(ctx, func() (err error) {
			if a.end, err = g.status(ctx, a.id); err == nil && !a.status().Final() {
				err = fmt.Errorf("deployment %s is %s", a.id, a.status())
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("a deployment does not end: %w", err)
		}
	}
	return attempts, nil
}

// create creates a deployment however often that must be tried: the token makes
// it one.
func (g *group) create(ctx context.Context, v *version, m *model) (id string, err error) {
	token := fescue.NewID()
	err = eventually(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if v.reset {
			out, err := g.greengrass.ResetDeployments(ctx, &greengrass.ResetDeploymentsInput{GroupId: &g.id, AmznClientToken: &token})
			if err == nil {
				id = *out.DeploymentId
			}
			return err
		}
		in := &greengrass.CreateDeploymentInput{GroupId: &g.id, DeploymentType: types.DeploymentTypeNewDeployment, GroupVersionId: &v.groupVersion, AmznClientToken: &token}
		if v.again {
			in.DeploymentType, in.GroupVersionId, in.DeploymentId = types.DeploymentTypeRedeployment, nil, &m.current.id
			v.runs, v.restless = maps.Clone(m.current.runs), m.current.restless
		}
		out, err := g.greengrass.CreateDeployment(ctx, in)
		if err == nil {
			id = *out.DeploymentId
		}
		return err
	})
	return id, err
}

// stop cancels a deployment. Whether that still did anything shows in its status.
func (g *group) stop(ctx context.Context, id string, c cancel) {
	time.Sleep(c.after)
	eventually(ctx, func() error {
		err := g.own(ctx, http.MethodPost, id, "cancel", map[string]bool{"Force": c.force}, nil)
		if errors.Is(err, errEnded) {
			return nil
		}
		return err
	})
}

func (g *group) status(ctx context.Context, id string) (*greengrass.GetDeploymentStatusOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return g.greengrass.GetDeploymentStatus(ctx, &greengrass.GetDeploymentStatusInput{GroupId: &g.id, DeploymentId: &id})
}
