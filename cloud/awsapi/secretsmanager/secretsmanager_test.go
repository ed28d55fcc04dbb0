package secretsmanager_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/secretsmanager"
	"github.com/fescue-edge/fescue/cloud/secrets"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
)

const (
	token1 = "11111111-1111-1111-1111-111111111111"
	token2 = "22222222-2222-2222-2222-222222222222"
)

// site is the service on a database, with a clock that stands still.
type site struct {
	*testing.T
	api *secretsmanager.API
	dir string
	now time.Time
}

func open(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, dir: t.TempDir(), now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	st := storetest.OpenOn(t, filepath.Join(s.dir, "fescue.db"))
	master, err := pki.NewMasterKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s.api = secretsmanager.New(secrets.New(st.Secrets(), master, func() time.Time { return s.now }), slog.New(slog.DiscardHandler))
	return s
}

type answer map[string]any

func (a answer) text(name string) string { s, _ := a[name].(string); return s }

// call does an operation; want is the code of the error that has to come.
func (s *site) call(p fescue.Partition, operation, body, want string) answer {
	s.Helper()
	s.now = s.now.Add(time.Second)
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "secretsmanager."+operation)
	w := httptest.NewRecorder()
	s.api.ServeCall(w, r, &awsapi.Call{Partition: p, RequestID: "r"})
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		s.Fatalf("%s: %s", operation, w.Body)
	}
	if got := a.text("__type"); got != want || (want == "") != (w.Code == http.StatusOK) {
		s.Fatalf("%s %s: %d %s, want %q", operation, body, w.Code, w.Body, want)
	}
	return a
}

