package functions

import (
	"regexp"

	"github.com/fescue-edge/fescue"
)

// Reference is a function in the caller's partition and the version or alias
// meant, if one is.
type Reference struct {
	Name string
	// Qualifier is empty, "$LATEST", a version's number or an alias.
	Qualifier string
}

var (
	// A FunctionName (Lambda API model) is an ARN, account:function:name, or a
	// name, each with or without qualifier.
	arnReference     = regexp.MustCompile(`^arn:(aws[a-zA-Z-]*):lambda:([a-z0-9-]+):([0-9]{12}):function:([a-zA-Z0-9_-]+)(?::(\$LATEST|[a-zA-Z0-9_-]+))?$`)
	partialReference = regexp.MustCompile(`^()()(?:(?:([0-9]{12}):)?function:)?([a-zA-Z0-9_-]+)(?::(\$LATEST|[a-zA-Z0-9_-]+))?$`)
	namePattern      = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	qualifierPattern = regexp.MustCompile(`^(\$LATEST|[a-zA-Z0-9_-]{1,128})$`)
	numberPattern    = regexp.MustCompile(`^[0-9]+$`)
)

// longestReference bounds a FunctionName: the longest ARN with a qualifier.
const longestReference = 300

// ParseReference reads a FunctionName, and the Qualifier parameter beside it,
// as a caller in the partition means them. Both may name a qualifier if they
// name the same. A function of another partition is fescue.ErrNotFound.
func ParseReference(p fescue.Partition, function, qualifier string) (Reference, error) {
	var c checks
	m := splitReference(function)
	if !namePattern.MatchString(m[4]) || len(m[5]) > 128 {
		c.add("functionName", function, "Member must be a function name of at most 64 characters of [a-zA-Z0-9-_], a partial ARN, or an ARN")
	}
	if qualifier != "" && !qualifierPattern.MatchString(qualifier) {
		c.add("qualifier", qualifier, "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)")
	}
	if err := c.err(); err != nil {
		return Reference{}, err
	}
	ref := Reference{Name: m[4], Qualifier: m[5]}
	if qualifier != "" && ref.Qualifier != "" && qualifier != ref.Qualifier {
		return Reference{}, fescue.Refuse(ErrInvalid, "The derived qualifier from the function name does not match the specified qualifier.")
	}
	if ref.Qualifier == "" {
		ref.Qualifier = qualifier
	}
	if differs(m[1], p.AWS) || differs(m[2], p.Region) || differs(m[3], p.Account) {
		return Reference{}, fescue.Refuse(fescue.ErrNotFound, "Function not found: %s", function)
	}
	return ref, nil
}

// splitReference finds, after the whole, the AWS partition, Region, account,
// name and qualifier in a reference; all are empty if it is none.
func splitReference(function string) []string {
	if len(function) <= longestReference {
		for _, form := range []*regexp.Regexp{arnReference, partialReference} {
			if m := form.FindStringSubmatch(function); m != nil {
				return m
			}
		}
	}
	return make([]string, 6)
}

// differs reports whether an optional part of a reference is given and another.
func differs(given, own string) bool { return given != "" && given != own }

// changeable refuses references to anything but $LATEST.
func (r Reference) changeable() error {
	if r.Qualifier != "" && r.Qualifier != fescue.LatestVersion {
		return fescue.Refuse(ErrInvalid, "A published version or an alias cannot be changed: leave out the qualifier %s, which means $LATEST.", r.Qualifier)
	}
	return nil
}

// unqualified refuses references with a qualifier.
func (r Reference) unqualified() error {
	if r.Qualifier != "" {
		return fescue.Refuse(ErrInvalid, "The function name must not have the qualifier %s here.", r.Qualifier)
	}
	return nil
}

// isNumber reports whether a qualifier is a version's number and not an alias.
func isNumber(qualifier string) bool { return numberPattern.MatchString(qualifier) }
