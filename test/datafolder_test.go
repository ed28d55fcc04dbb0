//go:build linux

package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/testkit"
)

// keptFolder says what the data folders in testdata/data-* hold, as the version
// that wrote them returned it. See testdata/data-2026-11/README.md.
type keptFolder struct {
	// Groups are the names, by id.
	Groups map[string]string
	// Definitions are the latest version ARNs of one definition of each kind.
	Definitions []string
	// Functions are version ARNs, Things names.
	Functions, Things []string
	Deployments       []keptDeployment
	AccessKeys        []keptKey
	// GroupAuthority is the PEM of the authority of the group of Waiting.
	GroupAuthority string
	// Waiting is a deployment that the kept core had not claimed, Running what
	// it ran.
	Waiting, Running keptDeployment
}

type keptDeployment struct {
	Group, ID, Type, Status, Message string
	Details                          string
}

type keptKey struct {
	ID, Name string
	Revoked  bool
}

// TestKeptDataFolder: the present version opens the folders that earlier ones
// wrote, returns the same, and goes on from there.
func TestKeptDataFolder(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob(filepath.Join("testdata", "data-*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no kept data folder: %v", err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			var kept keptFolder
			if err := json.Unmarshal(readFile(t, filepath.Join(folder, "kept.json")), &kept); err != nil {
				t.Fatal(err)
			}
			root, data := openDir(t), t.TempDir()
			tar(t, "-xzpf", filepath.Join(folder, "core.tar.gz"), "-C", root)
			tar(t, "-xzpf", filepath.Join(folder, "server.tar.gz"), "-C", data)
			output := filepath.Join(root, "ggc", "var", "log", "user", region, account, "Kept.log")

			stop := runKeptCore(t, root, "localhost:1", "localhost:1")
			eventually(t, "the group runs without the server", said(output, "version one"))
			stop()

			h := startServerOn(t, data).site(region)
			kept.check(t, h)
			kept.checkKeys(t, data)
			stop = runKeptCore(t, root, local(h.mqtt), local(h.device))
			h.await(t, kept.Waiting.Group, kept.Waiting.ID, fescue.Success)
			eventually(t, "the waiting deployment runs", said(output, "version two"))
			stop()
		})
	}
}

// check asks the API for everything that the earlier version returned.
func (k keptFolder) check(t *testing.T, h *site) {
	t.Helper()
	ctx := t.Context()
	for _, want := range append(k.Deployments, k.Waiting, k.Running) {
		if got := h.described(t, want.Group, want.ID); got != want {
			t.Errorf("deployment %+v: want %+v", got, want)
		}
	}
	for id, name := range k.Groups {
		g, err := h.greengrass.GetGroup(ctx, &greengrass.GetGroupInput{GroupId: &id})
		if err != nil || aws.ToString(g.Name) != name {
			t.Errorf("group %s: %+v, %v: want %s", id, g, err, name)
		}
	}
	if got := h.definitions(t); strings.Join(got, "\n") != strings.Join(k.Definitions, "\n") {
		t.Errorf("definitions %q: want %q", got, k.Definitions)
	}
	for _, arn := range k.Functions {
		if _, err := h.lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &arn}); err != nil {
			t.Errorf("function %s: %v", arn, err)
		}
	}
	for _, thing := range k.Things {
		if _, err := h.iot.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: &thing}); err != nil {
			t.Errorf("thing %s: %v", thing, err)
		}
	}
	if got := h.groupAuthority(t, k.Waiting.Group); got != k.GroupAuthority {
		t.Errorf("authority of group %s is\n%s\nwant\n%s", k.Waiting.Group, got, k.GroupAuthority)
	}
}

// checkKeys asks for the access keys, and that the first start's is still good.
func (k keptFolder) checkKeys(t *testing.T, data string) {
	t.Helper()
	got := map[string]keptKey{}
	for _, key := range accessKeys(t, data) {
		got[key.ID] = key
	}
	for _, want := range k.AccessKeys {
		if got[want.ID] != want {
			t.Errorf("access key %+v: want %+v", got[want.ID], want)
		}
	}
}

// described is a deployment as the API returns it.
func (h *site) described(t testing.TB, group, id string) keptDeployment {
	t.Helper()
	out, err := h.status(t.Context(), group, id)
	if err != nil {
		t.Fatal(err)
	}
	return keptDeployment{
		Group: group, ID: id, Type: string(out.DeploymentType), Status: aws.ToString(out.DeploymentStatus),
		Message: aws.ToString(out.ErrorMessage), Details: details(out),
	}
}