func (s *site) value(id, stage, want string) {
	s.Helper()
	a := s.call(here, "GetSecretValue", `{"SecretId":"`+id+`","VersionStage":"`+stage+`"}`, "")
	if a.text("SecretString") != want {
		s.Errorf("%s of %s: %v, want %q", stage, id, a, want)
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	s := open(t)
	create := `{"Name":"greengrass-a","SecretString":"one","ClientRequestToken":"` + token1 + `","Description":"d","Tags":[{"Key":"k","Value":"v"}]}`
	made := s.call(here, "CreateSecret", create, "")
	arn := made.text("ARN")
	if !regexp.MustCompile(`^arn:aws:secretsmanager:us-east-1:123456789012:secret:greengrass-a-[A-Za-z0-9]{6}$`).MatchString(arn) || made.text("VersionId") != token1 {
		t.Errorf("%v", made)
	}
	if again := s.call(here, "CreateSecret", create, ""); again.text("ARN") != arn {
		t.Errorf("not the same: %v", again)
	}
	s.call(here, "CreateSecret", strings.Replace(create, "one", "two", 1), "ResourceExistsException")

	for _, id := range []string{"greengrass-a", arn, arn[:len(arn)-7]} {
		s.value(id, "AWSCURRENT", "one")
	}
	s.call(here, "PutSecretValue", `{"SecretId":"greengrass-a","SecretString":"two","ClientRequestToken":"`+token2+`"}`, "")
	s.call(here, "PutSecretValue", `{"SecretId":"greengrass-a","SecretString":"two","ClientRequestToken":"`+token2+`"}`, "")
	if a := s.call(here, "PutSecretValue", `{"SecretId":"greengrass-a","SecretString":"three","ClientRequestToken":"`+token2+`"}`, "ResourceExistsException"); a.text("Message") !=
		"You can't use ClientRequestToken "+token2+" because that value is already in use for a version of secret "+arn+"." {
		t.Errorf("%v", a)
	}
	s.value(arn, "AWSCURRENT", "two")
	s.value(arn, "AWSPREVIOUS", "one")
	s.call(here, "UpdateSecret", `{"SecretId":"greengrass-a","Description":"new","SecretBinary":"AAH/"}`, "")
	if a := s.call(here, "GetSecretValue", `{"SecretId":"greengrass-a"}`, ""); a.text("SecretBinary") != "AAH/" || a["SecretString"] != nil {
		t.Errorf("%v", a)
	}
	if a := s.call(here, "GetSecretValue", `{"SecretId":"greengrass-a","VersionId":"`+token1+`"}`, ""); a.text("SecretString") != "one" {
		t.Errorf("%v", a)
	}

	s.call(here, "TagResource", `{"SecretId":"greengrass-a","Tags":[{"Key":"x","Value":"y"}]}`, "")
	s.call(here, "UntagResource", `{"SecretId":"greengrass-a","TagKeys":["k"]}`, "")
	d := s.call(here, "DescribeSecret", `{"SecretId":"greengrass-a"}`, "")
	tags, _ := json.Marshal(d["Tags"])
	stages, _ := json.Marshal(d["VersionIdsToStages"])
	if d.text("Description") != "new" || string(tags) != `[{"Key":"x","Value":"y"}]` || !strings.Contains(string(stages), `"`+token2+`":["AWSPREVIOUS"]`) || d["DeletedDate"] != nil || d["RotationEnabled"] != false {
		t.Errorf("%v", d)
	}
	if v := s.call(here, "ListSecretVersionIds", `{"SecretId":"greengrass-a"}`, ""); len(v["Versions"].([]any)) != 2 {
		t.Errorf("%v", v)
	}

	// Another partition sees none of it.
	for _, operation := range []string{"GetSecretValue", "DescribeSecret", "PutSecretValue", "DeleteSecret", "RestoreSecret", "UpdateSecret", "TagResource"} {
		for _, id := range []string{"greengrass-a", arn} {
			s.call(there, operation, `{"SecretId":"`+id+`","SecretString":"x","Tags":[]}`, "ResourceNotFoundException")
		}
	}
	if list := s.call(there, "ListSecrets", `{}`, ""); len(list["SecretList"].([]any)) != 0 {
		t.Errorf("%v", list)
	}

	// The values are nowhere in the clear.
	files, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.call(here, "PutSecretValue", `{"SecretId":"greengrass-a","SecretString":"a value that is easily found"}`, "")
	for _, f := range files {
		if data, err := os.ReadFile(filepath.Join(s.dir, f.Name())); err != nil || bytes.Contains(data, []byte("easily found")) {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}

	t.Run("deletion", func(t *testing.T) {
		s.T = t
		if a := s.call(here, "DeleteSecret", `{"SecretId":"greengrass-a","RecoveryWindowInDays":7}`, ""); a["DeletionDate"] != float64(s.now.AddDate(0, 0, 7).Unix()) {
			t.Errorf("%v, now %v", a, s.now.Unix())
		}
		s.call(here, "GetSecretValue", `{"SecretId":"greengrass-a"}`, "InvalidRequestException")
		s.call(here, "CreateSecret", `{"Name":"greengrass-a"}`, "InvalidRequestException")
		if d := s.call(here, "DescribeSecret", `{"SecretId":"greengrass-a"}`, ""); d["DeletedDate"] == nil {
			t.Errorf("%v", d)
		}
		if list := s.call(here, "ListSecrets", `{}`, ""); len(list["SecretList"].([]any)) != 0 {
			t.Errorf("%v", list)
		}
		s.call(here, "RestoreSecret", `{"SecretId":"greengrass-a"}`, "")
		s.value(arn, "", "a value that is easily found")
		s.call(here, "DeleteSecret", `{"SecretId":"greengrass-a"}`, "")
		s.now = s.now.AddDate(0, 0, 31)
		s.call(here, "DescribeSecret", `{"SecretId":"greengrass-a"}`, "ResourceNotFoundException")
		s.call(here, "RestoreSecret", `{"SecretId":"greengrass-a"}`, "ResourceNotFoundException")
		if a := s.call(here, "CreateSecret", `{"Name":"greengrass-a"}`, ""); a.text("ARN") == arn || a["VersionId"] != nil {
			t.Errorf("%v", a)
		}
		s.call(here, "GetSecretValue", `{"SecretId":"greengrass-a"}`, "ResourceNotFoundException")
		s.call(here, "GetSecretValue", `{"SecretId":"`+arn+`"}`, "ResourceNotFoundException")
		s.call(here, "DeleteSecret", `{"SecretId":"greengrass-a","ForceDeleteWithoutRecovery":true}`, "")
		s.call(here, "DescribeSecret", `{"SecretId":"greengrass-a"}`, "ResourceNotFoundException")
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, name := range []string{"c", "a/1", "b", "a/2"} {
		s.call(here, "CreateSecret", `{"Name":"`+name+`","SecretString":"x"}`, "")
	}
	names := func(body string) (list []string, next string) {
		a := s.call(here, "ListSecrets", body, "")
		for _, item := range a["SecretList"].([]any) {
			list = append(list, item.(map[string]any)["Name"].(string))
		}
		return list, a.text("NextToken")
	}
	first, next := names(`{"MaxResults":3}`)
	if strings.Join(first, " ") != "a/1 a/2 b" || next == "" {
		t.Errorf("%v %q", first, next)
	}
	if rest, end := names(`{"MaxResults":3,"NextToken":"` + next + `"}`); strings.Join(rest, " ") != "c" || end != "" {
		t.Errorf("%v %q", rest, end)
	}
	if some, _ := names(`{"Filters":[{"Key":"name","Values":["a/"]}]}`); strings.Join(some, " ") != "a/1 a/2" {
		t.Errorf("%v", some)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.call(here, "CreateSecret", `{"Name":"a","SecretString":"x"}`, "")
	const parameter = "InvalidParameterException"
	for _, c := range [][3]string{
		{"CreateSecret", `{"Name":""}`, parameter},
		{"CreateSecret", `{"Name":"a b"}`, parameter},
		{"CreateSecret", `{"Name":"n","SecretString":"x","SecretBinary":"eA=="}`, parameter},
		{"CreateSecret", `{"Name":"n","SecretString":""}`, parameter},
		{"CreateSecret", `{"Name":"n","SecretString":"` + strings.Repeat("x", 65537) + `"}`, parameter},
		{"CreateSecret", `{"Name":"n","SecretString":"x","ClientRequestToken":"short"}`, parameter},
		{"CreateSecret", `{"Name":"n","Tags":[{"Key":"","Value":""}]}`, parameter},
		{"CreateSecret", `{"Name":1}`, "SerializationException"},
		{"CreateSecret", `[]`, "SerializationException"},
		{"CreateSecret", `{"Name":"n","SecretString":"a\u0000"}`, "SerializationException"},
		{"PutSecretValue", `{"SecretId":"a"}`, parameter},
		{"PutSecretValue", `{"SecretId":"a","SecretString":"x","VersionStages":[""]}`, parameter},
		{"PutSecretValue", `{"SecretId":"b","SecretString":"x"}`, "ResourceNotFoundException"},
		{"GetSecretValue", `{"SecretId":""}`, "ResourceNotFoundException"},
		{"GetSecretValue", `{"SecretId":"arn:aws:iam::123456789012:role/a"}`, "ResourceNotFoundException"},
		{"GetSecretValue", `{"SecretId":"a","VersionStage":"none"}`, "ResourceNotFoundException"},
		{"GetSecretValue", `{"SecretId":"a","VersionId":"` + token1 + `"}`, "ResourceNotFoundException"},
		{"DeleteSecret", `{"SecretId":"a","RecoveryWindowInDays":0}`, parameter},
		{"DeleteSecret", `{"SecretId":"a","RecoveryWindowInDays":6}`, parameter},
		{"DeleteSecret", `{"SecretId":"a","RecoveryWindowInDays":31}`, parameter},
		{"DeleteSecret", `{"SecretId":"a","RecoveryWindowInDays":0,"ForceDeleteWithoutRecovery":true}`, parameter},
		{"DeleteSecret", `{"SecretId":"a","RecoveryWindowInDays":7,"ForceDeleteWithoutRecovery":true}`, parameter},
		{"ListSecrets", `{"MaxResults":101}`, parameter},
		{"ListSecrets", `{"NextToken":"?"}`, "InvalidNextTokenException"},
		{"ListSecrets", `{"Filters":[{"Key":"tag-key","Values":["x"]}]}`, parameter},
		{"RotateSecret", `{"SecretId":"a"}`, "UnknownOperationException"},
	} {
		s.call(here, c[0], c[1], c[2])
	}
	s.value("a", "", "x")
}
