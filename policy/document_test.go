package policy_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fescue-edge/fescue/policy"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	statement := func(members string) string {
		return `{"Version":"2012-10-17","Statement":[{` + members + `}]}`
	}
	condition := func(c string) string {
		return statement(`"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":` + c)
	}
	for _, tc := range []struct {
		name, document, cause string
	}{
		{"nothing", ``, "ends too early"},
		{"no JSON", `hello`, "not JSON"},
		{"an array", `[]`, "object is expected"},
		{"null", `null`, "object is expected"},
		{"cut off", `{"Version":"2012-10-17","Statement":[{"Effect":`, "ends too early"},
		{"cut off before the brace", `{"Version":"2012-10-17"`, "ends too early"},
		{"something after it", quickStart + `{}`, "follows the closing brace"},
		{"too large", `{"Id":"` + strings.Repeat("x", 1<<16) + `"}`, "at most"},
		{"no statement", `{"Version":"2012-10-17"}`, "Statement is missing"},
		{"empty statement list", `{"Statement":[]}`, "the list is empty"},
		{"statement is text", `{"Statement":"x"}`, "statement 1: a JSON object"},
		{"unknown version", `{"Version":"2020-01-01","Statement":[]}`, `"2020-01-01" is not known`},
		{"version is a number", `{"Version":2012}`, "a string is expected"},
		{"id is a list", `{"Id":[]}`, "a string is expected"},
		{"unknown member", `{"Statements":[]}`, `"Statements" is not known`},
		{"member in lower case", strings.ToLower(allow("iot:*", "*")), `"version" is not known`},
		{"member twice", `{"Version":"2012-10-17","Version":"2012-10-17"}`, `"Version" stands there twice`},
		{"effect twice", statement(`"Effect":"Deny","Action":"iot:*","Resource":"*","Effect":"Allow"`), `"Effect" stands there twice`},
		{"no effect", statement(`"Action":"iot:*","Resource":"*"`), "Effect is missing"},
		{"effect in lower case", statement(`"Effect":"allow","Action":"iot:*","Resource":"*"`), `"allow" is neither`},
		{"effect null", statement(`"Effect":null,"Action":"iot:*","Resource":"*"`), "a string is expected"},
		{"no action", statement(`"Effect":"Allow","Resource":"*"`), "Action is missing"},
		{"no resource", statement(`"Effect":"Allow","Action":"iot:*"`), "Resource is missing"},
		{"empty action list", statement(`"Effect":"Allow","Action":[],"Resource":"*"`), "the list is empty"},
		{"action without service", statement(`"Effect":"Allow","Action":"Publish","Resource":"*"`), `"Publish" is not an action`},
		{"action with an odd character", statement(`"Effect":"Allow","Action":"iot:Pub/lish","Resource":"*"`), "is not an action"},
		{"action is a number", statement(`"Effect":"Allow","Action":[1],"Resource":"*"`), "a string is expected"},
		{"action and its opposite", statement(`"Effect":"Allow","Action":"iot:*","NotAction":"iot:*","Resource":"*"`), "only one of them"},
		{"resource and its opposite", statement(`"Effect":"Allow","Action":"iot:*","NotResource":"*","Resource":"*"`), "only one of them"},
		{"resource is no ARN", statement(`"Effect":"Allow","Action":"iot:*","Resource":"topic/x"`), `"topic/x" is not a resource`},
		{"resource is empty", statement(`"Effect":"Allow","Action":"iot:*","Resource":""`), "is not a resource"},
		{"variable without end", statement(`"Effect":"Allow","Action":"iot:*","Resource":"arn:x${iot:ClientId"`), "has no closing brace"},
		{"variable without service", statement(`"Effect":"Allow","Action":"iot:*","Resource":"arn:x${ClientId}"`), "${ClientId}"},
		{"variable with default", statement(`"Effect":"Allow","Action":"iot:*","Resource":"arn:x${aws:username, 'x'}"`), "not the name of a variable"},
		{"variable in a variable", statement(`"Effect":"Allow","Action":"iot:*","Resource":"arn:x${a:${b:c}}"`), "not the name of a variable"},
		{"principal", statement(`"Effect":"Allow","Action":"iot:*","Resource":"*","Principal":"*"`), "Principal: is not allowed"},
		{"unknown member of a statement", statement(`"Effect":"Allow","Action":"iot:*","Resource":"*","Foo":1`), "Foo: is not a member"},
		{"sid is a number", statement(`"Sid":1`), "Sid: a string"},
		{"condition is a list", condition(`[]`), "Condition: a JSON object"},
		{"condition operator without keys", condition(`{"StringEquals":{}}`), "names no condition key"},
		{"condition operator is text", condition(`{"StringEquals":"x"}`), "StringEquals: a JSON object"},
		{"unknown operator", condition(`{"NumericEquals":{"iot:ClientId":"1"}}`), `operator "NumericEquals" is not supported`},
		{"unknown quantifier", condition(`{"ForSomeValues:StringEquals":{"iot:ClientId":"1"}}`), `"ForSomeValues:StringEquals" is not supported`},
		{"null if exists", condition(`{"NullIfExists":{"iot:ClientId":"true"}}`), `"NullIfExists" is not supported`},
		{"unknown key", condition(`{"StringEquals":{"aws:CalledVia":"1"}}`), `key "aws:CalledVia" is not a condition key`},
		{"family without a name", condition(`{"StringEquals":{"aws:ResourceTag/":"1"}}`), "is not a condition key"},
		{"attribute without bracket", condition(`{"StringEquals":{"iot:Connection.Thing.Attributes[x":"1"}}`), "is not a condition key"},
		{"address of a text key", condition(`{"IpAddress":{"iot:ClientId":"192.0.2.1"}}`), "is not an address"},
		{"bool of a text key", condition(`{"Bool":{"iot:ClientId":"true"}}`), "is not true or false"},
		{"bad network", condition(`{"IpAddress":{"aws:SourceIp":"192.0.2.0/33"}}`), `"192.0.2.0/33" is not an address`},
		{"bad truth value", condition(`{"Bool":{"aws:SecureTransport":"yes"}}`), `"yes" is neither`},
		{"condition value is null", condition(`{"StringEquals":{"iot:ClientId":null}}`), "a string is expected"},
		{"condition value is an object", condition(`{"StringEquals":{"iot:ClientId":[{}]}}`), "a string is expected"},
		{"condition value list is empty", condition(`{"StringEquals":{"iot:ClientId":[]}}`), "the list is empty"},
		{"condition variable without end", condition(`{"StringEquals":{"iot:ClientId":"${"}}`), "has no closing brace"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Parse(tc.document)
			if !errors.Is(err, policy.ErrMalformed) {
				t.Fatalf("Parse = %v, want ErrMalformed", err)
			}
			if !strings.Contains(err.Error(), tc.cause) {
				t.Errorf("error %q does not name the cause %q", err, tc.cause)
			}
		})
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, document string
		want           int
	}{
		{"empty", "", 0},
		{"whitespace is free", " {\n\t\"a\" : 1\r\n}\u00a0", 7},
		{"characters, not bytes", "äöü", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := policy.Size(tc.document); got != tc.want {
				t.Errorf("Size = %d, want %d", got, tc.want)
			}
		})
	}
	if got := policy.Size(minimalCore); got > policy.MaxIoTDocument {
		t.Errorf("the documented minimal policy has %d characters, the limit is %d", got, policy.MaxIoTDocument)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{quickStart, minimalCore, allow("iot:*", arn+"topic/${iot:ClientId}/*?${*}"), `{"Statement":{}}`, `{"Statement":[{"Condition":{"Bool":{"aws:SecureTransport":true}}}]}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"*","NotResource":"*","Condition":{"ForAllValues:StringLikeIfExists":{"iot:Certificate.Subject.CommonName.List":["a*","${iot:ClientId}"]}}}}`} {
		f.Add(seed, "iot:Publish", arn+"topic/lamp/x", "lamp")
	}
	f.Fuzz(func(t *testing.T, document, action, resource, client string) {
		d, err := policy.Parse(document)
		if (d == nil) == (err == nil) || err != nil && !errors.Is(err, policy.ErrMalformed) {
			t.Fatalf("Parse = %v, %v", d, err)
		}
		if err != nil {
			return
		}
		request := policy.Request{Action: action, Resource: resource, Variables: map[string][]string{"iot:ClientId": {client}}}
		decision := policy.Set{d}.Evaluate(request)
		if again := (policy.Set{d, d}).Evaluate(request); again != decision {
			t.Errorf("twice the document decides %v, once %v", again, decision)
		}
		all := parse(t, deny("*", "*"))
		if got := (policy.Set{d, all}).Evaluate(request); got != policy.ExplicitDeny {
			t.Errorf("denied by all, yet %v", got)
		}
	})
}

