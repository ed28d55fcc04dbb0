package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/sigv4"
)

// Observer is told of each request that was answered.
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
	// Callers tells who signs, and with it what a call may do.
	Callers Callers
	// Groups tells the tags of groups; nil knows no group.
	Groups Groups
	// Room says why nothing new can be kept now; nil never does.
	Room func() error
	// Rates limit how often a key may call; nil does not.
	Rates Rates
	// Audit keeps the record of calls that change something; nil keeps none.
	Audit Audit
	// SpoolDir holds large bodies while they are read.
	SpoolDir string
	Observer Observer
	Logger   *slog.Logger
}

// Handler is the AWS endpoint: one for all services.
type Handler struct {
	Options
	spools   *semaphore.Weighted
	throttle throttle
}

// Body limits.
const (
	// memoryBody is how much of a body is kept in memory; what is larger goes to
	// a file.
	memoryBody = DefaultMaxBody
	// maxSpools bounds the large bodies that are read at once.
	maxSpools = 4
)

// New makes a handler.
func New(o Options) *Handler {
	return &Handler{Options: o, spools: semaphore.NewWeighted(maxSpools)}
}

// ServeHTTP authenticates a request and hands it to its service. Key, date and
// scope are checked before the body is read; the signature covers the body, so
// it is checked after, and before anything acts on the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	call := &Call{RequestID: uuid.NewString()}
	a := &answer{ResponseWriter: w, status: http.StatusOK}
	w.Header().Set(RequestIDHeader, call.RequestID)
	name := h.serve(a, r, call)
	h.Observer.ObserveRequest(name, call.Operation, a.status, time.Since(start))
}

// unknown stands in metrics for what is not known to be for a service: strangers
// choose the names.
const unknown = "unknown"

// RequestIDHeader is on every answer.
const RequestIDHeader = "x-amzn-RequestId"

func (h *Handler) serve(w *answer, r *http.Request, call *Call) (name string) {
	pending, err := h.Verifier.Begin(r)
	if err != nil {
		h.refuse(w, r, h.addressed(r, sigv4.ScopeService(r)), call, err)
		return unknown
	}
	name = h.addressed(r, pending.Service)
	service, ok := h.Services[name]
	if !ok {
		h.refuse(w, r, name, call, notServed.error(spoken(r), fmt.Sprintf(
			"Fescue does not serve the AWS service %q. docs/api-coverage.md lists those that it serves.", pending.Service)))
		return unknown
	}
	if !pending.NeedsBody() {
		if err := pending.VerifyHeader(); err != nil {
			h.refuse(w, r, name, call, err)
			return name
		}
	}
	body, sum, err := h.readBody(w, r, service, pending)
	if err != nil {
		h.refuse(w, r, name, call, err)
		return name
	}
	defer body.Close()
	if err := pending.Verify(sum); err != nil {
		h.refuse(w, r, name, call, err)
		return name
	}
	region := pending.Region
	if !slices.Contains(h.Verifier.Regions, region) {
		region = h.DefaultRegion // iam and sts: every other service was refused
	}
	call.Partition = fescue.Partition{AWS: h.AWS, Account: pending.Account, Region: region}
	call.KeyID, call.PathNormalized = pending.KeyID, pending.PathNormalized
	if call.Caller, err = h.Callers.Caller(r.Context(), pending.KeyID); err != nil {
		h.refuse(w, r, name, call, fmt.Errorf("caller with access key %s: %w", pending.KeyID, err))
		return name
	}
	var records []fescue.AuditRecord // of a call that changes something
	call.admit = func(ctx context.Context, t Target) (err error) {
		if err := h.slowDown(name, call, t); err != nil {
			return err
		}
		act := action(name, t)
		if changes(act) {
			record, err := h.beginAudit(ctx, name, r, call, t)
			if err != nil {
				return err
			}
			if record != nil {
				records = append(records, *record)
				w.hold()
			}
		}
		if err := h.authorize(ctx, name, act, r, call, t); err != nil {
			return err
		}
		return h.makeRoom(name, t.Operation)
	}
	r.Body, r.Trailer = body, pending.Trailer()
	service.ServeCall(w, r, call)
	if len(records) > 0 {
		h.endAudit(r.Context(), service, w, records)
	}
	return name
}