// definitions are the latest version ARNs of all definitions, kind by kind.
func (h *site) definitions(t testing.TB) []string {
	t.Helper()
	ctx := t.Context()
	var arns []string
	add := func(list []types.DefinitionInformation, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			arns = append(arns, aws.ToString(d.LatestVersionArn))
		}
	}
	cores, err := h.greengrass.ListCoreDefinitions(ctx, &greengrass.ListCoreDefinitionsInput{})
	add(cores.Definitions, err)
	devices, err := h.greengrass.ListDeviceDefinitions(ctx, &greengrass.ListDeviceDefinitionsInput{})
	add(devices.Definitions, err)
	functions, err := h.greengrass.ListFunctionDefinitions(ctx, &greengrass.ListFunctionDefinitionsInput{})
	add(functions.Definitions, err)
	subscriptions, err := h.greengrass.ListSubscriptionDefinitions(ctx, &greengrass.ListSubscriptionDefinitionsInput{})
	add(subscriptions.Definitions, err)
	loggers, err := h.greengrass.ListLoggerDefinitions(ctx, &greengrass.ListLoggerDefinitionsInput{})
	add(loggers.Definitions, err)
	resources, err := h.greengrass.ListResourceDefinitions(ctx, &greengrass.ListResourceDefinitionsInput{})
	add(resources.Definitions, err)
	connectors, err := h.greengrass.ListConnectorDefinitions(ctx, &greengrass.ListConnectorDefinitionsInput{})
	add(connectors.Definitions, err)
	slices.Sort(arns)
	return arns
}

// groupAuthority is the PEM of a group's only authority.
func (h *site) groupAuthority(t testing.TB, group string) string {
	t.Helper()
	list, err := h.greengrass.ListGroupCertificateAuthorities(t.Context(), &greengrass.ListGroupCertificateAuthoritiesInput{GroupId: &group})
	if err != nil || len(list.GroupCertificateAuthorities) != 1 {
		t.Fatalf("authorities of group %s: %+v, %v: want one", group, list, err)
	}
	ca, err := h.greengrass.GetGroupCertificateAuthority(t.Context(), &greengrass.GetGroupCertificateAuthorityInput{
		GroupId: &group, CertificateAuthorityId: list.GroupCertificateAuthorities[0].GroupCertificateAuthorityId,
	})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(ca.PemEncodedCertificate)
}

// accessKeys lists the keys of a data folder with the program's own command.
func accessKeys(t testing.TB, data string) []keptKey {
	t.Helper()
	p := start(t, nil, "keys", "list", "--data", data, "--json")
	<-p.Done
	var rows []struct{ AccessKeyID, Name, RevokedAt string }
	if err := errors.Join(p.Err, json.Unmarshal([]byte(p.out.String()), &rows)); err != nil {
		t.Fatalf("keys list: %v\n%s", err, p.out)
	}
	var keys []keptKey
	for _, r := range rows {
		keys = append(keys, keptKey{r.AccessKeyID, r.Name, r.RevokedAt != ""})
	}
	return keys
}

// runKeptCore runs a core in this process, where it can be set whom functions
// are to run as; stop ends it.
func runKeptCore(t testing.TB, root, mqtt, https string) (stop func()) {
	t.Helper()
	anyPort, nobody := 0, uint32(65534)
	o := core.Options{Root: root, IoTHost: mqtt, GGHost: https, IPCPort: &anyPort, Output: new(testkit.Buffer)}
	if os.Geteuid() == 0 {
		o.DefaultUID, o.DefaultGID = &nobody, &nobody
	}
	c, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	var stopped bool
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the core: %v", err)
		}
		if t.Failed() {
			t.Logf("the core said:\n%s", o.Output)
		}
	}
	t.Cleanup(stop)
	return stop
}

// said waits for a text in a function's log.
func said(file, text string) func() error {
	return func() error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !strings.Contains(string(data), text) {
			return fmt.Errorf("no %q in:\n%s", text, data)
		}
		return nil
	}
}

// local is an address of a server as its certificate names it.
func local(addr string) string {
	return "localhost" + addr[strings.LastIndexByte(addr, ':'):]
}

// tar runs the program tar: names below a core's folder have characters that a Go
// module's own files cannot have, and a checkout would lose their modes.
func tar(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
		t.Fatalf("tar %v: %v\n%s", args, err, out)
	}
}
