package awsapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/inbound"
)

// Inside is where calls come from that this program makes itself for somebody whom
// something else than a signature has proven, such as a session of the console. They
// go the way of every other: rights, limits, throttling, audit record and metrics.
type Inside struct {
	Handler *Handler
	Signer  identity.Signer
	// Region is that of the calls.
	Region string
	// Origin is the request that has the call made: where it came from is what policies
	// and records see.
	Origin *http.Request
}

// call begins a call.
func (i Inside) call() *Call {
	return &Call{
		RequestID: newRequestID(), KeyID: i.Signer.ID, Caller: i.Signer.Caller,
		Partition: fescue.Partition{AWS: i.Handler.AWS, Account: i.Signer.Account, Region: i.Region},
	}
}

// Serve answers a request for a service. Its body is whole, and no larger than
// DefaultMaxBody.
func (i Inside) Serve(w http.ResponseWriter, r *http.Request, service string) {
	start, h, call := time.Now(), i.Handler, i.call()
	r.RemoteAddr, r.TLS, r.Host = i.Origin.RemoteAddr, i.Origin.TLS, i.Origin.Host
	r.Header.Set("User-Agent", i.Origin.UserAgent())
	answer := &answer{ResponseWriter: w, status: http.StatusOK}
	w.Header().Set(RequestIDHeader, call.RequestID)
	(&admission{Handler: h, service: h.Services[service], name: service, w: answer, r: r, call: call}).carryOut()
	h.Observer.ObserveRequest(service, call.Operation, answer.status, time.Since(start))
}

// May says whether a call would be let in, without making it: for who shows what can be
// done. It leaves no record and counts as no call.
func (i Inside) May(ctx context.Context, service string, t Target) (bool, error) {
	err := i.Handler.authorize(ctx, service, action(service, t), i.Origin, i.call(), t)
	if refusal := (*Error)(nil); errors.As(err, &refusal) {
		return false, nil
	}
	return err == nil, err
}

// MayRefuse takes a refusal from what the address that a request came from may get a
// second: false is one too many, which is answered only that.
func (h *Handler) MayRefuse(r *http.Request) bool {
	return h.mayRefuse(inbound.Origin(r.RemoteAddr))
}
