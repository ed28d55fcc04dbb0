package functions

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// Limits of AWS Lambda (developer guide, "Lambda quotas"; API model).
const (
	maxTimeout      = 900    // seconds
	minMemory       = 128    // MB
	maxMemory       = 10_240 // MB
	maxEnvironment  = 4096   // bytes of all names and values
	maxTags         = 50
	maxTagKey       = 128
	maxTagValue     = 256
	maxDescription  = 256
	maxHandler      = 128
	maxRuntime      = 128
	longestInErrors = 128 // characters of a refused value that are sent back
)

var (
	// runtimePattern is open: runtimes that AWS retired, and Greengrass's own
	// arn:aws:greengrass:::runtime/function/executable, go on working here.
	runtimePattern  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/-]*$`)
	handlerPattern  = regexp.MustCompile(`^[^\s\p{Cc}]+$`)
	rolePattern     = regexp.MustCompile(`^arn:(aws[a-zA-Z-]*)?:iam::[0-9]{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$`)
	variablePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]+$`)
	aliasPattern    = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	versionPattern  = regexp.MustCompile(`^(\$LATEST|[0-9]{1,18})$`)
)

// checks gathers what is wrong with the members of one request.
type checks struct{ found []string }

func (c *checks) add(member, value, constraint string) {
	if short := []rune(value); len(short) > longestInErrors {
		value = string(short[:longestInErrors]) + "…"
	}
	c.found = append(c.found, fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: %s", value, member, constraint))
}

func (c *checks) pattern(member, value string, pattern *regexp.Regexp) {
	if !pattern.MatchString(value) {
		c.add(member, value, "Member must satisfy regular expression pattern: "+strings.Trim(pattern.String(), "^$"))
	}
}

func (c *checks) length(member, value string, limit int) {
	if utf8.RuneCountInString(value) > limit {
		c.add(member, value, fmt.Sprintf("Member must have length less than or equal to %d", limit))
	}
}

func (c *checks) number(member string, value, low, high int) {
	if value < low {
		c.add(member, fmt.Sprint(value), fmt.Sprintf("Member must have value greater than or equal to %d", low))
	}
	if value > high {
		c.add(member, fmt.Sprint(value), fmt.Sprintf("Member must have value less than or equal to %d", high))
	}
}

// err is nil when nothing was found, else an ErrShape that names all of it.
func (c *checks) err() error {
	switch len(c.found) {
	case 0:
		return nil
	case 1:
		return fescue.Refuse(ErrShape, "1 validation error detected: %s", c.found[0])
	default:
		return fescue.Refuse(ErrShape, "%d validation errors detected: %s", len(c.found), strings.Join(c.found, "; "))
	}
}

func (c *checks) alias(name string) {
	c.length("name", name, 128)
	if !aliasPattern.MatchString(name) || isNumber(name) {
		c.add("name", name, "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)")
	}
}

// configuration checks the members of a function that are given, in the order
// in which Lambda names them.
func (c *checks) configuration(s Settings) {
	if s.Runtime != nil {
		c.pattern("runtime", *s.Runtime, runtimePattern)
		c.length("runtime", *s.Runtime, maxRuntime)
	}
	if s.Role != nil {
		c.pattern("role", *s.Role, rolePattern)
	}
	if s.Handler != nil {
		c.pattern("handler", *s.Handler, handlerPattern)
		c.length("handler", *s.Handler, maxHandler)
	}
	if s.Description != nil {
		c.length("description", *s.Description, maxDescription)
	}
	if s.Timeout != nil {
		c.number("timeout", *s.Timeout, 1, maxTimeout)
	}
	if s.MemorySize != nil {
		c.number("memorySize", *s.MemorySize, minMemory, maxMemory)
	}
	for _, name := range sortedKeys(s.Environment) {
		c.pattern("environment.variables", name, variablePattern)
	}
}

func (c *checks) architectures(list []string) {
	if list != nil && (len(list) != 1 || (list[0] != "x86_64" && list[0] != "arm64")) {
		c.add("architectures", "["+strings.Join(list, ", ")+"]", "Member must be a list of one of: x86_64, arm64")
	}
}

func checkEnvironment(variables map[string]string) error {
	size := 0
	for name, value := range variables {
		size += len(name) + len(value)
	}
	if size > maxEnvironment {
		return fescue.Refuse(ErrInvalid, "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit.")
	}
	return nil
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fescue.Refuse(ErrInvalid, "A function can have at most %d tags.", maxTags)
	}
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxTagKey:
			return fescue.Refuse(ErrInvalid, "The tag key %.200q must have 1 to %d characters.", key, maxTagKey)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return fescue.Refuse(ErrInvalid, "The tag key %q starts with aws:, which is reserved.", key)
		case utf8.RuneCountInString(value) > maxTagValue:
			return fescue.Refuse(ErrInvalid, "The value of the tag %q is longer than %d characters.", key, maxTagValue)
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
