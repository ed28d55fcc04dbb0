package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/shadows"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// Shadows is the shadow service's side towards devices.
type Shadows interface {
	Get(ctx context.Context, p fescue.Partition, id shadow.ID, clientToken string) ([]byte, error)
	Update(ctx context.Context, p fescue.Partition, id shadow.ID, u shadow.Update) ([]byte, error)
	Delete(ctx context.Context, p fescue.Partition, id shadow.ID, r shadow.Request) ([]byte, error)
	// Together carries out requests for different shadows.
	Together(ctx context.Context, p fescue.Partition, entries []*shadows.Entry)
	Marks(ctx context.Context, p fescue.Partition, thing string) (map[string]shadow.Mark, error)
	Names(ctx context.Context, p fescue.Partition, thing string, page fescue.Page) (names []string, next string, err error)
}

// shadowPath is that of the AWS IoT device data plane (AWS IoT Core developer
// guide, "Device Shadow REST API").
const (
	shadowPath      = "/things/{ThingName}/shadow"
	shadowNamesPath = "/api/things/shadow/ListNamedShadowsForThing/{ThingName}"
)

// Page sizes of ListNamedShadowsForThing.
const (
	maxShadowNames     = 100
	defaultShadowNames = 25
)

// shadowActions are what the operations need a right for.
var shadowActions = map[shadow.Operation]string{
	shadow.OpGet:    "iot:GetThingShadow",
	shadow.OpUpdate: "iot:UpdateThingShadow",
	shadow.OpDelete: "iot:DeleteThingShadow",
}

// maxShadowRequest in bytes: more than any document's limit, for white space.
const maxShadowRequest = 128 << 10

