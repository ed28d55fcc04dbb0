package policy_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/policy"
)

// quickStart is the policy that the Greengrass V1 developer guide has users
// make in its first tutorial.
const quickStart = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["iot:Publish", "iot:Subscribe", "iot:Connect", "iot:Receive"],
      "Resource": ["*"]
    },
    {
      "Effect": "Allow",
      "Action": ["greengrass:*"],
      "Resource": ["*"]
    }
  ]
}`

// minimalCore is the minimal policy of a core named "core" in group "g1", with
// the connect resource widened so that the bare client id may connect too.
const minimalCore = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": ["iot:Connect"], "Resource": ["arn:aws:iot:us-west-2:123456789012:client/core*"]},
    {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": [
      "arn:aws:iot:us-west-2:123456789012:topic/$aws/things/core-*",
      "arn:aws:iot:us-west-2:123456789012:topic/hello/*"]},
    {"Effect": "Allow", "Action": ["iot:Subscribe"], "Resource": [
      "arn:aws:iot:us-west-2:123456789012:topicfilter/$aws/things/core-*",
      "arn:aws:iot:us-west-2:123456789012:topicfilter/hello/#"]},
    {"Effect": "Allow", "Action": ["iot:GetThingShadow", "iot:UpdateThingShadow", "iot:DeleteThingShadow"], "Resource": [
      "arn:aws:iot:us-west-2:123456789012:thing/core-*", "arn:aws:iot:us-west-2:123456789012:thing/lamp"]},
    {"Effect": "Allow", "Action": ["greengrass:AssumeRoleForGroup", "greengrass:CreateCertificate"], "Resource": ["*"]},
    {"Effect": "Allow", "Action": ["greengrass:GetDeployment", "greengrass:GetDeploymentArtifacts"],
      "Resource": ["arn:aws:greengrass:us-west-2:123456789012:/greengrass/groups/g1/deployments/*"]},
    {"Effect": "Allow", "Action": ["greengrass:UpdateCoreDeploymentStatus"],
      "Resource": ["arn:aws:greengrass:us-west-2:123456789012:/greengrass/groups/g1/deployments/*/cores/arn%3Aaws%3Aiot%3Aus-west-2%3A123456789012%3Athing%2Fcore"]},
    {"Effect": "Allow", "Action": ["greengrass:GetConnectivityInfo", "greengrass:UpdateConnectivityInfo"],
      "Resource": ["arn:aws:iot:us-west-2:123456789012:thing/core-*"]}
  ]
}`

const arn = "arn:aws:iot:us-west-2:123456789012:"

func parse(t testing.TB, document string) *policy.Document {
	t.Helper()
	d, err := policy.Parse(document)
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, document)
	}
	return d
}

// allow and deny are documents of one statement on one action and resource.
func allow(action, resource string) string { return one("Allow", action, resource) }
func deny(action, resource string) string  { return one("Deny", action, resource) }

