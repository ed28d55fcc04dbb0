package awsapi

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/websocket"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/inbound"
)

// Observer is notified of each request that was answered.
type Observer interface {
	// ObserveRequest gets the signing name, the operation (empty when the
	// request got no further than authentication), the HTTP status and the time
	// from the request's header to the end of the answer.
	ObserveRequest(service, operation string, status int, took time.Duration)
}

// Options is what a Handler is made of.
type Options struct {
	Verifier *sigv4.Verifier
	// AWS is the first part of every ARN.
	AWS string
	// DefaultRegion stands in for the Region of the global services, whose
	// credential scope names any.
	DefaultRegion string
	// Services by signing name.
	Services map[string]Service
	// Inventory looks up what limits and conditions ask about; nil knows no group.
	Inventory identity.Inventory
	// Room says why nothing new can be kept now; nil never does.
	Room func() error
	// Space says why there is no room for so many bytes of large bodies; nil never
	// does.
	Space func(bytes int64) error
	// Rates limit how often a key may call; nil does not. For this and what follows
	// temporary keys count as the one that they are from.
	Rates Rates
	// Refusals is how many refusals a second a key, or an address that proves none,
	// is answered; further ones are throttled. Ten times as many may come at
	// once. Zero is any number. What is served does not count.
	Refusals float64
	// Audit keeps the record of calls that change something; nil keeps none.
	Audit Audit
	// Calls is how many calls of a key may be under way, slow downloads and waiting
	// ones among them; zero is any number.
	Calls int
	// Messages speaks MQTT with callers who come over a WebSocket; nil refuses them.
	// WebSockets is how many there may be, of which one key may have half; zero is any
	// number.
	Messages   Messages
	WebSockets int
	// SpoolDir holds large bodies while they are read.
	SpoolDir string
	Observer Observer
	Logger   *slog.Logger
}

// Handler is the AWS endpoint: one for all services.
type Handler struct {
	Options
	bodies   *bodies
	calls    inbound.Portions
	throttle throttle
	refusals throttle

	webSockets inbound.Portions
}

// New makes a handler.
func New(o Options) *Handler { return &Handler{Options: o, bodies: newBodies()} }

// ServeHTTP authenticates a request and hands it to its service. What can be decided
// by the head is decided before a large body is read: key, date, scope, the
// signature where the head has the body's hash, the operation, the caller's right
// to it, and room. Nothing acts on the request before the signature is checked.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	x := begin(w)
	if h.Messages != nil && r.URL.Path == MessagesPath && websocket.Wanted(r) {
		h.serveMessages(&x.answer, r, &x.call, start)
		return
	}
	name := h.serve(x, r)
	h.Observer.ObserveRequest(name, x.call.Operation, x.answer.status, time.Since(start))
}

// exchange is all that there is for one request, in one piece of memory.
type exchange struct {
	call      Call
	answer    answer
	admission admission
	body      bodyReader
	id        [1]string // the header's
}

// begin names a request, in its answer too.
func begin(w http.ResponseWriter) *exchange {
	x := &exchange{answer: answer{ResponseWriter: w, status: http.StatusOK}}
	x.call.RequestID = newRequestID()
	x.id[0] = x.call.RequestID
	w.Header()[RequestIDHeader] = x.id[:]
	return x
}

// newRequestID makes one that no other request has. It is no secret.
func newRequestID() string {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4, RFC 9562
	return id.String()
}

// unknown stands in metrics for what is not known to be for a service: callers without a key
// choose the names.
const unknown = "unknown"

// RequestIDHeader is on every answer: x-amzn-RequestId, as net/http writes it.
const RequestIDHeader = "X-Amzn-Requestid"