func (h *Handler) serveShadows() {
	for _, op := range []struct {
		method string
		of     shadow.Operation
		answer func(ctx context.Context, p fescue.Partition, id shadow.ID, body []byte) ([]byte, error)
	}{
		{http.MethodGet, shadow.OpGet, func(ctx context.Context, p fescue.Partition, id shadow.ID, _ []byte) ([]byte, error) {
			return h.Shadows.Get(ctx, p, id, "")
		}},
		{http.MethodPost, shadow.OpUpdate, func(ctx context.Context, p fescue.Partition, id shadow.ID, body []byte) ([]byte, error) {
			u, err := shadow.ParseUpdate(body, shadow.CloudLimits)
			if err != nil {
				return nil, err
			}
			return h.Shadows.Update(ctx, p, id, u)
		}},
		// A body is no part of the original's; cores delete only the version that they
		// know.
		{http.MethodDelete, shadow.OpDelete, func(ctx context.Context, p fescue.Partition, id shadow.ID, body []byte) ([]byte, error) {
			r, err := shadow.ParseRequest(body)
			if err != nil {
				return nil, err
			}
			return h.Shadows.Delete(ctx, p, id, r)
		}},
	} {
		h.mux.HandleFunc(op.method+" "+shadowPath, h.serve(func(w http.ResponseWriter, c *caller) error {
			id := shadow.ID{Thing: c.PathValue("ThingName"), Name: c.URL.Query().Get("name")}
			answer, err := h.onShadow(w, c, id, shadowActions[op.of], op.answer)
			if err != nil {
				return refuseShadow(w, err)
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(answer)
			return nil
		}))
	}
	h.mux.HandleFunc(http.MethodGet+" "+shadowNamesPath, h.serve(func(w http.ResponseWriter, c *caller) error {
		names, err := h.shadowNames(c)
		if err != nil {
			return refuseShadow(w, err)
		}
		writeJSON(w, http.StatusOK, names)
		return nil
	}))
}

// shadowMarks tells a core which documents things have, as far as it may read them.
func (h *Handler) shadowMarks(w http.ResponseWriter, c *caller) error {
	if err := c.thing(c.PathValue("ThingName")); err != nil {
		return err
	}
	var request corelink.ShadowMarksRequest
	if err := readReport(c.Request, &request); err != nil {
		return err
	}
	if len(request.Things) > corelink.MaxShadowThings {
		return refuse(http.StatusBadRequest, "Invalid", "%d things are named, at most %d may be", len(request.Things), corelink.MaxShadowThings)
	}
	answer := corelink.ShadowMarks{Things: make(map[string]map[string]shadow.Mark)}
	for _, thing := range request.Things {
		if c.may(c.Principal, "iot:ListNamedShadowsForThing", c.Partition.ThingARN(thing)) != nil || !c.mayRead(thing, "") {
			continue
		}
		marks, err := h.Shadows.Marks(c.Context(), c.Partition, thing)
		if err != nil {
			return refuseShadow(w, err)
		}
		all := true
		for name := range marks {
			all = all && c.mayRead(thing, name)
		}
		if all {
			answer.Things[thing] = marks
		}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// mayRead reports whether the caller may read a shadow.
func (c *caller) mayRead(thing, name string) bool {
	return c.may(c.Principal, shadowActions[shadow.OpGet], c.Partition.ShadowARN(thing, name)) == nil
}

// refuseShadow writes what the shadow service refuses, in its words, and returns what
// others do. Of a document that was deleted it says the version, which is no part of
// the original's answer: cores delete theirs for no less.
func refuseShadow(w http.ResponseWriter, err error) error {
	answer := shadowRefused(err)
	if answer == nil {
		return err
	}
	writeJSON(w, answer.Code, answer)
	return nil
}

// shadowRefusal is what the shadow service's refusals are answered with.
type shadowRefusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Version int64  `json:"version,omitempty"`
}

// shadowRefused is the answer to what the shadow service refuses, nil for other errors.
func shadowRefused(err error) *shadowRefusal {
	var refusal *shadow.Error
	if !errors.As(err, &refusal) {
		return nil
	}
	answer := &shadowRefusal{Code: refusal.Code, Message: refusal.Message}
	var deleted *shadow.DeletedError
	if errors.As(err, &deleted) {
		answer.Version = deleted.Version
	}
	return answer
}

// shadowNames is a page of the named shadows of a thing. Its token is the last name.
func (h *Handler) shadowNames(c *caller) (answer corelink.ShadowNames, err error) {
	thing, query := c.PathValue("ThingName"), c.URL.Query()
	if err := (shadow.ID{Thing: thing}).Validate(); err != nil {
		return answer, err
	}
	if err := c.may(c.Principal, "iot:ListNamedShadowsForThing", c.Partition.ThingARN(thing)); err != nil {
		return answer, err
	}
	page := fescue.Page{Limit: defaultShadowNames, After: query.Get("nextToken")}
	if text := query.Get("pageSize"); text != "" {
		if page.Limit, err = strconv.Atoi(text); err != nil || page.Limit < 1 || page.Limit > maxShadowNames {
			return answer, &shadow.Error{Code: http.StatusBadRequest, Message: "Invalid pageSize"}
		}
	}
	if page.After != "" && (shadow.ID{Thing: thing, Name: page.After}).Validate() != nil {
		return answer, &shadow.Error{Code: http.StatusBadRequest, Message: "Invalid nextToken"}
	}
	names, next, err := h.Shadows.Names(c.Context(), c.Partition, thing, page)
	return corelink.ShadowNames{Results: append([]string{}, names...), NextToken: next, Timestamp: h.Now().Unix()}, err
}

func (h *Handler) onShadow(w http.ResponseWriter, c *caller, id shadow.ID, action string,
	answer func(context.Context, fescue.Partition, shadow.ID, []byte) ([]byte, error),
) ([]byte, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if err := c.may(c.Principal, action, c.Partition.ShadowARN(id.Thing, id.Name)); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, c.Body, maxShadowRequest))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, shadow.ErrTooLarge
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Invalid", "the body did not arrive whole: %v", err)
	}
	return answer(c.Context(), c.Partition, id, body)
}
