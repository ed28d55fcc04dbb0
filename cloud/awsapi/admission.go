package awsapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/policy"
)

// admission is how one call is let in: rate, permission, audit record, room. The
// service asks when it knows what the call does; for a large body that is asked
// of its head before.
type admission struct {
	*Handler
	service Service
	name    string
	w       *answer
	r       *http.Request
	call    *Call

	// action is what was admitted last, of admitted.
	action   string
	admitted Target
	// records are of a call that changes something.
	records []audit.Record
	// denial is what foresee found, about target.
	target Target
	denial *Error
}

// admit implements Call.Admit.
func (a *admission) admit(ctx context.Context, t Target) error {
	if err := a.slowDown(a.name, a.call, t); err != nil {
		return err
	}
	a.action, a.admitted = action(a.name, t), t
	denial := a.authorize(ctx, a.name, a.action, a.r, a.call, t)
	if err := a.record(ctx, t, denial); err != nil {
		return err
	}
	if denial != nil {
		return denial
	}
	return a.makeRoom(a.name, t.Operation)
}

// still implements Call.Still.
func (a *admission) still(ctx context.Context) error {
	signer, err := a.Verifier.Signers.Signer(ctx, a.call.KeyID)
	if err != nil {
		return err
	}
	a.call.Caller = signer.Caller
	return a.authorize(ctx, a.name, a.action, a.r, a.call, a.admitted)
}

// covers implements Call.Covers.
func (a *admission) covers(ctx context.Context, arns []string) error {
	for _, arn := range arns {
		covered, err := a.call.Caller.Scope.Covers(ctx, a.Inventory, a.call.Partition, arn)
		if err != nil {
			return err
		}
		if !covered {
			return a.refusal(a.name, a.action, a.call, arn, notCovered)
		}
	}
	return nil
}

// record begins the record of a call that is about to change something, or was
// denied it. A denial too many leaves none.
func (a *admission) record(ctx context.Context, t Target, denial error) error {
	if denial != nil {
		if wire := (*Error)(nil); errors.As(denial, &wire) && !a.mayRefuse(a.call.Caller.Holder) {
			return throttled(a.name, "")
		}
	}
	if !changes(a.name, t) {
		return nil
	}
	record, err := a.beginAudit(ctx, a.name, a.r, a.call, t)
	if err == nil && record != nil {
		a.records = append(a.records, *record)
		a.w.hold()
	}
	return err
}

// foresee sets denial when the head of a request shows that the caller may not do
// what it is about. Its error is for want of room.
func (a *admission) foresee(ctx context.Context) error {
	a.target = a.service.Foresee(a.r, a.call)
	if a.target.Operation == "" {
		return nil
	}
	if err := a.makeRoom(a.name, a.target.Operation); err != nil {
		return err
	}
	act := action(a.name, a.target)
	if a.target.Resource == "" || a.call.Caller.LooksAtTags() && a.target.RequestTags != nil {
		// Only the body shows what is asked whole.
		if !a.call.Caller.MayEver(act) {
			a.denial = a.denied(a.name, act, "*", a.call, policy.ImplicitDeny)
		}
		return nil
	}
	// What cannot be decided now is decided, and answered, when the body is there.
	errors.As(a.authorize(ctx, a.name, act, a.r, a.call, a.target), &a.denial)
	return nil
}

// refuse answers with the denial.
func (a *admission) refuse(ctx context.Context) {
	a.call.Operation = a.target.Operation
	err := a.record(ctx, a.target, a.denial)
	if err == nil {
		err = a.denial
	}
	a.Handler.refuse(a.w, a.r, a.name, a.call, err)
	a.end(ctx)
}

// end writes the records of what was done.
func (a *admission) end(ctx context.Context) {
	if len(a.records) > 0 {
		a.endAudit(ctx, a.name, a.service, a.w, a.records)
	}
}

// mayRefuse takes a refusal from its holder's bucket: a caller's, or an address's.
func (h *Handler) mayRefuse(holder string) bool {
	const burst = 10
	return h.Refusals <= 0 || h.refusals.allow(bucketID{holder: holder}, h.Refusals, burst*h.Refusals, h.Verifier.Clock())
}

// unproven is what a request whose signature proves nobody is answered: err, unless too
// many such came from its address.
func (h *Handler) unproven(r *http.Request, name string, err error) error {
	if refusal := (*sigv4.Error)(nil); errors.As(err, &refusal) && !h.mayRefuse(inbound.Origin(r.RemoteAddr)) {
		return throttled(name, "")
	}
	return err
}
