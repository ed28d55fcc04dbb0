package shadow

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"unicode/utf8"
)

// ID names a shadow of a thing. An empty Name is the classic shadow. The thing
// need not be registered.
type ID struct {
	Thing, Name string
}

var (
	thingName  = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	shadowName = regexp.MustCompile(`^[$a-zA-Z0-9:_-]{1,64}$`)
)

// Validate refuses names that no shadow can have.
func (id ID) Validate() error {
	switch {
	case !thingName.MatchString(id.Thing):
		return ErrThingName
	case id.Name != "" && !shadowName.MatchString(id.Name):
		return ErrShadowName
	}
	return nil
}

// Request is what every request may carry.
type Request struct {
	// ClientToken comes back in the answer, at most 64 bytes.
	ClientToken string
	// Version is the version that the document must have, 0 for any.
	Version int64
}

// Update is a request to change a document.
type Update struct {
	Request
	// Clear is "state": null, which removes both sections.
	Clear bool
	// Desired and Reported are what the request says of the sections.
	Desired, Reported Section
}

// Section is what an update says of "desired" or "reported".
type Section struct {
	// Present is false when the request does not name the section.
	Present bool
	// Values are merged into the section; nil stands for null, which removes it.
	Values map[string]any
}

// Limits bound documents; a zero member does not.
type Limits struct {
	// MaxDepth is how deep desired and reported may nest; their own members are
	// the first level.
	MaxDepth int
	// MaxSize is the largest document in bytes: the JSON of desired and of
	// reported, without metadata.
	MaxSize int
}

// The limits of a core's shadows and of the cloud's. The sources disagree on the
// depth: an old text says 5, the error text 6, the present quota 8.
var (
	CoreLimits  = Limits{MaxDepth: 6, MaxSize: 8 << 10}
	CloudLimits = Limits{MaxDepth: 8, MaxSize: 8 << 10}
)

const maxClientToken = 64 // bytes

// ParseRequest reads the payload of a get or delete request: nothing, or an object
// that may hold a client token and a version.
func ParseRequest(payload []byte) (Request, error) {
	if len(bytes.TrimSpace(payload)) == 0 {
		return Request{}, nil
	}
	members, err := object(payload)
	if err != nil {
		return Request{}, err
	}
	return request(members)
}

// ParseUpdate reads the payload of an update. When it is refused the client token
// is still returned, if it could be read.
func ParseUpdate(payload []byte, limits Limits) (Update, error) {
	if len(bytes.TrimSpace(payload)) == 0 {
		return Update{}, ErrNoPayload
	}
	members, err := object(payload)
	if err != nil {
		return Update{}, err
	}
	var u Update
	if u.Request, err = request(members); err != nil {
		return u, err
	}
	state, ok := members["state"]
	if !ok {
		return u, ErrNoState
	}
	if state == nil {
		u.Clear = true
		return u, nil
	}
	sections, ok := state.(map[string]any)
	if !ok {
		return u, ErrState
	}
	for _, s := range []struct {
		name    string
		into    *Section
		refusal *Error
	}{
		{"desired", &u.Desired, ErrDesired},
		{"reported", &u.Reported, ErrReported},
	} {
		value, ok := sections[s.name]
		if !ok {
			continue
		}
		s.into.Present = true
		if value == nil {
			continue
		}
		if s.into.Values, ok = value.(map[string]any); !ok {
			return u, s.refusal
		}
		if err := checkSection(s.into.Values, limits); err != nil {
			return u, err
		}
	}
	return u, nil
}

// object decodes one JSON object, numbers as they are written.
func object(payload []byte) (map[string]any, error) {
	if !utf8.Valid(payload) {
		return nil, ErrEncoding
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var members map[string]any
	if err := dec.Decode(&members); err != nil || members == nil {
		return nil, ErrInvalidJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrInvalidJSON
	}
	return members, nil
}

func request(members map[string]any) (Request, error) {
	var r Request
	if value, ok := members["clientToken"]; ok {
		token, ok := value.(string)
		if !ok || len(token) > maxClientToken {
			return r, ErrClientToken
		}
		r.ClientToken = token
	}
	if value, ok := members["version"]; ok && value != nil {
		number, _ := value.(json.Number)
		n, err := number.Int64()
		if err != nil || n < 1 {
			return r, ErrVersion
		}
		r.Version = n
	}
	return r, nil
}

// checkSection refuses null in arrays and what nests too deep.
func checkSection(values map[string]any, limits Limits) error {
	if limits.MaxDepth > 0 && depth(values) > limits.MaxDepth {
		return errTooDeep(limits.MaxDepth)
	}
	if nullInArray(values, false) {
		return ErrNode
	}
	return nil
}

// depth counts the levels of members and elements below a value. Decoding has
// bounded it (encoding/json refuses more than 10,000 levels).
func depth(value any) int {
	deepest := 0
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			deepest = max(deepest, 1+depth(member))
		}
	case []any:
		for _, element := range v {
			deepest = max(deepest, 1+depth(element))
		}
	}
	return deepest
}

func nullInArray(value any, inArray bool) bool {
	switch v := value.(type) {
	case nil:
		return inArray
	case map[string]any:
		for _, member := range v {
			if nullInArray(member, inArray) {
				return true
			}
		}
	case []any:
		for _, element := range v {
			if nullInArray(element, true) {
				return true
			}
		}
	}
	return false
}
