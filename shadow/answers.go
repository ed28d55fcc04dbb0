package shadow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Got is the answer to a get.
func (d Document) Got(at time.Time, clientToken string) []byte {
	state := d.state()
	if difference, _ := d.Delta(); difference != nil {
		state["delta"] = difference
	}
	return encode(answer{
		State: state, Metadata: d.metadata(), Version: d.Version, Timestamp: at.Unix(), ClientToken: clientToken,
	})
}

// Accepted is the answer to the update that led to d at a time: what the request
// said and no more, nulls included.
func (d Document) Accepted(u Update, at time.Time) []byte {
	a := answer{Version: d.Version, Timestamp: at.Unix(), ClientToken: u.ClientToken}
	if u.Clear {
		a.Metadata = timestamp(at)
		return encode(a)
	}
	state, metadata, stamp := map[string]any{}, map[string]any{}, timestamp(at)
	for name, s := range map[string]Section{"desired": u.Desired, "reported": u.Reported} {
		switch {
		case !s.Present:
		case s.Values == nil:
			state[name] = nil
		case len(s.Values) > 0:
			state[name], metadata[name] = s.Values, mirror(s.Values, stamp)
		}
	}
	a.State, a.Metadata = state, metadata
	return encode(a)
}

// DeltaMessage is what is published after an update that leaves a difference;
// nil when there is none.
func (d Document) DeltaMessage(at time.Time, clientToken string) []byte {
	state, metadata := d.Delta()
	if state == nil {
		return nil
	}
	return encode(answer{State: state, Metadata: metadata, Version: d.Version, Timestamp: at.Unix(), ClientToken: clientToken})
}

// DocumentsMessage is what is published after an update: the document before and
// after it.
func DocumentsMessage(previous, current Document, at time.Time, clientToken string) []byte {
	return encode(struct {
		Previous    any    `json:"previous"`
		Current     any    `json:"current"`
		Timestamp   int64  `json:"timestamp"`
		ClientToken string `json:"clientToken,omitempty"`
	}{previous.whole(), current.whole(), at.Unix(), clientToken})
}

// DeletedMessage is the answer to a delete of a document that had the version.
func (d Document) DeletedMessage(at time.Time, clientToken string) []byte {
	return encode(struct {
		Version     int64  `json:"version"`
		Timestamp   int64  `json:"timestamp"`
		ClientToken string `json:"clientToken,omitempty"`
	}{d.Version, at.Unix(), clientToken})
}

// answer is the shape of most answers; a nil State is null.
type answer struct {
	State       map[string]any `json:"state"`
	Metadata    map[string]any `json:"metadata"`
	Version     int64          `json:"version"`
	Timestamp   int64          `json:"timestamp"`
	ClientToken string         `json:"clientToken,omitempty"`
}

func (d Document) state() map[string]any    { return sections(d.Desired, d.Reported) }
func (d Document) metadata() map[string]any { return sections(d.Metadata.Desired, d.Metadata.Reported) }

func sections(desired, reported map[string]any) map[string]any {
	m := make(map[string]any, 3)
	if desired != nil {
		m["desired"] = desired
	}
	if reported != nil {
		m["reported"] = reported
	}
	return m
}

// whole is a document in a documents message, null where there was none.
func (d Document) whole() any {
	if !d.Exists() {
		return nil
	}
	return map[string]any{"state": d.state(), "metadata": d.metadata(), "version": d.Version}
}

func seconds(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// Decode reads a document that Encode wrote: its sections and metadata,
// without its version.
func Decode(text []byte) (Document, error) {
	var d Document
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&d); err != nil {
		return d, fmt.Errorf("shadow document: %w", err)
	}
	return d, nil
}

// Encode is what Decode reads.
func (d Document) Encode() []byte { return encode(d) }

// encode writes what was decoded from JSON, which always encodes.
func encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("shadow: %T does not encode: %v", v, err))
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}
