package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Trust is a compiled role trust policy: who may assume a role.
type Trust struct {
	statements []trustStatement
}

type trustStatement struct {
	deny       bool
	principals []string // AWS principals and services, as they stand there
	action     element
	// conditional statements are not evaluated: an Allow among them never
	// applies, a Deny always does.
	conditional bool
}

// ParseTrust compiles a role trust policy, which names principals and no
// resources. Any error wraps ErrMalformed.
func ParseTrust(document string) (*Trust, error) {
	if len(document) > maxBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrMalformed, len(document), maxBytes)
	}
	_, list, err := parseStatements([]byte(document))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	t := &Trust{statements: make([]trustStatement, len(list))}
	for i, raw := range list {
		if err := t.statements[i].parse(raw); err != nil {
			return nil, fmt.Errorf("%w: statement %d: %w", ErrMalformed, i+1, err)
		}
	}
	return t, nil
}

func (st *trustStatement) parse(raw json.RawMessage) (err error) {
	st.deny, err = parseStatement(raw, func(m member) (err error) {
		switch m.name {
		case "Action":
			err = st.action.parse(m, syntax{wildcards: true, fold: true}, checkAction)
		case "Principal":
			st.principals, err = parsePrincipals(m.value)
		case "Condition":
			_, err = parseObject(m.value)
			st.conditional = true
		default:
			err = errors.New("is not a member of a statement of a role trust policy")
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case st.action.patterns == nil:
		return errors.New("member Action is missing")
	case st.principals == nil:
		return errors.New("member Principal is missing")
	}
	return nil
}

// parsePrincipals reads "*" or lists by kind: AWS, Service, Federated.
func parsePrincipals(raw json.RawMessage) ([]string, error) {
	if s, err := parseString(raw); err == nil {
		if s != "*" {
			return nil, fmt.Errorf("%q is not * or an object such as {\"Service\": \"greengrass.amazonaws.com\"}", s)
		}
		return []string{"*"}, nil
	}
	kinds, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	var principals []string
	for _, k := range kinds {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, k.name) {
			return nil, fmt.Errorf("kind %q is not AWS, Service or Federated", k.name)
		}
		list, err := parseStrings(k.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		principals = append(principals, list...)
	}
	if len(principals) == 0 {
		return nil, errors.New("names nobody")
	}
	return principals, nil
}

// Allows says whether the policy lets the principal, of the account, take the
// action. An account is written as its number or as the ARN of its root.
func (t *Trust) Allows(principalARN, account, action string) bool {
	allowed := false
	for i := range t.statements {
		st := &t.statements[i]
		if !st.action.covers(action, nil, false) || !slices.ContainsFunc(st.principals, func(p string) bool {
			return p == "*" || p == principalARN || p == account ||
				strings.HasPrefix(p, "arn:") && strings.HasSuffix(p, ":iam::"+account+":root")
		}) {
			continue
		}
		if st.deny {
			return false
		}
		allowed = allowed || !st.conditional
	}
	return allowed
}