func one(effect, action, resource string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"` + effect + `","Action":"` + action + `","Resource":"` + resource + `"}}`
}

type decisionCase struct {
	name      string
	documents []string
	action    string
	resource  string
	variables map[string][]string
	want      policy.Decision
}

func runDecisions(t *testing.T, cases []decisionCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var set policy.Set
			for _, d := range tc.documents {
				set = append(set, parse(t, d))
			}
			got := set.Evaluate(policy.Request{Action: tc.action, Resource: tc.resource, Variables: tc.variables})
			if got != tc.want {
				t.Errorf("%s on %s: %v, want %v", tc.action, tc.resource, got, tc.want)
			}
		})
	}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	const gg = "arn:aws:greengrass:us-west-2:123456789012:/greengrass/groups/"
	quick, minimal := []string{quickStart}, []string{minimalCore}
	runDecisions(t, []decisionCase{
		{"quick start connects", quick, "iot:Connect", arn + "client/any", nil, policy.Allowed},
		{"quick start discovers", quick, "greengrass:Discover", arn + "thing/lamp", nil, policy.Allowed},
		{"quick start has no shadow calls", quick, "iot:GetThingShadow", arn + "thing/lamp", nil, policy.ImplicitDeny},

		{"minimal: bare client id", minimal, "iot:Connect", arn + "client/core", nil, policy.Allowed},
		{"minimal: suffixed client id", minimal, "iot:Connect", arn + "client/core-c00", nil, policy.Allowed},
		{"minimal: foreign client id", minimal, "iot:Connect", arn + "client/acore", nil, policy.ImplicitDeny},
		{"minimal: own shadow topic", minimal, "iot:Publish", arn + "topic/$aws/things/core-gda/shadow/get", nil, policy.Allowed},
		{"minimal: foreign shadow topic", minimal, "iot:Publish", arn + "topic/$aws/things/lamp/shadow/get", nil, policy.ImplicitDeny},
		{"minimal: filter as it stands", minimal, "iot:Subscribe", arn + "topicfilter/hello/#", nil, policy.Allowed},
		{"minimal: MQTT wildcard is a character", minimal, "iot:Subscribe", arn + "topicfilter/hello/world", nil, policy.ImplicitDeny},
		{"minimal: synced shadow", minimal, "iot:UpdateThingShadow", arn + "thing/lamp", nil, policy.Allowed},
		{"minimal: another shadow", minimal, "iot:UpdateThingShadow", arn + "thing/lamp2", nil, policy.ImplicitDeny},
		{"minimal: role", minimal, "greengrass:AssumeRoleForGroup", "*", nil, policy.Allowed},
		{"minimal: deployment", minimal, "greengrass:GetDeployment", gg + "g1/deployments/d1", nil, policy.Allowed},
		{"minimal: foreign deployment", minimal, "greengrass:GetDeployment", gg + "g2/deployments/d1", nil, policy.ImplicitDeny},
		{"minimal: status of its core", minimal, "greengrass:UpdateCoreDeploymentStatus",
			gg + "g1/deployments/d1/cores/arn%3Aaws%3Aiot%3Aus-west-2%3A123456789012%3Athing%2Fcore", nil, policy.Allowed},
		{"minimal: status of another core", minimal, "greengrass:UpdateCoreDeploymentStatus",
			gg + "g1/deployments/d1/cores/arn%3Aaws%3Aiot%3Aus-west-2%3A123456789012%3Athing%2Fother", nil, policy.ImplicitDeny},
		{"minimal: connectivity", minimal, "greengrass:UpdateConnectivityInfo", arn + "thing/core-gci", nil, policy.Allowed},

		{"no policy", nil, "iot:Connect", arn + "client/a", nil, policy.ImplicitDeny},
		{"deny before allow", []string{deny("iot:Publish", arn+"topic/secret/*"), quickStart}, "iot:Publish", arn + "topic/secret/x", nil, policy.ExplicitDeny},
		{"allow before deny", []string{quickStart, deny("iot:Publish", arn+"topic/secret/*")}, "iot:Publish", arn + "topic/secret/x", nil, policy.ExplicitDeny},
		{"deny of something else", []string{quickStart, deny("iot:Publish", arn+"topic/secret/*")}, "iot:Publish", arn + "topic/open/x", nil, policy.Allowed},
		{"deny alone", []string{deny("iot:*", "*")}, "iot:Publish", arn + "topic/x", nil, policy.ExplicitDeny},

		{"action in another case", []string{allow("IOT:publish", "*")}, "iot:Publish", arn + "topic/x", nil, policy.Allowed},
		{"action wildcard", []string{allow("iot:Get*", "*")}, "iot:GetThingShadow", arn + "thing/x", nil, policy.Allowed},
		{"action wildcard in another case", []string{allow("iot:*SHADOW", "*")}, "iot:GetThingShadow", arn + "thing/x", nil, policy.Allowed},
		{"action question mark", []string{allow("iot:?ublish", "*")}, "iot:Publish", arn + "topic/x", nil, policy.Allowed},
		{"action is not a prefix", []string{allow("iot:Publish", "*")}, "iot:PublishRetain", arn + "topic/x", nil, policy.ImplicitDeny},
		{"every action", []string{allow("*", "*")}, "s3:GetObject", "arn:aws:s3:::b/k", nil, policy.Allowed},
		{"resource is case-sensitive", []string{allow("iot:*", arn+"topic/x")}, "iot:Publish", arn + "topic/X", nil, policy.ImplicitDeny},

		{"star crosses slashes", []string{allow("iot:*", arn+"topic/a/*/z")}, "iot:Publish", arn + "topic/a/b/c/z", nil, policy.Allowed},
		{"star may be empty", []string{allow("iot:*", arn+"topic/a*")}, "iot:Publish", arn + "topic/a", nil, policy.Allowed},
		{"stars backtrack to the end", []string{allow("iot:*", "*ab*ab")}, "iot:Publish", "abababab", nil, policy.Allowed},
		{"stars do not overlap", []string{allow("iot:*", arn+"topic/aba*aba")}, "iot:Publish", arn + "topic/ababa", nil, policy.ImplicitDeny},
		{"question mark is one character", []string{allow("iot:*", arn+"topic/dev?")}, "iot:Publish", arn + "topic/dev1", nil, policy.Allowed},
		{"question mark is one whole character", []string{allow("iot:*", arn+"topic/?/*?")}, "iot:Publish", arn + "topic/ü/温", nil, policy.Allowed},
		{"question mark needs a character", []string{allow("iot:*", arn+"topic/dev?")}, "iot:Publish", arn + "topic/dev", nil, policy.ImplicitDeny},
		{"star and question mark", []string{allow("iot:*", arn+"topic/*?x?*")}, "iot:Publish", arn + "topic/xxx", nil, policy.Allowed},
		{"star and question mark, too short", []string{allow("iot:*", arn+"topic/*?x?*")}, "iot:Publish", arn + "topic/xx", nil, policy.ImplicitDeny},
		{"policy wildcard in a filter", []string{allow("iot:*", arn+"topicfilter/a/*")}, "iot:Subscribe", arn + "topicfilter/a/+/#", nil, policy.Allowed},
		{"filter wildcard literally", []string{allow("iot:*", arn+"topicfilter/a/+")}, "iot:Subscribe", arn + "topicfilter/a/b", nil, policy.ImplicitDeny},
		{"dollar without brace", []string{allow("iot:*", arn+"topic/$aws/$$/$")}, "iot:Publish", arn + "topic/$aws/$$/$", nil, policy.Allowed},

		{"NotAction excludes", []string{strings.Replace(allow("iot:Publish", "*"), "Action", "NotAction", 1)}, "iot:Publish", arn + "topic/x", nil, policy.ImplicitDeny},
		{"NotAction leaves the rest", []string{strings.Replace(allow("iot:Publish", "*"), "Action", "NotAction", 1)}, "iot:Connect", arn + "client/x", nil, policy.Allowed},
		{"NotResource excludes", []string{strings.Replace(allow("iot:Publish", arn+"topic/x*"), "Resource", "NotResource", 1)}, "iot:Publish", arn + "topic/xy", nil, policy.ImplicitDeny},
		{"NotResource leaves the rest", []string{strings.Replace(allow("iot:Publish", arn+"topic/x*"), "Resource", "NotResource", 1)}, "iot:Publish", arn + "topic/y", nil, policy.Allowed},
	})
}

func TestVariables(t *testing.T) {
	t.Parallel()
	with := func(pairs ...string) map[string][]string {
		m := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = append(m[pairs[i]], pairs[i+1])
		}
		return m
	}
	own := []string{allow("iot:*", arn+"topic/${iot:ClientId}/data")}
	filter := []string{allow("iot:*", arn+"topicfilter/${iot:ClientId}/#")}
	cn := func(suffix string) []string {
		return []string{allow("iot:*", arn+"topic/${iot:Certificate.Subject.CommonName"+suffix+"}")}
	}
	names := with(policy.CertificateSubject+"CommonName", "first", policy.CertificateSubject+"CommonName", "second")
	notOwn := []string{strings.Replace(own[0], "Resource", "NotResource", 1)}
	runDecisions(t, []decisionCase{
		{"resolved", own, "iot:Publish", arn + "topic/lamp/data", with("iot:ClientId", "lamp"), policy.Allowed},
		{"another value", own, "iot:Publish", arn + "topic/lamp/data", with("iot:ClientId", "fan"), policy.ImplicitDeny},
		{"unresolved", own, "iot:Publish", arn + "topic/lamp/data", nil, policy.ImplicitDeny},
		{"unresolved is not its own text", own, "iot:Publish", arn + "topic/${iot:ClientId}/data", nil, policy.ImplicitDeny},
		{"empty value", own, "iot:Publish", arn + "topic//data", with("iot:ClientId", ""), policy.ImplicitDeny},
		{"two values", own, "iot:Publish", arn + "topic/a/data", with("iot:ClientId", "a", "iot:ClientId", "b"), policy.ImplicitDeny},
		{"name in another case", []string{allow("iot:*", arn+"topic/${IOT:clientid}/data")}, "iot:Publish", arn + "topic/lamp/data", with("iot:ClientId", "lamp"), policy.Allowed},
		{"star in a value is literal", own, "iot:Publish", arn + "topic/lamp/data", with("iot:ClientId", "*"), policy.ImplicitDeny},
		{"question mark in a value is literal", own, "iot:Publish", arn + "topic/lamp/data", with("iot:ClientId", "lam?"), policy.ImplicitDeny},
		{"star in a value matches itself", own, "iot:Publish", arn + "topic/*/data", with("iot:ClientId", "*"), policy.Allowed},
		{"variable in a value is literal", own, "iot:Publish", arn + "topic/x/data", with("iot:ClientId", "${iot:CertificateId}", "iot:CertificateId", "x"), policy.ImplicitDeny},
		{"several, with wildcards", []string{allow("iot:*", "*:topic/*/${iot:ClientId}/?${iot:CertificateId}*")}, "iot:Publish", arn + "topic/x/lamp/-c0ffee/y", with("iot:ClientId", "lamp", "iot:CertificateId", "c0ffee"), policy.Allowed},
		{"six of them", []string{allow("iot:*", "*"+strings.Repeat("${iot:ClientId}", 6))}, "iot:Publish", "aaaaaa", with("iot:ClientId", "a"), policy.Allowed},
		{"another resource of the statement still applies", []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":["` + arn + `topic/${iot:ClientId}","*"]}}`}, "iot:Publish", arn + "topic/x", nil, policy.Allowed},
		{"unresolved in NotResource", notOwn, "iot:Publish", arn + "topic/x", nil, policy.ImplicitDeny},
		{"resolved in NotResource", notOwn, "iot:Publish", arn + "topic/x", with("iot:ClientId", "lamp"), policy.Allowed},
		{"escapes", []string{allow("iot:*", arn+"topic/${*}${?}${$}{x}")}, "iot:Publish", arn + "topic/*?${x}", nil, policy.Allowed},
		{"escapes are literal", []string{allow("iot:*", arn+"topic/${*}")}, "iot:Publish", arn + "topic/x", nil, policy.ImplicitDeny},
		{"old language has no variables", []string{strings.Replace(own[0], "2012-10-17", "2008-10-17", 1)}, "iot:Publish", arn + "topic/lamp/data", with("iot:ClientId", "lamp"), policy.ImplicitDeny},
		{"old language takes them as text", []string{strings.Replace(own[0], `"Version":"2012-10-17",`, "", 1)}, "iot:Publish", arn + "topic/${iot:ClientId}/data", nil, policy.Allowed},

		{"filter of one's own", filter, "iot:Subscribe", arn + "topicfilter/lamp/#", with("iot:ClientId", "lamp"), policy.Allowed},
		{"client named plus", filter, "iot:Subscribe", arn + "topicfilter/+/#", with("iot:ClientId", "+"), policy.ImplicitDeny},
		{"client named hash publishes", own, "iot:Publish", arn + "topic/#/data", with("iot:ClientId", "#"), policy.Allowed},
		{"client named plus is still denied", []string{quickStart, strings.Replace(filter[0], "Allow", "Deny", 1)}, "iot:Subscribe", arn + "topicfilter/+/#", with("iot:ClientId", "+"), policy.ExplicitDeny},

		{"certificate field is its first value", cn(""), "iot:Publish", arn + "topic/first", names, policy.Allowed},
		{"certificate field is not its second", cn(""), "iot:Publish", arn + "topic/second", names, policy.ImplicitDeny},
		{"certificate field by index", cn(".1"), "iot:Publish", arn + "topic/second", names, policy.Allowed},
		{"certificate field beyond", cn(".2"), "iot:Publish", arn + "topic/second", names, policy.ImplicitDeny},
		{"certificate list is no text", cn(".List"), "iot:Publish", arn + "topic/first", names, policy.ImplicitDeny},
		{"alternative name", []string{allow("iot:*", arn+"client/${iot:certificate.subject.AlternativeName.DNSName}")}, "iot:Connect", arn + "client/a.example",
			with(policy.CertificateSubject+"AlternativeName.DNSName", "a.example"), policy.Allowed},
		{"thing attribute", []string{allow("iot:*", arn+"topic/${iot:Connection.Thing.Attributes[site]}/*")}, "iot:Publish", arn + "topic/berlin/x",
			with(policy.KeyThingAttribute("site"), "berlin"), policy.Allowed},
	})
}

