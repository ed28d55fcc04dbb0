package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/corelink"
)

// checker finds what a deployment would find, without deploying.
type checker struct {
	builder     *builder
	definitions DefinitionStore
	cores       ownedCores
	checks      CheckStore
	presence    Presence

	*waker
	now    func() time.Time
	logger *slog.Logger
}

// ownedCores says which group has a core.
type ownedCores interface {
	CoreOwner(ctx context.Context, p fescue.Partition, thing string) (groupID string, err error)
	GroupCore(ctx context.Context, p fescue.Partition, groupID string) (thing string, err error)
}

// Check is what a dry run of a group version found.
type Check struct {
	// Building is what would fail the deployment in the control plane, Warnings
	// what it would only warn of.
	Building, Warnings []fescue.ErrorDetail
	// CoreThing is the core's thing; empty when the group version has no core
	// that can be known.
	CoreThing string
	Core      cores.LastSeen
	// Asked reports whether the core was asked; it is when it is online and
	// Building is empty.
	Asked bool
	// Answer is what the core says; nil when it did not answer in time.
	Answer *corelink.CheckReport
}

// maxCheckedGroup bounds the group document that is sent to a core to be checked,
// in bytes.
const maxCheckedGroup = 4 << 20

// noContent stands for the hash of a model that a deployment would copy first: no core
// has it, so that it counts as one that is to be fetched.
var noContent = strings.Repeat("0", 64)

// answerPoll is how often a core's answer is looked for.
const answerPoll = 50 * time.Millisecond

// Check finds what deploying a group version would find, without deploying it:
// everything that Building checks, and from a connected core, for at most wait,
// everything that it can find without the packages. The errors are those of
// Create.
func (c *checker) Check(ctx context.Context, p fescue.Partition, groupID, groupVersionID string, wait time.Duration) (Check, error) {
	var out Check
	if !fescue.ValidID(groupID) {
		return out, ErrUnknownGroup
	}
	if _, err := c.definitions.Definition(ctx, p, fescue.GroupKind, groupID); err != nil {
		return out, replace(err, fescue.ErrNotFound, ErrUnknownGroup)
	}
	if !fescue.ValidID(groupVersionID) {
		return out, ErrUnknownVersion
	}
	version, err := c.builder.groupVersion(ctx, p, groupID, groupVersionID)
	if err != nil {
		return out, replace(err, fescue.ErrNotFound, ErrUnknownVersion)
	}
	if version.CoreDefinitionVersionArn == "" {
		return out, ErrNoCore
	}
	r, err := c.builder.resolve(ctx, fescue.Deployment{
		Partition: p, ID: fescue.NewID(), GroupID: groupID, GroupVersionID: groupVersionID, Type: fescue.NewDeployment,
	}, nil)
	if err != nil {
		return out, err
	}
	out.Building, out.Warnings, out.CoreThing = r.problems, r.warnings, r.core.thing
	if out.CoreThing == "" {
		return out, nil
	}
	owner, err := c.cores.CoreOwner(ctx, p, out.CoreThing)
	if err != nil {
		return out, err
	}
	if owner != "" && owner != groupID {
		out.Building = append(out.Building, fescue.CoreInOtherGroup.Detail(out.CoreThing))
	}
	if out.Core, err = c.presence.LastSeen(ctx, p, out.CoreThing); err != nil {
		return out, err
	}
	if len(out.Building) > 0 || !out.Core.Online(c.now()) || wait <= 0 {
		return out, nil
	}
	out.Asked = true
	check, err := r.check()
	if err == nil {
		out.Answer, err = c.ask(ctx, p, r.core.thing, check, wait)
	}
	return out, err
}

// check is the question whether the core could run the group.
func (r *resolved) check() (corelink.Check, error) {
	check := corelink.Check{ID: r.deployment.ID, GroupID: r.deployment.GroupID}
	group, err := r.render().Encode()
	if err == nil && len(group) > maxCheckedGroup {
		err = fmt.Errorf("group document of %d bytes: at most %d are sent to a core to be checked: %w", len(group), maxCheckedGroup, ErrTooLarge)
	}
	check.Group = group
	for _, a := range r.packages() {
		check.Functions = append(check.Functions, corelink.CheckedFunction{ARN: a.Name, SHA256: a.SHA256, Size: a.Size})
	}
	for _, a := range r.archives() {
		check.Models = append(check.Models, corelink.CheckedModel{Resource: a.Name, SHA256: cmp.Or(a.SHA256, noContent), Size: a.Size, Unpack: string(a.Unpack)})
	}
	return check, err
}

