package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/fescue-edge/fescue/cloud/shadows"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// shadowBatch carries out requests of a core for many shadows. Each is judged, done,
// published and answered as if it had come alone.
func (h *Handler) shadowBatch(w http.ResponseWriter, c *caller) error {
	if err := c.thing(c.PathValue("ThingName")); err != nil {
		return err
	}
	var batch corelink.ShadowBatch
	if err := readBatch(w, c.Request, &batch); err != nil {
		return err
	}
	if err := checkBatch(batch); err != nil {
		return err
	}
	entries := make([]*shadows.Entry, len(batch.Entries))
	var allowed []*shadows.Entry
	for i, e := range batch.Entries {
		entries[i] = &shadows.Entry{ID: shadow.ID{Thing: e.Thing, Name: e.Name}, Operation: e.Operation}
		if entries[i].Err = h.admitEntry(c, entries[i], e.Payload); entries[i].Err == nil {
			allowed = append(allowed, entries[i])
		}
	}
	h.Shadows.Together(c.Context(), c.Partition, allowed)
	answer := corelink.ShadowResults{Results: make([]corelink.ShadowResult, len(entries))}
	var failure error
	for i, e := range entries {
		status, body := h.entryAnswer(e)
		text, err := plain(body)
		if err != nil {
			return err
		}
		answer.Results[i] = corelink.ShadowResult{Status: status, Body: text}
		if status >= http.StatusInternalServerError {
			failure = e.Err
		}
	}
	if failure != nil && c.Context().Err() == nil {
		h.Logger.Error("device's request failed", "request", w.Header().Get(requestIDHeader), "method", c.Method, "path", c.URL.Path, "error", failure)
	}
	text, err := plain(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
	return nil
}

// plain is v as JSON that is no longer than documents are kept: what HTML has a meaning for
// is not escaped.
func plain(v any) ([]byte, error) {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	err := out.Encode(v)
	return text.Bytes(), err
}

// readBatch reads one that is not too long, of which the head tells most.
func readBatch(w http.ResponseWriter, r *http.Request, batch *corelink.ShadowBatch) error {
	err := error(&http.MaxBytesError{})
	if r.ContentLength <= corelink.MaxShadowBatchBytes {
		r.Body = http.MaxBytesReader(w, r.Body, corelink.MaxShadowBatchBytes)
		err = decode(r, batch)
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, "TooLarge", "the body has more than %d bytes", corelink.MaxShadowBatchBytes)
	case err != nil:
		return refuse(http.StatusBadRequest, "Invalid", "the batch does not parse: %v", err)
	}
	return nil
}

// checkBatch refuses one that cannot be carried out as a whole.
func checkBatch(batch corelink.ShadowBatch) error {
	if n := len(batch.Entries); n > corelink.MaxShadowBatch {
		return refuse(http.StatusBadRequest, "Invalid", "there are %d entries, at most %d may be", n, corelink.MaxShadowBatch)
	}
	seen := make(map[shadow.ID]bool, len(batch.Entries))
	for _, e := range batch.Entries {
		id := shadow.ID{Thing: e.Thing, Name: e.Name}
		if seen[id] {
			return refuse(http.StatusBadRequest, "Invalid", "a shadow of the thing %q is named twice: there is no order between entries", e.Thing)
		}
		seen[id] = true
		if shadowActions[e.Operation] == "" {
			return refuse(http.StatusBadRequest, "Invalid", "the operation %q is none of get, update and delete", e.Operation)
		}
	}
	return nil
}

// admitEntry decides whether an entry is carried out, and reads its payload.
func (h *Handler) admitEntry(c *caller, e *shadows.Entry, payload []byte) (err error) {
	if err := e.ID.Validate(); err != nil {
		return err
	}
	if err := c.may(c.Principal, shadowActions[e.Operation], c.Partition.ShadowARN(e.ID.Thing, e.ID.Name)); err != nil {
		return err
	}
	if len(payload) > maxShadowRequest {
		return shadow.ErrTooLarge
	}
	switch e.Operation {
	case shadow.OpUpdate:
		e.Update, err = shadow.ParseUpdate(payload, shadow.CloudLimits)
	case shadow.OpDelete:
		e.Request, err = shadow.ParseRequest(payload)
	}
	return err
}

// entryAnswer is what an entry is answered with.
func (h *Handler) entryAnswer(e *shadows.Entry) (status int, body any) {
	if e.Err != nil {
		if refused := shadowRefused(e.Err); refused != nil {
			return refused.Code, refused
		}
		wire := h.wireError(e.Err)
		return wire.status, wire.body
	}
	answer := struct {
		State   *shadow.State `json:"state,omitempty"`
		Version int64         `json:"version"`
	}{Version: e.Document.Version}
	if e.Operation == shadow.OpGet {
		state := e.Document.State()
		answer.State = &state
	}
	return http.StatusOK, answer
}