func TestConditions(t *testing.T) {
	t.Parallel()
	doc := func(condition string) []string {
		return []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Condition":` + condition + `}]}`}
	}
	const (
		ip    = "aws:SourceIp"
		id    = "iot:ClientId"
		attr  = "iot:ConnectAttributes"
		thing = "iot:Connection.Thing.ThingName"
		on    = "iot:Connection.Thing.IsAttached"
		orgs  = "iot:Certificate.Subject.Organization"
	)
	type vars = map[string][]string
	var cases []decisionCase
	for _, tc := range []struct {
		name, condition string
		variables       vars
		want            bool
	}{
		{"equal", `{"StringEquals":{"iot:ClientId":"a"}}`, vars{id: {"a"}}, true},
		{"equal is case-sensitive", `{"StringEquals":{"iot:ClientId":"a"}}`, vars{id: {"A"}}, false},
		{"equal has no wildcards", `{"StringEquals":{"iot:ClientId":"a*"}}`, vars{id: {"ab"}}, false},
		{"equal to its own star", `{"StringEquals":{"iot:ClientId":"a*"}}`, vars{id: {"a*"}}, true},
		{"one of several", `{"StringEquals":{"iot:ClientId":["a","b"]}}`, vars{id: {"b"}}, true},
		{"missing key", `{"StringEquals":{"iot:ClientId":"a"}}`, nil, false},
		{"missing key if exists", `{"StringEqualsIfExists":{"iot:ClientId":"a"}}`, nil, true},
		{"present key if exists", `{"StringEqualsIfExists":{"iot:ClientId":"a"}}`, vars{id: {"b"}}, false},
		{"not equal", `{"StringNotEquals":{"iot:ClientId":["a","b"]}}`, vars{id: {"c"}}, true},
		{"not equal, equal to one", `{"StringNotEquals":{"iot:ClientId":["a","b"]}}`, vars{id: {"b"}}, false},
		{"not equal, missing", `{"StringNotEquals":{"iot:ClientId":"a"}}`, nil, true},
		{"ignore case", `{"StringEqualsIgnoreCase":{"iot:ClientId":"ÄB*"}}`, vars{id: {"äb*"}}, true},
		{"not equal ignoring case", `{"StringNotEqualsIgnoreCase":{"iot:ClientId":"AB"}}`, vars{id: {"ab"}}, false},
		{"like", `{"StringLike":{"iot:ClientId":"dev-?-*"}}`, vars{id: {"dev-1-x"}}, true},
		{"not like", `{"StringNotLike":{"iot:ClientId":"dev-*"}}`, vars{id: {"dev-1"}}, false},
		{"key in another case", `{"StringEquals":{"IOT:CLIENTID":"a"}}`, vars{id: {"a"}}, true},
		{"variable", `{"StringEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}`, vars{id: {"a"}, thing: {"a"}}, true},
		{"variable ignoring case", `{"StringEqualsIgnoreCase":{"iot:ClientId":"x-${iot:Connection.Thing.ThingName}"}}`, vars{id: {"X-A"}, thing: {"a"}}, true},
		{"variable's star is literal", `{"StringLike":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}`, vars{id: {"a"}, thing: {"*"}}, false},
		{"unresolved variable", `{"StringEquals":{"iot:ClientId":["a","${iot:Connection.Thing.ThingName}"]}}`, vars{id: {"a"}}, false},
		{"unresolved variable, negated", `{"StringNotEquals":{"iot:ClientId":"${iot:Connection.Thing.ThingName}"}}`, vars{id: {"a"}}, false},
		{"number as text", `{"StringEquals":{"iot:ClientId":12}}`, vars{id: {"12"}}, true},
		{"all operators and keys together", `{"StringEquals":{"iot:ClientId":"a","iot:DomainName":"d"},"Bool":{"aws:SecureTransport":"true"}}`, vars{id: {"a"}, "iot:DomainName": {"d"}, "aws:SecureTransport": {"true"}}, true},
		{"one of the keys fails", `{"StringEquals":{"iot:ClientId":"a","iot:DomainName":"d"}}`, vars{id: {"a"}, "iot:DomainName": {"e"}}, false},
		{"one of the operators fails", `{"StringEquals":{"iot:ClientId":"a"},"Bool":{"aws:SecureTransport":"true"}}`, vars{id: {"a"}, "aws:SecureTransport": {"false"}}, false},

		{"bool", `{"Bool":{"iot:Connection.Thing.IsAttached":["true"]}}`, vars{on: {"true"}}, true},
		{"bool as JSON", `{"Bool":{"iot:Connection.Thing.IsAttached":false}}`, vars{on: {"false"}}, true},
		{"bool missing", `{"Bool":{"iot:Connection.Thing.IsAttached":"false"}}`, nil, false},
		{"null wants none", `{"Null":{"iot:Connection.Thing.ThingName":"true"}}`, nil, true},
		{"null wants one", `{"Null":{"iot:Connection.Thing.ThingName":"false"}}`, nil, false},
		{"null has one", `{"Null":{"iot:Connection.Thing.ThingName":false}}`, vars{thing: {"x"}}, true},

		{"address in network", `{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::/32"]}}`, vars{ip: {"192.0.2.7"}}, true},
		{"address mapped into IPv6", `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, vars{ip: {"::ffff:192.0.2.7"}}, true},
		{"address v6", `{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::/32"]}}`, vars{ip: {"2001:db8::1"}}, true},
		{"address outside", `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, vars{ip: {"198.51.100.1"}}, false},
		{"single address", `{"IpAddress":{"aws:SourceIp":"192.0.2.7"}}`, vars{ip: {"192.0.2.7"}}, true},
		{"no address", `{"IpAddress":{"aws:SourceIp":"192.0.2.7"}}`, vars{ip: {"lamp"}}, false},
		{"not in network", `{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, vars{ip: {"192.0.2.7"}}, false},
		{"not in network, outside", `{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, vars{ip: {"198.51.100.1"}}, true},

		{"all values", `{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["PersistentConnect","LastWill"]}}`, vars{attr: {"LastWill"}}, true},
		{"all values, one too many", `{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}`, vars{attr: {"LastWill", "PersistentConnect"}}, false},
		{"all values of none", `{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}`, nil, true},
		{"all values, negated", `{"ForAllValues:StringNotEquals":{"iot:ConnectAttributes":["LastWill"]}}`, vars{attr: {"LastWill", "PersistentConnect"}}, false},
		{"any value", `{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}`, vars{attr: {"PersistentConnect", "LastWill"}}, true},
		{"any value of none", `{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["LastWill"]}}`, nil, false},
		{"any value, negated", `{"ForAnyValue:StringNotEquals":{"iot:ConnectAttributes":["LastWill"]}}`, vars{attr: {"LastWill", "PersistentConnect"}}, true},
		{"any value of none, negated", `{"ForAnyValue:StringNotEquals":{"iot:ConnectAttributes":["LastWill"]}}`, nil, false},
		{"certificate list", `{"ForAnyValue:StringEquals":{"iot:Certificate.Subject.Organization.List":"B"}}`, vars{orgs: {"A", "B"}}, true},
		{"certificate first value only", `{"ForAnyValue:StringEquals":{"iot:Certificate.Subject.Organization":"B"}}`, vars{orgs: {"A", "B"}}, false},
		{"certificate second value", `{"StringEquals":{"iot:Certificate.Subject.Organization.1":"B"}}`, vars{orgs: {"A", "B"}}, true},
		{"certificate value beyond", `{"StringEquals":{"iot:Certificate.Subject.Organization.7":"B"}}`, vars{orgs: {"A", "B"}}, false},
		{"no condition in it", `{}`, nil, true},
	} {
		want := policy.ImplicitDeny
		if tc.want {
			want = policy.Allowed
		}
		cases = append(cases, decisionCase{tc.name, doc(tc.condition), "iot:Connect", arn + "client/a", tc.variables, want})
	}
	runDecisions(t, cases)
}

func TestDecisionString(t *testing.T) {
	t.Parallel()
	var zero policy.Decision
	for d, want := range map[policy.Decision]string{zero: "implicitDeny", policy.Allowed: "allowed", policy.ExplicitDeny: "explicitDeny"} {
		if got := d.String(); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	set := policy.Set{parse(t, quickStart), parse(t, minimalCore), parse(t, allow("iot:*", arn+"topic/${iot:ClientId}/*"))}
	r := policy.Request{Action: "iot:Receive", Resource: arn + "topic/lamp/data", Variables: map[string][]string{"iot:ClientId": {"lamp"}}}
	if n := testing.AllocsPerRun(100, func() { set.Evaluate(r) }); n != 0 {
		t.Errorf("Evaluate allocates %v times, want none", n)
	}
}

// TestHostilePattern shows that no document stops the broker: matching that
// backtracked from one star to another would not end within a test's lifetime.
func TestHostilePattern(t *testing.T) {
	t.Parallel()
	resource := strings.Repeat("a", 400)
	for _, pattern := range []string{
		strings.Repeat("*a", 1000) + "b",
		strings.Repeat("*?a", 600) + "*b",
		"*" + strings.Repeat("?", 200) + "b*" + strings.Repeat("a?", 100) + "c",
		"*" + strings.Repeat("a?", 199) + "b*",
		strings.Repeat("*", 2000) + "b",
	} {
		set := policy.Set{parse(t, allow("iot:*", pattern))}
		for range 100 {
			if d := set.Evaluate(policy.Request{Action: "iot:Publish", Resource: resource}); d != policy.ImplicitDeny {
				t.Fatalf("%.20q matches", pattern)
			}
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	variables := map[string][]string{"iot:ClientId": {"lamp"}, "aws:SourceIp": {"192.0.2.1"}}
	for _, bench := range []struct {
		name string
		set  policy.Set
	}{
		{"quick start", policy.Set{parse(b, quickStart)}},
		{"minimal core", policy.Set{parse(b, minimalCore)}},
		{"variable", policy.Set{parse(b, allow("iot:Publish", arn+"topic/${iot:ClientId}/*"))}},
		{"condition", policy.Set{parse(b, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}}`)}},
		{"hostile", policy.Set{parse(b, allow("iot:*", "*"+strings.Repeat("?", 30)+"!*"))}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.set.Evaluate(policy.Request{Action: "iot:Publish", Resource: arn + "topic/lamp/data/temperature", Variables: variables})
			}
		})
	}
}

