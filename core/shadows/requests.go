package shadows

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/shadow"
)

// Function is GGShadowService: the system function that functions invoke to read and
// change shadows. The topic stands in the client context. To the caller what is refused
// is a result, too, with the members code and message, for which the SDKs look.
func (s *Service) Function() invoke.Target {
	return invoke.Func(func(ctx context.Context, _ invoke.Worker, call invoke.Call) (invoke.Outcome, error) {
		id, op, err := subject(call.ClientContext)
		if err != nil {
			return invoke.Outcome{}, err
		}
		accepted, refused := s.serve(ctx, id, op, call.Payload)
		s.answer(id, op, accepted, refused)
		if refused != nil {
			accepted = refused
		}
		return invoke.Outcome{Payload: accepted}, nil
	})
}

func subject(clientContext string) (shadow.ID, shadow.Operation, error) {
	var said struct {
		Custom struct {
			Subject string `json:"subject"`
		} `json:"custom"`
	}
	text, err := base64.StdEncoding.DecodeString(clientContext)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	id, op, ok := shadow.ParseTopic(said.Custom.Subject)
	if err != nil || !ok {
		return id, op, fmt.Errorf(`%w: the client context is not {"custom": {"subject": "$aws/things/…/shadow/get"}}, or update or delete in place of get`, invoke.ErrInvalid)
	}
	return id, op, nil
}

// answer publishes the answer to a request, but for that to a change, which is
// published with it.
func (s *Service) answer(id shadow.ID, op shadow.Operation, accepted, refused []byte) {
	switch {
	case refused != nil:
		s.Publish(shadow.Message{Topic: id.Topic(string(op) + "/rejected"), Payload: refused})
	case op == shadow.OpGet:
		s.Publish(shadow.Message{Topic: id.Topic("get/accepted"), Payload: accepted})
	}
}

// Bounds of the requests that wait to be carried out. Of one source as much may wait as is
// free, so that none fills the queue for all others.
const (
	maxRequests     = 1024 // the original's default number of work items
	maxRequestBytes = 2 << 20
)

// ErrFull means that too many requests wait.
var ErrFull = errors.New("too many requests wait for the shadow service")

// queue are the requests that came as messages, oldest first.
type queue struct {
	mu      sync.Mutex
	waiting []router.Message
	// held is what waits, and what places were taken for: of all, and by source.
	held usage
	by   map[string]usage
	// more has an element when something waits.
	more chan struct{}
}

// usage is a number of requests, and the bytes of their payloads.
type usage struct{ requests, bytes int }

func (u usage) plus(v usage) usage { return usage{u.requests + v.requests, u.bytes + v.bytes} }

// fits says whether one more request fits. A first one does, however large it is.
func (u usage) fits(size, requests, bytes int) bool {
	return u.requests < requests && (u.requests == 0 || u.bytes+size <= bytes)
}

// add counts what a source takes, or gives back; the caller holds mu.
func (q *queue) add(source string, more usage) {
	q.held = q.held.plus(more)
	if q.by[source] = q.by[source].plus(more); q.by[source] == (usage{}) {
		delete(q.by, source)
	}
}

// Reserve implements router.Endpoint. A message that is no request is taken and of no
// effect.
func (s *Service) Reserve(_ context.Context, _ string, m router.Message) (func(deliver bool), error) {
	if _, _, ok := shadow.ParseTopic(m.Topic); !ok {
		return func(bool) {}, nil
	}
	q := &s.requests
	q.mu.Lock()
	defer q.mu.Unlock()
	size := len(m.Payload)
	if !q.held.fits(size, maxRequests, maxRequestBytes) {
		return nil, ErrFull
	}
	if !q.by[m.Source].fits(size, maxRequests-q.held.requests, maxRequestBytes-q.held.bytes) {
		return nil, fmt.Errorf("%w: the share of %s is full", ErrFull, m.Source)
	}
	q.add(m.Source, usage{1, size})
	return func(deliver bool) {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !deliver {
			q.add(m.Source, usage{-1, -size})
			return
		}
		q.waiting = append(q.waiting, m)
		signal(q.more)
	}, nil
}

// take gives the next request, and gives back its place.
func (q *queue) take() (m router.Message, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.waiting = nil
		return m, false
	}
	m = q.waiting[0]
	q.waiting[0] = router.Message{}
	q.waiting = q.waiting[1:]
	q.add(m.Source, usage{-1, -len(m.Payload)})
	return m, true
}

// Run carries out the requests that come as messages, one after another, until ctx
// ends and those that came before are done.
func (s *Service) Run(ctx context.Context) {
	for {
		for m, ok := s.requests.take(); ok; m, ok = s.requests.take() {
			id, op, _ := shadow.ParseTopic(m.Topic)
			// What was taken is carried out.
			accepted, refused := s.serve(context.WithoutCancel(ctx), id, op, m.Payload)
			s.answer(id, op, accepted, refused)
		}
		select {
		case <-s.requests.more:
		case <-ctx.Done():
			if len(s.requests.more) == 0 {
				return
			}
		}
	}
}