// Activity is what a group's core does.
type Activity struct {
	// CoreThing is the core's thing, empty where the group has no core.
	CoreThing string
	Core      cores.LastSeen
	// Answered reports whether the core answered in time; Says is then what, and nil
	// of a core whose software does not know the question.
	Answered bool
	Says     *corelink.Activity
}

// Activity asks a group's core what it does, if it is online. The error is
// ErrUnknownGroup for a group that is not there.
func (c *checker) Activity(ctx context.Context, p fescue.Partition, groupID string, wait time.Duration) (out Activity, err error) {
	if !fescue.ValidID(groupID) {
		return out, ErrUnknownGroup
	}
	if _, err := c.definitions.Definition(ctx, p, fescue.GroupKind, groupID); err != nil {
		return out, replace(err, fescue.ErrNotFound, ErrUnknownGroup)
	}
	out.CoreThing, err = c.cores.GroupCore(ctx, p, groupID)
	if errors.Is(err, fescue.ErrNotFound) {
		return out, nil
	}
	if err == nil {
		out.Core, err = c.presence.LastSeen(ctx, p, out.CoreThing)
	}
	if err != nil || !out.Core.Online(c.now()) {
		return out, err
	}
	answer, err := c.ask(ctx, p, out.CoreThing, corelink.Check{ID: fescue.NewID(), GroupID: groupID, Activity: true}, wait)
	if err == nil && answer != nil {
		out.Answered, out.Says = true, answer.Activity
	}
	return out, err
}

// ask has a core answer a question. Without an answer in time the report is nil.
func (c *checker) ask(ctx context.Context, p fescue.Partition, thing string, check corelink.Check, wait time.Duration) (*corelink.CheckReport, error) {
	request, err := json.Marshal(check)
	if err != nil {
		return nil, err
	}
	if err := c.checks.AskCheck(ctx, p, thing, check.ID, request, c.now().Add(wait)); err != nil {
		return nil, err
	}
	defer func() {
		if err := c.checks.ForgetCheck(context.WithoutCancel(ctx), p, check.ID); err != nil {
			c.logger.Warn("a check that was answered stays until it expires", "check", check.ID, "error", err)
		}
	}()
	c.wakeWith(ctx, p, thing, fmt.Appendf(nil, `{"timestamp":%d,"state":{"checkId":%q,"groupId":%q}}`, c.now().Unix(), check.ID, check.GroupID))
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(answerPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, nil
		case <-tick.C:
		}
		answer, err := c.checks.CheckAnswer(ctx, p, check.ID)
		if err != nil {
			return nil, replaceNil(err)
		}
		if answer != nil {
			var report corelink.CheckReport
			return &report, json.Unmarshal(answer, &report)
		}
	}
}

// replaceNil takes a check that somebody removed for one that was not answered.
func replaceNil(err error) error {
	if errors.Is(err, fescue.ErrNotFound) {
		return nil
	}
	return err
}

// waitingCheck is the check that waits for a core, nil for none.
func (c *checker) waitingCheck(ctx context.Context, p fescue.Partition, thing string) (*corelink.Check, error) {
	_, request, err := c.checks.WaitingCheck(ctx, p, thing)
	if errors.Is(err, fescue.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	check := new(corelink.Check)
	return check, json.Unmarshal(request, check)
}

// Checked takes a core's answer to a check. The errors are fescue.ErrNotFound when
// nobody waits for it, and ErrReport.
func (c *checker) Checked(ctx context.Context, p fescue.Partition, thing, id string, report corelink.CheckReport) error {
	if len(report.Problems)+len(report.Warnings) > maxReportDetails || report.ToFetch < 0 {
		return fmt.Errorf("%w: %d problems, %d warnings, %d bytes", ErrReport, len(report.Problems), len(report.Warnings), report.ToFetch)
	}
	if report.Activity != nil {
		if err := report.Activity.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrReport, err)
		}
	}
	report.Problems, report.Warnings = plainDetails(report.Problems), plainDetails(report.Warnings)
	for _, d := range slices.Concat(report.Problems, report.Warnings) {
		if len(d.DetailedErrorCode)+len(d.DetailedErrorMessage) > maxReportText {
			return fmt.Errorf("%w: a problem of more than %d bytes", ErrReport, maxReportText)
		}
	}
	answer, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return c.checks.AnswerCheck(ctx, p, thing, id, answer)
}
