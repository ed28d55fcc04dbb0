package fescue

import (
	"context"
	"errors"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/corelink"
)

// GroupActivity is the answer of GetGroupActivity.
type GroupActivity struct {
	// Core is nil for a group without one.
	Core *CoreState `json:",omitempty"`
	// Answered reports whether the core answered: it is offline or busy otherwise.
	Answered bool
	// Activity is what it says; nil of a core whose software does not know the
	// question.
	Activity *corelink.Activity `json:",omitempty"`
}

// activityWait is how long a core may take to answer.
const activityWait = 5 * time.Second

func (a *API) getActivity(ctx context.Context, r *restjson.Request, _ nothing) (out GroupActivity, err error) {
	found, err := a.o.Deployments.Activity(ctx, r.Partition, r.Label("GroupId"), activityWait)
	if errors.Is(err, deploy.ErrUnknownGroup) {
		return out, unknownGroup
	}
	return GroupActivity{a.coreState(found.CoreThing, found.Core), found.Answered, found.Says}, err
}
