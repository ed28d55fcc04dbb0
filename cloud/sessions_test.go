package cloud_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/identity"
)

func (s *server) sts(key cloud.AccessKey) *sts.Client {
	client, base := s.client()
	return sts.New(sts.Options{
		Region: "us-east-1", BaseEndpoint: &base, HTTPClient: client, Credentials: s.credentials(key), Retryer: aws.NopRetryer{},
	})
}

// form calls an operation of IAM.
func (s *server) form(action string, params ...string) {
	s.t.Helper()
	values := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(params); i += 2 {
		values.Set(params[i], params[i+1])
	}
	if status, _, answer := s.signed("us-east-1", "iam", "POST", "/", values.Encode()); status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", action, status, answer)
	}
}

func TestTemporaryKeys(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	s.form("CreateRole", "RoleName", "lister", "AssumeRolePolicyDocument",
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+account+`:user/limited"},"Action":"sts:AssumeRole"}}`)
	s.form("PutRolePolicy", "RoleName", "lister", "PolicyName", "p", "PolicyDocument",
		`{"Statement":{"Effect":"Allow","Action":["greengrass:List*","greengrass:DeleteGroup"],"Resource":"*"}}`)
	arn := aws.String("arn:aws:iam::" + account + ":role/lister")
	deployer := s.keyWith(identity.Grant{Access: "deployer"})
	assume := func(key cloud.AccessKey, role *string) (*sts.AssumeRoleOutput, error) {
		return s.sts(key).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role, RoleSessionName: aws.String("nightly"), DurationSeconds: aws.Int32(900)})
	}
	made, err := assume(deployer, arn)
	if err != nil {
		t.Fatal(err)
	}
	if *made.AssumedRoleUser.Arn != "arn:aws:sts::"+account+":assumed-role/lister/nightly" || time.Until(*made.Credentials.Expiration) > 15*time.Minute {
		t.Errorf("%+v until %v", made.AssumedRoleUser, made.Credentials.Expiration)
	}
	client, base := s.client()
	greengrassWith := func(token string) *greengrass.Client {
		return greengrass.New(greengrass.Options{
			Region: "us-east-1", BaseEndpoint: &base, HTTPClient: client, Retryer: aws.NopRetryer{},
			Credentials: credentials.NewStaticCredentialsProvider(*made.Credentials.AccessKeyId, *made.Credentials.SecretAccessKey, token),
		})
	}
	session := greengrassWith(*made.Credentials.SessionToken)
	if _, err := session.ListGroups(ctx, &greengrass.ListGroupsInput{}); err != nil {
		t.Error(err)
	}
	for action, call := range map[string]func() error{
		"greengrass:CreateGroup": func() error { // not the role's
			_, err := session.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("g")})
			return err
		},
		"greengrass:DeleteGroup": func() error { // not the deployer's
			_, err := session.DeleteGroup(ctx, &greengrass.DeleteGroupInput{GroupId: aws.String("g")})
			return err
		},
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "assumed-role/lister/nightly is not authorized to perform: "+action) {
			t.Errorf("%s: %v", action, err)
		}
	}
	for _, token := range []string{"", "x", *made.Credentials.SessionToken + "x"} {
		if _, err := greengrassWith(token).ListGroups(ctx, &greengrass.ListGroupsInput{}); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
			t.Errorf("token %q: %v", token, err)
		}
	}
	t.Run("refused", func(t *testing.T) {
		for _, role := range []string{*arn, "arn:aws:iam::" + account + ":role/none", "arn:aws:iam::210987654321:role/lister", "arn:aws:iam::" + account + ":role/x/lister"} {
			key := deployer
			if role == *arn {
				key = s.key // whom the trust policy does not name
			}
			if _, err := assume(key, &role); err == nil || !strings.Contains(err.Error(), "is not authorized to perform: sts:AssumeRole on resource: "+role) {
				t.Errorf("%s: %v", role, err)
			}
		}
		if _, err := s.sts(s.keyWith(identity.Grant{Access: "reader"})).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: arn, RoleSessionName: aws.String("ab")}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("a reader: %v", err)
		}
		for _, in := range []sts.AssumeRoleInput{
			{RoleArn: aws.String("arn:aws:s3:::x/looks-like-nothing"), RoleSessionName: aws.String("ab")},
			{RoleArn: arn, RoleSessionName: aws.String("a b")},
			{RoleArn: arn, RoleSessionName: aws.String("ab"), DurationSeconds: aws.Int32(3601)},
			{RoleArn: arn, RoleSessionName: aws.String("ab"), Policy: aws.String("{}")},
		} {
			if _, err := s.sts(deployer).AssumeRole(ctx, &in); err == nil || !strings.Contains(err.Error(), "ValidationError") {
				t.Errorf("%+v: %v", in, err)
			}
		}
	})
	t.Run("GetSessionToken", func(t *testing.T) {
		made, err := s.sts(deployer).GetSessionToken(ctx, &sts.GetSessionTokenInput{})
		if err != nil {
			t.Fatal(err)
		}
		again := sts.New(sts.Options{
			Region: "us-east-1", BaseEndpoint: &base, HTTPClient: client, Retryer: aws.NopRetryer{},
			Credentials: credentials.NewStaticCredentialsProvider(*made.Credentials.AccessKeyId, *made.Credentials.SecretAccessKey, *made.Credentials.SessionToken),
		})
		if who, err := again.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil || *who.Arn != "arn:aws:iam::"+account+":user/limited" {
			t.Errorf("%+v, %v", who, err)
		}
		if _, err := again.GetSessionToken(ctx, &sts.GetSessionTokenInput{}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("a session of a session: %v", err)
		}
	})
}