// WantHTTPS refuses a request that came in plain text to a port of TLS, in the form
// that its client reads. Nothing of it is looked at but that.
func (h *Handler) WantHTTPS(w http.ResponseWriter, r *http.Request) {
	call := &Call{RequestID: uuid.NewString()}
	w.Header().Set(RequestIDHeader, call.RequestID)
	h.refuse(&answer{ResponseWriter: w}, r, h.addressed(r, sigv4.ScopeService(r)), call, &Error{
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
	case errors.As(err, &unsigned):
		told := unsigned.In(name)
		wire = &Error{Status: told.Status, Code: told.Code, Message: told.Message}
	default:
		if !errors.Is(err, context.Canceled) {
			h.Logger.Error("request not authenticated", "request", call.RequestID, "error", err)
		}
		wire = &Error{
			Status: http.StatusInternalServerError, Code: "InternalFailure",
			Message: because(err, "The server could not check the request's signature. Its log has the request id and the cause."),
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

// emptySum is the SHA-256 of no body, as most reads have it.
var emptySum = sha256.Sum256(nil)

// readBody reads a body as large as the service takes, without its framing, and
// its SHA-256: into memory, or into a file when it is large.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, service Service, pending *sigv4.Pending) (io.ReadCloser, [sha256.Size]byte, error) {
	if r.ContentLength == 0 && !pending.Streaming() {
		return http.NoBody, emptySum, nil
	}
	var sum [sha256.Size]byte
	limit := service.MaxBody(r)
	tooLarge := &Error{
		Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLargeException",
		Message: fmt.Sprintf("The body is larger than the %d bytes that this operation takes.", limit),
	}
	if pending.DecodedLength() > limit {
		return nil, sum, tooLarge
	}
	plain := pending.Body(r)
	digest := sha256.New()
	if pending.Payload == sigv4.PayloadInBody || pending.Payload == sigv4.PayloadDeclared {
		plain = io.TeeReader(plain, digest)
	}
	src := impatient(w, io.LimitReader(plain, limit+1))
	defer src.end()
	var head bytes.Buffer
	n, err := io.CopyN(&head, src, memoryBody+1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, sum, brokenBody(err)
	}
	body := io.NopCloser(io.Reader(&head))
	if n > memoryBody && limit > memoryBody {
		spooled, size, err := h.spool(r.Context(), &head, src)
		if err != nil {
			return nil, sum, err
		}
		body, n = spooled, size
	}
	if n > limit {
		body.Close()
		return nil, sum, tooLarge
	}
	return body, [sha256.Size]byte(digest.Sum(nil)), nil
}

// patience is how long a body may bring nothing. A sender that stalls would
// otherwise hold one of few spools for ever.
const patience = time.Minute

// impatientReader reads a request's body and gives up when nothing comes.
type impatientReader struct {
	io.Reader
	connection *http.ResponseController
	last       time.Time
}

func impatient(w http.ResponseWriter, body io.Reader) *impatientReader {
	return &impatientReader{Reader: body, connection: http.NewResponseController(w)}
}

// Read implements io.Reader. A connection without deadlines is read as it is.
func (i *impatientReader) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(i.last) > time.Second {
		i.connection.SetReadDeadline(now.Add(patience))
		i.last = now
	}
	return i.Reader.Read(p)
}

// end takes the deadline back: the connection goes on.
func (i *impatientReader) end() { i.connection.SetReadDeadline(time.Time{}) }

// brokenBody is the refusal for a body that could not be read. What its framing
// refuses says so itself.
func brokenBody(err error) error {
	if refusal := (*sigv4.Error)(nil); errors.As(err, &refusal) {
		return err
	}
	return &Error{Status: http.StatusBadRequest, Code: "RequestTimeout", Message: fmt.Sprintf("The body did not arrive whole: %v.", err)}
}

// spool writes head and the rest of src to an unlinked temporary file.
func (h *Handler) spool(ctx context.Context, head io.Reader, src io.Reader) (io.ReadCloser, int64, error) {
	if err := h.spools.Acquire(ctx, 1); err != nil {
		return nil, 0, err
	}
	f, err := os.CreateTemp(h.SpoolDir, "body-*")
	if err != nil {
		h.spools.Release(1)
		return nil, 0, fmt.Errorf("spool request body: %w", err)
	}
	body := &spooledBody{f, h.spools}
	if err := os.Remove(f.Name()); err != nil {
		body.Close()
		return nil, 0, fmt.Errorf("spool request body: %w", err)
	}
	n, err := io.Copy(f, io.MultiReader(head, src))
	if err != nil {
		body.Close()
		var disk *fs.PathError
		if errors.As(err, &disk) {
			return nil, 0, fmt.Errorf("spool request body: %w", err)
		}
		return nil, 0, brokenBody(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		body.Close()
		return nil, 0, fmt.Errorf("spool request body: %w", err)
	}
	return body, n, nil
}

// spooledBody is a body in a file that has no name any more.
type spooledBody struct {
	*os.File
	slots *semaphore.Weighted
}

// Close gives the file and the slot back.
func (b *spooledBody) Close() error {
	b.slots.Release(1)
	return b.File.Close()
}
