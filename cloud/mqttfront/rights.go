package mqttfront

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/policy"
)

// rights are what is known of who connected, as of the last read: a certificate or an
// access key. They are not changed once read.
type rights interface {
	// usable is false for who may no longer be connected.
	usable(now time.Time) bool
	// partition is where the client's topics lie.
	partition() fescue.Partition
	// holder is who the client's sessions count for: the certificate, or the access key,
	// which temporary keys count for as well.
	holder() string
	// things are the names of the things that the client stands for.
	things() []string
	// variables add to a connection's variables what its client id says.
	variables(connection map[string][]string, clientID string) map[string][]string
	// allow decides by the policies. The error says that it cannot.
	allow(r policy.Request) (bool, error)
}

// Certificates.

// certificateRights are those of a principal.
type certificateRights struct{ identity.Principal }

func (r *certificateRights) usable(now time.Time) bool   { return r.Usable(now) }
func (r *certificateRights) partition() fescue.Partition { return r.Partition }
func (r *certificateRights) holder() string              { return r.Certificate.ID }
func (r *certificateRights) things() []string            { return r.Things }

func (r *certificateRights) variables(connection map[string][]string, clientID string) map[string][]string {
	return clientVariables(connection, clientID, &r.Principal)
}

func (r *certificateRights) allow(request policy.Request) (bool, error) {
	return r.Policies.Evaluate(request) == policy.Allowed, nil
}

// byCertificate reads the rights of a certificate.
func (f *Front) byCertificate(ctx context.Context, id string) (rights, error) {
	p, err := f.o.Directory.Principal(ctx, id)
	if err != nil {
		return nil, err
	}
	return &certificateRights{p}, nil
}

// Access keys.

// Keys know who signs with an access key.
type Keys interface {
	// Current reads the key anew. identity.ErrUnknownKey, identity.ErrExpiredKey and
	// pki.ErrSealed end the connections that were opened with it.
	Current(ctx context.Context, id string) (identity.Signer, error)
}

// keyRights are those of an access key in a Region.
type keyRights struct {
	signer    identity.Signer
	in        fescue.Partition
	inventory identity.Inventory
	maxStale  time.Duration
	covered   *coverage
}

// coverageLasts is for how long an answer about a key's limit counts: what groups hold may
// change, which nobody tells.
const coverageLasts = 750 * time.Millisecond

// coverage remembers what a key's limit covers, which may ask the database.
type coverage struct {
	mu      sync.Mutex
	answers map[string]answer // by action and resource
}

// answer says whether something was covered at a time.
type answer struct {
	covered bool
	at      time.Time
}

// maxCovered bounds what is remembered of a key's limit.
const maxCovered = 1024

func (c *coverage) get(question string) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[question]
	return a, ok
}

func (c *coverage) put(question string, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) >= maxCovered {
		clear(c.answers)
	}
	c.answers[question] = a
}

// usable: a key's account may be changed by whoever keeps it.
func (r *keyRights) usable(now time.Time) bool {
	return r.signer.Account == r.in.Account && (r.signer.Ends.IsZero() || now.Before(r.signer.Ends))
}

func (r *keyRights) partition() fescue.Partition { return r.in }
func (r *keyRights) holder() string              { return r.signer.Holder }
func (r *keyRights) things() []string            { return nil }

func (r *keyRights) variables(connection map[string][]string, _ string) map[string][]string {
	return connection
}

func (r *keyRights) allow(request policy.Request) (bool, error) {
	for _, set := range r.signer.Policies {
		if set.Evaluate(request) != policy.Allowed {
			return false, nil
		}
	}
	if len(r.signer.Policies) == 0 || r.signer.Scope == nil {
		return len(r.signer.Policies) > 0, nil
	}
	return r.covers(request)
}

// reading are the actions that change nothing. To connect does: it ends whoever has the
// client id, and a clean session throws away the one that was.
var reading = []string{"iot:Receive", "iot:Subscribe"}

// covers asks the key's limit. While that cannot be asked, its last answer counts for
// maxStale.
func (r *keyRights) covers(request policy.Request) (bool, error) {
	question := request.Action + " " + request.Resource
	at := time.Now()
	last, known := r.covered.get(question)
	if known && at.Sub(last.at) < coverageLasts {
		return last.covered, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), directoryTimeout)
	defer cancel()
	covered, err := r.signer.Scope.Allows(ctx, r.inventory, r.in, identity.Act{
		Action: request.Action, Resource: request.Resource, Changes: !slices.Contains(reading, request.Action),
	})
	if err != nil && known && at.Sub(last.at) < r.maxStale {
		return last.covered, nil
	}
	if err != nil {
		return false, fmt.Errorf("limit of access key %s: %w", r.signer.ID, err)
	}
	r.covered.put(question, answer{covered, at})
	return covered, nil
}

// byKey reads the rights of an access key in a partition, one time after the other.
func (f *Front) byKey(p fescue.Partition) func(ctx context.Context, id string) (rights, error) {
	var last *keyRights
	return func(ctx context.Context, id string) (rights, error) {
		signer, err := f.o.Keys.Current(ctx, id)
		if errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrExpiredKey) || errors.Is(err, pki.ErrSealed) {
			err = fmt.Errorf("%w: %w", fescue.ErrNotFound, err)
		}
		if err != nil {
			return nil, err
		}
		r := &keyRights{signer: signer, in: p, inventory: f.o.Inventory, maxStale: f.o.MaxStale, covered: &coverage{answers: map[string]answer{}}}
		if last != nil && sameLimit(last.signer.Scope, signer.Scope) {
			r.covered = last.covered
		}
		last = r
		return r, nil
	}
}

// sameLimit reports whether two scopes answer alike.
func sameLimit(a, b *identity.Scope) bool {
	return a != nil && b != nil && reflect.DeepEqual(a.Limit, b.Limit)
}
