package awsapi

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
)

// Audit keeps the record of calls that change something.
type Audit interface {
	// Ready fails while records cannot be written: nothing is to be changed then.
	Ready(ctx context.Context) error
	// Add appends records, all or none.
	Add(ctx context.Context, records ...audit.Record) error
}

// reading are the beginnings of operations that change nothing.
var reading = []string{"Get", "List", "Describe", "Head", "Check", "Subscribe"}

// changes says whether a call is recorded.
func changes(service string, t Target) bool {
	if slices.Contains(wire.Find(service).Recorded, t.Operation) {
		return true
	}
	for _, verb := range reading {
		if strings.HasPrefix(t.Operation, verb) {
			return false
		}
	}
	return true
}

// maxResource bounds the resource in a record; an ARN has at most 2,048
// characters.
const maxResource = 2048

// beginAudit makes the record of a call that is about to change something, if
// records can be written.
func (h *Handler) beginAudit(ctx context.Context, service string, r *http.Request, call *Call, t Target) (*audit.Record, error) {
	if h.Audit == nil {
		return nil, nil
	}
	if err := h.Audit.Ready(ctx); err != nil {
		h.Logger.Error("call refused: the audit record cannot be written", "request", call.RequestID, "error", err)
		return nil, &Error{
			Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException",
			Message: internalText(err, "The server cannot write its audit record and changes nothing until it can. Its log has the cause."),
		}
	}
	record := &audit.Record{
		Partition: call.Partition, ID: call.RequestID, KeyID: call.KeyID, KeyName: call.Caller.Name, Person: call.Caller.Person, Source: source(r),
		Service: service, Operation: t.Operation, Resource: t.Resource,
	}
	if wire.Find(service).Global {
		record.Partition.Region = ""
	}
	return record, nil
}

// endAudit writes a call's records, one for each thing that it asked for, and sends
// the answer. A call whose records cannot be written is answered as an error, though
// it was carried out. One that was refused is answered as that.
func (h *Handler) endAudit(ctx context.Context, name string, service Service, w *answer, records []audit.Record) {
	at := h.Verifier.Clock().UTC()
	for i := range records {
		r := &records[i]
		if r.At, r.Status, r.Code = at, w.status, w.code; i > 0 {
			r.ID = fmt.Sprintf("%s/%d", r.ID, i+1)
		}
		if w.status < http.StatusBadRequest {
			r.Resource = made(*r, w.body.Bytes())
		}
		if r.Resource == "" {
			r.Resource = "*"
		}
		r.Resource = strings.ToValidUTF8(r.Resource[:min(len(r.Resource), maxResource)], "")
	}
	err := h.Audit.Add(ctx, records...)
	if err == nil || w.status >= http.StatusBadRequest {
		w.release()
		return
	}
	w.discard()
	refusal := &Error{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: internalText(err, "The server's log has the cause.")}
	if away := busy(name, "", err); away != nil {
		refusal.Status, refusal.Code, refusal.Message = away.Status, away.Code, "The server's database is busy or away."
	}
	if once := uncertain(name, records[0].Operation); once != nil {
		refusal.Status, refusal.Code = once.Status, once.Code
	}
	refusal.Message += " The request was carried out as far as it could be, but its audit record could not be written: look at what there is before you repeat it."
	service.WriteError(w, refusal)
}

// making are the beginnings of operations that make what their answer names.
var making = []string{"Create", "Register", "Start", "Publish"}

// answeredARN finds the first ARN of an answer, in JSON or XML.
var answeredARN = regexp.MustCompile(`(?:"[A-Za-z]*[Aa](?:rn|RN)" *: *"|<[A-Za-z]*Arn>)(arn:[^"<]+)`)

// made is the ARN of what an operation made, or the resource that it was given.
func made(record audit.Record, body []byte) string {
	for _, verb := range making {
		if strings.HasPrefix(record.Operation, verb) {
			if m := answeredARN.FindSubmatch(body); m != nil {
				return string(m[1])
			}
		}
	}
	return record.Resource
}