// Possible says whether it is worth to ask on: false is certain.
func TestPossible(t *testing.T) {
	t.Parallel()
	const allow = `{"Effect":"Allow","Action":"s3:Put*","Resource":"arn:aws:s3:::code/*"}`
	for _, tc := range []struct {
		statements, action string
		want               bool
	}{
		{allow, "s3:PutObject", true},
		{allow, "s3:GetObject", false},
		{``, "s3:PutObject", false},
		{allow + `,{"Effect":"Deny","Action":"s3:*","Resource":"*"}`, "s3:PutObject", false},
		{allow + `,{"Effect":"Deny","Action":"s3:*","Resource":"**"}`, "s3:PutObject", false},
		{allow + `,{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::code/*"}`, "s3:PutObject", true},
		{allow + `,{"Effect":"Deny","Action":"s3:*","NotResource":"arn:aws:s3:::code/*"}`, "s3:PutObject", true},
		{allow + `,{"Effect":"Deny","NotAction":"s3:*","Resource":"*"}`, "s3:PutObject", true},
		{allow + `,{"Effect":"Deny","NotAction":"iot:*","Resource":"*"}`, "s3:PutObject", false},
		{allow + `,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/site":"south"}}}`, "s3:PutObject", true},
		{`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/site":"south"}}}`, "s3:PutObject", true},
	} {
		d, err := policy.Parse(`{"Version":"2012-10-17","Statement":[` + tc.statements + `]}`)
		if tc.statements == "" {
			d, err = nil, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := (policy.Set{d}).Possible(tc.action); got != tc.want {
			t.Errorf("%s by %s: %v", tc.action, tc.statements, got)
		}
	}
}
