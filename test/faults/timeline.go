//go:build linux

package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// own calls one of Fescue's own operations on a deployment.
func (g *group) own(ctx context.Context, method, id, operation string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body := []byte{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	url := fmt.Sprintf("http://%s/fescue/v1/groups/%s/deployments/%s/%s", g.api(), g.id, id, operation)
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: programs.KeyID, SecretAccessKey: programs.Secret}
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "greengrass", programs.Region, time.Now()); err != nil {
		return err
	}
	resp, err := g.caller.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode == http.StatusConflict {
		return errEnded
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// errEnded means that a deployment cannot be cancelled any more.
var errEnded = errors.New("the deployment has ended")

// timeline is what GetDeploymentTimeline answers, as far as it is looked at.
type timeline struct {
	DeploymentType   fescue.DeploymentType
	DeploymentStatus fescue.DeploymentStatus
	Epoch            int64
	Steps            []struct {
		Event fescue.DeploymentEvent
		Actor fescue.Actor
		At    time.Time
	}
}

// checkedTimeline checks that a deployment's timeline is a story that the state machine
// allows, in the order of time, to the end that the status says.
func (g *group) checkedTimeline(ctx context.Context, a attempt) (timeline, error) {
	var line timeline
	if err := g.own(ctx, http.MethodGet, a.id, "timeline", nil, &line); err != nil {
		return line, err
	}
	d := fescue.Deployment{Type: line.DeploymentType, Status: fescue.Building}
	var at time.Time
	for i, step := range line.Steps {
		if step.At.Before(at) {
			return line, fmt.Errorf("step %d, %s, is said to be before the one before it", i, step.Event)
		}
		at = step.At
		if i == 0 {
			continue // its creation
		}
		next, err := d.After(step.Actor, fescue.DeploymentStep{Event: step.Event, At: step.At, Epoch: line.Epoch})
		if step.Actor == fescue.CloudActor {
			next.Epoch = line.Epoch
		}
		if err != nil {
			return line, fmt.Errorf("step %d: %w", i, err)
		}
		d = next
	}
	if d.Status != line.DeploymentStatus || d.Status != a.status() {
		return line, fmt.Errorf("the steps lead to %s, the timeline says %s and the status %s", d.Status, line.DeploymentStatus, a.status())
	}
	return line, nil
}

// timelines checks the timelines of a run's deployments, and that the epochs
// rise.
func (m *model) timelines(ctx context.Context, g *group, attempts []attempt) error {
	for _, a := range attempts {
		line, err := g.checkedTimeline(ctx, a)
		if err != nil {
			return fmt.Errorf("the timeline of deployment %s: %w", a.id, err)
		}
		if line.Epoch != 0 && line.Epoch <= m.highest {
			return fmt.Errorf("deployment %s has epoch %d, one before it had %d", a.id, line.Epoch, m.highest)
		}
		m.highest = max(m.highest, line.Epoch)
		if m.current != nil && m.current.id == a.id {
			m.promised = line.Epoch
		}
	}
	return nil
}
