// Package credentials is the core's half of the token exchange: it has for the
// functions of the group temporary keys of the group's role, from the control plane or
// from an AWS IoT credentials endpoint, and keeps them in memory until they are to be
// renewed. It knows neither who asks nor the form in which functions ask.
package credentials

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/fescue-edge/fescue/corelink"
)

// Source gives new keys for the role of a group.
type Source interface {
	// Credentials of a refusal is a *corelink.StatusError.
	Credentials(ctx context.Context, groupID string) (corelink.Credentials, error)
}

// Times of the exchange, as AWS's own has them.
const (
	// renewal is how long before their end keys are renewed.
	renewal = 5 * time.Minute
	// refusedFor is how long a refusal is given again without asking, failedFor the
	// same for every other error.
	refusedFor = 2 * time.Minute
	failedFor  = 10 * time.Second
	// fetchTimeout bounds the wait for an answer.
	fetchTimeout = 30 * time.Second
)

// Error is why there are no keys, with the HTTP status for it.
type Error struct {
	Status int
	Text   string
}

// Error is the text.
func (e *Error) Error() string { return e.Text }

// errMeanwhile is answered to who asked for a group that does not run any more.
var errMeanwhile = &Error{http.StatusServiceUnavailable, "another group was deployed meanwhile; try again"}

// Exchange keeps the keys of the group that runs. Make one with New.
type Exchange struct {
	source Source
	now    func() time.Time
	flight singleflight.Group

	mu    sync.Mutex
	group string
	// held are the keys, without an id for none. failed is the last error, which is
	// answered until retry.
	held   corelink.Credentials
	failed *Error
	retry  time.Time
}

// New makes an exchange for no group.
func New(source Source, now func() time.Time) *Exchange { return &Exchange{source: source, now: now} }

// Use has functions get keys for the role that a group has now; those of before are
// forgotten.
func (x *Exchange) Use(groupID string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.group, x.held, x.failed = groupID, corelink.Credentials{}, nil
}

// ErrOtherGroup means that another group runs than keys were asked for.
var ErrOtherGroup = errors.New("another group is deployed")

// GetFor is Get for a group, while it is the one that runs; else ErrOtherGroup.
func (x *Exchange) GetFor(ctx context.Context, groupID string) (corelink.Credentials, error) {
	x.mu.Lock()
	group := x.group
	x.mu.Unlock()
	if group != groupID {
		return corelink.Credentials{}, ErrOtherGroup
	}
	return x.get(ctx, groupID)
}

// Get is keys that are good for a while. While they cannot be renewed they are given
// until they end. The error is an *Error, or that of ctx.
func (x *Exchange) Get(ctx context.Context) (corelink.Credentials, error) {
	x.mu.Lock()
	group := x.group
	x.mu.Unlock()
	if group == "" {
		return corelink.Credentials{}, &Error{http.StatusNotFound, "no group is deployed on this core"}
	}
	return x.get(ctx, group)
}

// get is keys for a group, never those of another that was deployed meanwhile.
func (x *Exchange) get(ctx context.Context, group string) (corelink.Credentials, error) {
	x.mu.Lock()
	now, held, failed := x.group, x.held, x.failed
	left, wait := held.Expiration.Sub(x.now()), x.retry.Sub(x.now())
	x.mu.Unlock()
	switch {
	case now != group:
		return corelink.Credentials{}, errMeanwhile
	case held.AccessKeyID != "" && left > renewal:
		return held, nil
	case failed != nil && wait > 0 && wait <= refusedFor:
		if left > 0 {
			return held, nil
		}
		return corelink.Credentials{}, failed
	}
	// One request for all who ask; it goes on when one of them goes.
	result := x.flight.DoChan(group, func() (any, error) { return x.fetch(context.WithoutCancel(ctx), group) })
	select {
	case <-ctx.Done():
		return corelink.Credentials{}, ctx.Err()
	case r := <-result:
		if r.Err != nil && left > 0 {
			return held, nil
		}
		return r.Val.(corelink.Credentials), r.Err
	}
}

// fetch asks the source.
func (x *Exchange) fetch(ctx context.Context, group string) (corelink.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	got, err := x.source.Credentials(ctx, group)
	if err == nil && (got.AccessKeyID == "" || got.SecretAccessKey == "" || !got.Expiration.After(x.now())) {
		err = errors.New("the answer has no keys, or such that have ended by this machine's clock")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.group != group {
		return corelink.Credentials{}, errMeanwhile
	}
	if err == nil {
		x.held, x.failed = got, nil
		return got, nil
	}
	failed, again := failure(err)
	x.failed, x.retry = failed, x.now().Add(again)
	return corelink.Credentials{}, x.failed
}

// failure is an error in the terms of HTTP, and how long it is answered.
func failure(err error) (*Error, time.Duration) {
	var refused *corelink.StatusError
	switch {
	case errors.As(err, &refused) && refused.HTTPStatus < http.StatusInternalServerError:
		return &Error{refused.HTTPStatus, refused.Message}, refusedFor
	case errors.As(err, &refused):
		return &Error{refused.HTTPStatus, refused.Message}, failedFor
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{http.StatusGatewayTimeout, "no answer to the core's request for credentials came in time"}, failedFor
	}
	return &Error{http.StatusServiceUnavailable, "the core cannot get credentials now: " + err.Error()}, failedFor
}
