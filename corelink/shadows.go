package corelink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fescue-edge/fescue/shadow"
)

// Shadows asks for shadows of things as a device does: by the AWS IoT device data
// plane (AWS IoT Core developer guide, "Device Shadow REST API"), for which the core's
// certificate needs the right.
type Shadows struct {
	// Client speaks to the endpoint for HTTPS, with the certificate of the thing Core.
	Client *Client
	Core   string
	// Timeout bounds one call.
	Timeout time.Duration
}

// Shadow reads a document. One that does not exist is the zero one, or has the version
// that it was deleted with, as long as the control plane knows that: 48 hours at least.
// Deleted says no more than that it is. Control planes from before never know.
func (s Shadows) Shadow(ctx context.Context, id shadow.ID) (shadow.Document, error) {
	text, err := s.call(ctx, http.MethodGet, shadowPath(id), nil)
	return got(id, text, err)
}

// got is the document of an answer to a get, or its error.
func got(id shadow.ID, text []byte, err error) (shadow.Document, error) {
	var deleted *deletedError
	if errors.As(err, &deleted) {
		return shadow.Document{Version: deleted.version, Deleted: time.Unix(0, 0).UTC()}, nil
	}
	if absent(err) {
		return shadow.Document{}, nil
	}
	if err != nil {
		return shadow.Document{}, fmt.Errorf("GetThingShadow of %s: %w", id.Thing, err)
	}
	return shadow.ParseGot(text)
}

// UpdateShadow applies an update and returns the version of the document.
func (s Shadows) UpdateShadow(ctx context.Context, id shadow.ID, u shadow.Update) (int64, error) {
	text, err := s.call(ctx, http.MethodPost, shadowPath(id), u.Encode())
	return updated(id, text, err)
}

// updated is the version of an answer to an update, or its error.
func updated(id shadow.ID, text []byte, err error) (int64, error) {
	if err != nil {
		return 0, fmt.Errorf("UpdateThingShadow of %s: %w", id.Thing, err)
	}
	d, err := shadow.ParseGot(text)
	return d.Version, err
}

// DeleteShadow removes a document that has the version; one that is gone is fine.
// Control planes from before remove it whatever its version is.
func (s Shadows) DeleteShadow(ctx context.Context, id shadow.ID, version int64) error {
	_, err := s.call(ctx, http.MethodDelete, shadowPath(id), deletion(version))
	return deleted(id, err)
}

// deletion is the payload of a delete.
func deletion(version int64) []byte { return fmt.Appendf(nil, `{"version":%d}`, version) }

// deleted is the error of a delete.
func deleted(id shadow.ID, err error) error {
	if err != nil && !absent(err) {
		return fmt.Errorf("DeleteThingShadow of %s: %w", id.Thing, err)
	}
	return nil
}

// ShadowNames lists the named shadows of a thing.
func (s Shadows) ShadowNames(ctx context.Context, thing string) (names []string, err error) {
	query := url.Values{"pageSize": {"100"}}
	for {
		text, err := s.call(ctx, http.MethodGet, "/api/things/shadow/ListNamedShadowsForThing/"+url.PathEscape(thing)+"?"+query.Encode(), nil)
		if err != nil {
			return nil, fmt.Errorf("ListNamedShadowsForThing of %s: %w", thing, err)
		}
		var page ShadowNames
		if err := json.Unmarshal(text, &page); err != nil {
			return nil, fmt.Errorf("ListNamedShadowsForThing of %s: the answer does not parse: %w", thing, err)
		}
		names = append(names, page.Results...)
		if page.NextToken == "" {
			return names, nil
		}
		query.Set("nextToken", page.NextToken)
	}
}

// ShadowNames is a page of the named shadows of a thing.
type ShadowNames struct {
	Results   []string `json:"results"`
	NextToken string   `json:"nextToken,omitempty"`
	Timestamp int64    `json:"timestamp"`
}

// ShadowMarksPattern is where a core asks which documents things have, so that it need
// not read those that it knows. It is no part of the original's.
const ShadowMarksPattern = "POST /greengrass/cores/{ThingName}/shadows"

// ShadowsAtATime is how many requests for shadows a core has under way at a time. A
// Client keeps as many connections for a while.
const ShadowsAtATime = 16

// ShadowBatchesAtATime is how many of them are batches: their documents are in memory
// meanwhile.
const ShadowBatchesAtATime = 4

// MaxShadowThings is how many things a ShadowMarksRequest may name.
const MaxShadowThings = 50

// ShadowMarksRequest is the body of ShadowMarks.
type ShadowMarksRequest struct {
	Things []string `json:"things"`
}

// ShadowMarks answers it: for each thing the marks of the documents that exist, by the
// shadow's name, that of the classic one being empty. A thing of which the core may not
// read each document, or not list them, is left out.
type ShadowMarks struct {
	Things map[string]map[string]shadow.Mark `json:"things"`
}

// ShadowMarks asks for the marks of the documents of at most MaxShadowThings things. What
// is not in the answer is to be asked for one by one. Control planes from before refuse
// it with 404.
func (s Shadows) ShadowMarks(ctx context.Context, things []string) (map[string]map[string]shadow.Mark, error) {
	body, err := json.Marshal(ShadowMarksRequest{things})
	if err != nil {
		return nil, err
	}
	text, err := s.call(ctx, http.MethodPost, corePath(s.Core)+"/shadows", body)
	if err != nil {
		return nil, fmt.Errorf("ShadowMarks: %w", err)
	}
	var answer ShadowMarks
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("ShadowMarks: the answer does not parse: %w", err)
	}
	return answer.Things, nil
}

func (s Shadows) call(ctx context.Context, method, path string, body []byte) (answer json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	var in any
	if body != nil {
		in = json.RawMessage(body)
	}
	err = s.Client.call(ctx, method, path, in, &answer)
	var refused *StatusError
	if errors.As(err, &refused) {
		err = shadowError(err, refused, []byte(refused.Message))
	}
	return answer, err
}

// shadowError reads what the shadow service itself refuses, which has a number for its
// code. An answer of others leaves err as it is.
func shadowError(err error, refused *StatusError, answer []byte) error {
	var said struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Version int64  `json:"version"`
	}
	if json.Unmarshal(answer, &said) == nil && said.Code != 0 {
		refused.Code, refused.Message = shadowRefusal, said.Message
		if absent(err) && said.Version > 0 {
			err = &deletedError{refused, said.Version}
		}
	}
	return err
}

// shadowRefusal is the Code of a StatusError of the shadow service.
const shadowRefusal = "Shadow"

// absent reports whether the shadow service has said that there is no such document:
// not every 404 on the way to it means that.
func absent(err error) bool {
	var refused *StatusError
	return errors.As(err, &refused) && refused.HTTPStatus == http.StatusNotFound && refused.Code == shadowRefusal
}

// deletedError is the refusal of a document that was deleted with a version.
type deletedError struct {
	*StatusError
	version int64
}

func (e *deletedError) Unwrap() error { return e.StatusError }

func shadowPath(id shadow.ID) string {
	path := "/things/" + url.PathEscape(id.Thing) + "/shadow"
	if id.Name != "" {
		path += "?" + url.Values{"name": {id.Name}}.Encode()
	}
	return path
}