// TestPresigned: a signature in the query is as good as one in a header, for
// every service, until it expires.
func TestPresigned(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	client, base := s.client()
	for service, path := range map[string]string{"greengrass": "/greengrass/groups", "iot": "/things", "lambda": "/2015-03-31/functions/", "sts": "/?Action=GetCallerIdentity&Version=2011-06-15"} {
		for at, want := range map[time.Time]int{time.Now(): 200, time.Now().Add(-2 * time.Minute): 403} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			q := req.URL.Query()
			q.Set("X-Amz-Expires", "60")
			req.URL.RawQuery = q.Encode()
			const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
			signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: s.key.ID, SecretAccessKey: s.key.Secret}, req, empty, service, "us-east-1", at)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := http.NewRequestWithContext(t.Context(), "GET", signed, nil)
			if err != nil {
				t.Fatal(err)
			}
			if status, _, answer := answered(t, client, plain); status != want {
				t.Errorf("%s at %v: %d %s", service, at, status, answer)
			}
		}
	}
}

// TestSecretsOfPartitions: random calls in two Regions agree with a model of each,
// and the record of each has its own calls only.
func TestSecretsOfPartitions(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	regions := []string{"us-east-1", "eu-west-1"}
	model := map[string]map[string]string{regions[0]: {}, regions[1]: {}}
	writes := map[string]int{}
	call := func(region, operation string, in map[string]any) (int, map[string]any) {
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := s.target(region, "secretsmanager", "secretsmanager."+operation, string(body))
		var out map[string]any
		if err := json.Unmarshal([]byte(answer), &out); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		return status, out
	}
	for i := range 120 {
		region, name, value := regions[rnd.IntN(2)], fmt.Sprint("s", rnd.IntN(3)), fmt.Sprint("v", i)
		here := model[region]
		_, there := here[name]
		switch rnd.IntN(5) {
		case 0:
			status, out := call(region, "CreateSecret", map[string]any{"Name": name, "SecretString": value})
			if writes[region]++; (status == 200) == there {
				t.Fatalf("call %d: create %s in %s: %d %v", i, name, region, status, out)
			}
			if !there {
				here[name] = value
			}
		case 1:
			status, out := call(region, "PutSecretValue", map[string]any{"SecretId": name, "SecretString": value})
			if writes[region]++; (status == 200) != there {
				t.Fatalf("call %d: put %s in %s: %d %v", i, name, region, status, out)
			}
			if there {
				here[name] = value
			}
		case 2:
			status, out := call(region, "DeleteSecret", map[string]any{"SecretId": name, "ForceDeleteWithoutRecovery": true})
			if writes[region]++; (status == 200) != there {
				t.Fatalf("call %d: delete %s in %s: %d %v", i, name, region, status, out)
			}
			delete(here, name)
		case 3:
			_, out := call(region, "GetSecretValue", map[string]any{"SecretId": name})
			if got, _ := out["SecretString"].(string); got != here[name] {
				t.Fatalf("call %d: %s in %s is %v, want %q", i, name, region, out, here[name])
			}
			writes[region]++ // reading a value is recorded
		default:
			_, out := call(region, "ListSecrets", map[string]any{})
			var names []string
			for _, item := range out["SecretList"].([]any) {
				names = append(names, item.(map[string]any)["Name"].(string))
			}
			if want := slices.Sorted(maps.Keys(here)); !slices.Equal(names, want) {
				t.Fatalf("call %d: %s has %v, want %v", i, region, names, want)
			}
		}
	}
	for _, region := range regions {
		_, body, _ := s.sendAs(region, s.key, "GET", "/fescue/v1/audit")
		var page struct {
			Records []struct{ Region, Service string }
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range page.Records {
			if r.Region != "" && r.Region != region {
				t.Errorf("%s shows %+v", region, r)
			}
			if r.Service == "secretsmanager" {
				n++
			}
		}
		if n != writes[region] {
			t.Errorf("%s has %d records, want %d", region, n, writes[region])
		}
	}
}

// target calls an operation of a JSON 1.1 service.
func (s *server) target(region, service, target, body string) (status int, answer string) {
	s.t.Helper()
	client, base := s.client()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", base+"/", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	key, err := s.credentials(cloud.AccessKey{}).Retrieve(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(s.t.Context(), key, req, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	status, _, answer = answered(s.t, client, req)
	return status, answer
}
