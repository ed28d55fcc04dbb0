package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// condition is one operator on one key; a statement applies when all of its
// conditions hold.
type condition struct {
	operator
	key        key
	quantifier quantifier
	ifExists   bool

	patterns []pattern      // onText
	networks []netip.Prefix // onAddress
	want     []bool         // onBool and onPresence
}

// operator is what a condition's operator does, suffix and prefix aside.
type operator struct {
	kind      operatorKind
	negated   bool
	wildcards bool // onText: * and ?
	fold      bool // onText: in any case
}

type operatorKind uint8

const (
	onText operatorKind = iota
	onBool
	onAddress
	onPresence
)

// operators are those of AWS IoT's and IAM's that Fescue evaluates (IAM user
// guide, "IAM JSON policy elements: Condition operators").
var operators = map[string]operator{
	"StringEquals":              {kind: onText},
	"StringNotEquals":           {kind: onText, negated: true},
	"StringEqualsIgnoreCase":    {kind: onText, fold: true},
	"StringNotEqualsIgnoreCase": {kind: onText, fold: true, negated: true},
	"StringLike":                {kind: onText, wildcards: true},
	"StringNotLike":             {kind: onText, wildcards: true, negated: true},
	"Bool":                      {kind: onBool},
	"IpAddress":                 {kind: onAddress},
	"NotIpAddress":              {kind: onAddress, negated: true},
	"Null":                      {kind: onPresence},
}

// quantifier says how many of a key's values have to match.
type quantifier uint8

const (
	plain   quantifier = iota // some; of a negated operator all
	every                     // all, and it holds for a key without values
	atLeast                   // one
)

var quantifiers = map[string]quantifier{"ForAllValues": every, "ForAnyValue": atLeast}

func parseConditions(raw json.RawMessage, variables bool) ([]condition, error) {
	byOperator, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	var conditions []condition
	for _, op := range byOperator {
		c, err := parseOperator(op.name)
		if err != nil {
			return nil, err
		}
		byKey, err := parseObject(op.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op.name, err)
		}
		if len(byKey) == 0 {
			return nil, fmt.Errorf("%s: names no condition key", op.name)
		}
		for _, k := range byKey {
			c.key = parseKey(k.name)
			if err := c.checkKey(); err != nil {
				return nil, fmt.Errorf("%s: key %q %w", op.name, k.name, err)
			}
			if err := c.parseValues(k.value, variables); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", op.name, k.name, err)
			}
			conditions = append(conditions, c)
		}
	}
	return conditions, nil
}

func parseOperator(name string) (condition, error) {
	var c condition
	bare, known := name, true
	if prefix, rest, ok := strings.Cut(name, ":"); ok {
		bare = rest
		c.quantifier, known = quantifiers[prefix]
	}
	bare, c.ifExists = strings.CutSuffix(bare, "IfExists")
	op, ok := operators[bare]
	if !ok || !known || op.kind == onPresence && (c.ifExists || c.quantifier != plain) {
		return c, fmt.Errorf("operator %q is %w; known are String…, Bool, IpAddress, NotIpAddress and Null, with ForAllValues: or ForAnyValue: before and IfExists after", name, ErrUnsupported)
	}
	c.operator = op
	return c, nil
}

func (c *condition) checkKey() error {
	switch typ := c.key.typ(); {
	case typ == unknownKey:
		return fmt.Errorf("is not a condition key that this server evaluates; see the documented iot: and aws: keys (%w)", ErrUnsupported)
	case c.kind == onBool && typ != boolKey:
		return errors.New("is not true or false; use a String operator")
	case c.kind == onAddress && typ != addressKey:
		return errors.New("is not an address; use a String operator")
	}
	return nil
}

func (c *condition) parseValues(raw json.RawMessage, variables bool) error {
	c.patterns, c.networks, c.want = nil, nil, nil
	list, err := parseList(raw)
	if err != nil {
		return err
	}
	for _, entry := range list {
		s, err := parseScalar(entry)
		if err != nil {
			return err
		}
		switch c.kind {
		case onText:
			p, err := compile(s, syntax{wildcards: c.wildcards, variables: variables})
			if err != nil {
				return err
			}
			c.patterns = append(c.patterns, p)
		case onAddress:
			network, err := parseNetwork(s)
			if err != nil {
				return fmt.Errorf("%q is not an address or network such as 203.0.113.0/24", s)
			}
			c.networks = append(c.networks, network)
		default:
			if s != "true" && s != "false" {
				return fmt.Errorf("%q is neither true nor false", s)
			}
			c.want = append(c.want, s == "true")
		}
	}
	return nil
}

// parseScalar reads a string, or the text of a number or of true and false,
// which AWS accepts in their place.
func parseScalar(raw json.RawMessage) (string, error) {
	switch first := strings.TrimSpace(string(raw)); {
	case first == "true", first == "false":
		return first, nil
	case first != "" && strings.IndexByte("-0123456789", first[0]) >= 0:
		return first, nil
	}
	return parseString(raw)
}

func parseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// holds evaluates the condition as the IAM user guide describes: a key without
// value fails an operator, and holds for a negated one, for IfExists and for
// ForAllValues. A variable without value in the condition's own text fails it
// in any case.
func (c *condition) holds(variables map[string][]string) bool {
	values := c.key.values(variables)
	if c.kind == onPresence {
		return slices.Contains(c.want, len(values) == 0)
	}
	if !c.resolves(variables) {
		return false
	}
	if len(values) == 0 {
		return c.ifExists || c.quantifier == every || c.negated && c.quantifier == plain
	}
	all := c.quantifier == every || c.quantifier == plain && c.negated
	for _, v := range values {
		if c.matches(v, variables) != c.negated {
			if !all {
				return true
			}
		} else if all {
			return false
		}
	}
	return all
}

func (c *condition) resolves(variables map[string][]string) bool {
	for i := range c.patterns {
		for _, k := range c.patterns[i].keys {
			if _, ok := k.value(variables); !ok {
				return false
			}
		}
	}
	return true
}

// matches says whether one of the condition's texts, networks or truth values
// matches the value; negation is the caller's.
func (c *condition) matches(value string, variables map[string][]string) bool {
	switch c.kind {
	case onBool:
		return slices.Contains(c.want, strings.EqualFold(value, "true"))
	case onAddress:
		addr, err := netip.ParseAddr(value)
		if err != nil {
			return false
		}
		addr = addr.Unmap().WithZone("")
		return slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	}
	for i := range c.patterns {
		if c.fold {
			if s, ok := c.patterns[i].expand(variables); ok && strings.EqualFold(s, value) {
				return true
			}
		} else if matched, _ := c.patterns[i].match(value, variables, false); matched {
			return true
		}
	}
	return false
}
