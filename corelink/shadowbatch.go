package corelink

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue/shadow"
)

// ShadowBatchPattern is where a core reads and changes many shadows with one request. It
// is no part of the original's. What each entry asks for, whether it may and what is
// refused is as if it had come alone.
const ShadowBatchPattern = "POST /greengrass/cores/{ThingName}/shadows/batch"

// Bounds of a ShadowBatch: how many entries it may have, and how many bytes. An answer is
// as long as so many documents, without their metadata.
const (
	MaxShadowBatch      = 50
	MaxShadowBatchBytes = 512 << 10
)

// ShadowBatch is the body of a batch. No shadow is in it twice.
type ShadowBatch struct {
	Entries []ShadowEntry `json:"entries"`
}

// ShadowEntry is one request of a batch.
type ShadowEntry struct {
	Operation shadow.Operation `json:"operation"`
	Thing     string           `json:"thing"`
	// Name is empty for the classic shadow.
	Name string `json:"name,omitempty"`
	// Payload is what the request alone would have for its body; none for a get.
	Payload json.RawMessage `json:"payload,omitempty"`
}

// ShadowResults answers a ShadowBatch, in the order of its entries.
type ShadowResults struct {
	Results []ShadowResult `json:"results"`
}

// ShadowResult is the answer to one entry.
type ShadowResult struct {
	// Status is the HTTP status that the request would have been answered with alone.
	Status int `json:"status"`
	// Body is the refusal as it would have been answered with alone; else a document's
	// version, and its state for a get.
	Body json.RawMessage `json:"body"`
}

// ShadowCall is one of many requests that are made together.
type ShadowCall struct {
	ID        shadow.ID
	Operation shadow.Operation
	// Update is what an update says. Of a delete its version is the one that is deleted.
	Update shadow.Update
}

// ShadowAnswer is what came of a ShadowCall.
type ShadowAnswer struct {
	// Document is what Shadow would have returned for a get, and has the version alone
	// for an update.
	Document shadow.Document
	// Err is what the call alone would have returned.
	Err error
}

// ShadowBatch makes as many calls as go with one request, from the first on: one at
// least, and MaxShadowBatch at most. An error is of the request, and nothing is known of
// what was asked; one that Refused takes for a refusal means that nothing was done.
// Control planes from before refuse it with 404.
func (s Shadows) ShadowBatch(ctx context.Context, calls []ShadowCall) ([]ShadowAnswer, error) {
	body, n := []byte(`{"entries":[`), 0
	for _, c := range calls[:min(len(calls), MaxShadowBatch)] {
		entry, err := c.entry()
		if err != nil {
			return nil, err
		}
		if n > 0 && len(body)+len(entry) > MaxShadowBatchBytes-len(`,]}`) {
			break
		}
		if n++; n > 1 {
			body = append(body, ',')
		}
		body = append(body, entry...)
	}
	text, err := s.call(ctx, http.MethodPost, corePath(s.Core)+"/shadows/batch", append(body, `]}`...))
	if err != nil {
		return nil, fmt.Errorf("ShadowBatch: %w", err)
	}
	var answer ShadowResults
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("ShadowBatch: the answer does not parse: %w", err)
	}
	if len(answer.Results) != n {
		return nil, fmt.Errorf("ShadowBatch: %d requests have %d answers", n, len(answer.Results))
	}
	answers := make([]ShadowAnswer, n)
	for i, r := range answer.Results {
		answers[i] = calls[i].answer(r)
	}
	return answers, nil
}

// entry is the call as it travels. The payload is not escaped once more, as
// json.Marshal would.
func (c ShadowCall) entry() ([]byte, error) {
	entry, err := json.Marshal(ShadowEntry{Operation: c.Operation, Thing: c.ID.Thing, Name: c.ID.Name})
	if err != nil || c.Operation == shadow.OpGet {
		return entry, err
	}
	payload := deletion(c.Update.Version)
	if c.Operation == shadow.OpUpdate {
		payload = c.Update.Encode()
	}
	entry = append(entry[:len(entry)-1], `,"payload":`...)
	return append(append(entry, payload...), '}'), nil
}

// answer reads a result.
func (c ShadowCall) answer(r ShadowResult) (a ShadowAnswer) {
	var err error
	if r.Status != http.StatusOK {
		refused := &StatusError{HTTPStatus: r.Status, Code: "Unknown", Message: string(r.Body)}
		var said ErrorBody
		if json.Unmarshal(r.Body, &said) == nil {
			refused.Code, refused.Message = said.Code, said.Message
		}
		err = shadowError(refused, refused, r.Body)
	}
	switch c.Operation {
	case shadow.OpUpdate:
		a.Document.Version, a.Err = updated(c.ID, r.Body, err)
	case shadow.OpDelete:
		a.Err = deleted(c.ID, err)
	default:
		a.Document, a.Err = got(c.ID, r.Body, err)
	}
	return a
}