func (h *Handler) serve(x *exchange, r *http.Request) (name string) {
	w, call := &x.answer, &x.call
	pending, err := h.Verifier.Begin(r)
	if err != nil {
		name := h.addressed(r, sigv4.ScopeService(r))
		h.refuse(w, r, name, call, h.unproven(r, name, err))
		return unknown
	}
	name = h.addressed(r, pending.Service)
	service, ok := h.Services[name]
	if !ok {
		h.refuse(w, r, name, call, refuseIn(wire.NotServed, spoken(r), fmt.Sprintf(
			"Fescue does not serve the AWS service %q. docs/api-coverage.md lists those that it serves.", pending.Service)))
		return unknown
	}
	if !pending.NeedsBody() {
		if err := pending.VerifyHeader(); err != nil {
			h.refuse(w, r, name, call, h.unproven(r, name, err))
			return name
		}
	}
	h.identify(call, pending)
	call.service = name
	a, incoming := &x.admission, &x.body
	*a = admission{Handler: h, service: service, name: name, w: w, r: r, call: call}
	err = h.openBody(incoming, r, name, service, pending)
	if err == nil && !incoming.small() {
		err = a.foresee(r.Context())
	}
	if err != nil {
		h.refuse(w, r, name, call, err)
		return name
	}
	if a.denial != nil && incoming.proven {
		a.refuse(r.Context())
		return name
	}
	// For whom it is not proven yet the body is read, but not kept: the signature
	// comes before the denial, which says whose key it is.
	body, err := incoming.read(r.Context(), a.denial == nil)
	if err != nil {
		h.refuse(w, r, name, call, h.unproven(r, name, err))
		return name
	}
	defer body.Close()
	if err := pending.Verify(body.sum); err != nil {
		h.refuse(w, r, name, call, h.unproven(r, name, err))
		return name
	}
	if a.denial != nil {
		a.refuse(r.Context())
		return name
	}
	call.PathNormalized = pending.PathNormalized
	r.Body, r.Trailer = body, pending.Trailer()
	a.carryOut()
	return name
}

// carryOut has the service answer a request whose sender is proven, if it may.
func (a *admission) carryOut() {
	if a.Calls > 0 {
		if !a.calls.Take(a.call.Caller.Holder, 1, int64(a.Calls), math.MaxInt64) {
			a.Handler.refuse(a.w, a.r, a.name, a.call, throttled(a.name, fmt.Sprintf("%d calls of this access key and its temporary keys are under way. Try again when one has ended.", a.Calls)))
			return
		}
		defer a.calls.Give(a.call.Caller.Holder, 1)
	}
	a.call.admission = a
	a.service.ServeCall(a.w, a.r, a.call)
	a.end(a.r.Context())
}

// identify fills in who calls. It is proven when the signature is verified.
func (h *Handler) identify(call *Call, pending *sigv4.Pending) {
	region := pending.Region
	if !slices.Contains(h.Verifier.Regions, region) {
		region = h.DefaultRegion // iam and sts: every other service was refused
	}
	signer := pending.Signer
	call.Partition = fescue.Partition{AWS: h.AWS, Account: signer.Account, Region: region}
	call.KeyID, call.Caller = signer.ID, signer.Caller
}

// WantHTTPS refuses a request that came in plain text to a port of TLS, in the form
// that its client reads. Nothing of it is looked at but that.
func (h *Handler) WantHTTPS(w http.ResponseWriter, r *http.Request) {
	x := begin(w)
	h.refuse(&x.answer, r, h.addressed(r, sigv4.ScopeService(r)), &x.call, &Error{
		Status: http.StatusBadRequest, Code: "InvalidRequest",
		Message: fmt.Sprintf("This port speaks HTTPS, and the request came as HTTP: have the endpoint URL begin with https://, for example AWS_ENDPOINT_URL=https://%.255s", r.Host),
	})
}

// refuse answers in the form of the named service, or for one that is not served
// in that of the request's protocol.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, name string, call *Call, err error) {
	service, ok := h.Services[name]
	if !ok {
		name = spoken(r)
		service, ok = h.Services[name]
	}
	var wire *Error
	var unsigned *sigv4.Error
	switch {
	case errors.As(err, &wire):
	case busy(name, call.Operation, err) != nil:
		wire = busy(name, call.Operation, err)
		h.Logger.Warn("request not authenticated", "request", call.RequestID, "error", err)
	case errors.As(err, &unsigned):
		refused := unsigned.In(name)
		wire = &Error{Status: refused.Status, Code: refused.Code, Message: refused.Message}
	default:
		if !errors.Is(err, context.Canceled) {
			h.Logger.Error("request not authenticated", "request", call.RequestID, "error", err)
		}
		wire = &Error{
			Status: http.StatusInternalServerError, Code: "InternalFailure",
			Message: internalText(err, "The server could not check the request's signature. Its log has the request id and the cause."),
		}
	}
	if !ok {
		writePlain(w, wire)
		return
	}
	service.WriteError(w, wire)
}

// writePlain answers in REST-JSON's form, for requests of no known service.
func writePlain(w http.ResponseWriter, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-amzn-ErrorType", e.Code)
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(map[string]string{"message": e.Message})
}
