package transfer_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/recovery"
	"github.com/fescue-edge/fescue/transfer"
)

const (
	account = "123456789012"
	region  = "eu-west-1"
	keyID   = "AKIAIOSFODNN7EXAMPLE"
	secret  = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
)

var place = fescue.Partition{AWS: "aws", Account: account, Region: region}

// site is a server, and a client of it.
type site struct {
	*client.Client
	t *testing.T
}

func serve(t *testing.T) *site {
	t.Helper()
	s, err := cloud.New(t.Context(), cloud.Options{
		DataDir: t.TempDir(), APIAddr: "127.0.0.1:0", DeviceAddr: "127.0.0.1:0", MQTTAddr: "127.0.0.1:0",
		AWS: "aws", Account: account, Regions: []string{region}, PublicHosts: []string{"localhost"},
		AccessKeyID: keyID, SecretAccessKey: secret, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return &site{client.Of("http://"+s.APIAddr(), aws.Config{Region: region, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, "")}), t}
}

type object = map[string]any

// make calls an operation that makes something.
func (s *site) make(service, operation, method, path string, in any) (made struct{ Id, LatestVersion, LatestVersionArn, FunctionArn, Version string }) {
	s.t.Helper()
	if err := s.Call(s.t.Context(), service, operation, method, path, in, &made); err != nil {
		s.t.Fatal(err)
	}
	return made
}

func zipped(t *testing.T, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// group makes a group with two versions: a core, a function behind an alias, and in the
// second version a subscription too.
func (s *site) group(id transfer.CoreIdentity) (groupID, first, second string) {
	const functions = "/2015-03-31/functions"
	s.make("lambda", "CreateFunction", http.MethodPost, functions, object{
		"FunctionName": "Hello", "Runtime": "python3.8", "Role": "arn:aws:iam::" + account + ":role/x", "Handler": "hello.handler",
		"Code": object{"ZipFile": zipped(s.t, "hello.py", "def handler(e, c): pass")}, "Publish": true, "Timeout": 7, "Environment": object{"Variables": object{"AB": "c"}},
	})
	s.make("lambda", "CreateAlias", http.MethodPost, functions+"/Hello/aliases", object{"Name": "live", "FunctionVersion": "1"})
	definition := func(k fescue.Kind, body object) string {
		return s.make("greengrass", "Create"+k.Name+"Definition", http.MethodPost, "/greengrass/definition/"+k.Segment, object{"Name": "d", "InitialVersion": body}).LatestVersionArn
	}
	version := object{
		fescue.CoreKind.Reference: definition(fescue.CoreKind, object{"Cores": []object{{"Id": "c", "ThingArn": id.ThingARN, "CertificateArn": id.CertificateARN}}}),
		fescue.FunctionKind.Reference: definition(fescue.FunctionKind, object{"Functions": []object{
			{"Id": "f", "FunctionArn": "arn:aws:lambda:" + region + ":" + account + ":function:Hello:live", "FunctionConfiguration": object{"Timeout": 3, "Pinned": true, "MemorySize": 16384}},
		}}),
	}
	made := s.make("greengrass", "CreateGroup", http.MethodPost, "/greengrass/groups", object{"Name": "Mill", "InitialVersion": version, "tags": object{"site": "north"}})
	version[fescue.SubscriptionKind.Reference] = definition(fescue.SubscriptionKind, object{"Subscriptions": []object{
		{"Id": "s", "Source": "arn:aws:lambda:" + region + ":" + account + ":function:Hello:live", "Subject": "a/#", "Target": "cloud"},
	}})
	return made.Id, made.LatestVersion, s.make("greengrass", "CreateGroupVersion", http.MethodPost, "/greengrass/groups/"+made.Id+"/versions", version).Version
}

func TestExportAndRestore(t *testing.T) {
	t.Parallel()
	from, to := serve(t), serve(t)
	ctx := t.Context()
	id, err := transfer.Provision(ctx, from.Client, "Mill_Core", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	groupID, first, second := from.group(id)
	group, left, err := transfer.Export(ctx, from.Client, groupID, "")
	if err != nil || len(left) > 0 {
		t.Fatalf("left %v, %v", left, err)
	}
	whole, err := group.Encode()
	if err != nil {
		t.Fatal(err)
	}
	states := func(outcomes []transfer.Outcome) string {
		count := map[transfer.State]int{}
		for _, o := range outcomes {
			count[o.State]++
		}
		return fmt.Sprint(count[transfer.Present], " ", count[transfer.Restored], " ", count[transfer.Missing])
	}
	restore := func(t *testing.T, dry bool) []transfer.Outcome {
		t.Helper()
		read, err := recovery.Parse(whole)
		if err != nil {
			t.Fatal(err)
		}
		outcomes, err := transfer.Restore(ctx, to.Client, read, place, dry)
		if err != nil {
			t.Fatal(err)
		}
		return outcomes
	}

	parts := len(restore(t, true))
	t.Run("dry, made, and there", func(t *testing.T) {
		for _, step := range []struct {
			dry  bool
			want string
		}{{true, fmt.Sprint("0 0 ", parts)}, {false, fmt.Sprint("0 ", parts, " 0")}, {false, fmt.Sprint(parts, " 0 0")}, {true, fmt.Sprint(parts, " 0 0")}} {
			outcomes := restore(t, step.dry)
			if got := states(outcomes); got != step.want || transfer.Changes(outcomes) > 0 != strings.HasPrefix(step.want, "0 "+fmt.Sprint(parts)) {
				t.Errorf("dry %v: present, restored, missing %s, want %s", step.dry, got, step.want)
			}
		}
	})
	t.Run("what was restored exports the same", func(t *testing.T) {
		again, left, err := transfer.Export(ctx, to.Client, groupID, "")
		if err != nil || len(left) > 0 {
			t.Fatalf("left %v, %v", left, err)
		}
		text, err := again.Encode()
		if err != nil || !bytes.Equal(text, whole) {
			t.Errorf("%v\n%s\nwant\n%s", err, text, whole)
		}
	})
	t.Run("one version", func(t *testing.T) {
		one, _, err := transfer.Export(ctx, from.Client, groupID, first)
		if err != nil || len(one.Group.Versions) != 1 || one.Group.Versions[0].Version != first || len(one.Definitions) != 2 {
			t.Errorf("%+v, %v", one, err)
		}
	})
	t.Run("what is there with other content", func(t *testing.T) {
		other := bytes.ReplaceAll(whole, []byte(`"Timeout": 3`), []byte(`"Timeout": 4`))
		read, err := recovery.Parse(other)
		if err != nil || bytes.Equal(other, whole) {
			t.Fatal(err)
		}
		outcomes, err := transfer.Restore(ctx, to.Client, read, place, false)
		if err == nil || outcomes != nil || !strings.Contains(err.Error(), "nothing was changed: functions ") || !strings.Contains(err.Error(), "is there with other content") {
			t.Errorf("%v, %v", outcomes, err)
		}
	})
	t.Run("what it refers to and is gone", func(t *testing.T) {
		if err := from.Call(ctx, "lambda", "DeleteAlias", http.MethodDelete, "/2015-03-31/functions/Hello/aliases/live", nil, nil); err != nil {
			t.Fatal(err)
		}
		_, left, err := transfer.Export(ctx, from.Client, groupID, second)
		if err != nil || len(left) != 1 || !strings.Contains(left[0], "function:Hello:live, which does not exist") {
			t.Errorf("left %v, %v", left, err)
		}
	})
	t.Run("what cannot be exported names the operation of the API", func(t *testing.T) {
		_, _, err := transfer.Export(ctx, from.Client, fescue.NewID(), "")
		if e, ok := client.AsError(err); !ok || e.Operation != "GetGroup" || e.Status != http.StatusNotFound {
			t.Errorf("an unknown group: %v", err)
		}
		if _, _, err := transfer.Export(ctx, from.Client, groupID, fescue.NewID()); err == nil || !strings.Contains(err.Error(), "has no version") {
			t.Errorf("an unknown version: %v", err)
		}
	})
}

func TestProvision(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ctx := t.Context()
	root := filepath.Join(t.TempDir(), "greengrass")
	id, err := transfer.Provision(ctx, s.Client, "Mill_Core", root, []string{"mill/#"})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("writes what a core reads", func(t *testing.T) {
		text, err := os.ReadFile(id.ConfigFile)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			CoreThing struct{ CAPath, CertPath, KeyPath, ThingARN, IoTHost string }
		}
		if err := json.Unmarshal(text, &config); err != nil || config.CoreThing.ThingARN != place.ThingARN("Mill_Core") || config.CoreThing.IoTHost != "localhost" {
			t.Errorf("%v\n%s", err, text)
		}
		for name, mode := range map[string]fs.FileMode{config.CoreThing.KeyPath: 0o600, config.CoreThing.CAPath: 0o644} {
			if info, err := os.Stat(filepath.Join(root, "certs", name)); err != nil || info.Mode() != mode {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("only once", func(t *testing.T) {
		if _, err := transfer.Provision(ctx, s.Client, "Mill_Core", root, nil); !errors.Is(err, transfer.ErrProvisioned) {
			t.Errorf("%v", err)
		}
	})
	t.Run("nothing is made or written of what makes no sense", func(t *testing.T) {
		many := make([]string, 200)
		for i := range many {
			many[i] = fmt.Sprintf("a-topic-that-takes-some-room/%d/#", i)
		}
		for name, tc := range map[string]struct {
			thing, says string
			topics      []string
		}{
			"a bad name":   {"a b", "CreateThing: ", nil},
			"a bad filter": {"Other", `--topics "a/#/b"`, []string{"a/#/b"}},
			"many topics":  {"Other", "fewer or wider --topics", many},
		} {
			at := filepath.Join(t.TempDir(), "root")
			if _, err := transfer.Provision(ctx, s.Client, tc.thing, at, tc.topics); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: something was written", name)
			}
		}
		if err := s.Call(ctx, "iot", "DescribeThing", http.MethodGet, "/things/Other", nil, nil); !client.IsStatus(err, http.StatusNotFound) {
			t.Errorf("a thing was made: %v", err)
		}
	})
}

func TestCore(t *testing.T) {
	t.Parallel()
	root, certificates := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(certificates, "large.pem"), make([]byte, 65<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	mill := filepath.Join("..", "recovery", "testdata", "mill")
	for name, tc := range map[string]struct {
		folder transfer.CoreFolder
		says   string
	}{
		"no folder":           {transfer.CoreFolder{Root: filepath.Join(root, "none")}, "no such file"},
		"an empty folder":     {transfer.CoreFolder{Root: root}, root + " has no ggc/deployment"},
		"no such deployment":  {transfer.CoreFolder{Root: mill, Deployment: filepath.Join(root, "none")}, "no such file"},
		"a large certificate": {transfer.CoreFolder{Root: mill, Certificates: certificates}, "large.pem is larger than"},
	} {
		if _, err := transfer.OpenCore(tc.folder); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "ggc", "deployment"), 0o700); err != nil {
		t.Fatal(err)
	}
	empty, err := transfer.OpenCore(transfer.CoreFolder{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if _, _, err := empty.Read(recovery.Options{}); !errors.Is(err, recovery.ErrFolder) {
		t.Errorf("a folder without a group: %v", err)
	}
	core, err := transfer.OpenCore(transfer.CoreFolder{Root: mill, Certificates: filepath.Join("..", "recovery", "testdata", "devices")})
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	group, _, err := core.Read(recovery.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range group.Functions {
		if code, err := f.Code(); err != nil || len(code) == 0 {
			t.Errorf("code of %s: %v", f.FunctionName, err)
		}
	}
}
