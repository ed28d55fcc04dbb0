package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Limits of a document's size.
const (
	// MaxIoTDocument is the largest AWS IoT policy document in characters,
	// whitespace not counted, as Size counts them (AWS General Reference, "AWS
	// IoT Core endpoints and quotas").
	MaxIoTDocument = 2048
	// maxBytes bounds what Parse looks at, whitespace included. AWS's largest
	// document has 10,240 characters (inline policies of an IAM role).
	maxBytes = 64 << 10
)

// Language versions of a document. Variables exist in the later one only (IAM
// user guide, "IAM JSON policy elements: Version").
const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

// ErrMalformed is wrapped by every error of Parse. The error's text names the
// place and the cause, and is fit for the user who sent the document.
var ErrMalformed = errors.New("policy document is malformed")

// ErrUnsupported is wrapped beside ErrMalformed when a document is well formed as
// far as it was read, and asks for a condition that is not evaluated here.
var ErrUnsupported = errors.New("not supported")

// Document is a compiled policy document. It never changes and may be shared.
type Document struct {
	statements []statement
}

// Size counts the characters of a document as the quota does: whitespace is
// free.
func Size(document string) int {
	n := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// Parse compiles a policy document. Any error wraps ErrMalformed.
//
// Understood are Version, Id and, in a statement, Sid, Effect, Action or
// NotAction, Resource or NotResource, and Condition; names are case-sensitive.
// Another member, a member given twice, or one without content is an error, and
// so is Principal: a policy applies to whom it is attached to.
func Parse(document string) (*Document, error) {
	if len(document) > maxBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrMalformed, len(document), maxBytes)
	}
	d, err := parseDocument([]byte(document))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return d, nil
}

func parseDocument(raw json.RawMessage) (*Document, error) {
	version, statements, err := parseStatements(raw)
	if err != nil {
		return nil, err
	}
	d := &Document{statements: make([]statement, len(statements))}
	for i, s := range statements {
		if err := d.statements[i].parse(s, version == version2012); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return d, nil
}

// parseStatements reads the frame of a document: its version, and its statements
// as they stand there.
func parseStatements(raw json.RawMessage) (version string, statements []json.RawMessage, err error) {
	members, err := parseObject(raw)
	if err != nil {
		return "", nil, err
	}
	version = version2008
	var list json.RawMessage
	for _, m := range members {
		switch m.name {
		case "Version":
			if version, err = parseString(m.value); err != nil {
				return "", nil, fmt.Errorf("member Version: %w", err)
			}
			if version != version2012 && version != version2008 {
				return "", nil, fmt.Errorf("version %q is not known, use %q", version, version2012)
			}
		case "Id":
			if _, err := parseString(m.value); err != nil {
				return "", nil, fmt.Errorf("member Id: %w", err)
			}
		case "Statement":
			list = m.value
		default:
			return "", nil, fmt.Errorf("member %q is not known, a document has Version, Id and Statement", m.name)
		}
	}
	if list == nil {
		return "", nil, errors.New("member Statement is missing")
	}
	if statements, err = parseList(list); err != nil {
		return "", nil, fmt.Errorf("member Statement: %w", err)
	}
	return version, statements, nil
}

// parse compiles one statement; without variables (the old language version)
// "${" is ordinary text.
func (st *statement) parse(raw json.RawMessage, variables bool) (err error) {
	st.deny, err = parseStatement(raw, func(m member) (err error) {
		switch m.name {
		case "Action", "NotAction":
			err = st.action.parse(m, syntax{wildcards: true, fold: true}, checkAction)
		case "Resource", "NotResource":
			err = st.resource.parse(m, syntax{wildcards: true, variables: variables}, checkResource)
		case "Condition":
			st.conditions, err = parseConditions(m.value, variables)
		case "Principal", "NotPrincipal":
			err = errors.New("is not allowed here, the policy applies to whom it is attached to; remove it")
		default:
			err = errors.New("is not a member of a statement")
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case st.action.patterns == nil:
		return errors.New("member Action is missing")
	case st.resource.patterns == nil:
		return errors.New("member Resource is missing")
	}
	return nil
}

// parseStatement reads the members that statements of every kind of policy have, and
// gives the others to rest.
func parseStatement(raw json.RawMessage, rest func(member) error) (deny bool, err error) {
	members, err := parseObject(raw)
	if err != nil {
		return false, err
	}
	effect := ""
	for _, m := range members {
		switch m.name {
		case "Sid":
			_, err = parseString(m.value)
		case "Effect":
			if effect, err = parseString(m.value); err == nil && effect != "Allow" && effect != "Deny" {
				err = fmt.Errorf("%q is neither Allow nor Deny", effect)
			}
		default:
			err = rest(m)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if effect == "" {
		return false, errors.New("member Effect is missing")
	}
	return effect == "Deny", nil
}

func (e *element) parse(m member, how syntax, check func(string) error) error {
	if e.patterns != nil {
		return errors.New("stands beside its opposite, a statement has only one of them")
	}
	texts, err := parseStrings(m.value)
	if err != nil {
		return err
	}
	e.not = strings.HasPrefix(m.name, "Not")
	e.patterns = make([]pattern, len(texts))
	for i, text := range texts {
		if err := check(text); err != nil {
			return err
		}
		if e.patterns[i], err = compile(text, how); err != nil {
			return err
		}
	}
	return nil
}

func checkAction(s string) error {
	service, operation, ok := strings.Cut(s, ":")
	if s == "*" || ok && service != "" && operation != "" && strings.IndexFunc(service+operation, isNotAction) < 0 {
		return nil
	}
	return fmt.Errorf("%q is not an action: write * or service:Operation, with * and ? as wildcards", s)
}

func isNotAction(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '*' || r == '?')
}

func checkResource(s string) error {
	if strings.HasPrefix(s, "arn:") || strings.HasPrefix(s, "*") || strings.HasPrefix(s, "?") {
		return nil
	}
	return fmt.Errorf("%q is not a resource: write an ARN (arn:aws:…) or *", s)
}

// member is one entry of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// parseObject reads a JSON object, strictly: encoding/json alone would match
// names in any case and let the last of two equal names win.
func parseObject(raw json.RawMessage) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil {
		return nil, notJSON(err)
	} else if t != json.Delim('{') {
		return nil, errors.New("a JSON object is expected")
	}
	var members []member
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		m := member{name: t.(string)} // the decoder yields nothing else as a name
		if seen[m.name] {
			return nil, fmt.Errorf("%q stands there twice", m.name)
		}
		seen[m.name] = true
		if err := d.Decode(&m.value); err != nil {
			return nil, notJSON(err)
		}
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the closing brace")
	}
	return members, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: it ends too early")
	}
	return fmt.Errorf("not JSON: %w", err)
}

// parseList reads a non-empty array, or takes anything else as its only entry.
func parseList(raw json.RawMessage) ([]json.RawMessage, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("[")) {
		return []json.RawMessage{raw}, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, notJSON(err)
	}
	if len(list) == 0 {
		return nil, errors.New("the list is empty")
	}
	return list, nil
}

func parseStrings(raw json.RawMessage) ([]string, error) {
	list, err := parseList(raw)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, entry := range list {
		if texts[i], err = parseString(entry); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func parseString(raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", errors.New("a string is expected")
	}
	return *s, nil
}
