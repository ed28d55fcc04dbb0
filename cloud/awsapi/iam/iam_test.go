package iam_test

import (
	"encoding/xml"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/iam"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

const (
	trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"greengrass.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	document = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get Object"],"Resource":"*"}]}`
)

type site struct {
	*testing.T
	api *iam.API
}

func open(t *testing.T) *site {
	t.Helper()
	st := storetest.Open(t)
	now := func() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }
	return &site{t, iam.New(identity.NewRoles(st.IAM(), now), slog.New(slog.DiscardHandler))}
}

// call does an action with parameters "Name=value"; want is the code of the error
// that has to come. The same account in any Region is the same IAM.
func (s *site) call(action, want string, params ...string) string {
	s.Helper()
	return s.callIn(fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}, action, want, params...)
}

func (s *site) callIn(p fescue.Partition, action, want string, params ...string) string {
	s.Helper()
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for _, param := range params {
		name, value, _ := strings.Cut(param, "=")
		form.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.api.ServeCall(w, httptest.NewRequest("POST", "/", strings.NewReader(form.Encode())), &awsapi.Call{Partition: p, RequestID: "r"})
	var e struct {
		Error struct{ Code, Message string }
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &e); err != nil {
		s.Fatalf("%s: %v", w.Body, err)
	}
	if e.Error.Code != want || (want == "") != (w.Code == 200) {
		s.Fatalf("%s %v: %d %s, want %q", action, params, w.Code, w.Body, want)
	}
	return w.Body.String()
}

func (s *site) has(body string, parts ...string) {
	s.Helper()
	for _, part := range parts {
		if !strings.Contains(body, part) {
			s.Errorf("no %s in %s", part, body)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	s := open(t)
	const encodedTrust = "%7B%22Version%22%3A%222012-10-17%22%2C"
	s.has(s.call("CreateRole", "", "RoleName=r", "AssumeRolePolicyDocument="+trust, "Description=a b", "Tags.member.1.Key=k", "Tags.member.1.Value=v"),
		"<CreateRoleResult><Role><Path>/</Path><RoleName>r</RoleName><RoleId>AROA", "<Arn>arn:aws:iam::123456789012:role/r</Arn>", "<CreateDate>2026-11-25T12:00:00Z</CreateDate>",
		"<AssumeRolePolicyDocument>"+encodedTrust, "<Tags><member><Key>k</Key><Value>v</Value></member></Tags>", "<MaxSessionDuration>3600</MaxSessionDuration>")
	s.has(s.call("CreateRole", "EntityAlreadyExists", "RoleName=r", "AssumeRolePolicyDocument="+trust), "Role with name r already exists.")
	s.has(s.call("GetRole", "", "RoleName=r"), "<Description>a b</Description>")
	s.has(s.call("GetRole", "NoSuchEntity", "RoleName=x"), "The role with name x cannot be found.")
	s.has(s.callIn(fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}, "GetRole", "", "RoleName=r"), "role/r")
	s.callIn(fescue.Partition{AWS: "aws", Account: "210987654321", Region: "eu-west-1"}, "GetRole", "NoSuchEntity", "RoleName=r")
	s.call("UpdateAssumeRolePolicy", "", "RoleName=r", "PolicyDocument="+strings.Replace(trust, "greengrass", "iot", 1))
	s.has(s.call("GetRole", "", "RoleName=r"), "iot.amazonaws.com")

	// Lists have their element also when they are empty.
	s.has(s.call("ListRolePolicies", "", "RoleName=r"), "<ListRolePoliciesResult><PolicyNames></PolicyNames><IsTruncated>false</IsTruncated>")
	s.has(s.call("ListAttachedRolePolicies", "", "RoleName=r"), "<AttachedPolicies></AttachedPolicies>")
	s.has(s.call("ListRoles", "", "PathPrefix=/none/"), "<Roles></Roles>")

	for _, name := range []string{"b", "a", "c"} {
		s.call("PutRolePolicy", "", "RoleName=r", "PolicyName="+name, "PolicyDocument="+strings.Replace(document, " ", "", 1))
	}
	s.has(s.call("GetRolePolicy", "", "RoleName=r", "PolicyName=a"), "<RoleName>r</RoleName><PolicyName>a</PolicyName><PolicyDocument>%7B%22Version")
	s.has(s.call("ListRolePolicies", "", "RoleName=r", "MaxItems=2"), "<PolicyNames><member>a</member><member>b</member></PolicyNames><IsTruncated>true</IsTruncated><Marker>Yg</Marker>")
	s.has(s.call("ListRolePolicies", "", "RoleName=r", "MaxItems=2", "Marker=Yg"), "<PolicyNames><member>c</member></PolicyNames><IsTruncated>false</IsTruncated>")
	const greengrass = "arn:aws:iam::aws:policy/service-role/AWSGreengrassResourceAccessRolePolicy"
	s.call("AttachRolePolicy", "", "RoleName=r", "PolicyArn="+greengrass)
	s.has(s.call("ListAttachedRolePolicies", "", "RoleName=r"),
		"<AttachedPolicies><member><PolicyName>AWSGreengrassResourceAccessRolePolicy</PolicyName><PolicyArn>"+greengrass+"</PolicyArn></member></AttachedPolicies>")
	s.call("DeleteRole", "DeleteConflict", "RoleName=r")
	for _, name := range []string{"a", "b", "c"} {
		s.call("DeleteRolePolicy", "", "RoleName=r", "PolicyName="+name)
	}
	s.call("DetachRolePolicy", "", "RoleName=r", "PolicyArn="+greengrass)
	s.call("DetachRolePolicy", "NoSuchEntity", "RoleName=r", "PolicyArn="+greengrass)
	s.call("DeleteRole", "", "RoleName=r")
	s.call("DeleteRole", "NoSuchEntity", "RoleName=r")
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	s := open(t)
	valid := strings.Replace(document, " ", "", 1)
	s.has(s.call("CreatePolicy", "", "PolicyName=p", "Path=/x/", "PolicyDocument="+valid), "<Arn>arn:aws:iam::123456789012:policy/x/p</Arn>", "<DefaultVersionId>v1</DefaultVersionId>", "<PolicyId>ANPA")
	s.call("CreatePolicy", "EntityAlreadyExists", "PolicyName=p", "PolicyDocument="+valid)
	const arn = "PolicyArn=arn:aws:iam::123456789012:policy/x/p"
	s.call("GetPolicy", "", arn)
	s.has(s.call("GetPolicyVersion", "", arn, "VersionId=v1"), "<IsDefaultVersion>true</IsDefaultVersion>", "s3%3AGetObject")
	s.call("GetPolicyVersion", "NoSuchEntity", arn, "VersionId=v2")
	s.call("GetPolicy", "NoSuchEntity", "PolicyArn=arn:aws:iam::123456789012:policy/p")
	s.call("GetPolicy", "NoSuchEntity", "PolicyArn=arn:aws:iam::210987654321:policy/x/p")
	s.has(s.call("ListPolicies", ""), "<Policies><member><PolicyName>p</PolicyName>")
	s.has(s.call("ListPolicies", "", "Scope=AWS"), "<Policies></Policies>")
	s.call("CreateRole", "", "RoleName=r", "AssumeRolePolicyDocument="+trust)
	s.call("AttachRolePolicy", "", "RoleName=r", arn)
	s.call("DeletePolicy", "DeleteConflict", arn)
	s.call("DetachRolePolicy", "", "RoleName=r", arn)
	s.call("DeletePolicy", "", arn)
	s.call("DeletePolicy", "NoSuchEntity", arn)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.call("CreateRole", "", "RoleName=r", "AssumeRolePolicyDocument="+trust)
	const malformed, invalid, unknown = "MalformedPolicyDocument", "ValidationError", "NoSuchEntity"
	for _, c := range [][]string{
		{"CreateRole", invalid, "RoleName=", "AssumeRolePolicyDocument=" + trust},
		{"CreateRole", invalid, "RoleName=a b", "AssumeRolePolicyDocument=" + trust},
		{"CreateRole", invalid, "RoleName=n", "Path=x", "AssumeRolePolicyDocument=" + trust},
		{"CreateRole", invalid, "RoleName=n", "MaxSessionDuration=1", "AssumeRolePolicyDocument=" + trust},
		{"CreateRole", malformed, "RoleName=n", "AssumeRolePolicyDocument={"},
		{"CreateRole", malformed, "RoleName=n"},
		{"CreateRole", malformed, "RoleName=n", "AssumeRolePolicyDocument=" + document},
		{"UpdateAssumeRolePolicy", malformed, "RoleName=r", "PolicyDocument={}"},
		{"UpdateAssumeRolePolicy", unknown, "RoleName=x", "PolicyDocument=" + trust},
		{"PutRolePolicy", malformed, "RoleName=r", "PolicyName=p", "PolicyDocument=" + document},
		{"PutRolePolicy", malformed, "RoleName=r", "PolicyName=p", "PolicyDocument=" + strings.Repeat("x", 10241)},
		{"PutRolePolicy", invalid, "RoleName=r", "PolicyName=a/b", "PolicyDocument={}"},
		{"PutRolePolicy", unknown, "RoleName=x", "PolicyName=p", "PolicyDocument=" + strings.Replace(document, " ", "", 1)},
		{"GetRolePolicy", unknown, "RoleName=r", "PolicyName=p"},
		{"DeleteRolePolicy", unknown, "RoleName=r", "PolicyName=p"},
		{"ListRolePolicies", unknown, "RoleName=x"},
		{"ListAttachedRolePolicies", unknown, "RoleName=x"},
		{"ListRoles", invalid, "MaxItems=0"},
		{"ListRoles", invalid, "Marker=?"},
		{"AttachRolePolicy", invalid, "RoleName=r", "PolicyArn=x"},
		{"AttachRolePolicy", unknown, "RoleName=x", "PolicyArn=arn:aws:iam::aws:policy/ReadOnlyAccess"},
		{"CreatePolicy", malformed, "PolicyName=p", "PolicyDocument=[]"},
		{"CreateUser", "InvalidAction", "UserName=u"},
	} {
		s.call(c[0], c[1], c[2:]...)
	}
	// What asks for a condition that is not evaluated is kept all the same.
	s.call("PutRolePolicy", "", "RoleName=r", "PolicyName=p",
		`PolicyDocument={"Statement":{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"greengrass.amazonaws.com"}}}}`)
}
