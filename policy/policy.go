// Package policy reads AWS IoT and IAM policy documents and decides requests by
// them: wildcards, policy variables, conditions, explicit deny before allow,
// deny when nothing says otherwise.
//
// The package is pure. It knows neither who a principal is nor which policies
// are attached to it, and nothing of topics: + and # are ordinary characters.
// The caller chooses the documents, names action and resource, and supplies the
// values of policy variables and condition keys.
//
// A document is compiled once by Parse; evaluating it walks strings without
// building any, because it happens for every MQTT packet. What the package
// cannot evaluate faithfully (an unknown operator, an unknown condition key) is
// refused when the document is parsed: skipped in a Deny statement it would
// open what its author meant to close.
package policy

// Decision is the outcome of evaluating a set of policies. The zero value
// denies.
type Decision int

const (
	// ImplicitDeny means that no statement applied.
	ImplicitDeny Decision = iota
	// Allowed means that a statement allowed the request and none denied it.
	Allowed
	// ExplicitDeny means that a statement denied the request.
	ExplicitDeny
)

// String names the decision as AWS's policy simulator does.
func (d Decision) String() string {
	switch d {
	case Allowed:
		return "allowed"
	case ExplicitDeny:
		return "explicitDeny"
	default:
		return "implicitDeny"
	}
}

// Request is what is to be decided.
type Request struct {
	// Action is the service's signing prefix and the operation, for example
	// "iot:Publish". Its case does not matter.
	Action string
	// Resource is the full ARN, or "*" for actions without a resource.
	Resource string
	// Variables are the values behind policy variables and condition keys, by
	// the names of the Key constants, written exactly so. A key without value
	// is unresolved. The map is only read; one map may serve many requests, also
	// at the same time.
	Variables map[string][]string
}

// Set is the documents that apply to one principal. The order does not matter.
type Set []*Document

// Evaluate decides the request: an explicit Deny wins, else any Allow, else
// ImplicitDeny. It may be called from many goroutines.
func (s Set) Evaluate(r Request) Decision {
	decision := ImplicitDeny
	for _, d := range s {
		if d == nil {
			continue
		}
		for i := range d.statements {
			st := &d.statements[i]
			if decision == Allowed && !st.deny || !st.applies(&r) {
				continue
			}
			if st.deny {
				return ExplicitDeny
			}
			decision = Allowed
		}
	}
	return decision
}

// Possible reports whether a request with the action may be allowed, on some
// resource and with some values of variables. Where that is unknown it is true.
func (s Set) Possible(action string) bool {
	allowed := false
	for _, d := range s {
		if d == nil {
			continue
		}
		for i := range d.statements {
			st := &d.statements[i]
			switch {
			case !st.action.covers(action, nil, false):
			case !st.deny:
				allowed = true
			case len(st.conditions) == 0 && st.resource.coversAll():
				return false
			}
		}
	}
	return allowed
}

// coversAll reports whether the element is "*".
func (e *element) coversAll() bool {
	for i := range e.patterns {
		// Nothing has this name: only a pattern without any text of its own matches.
		if matched, _ := e.patterns[i].match("\x00", nil, false); matched && !e.not {
			return true
		}
	}
	return false
}

// statement is one compiled entry of a document.
type statement struct {
	deny       bool
	action     element
	resource   element
	conditions []condition
}

// element is Action, NotAction, Resource or NotResource.
type element struct {
	patterns []pattern
	not      bool
}

func (st *statement) applies(r *Request) bool {
	if !st.action.covers(r.Action, r.Variables, false) {
		return false
	}
	if !st.resource.covers(r.Resource, r.Variables, !st.deny && isTopicFilter(r.Resource)) {
		return false
	}
	for i := range st.conditions {
		if !st.conditions[i].holds(r.Variables) {
			return false
		}
	}
	return true
}

// covers says whether the element applies to s. A pattern with an unresolved
// variable matches nothing, and in a negated element keeps the whole statement
// from applying, since it is unknown what it would have excluded.
func (e *element) covers(s string, variables map[string][]string, guardFilter bool) bool {
	for i := range e.patterns {
		matched, resolved := e.patterns[i].match(s, variables, guardFilter)
		if e.not && (matched || !resolved) {
			return false
		}
		if !e.not && matched {
			return true
		}
	}
	return e.not
}

// ParseAll parses the documents of a principal. One that does not parse fails
// the whole: it may hold a Deny that must not be lost.
func ParseAll(documents []string) (Set, error) {
	set := make(Set, 0, len(documents))
	for _, text := range documents {
		d, err := Parse(text)
		if err != nil {
			return nil, err
		}
		set = append(set, d)
	}
	return set, nil
}