// FuzzWildcards compares the matcher with a plain dynamic program.
func FuzzWildcards(f *testing.F) {
	for _, seed := range [][2]string{{"*a?b*", "xaybz"}, {"?*?", "ab"}, {"*ab*ab", "ababab"}, {"*aba*aba", "ababa"}, {"*", ""}, {"**ü?*", "aüb"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(s) || strings.ContainsFunc(pattern+s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == '$' || r == 0xfffd }) {
			return
		}
		d, err := policy.Parse(allow("*", "*"+pattern))
		if err != nil {
			t.Skip(err)
		}
		got := policy.Set{d}.Evaluate(policy.Request{Action: "a:b", Resource: s}) == policy.Allowed
		if want := slowMatch([]rune("*"+pattern), []rune(s)); got != want {
			t.Errorf("%q on %q: %v, want %v", "*"+pattern, s, got, want)
		}
	})
}

func slowMatch(pattern, s []rune) bool {
	reach := make([]bool, len(s)+1) // reach[i]: the pattern so far matches s[:i]
	reach[0] = true
	for _, p := range pattern {
		next := make([]bool, len(s)+1)
		for i := range next {
			switch {
			case p == '*':
				next[i] = reach[i] || i > 0 && next[i-1]
			case i > 0:
				next[i] = reach[i-1] && (p == '?' || p == s[i-1])
			}
		}
		reach = next
	}
	return reach[len(s)]
}
