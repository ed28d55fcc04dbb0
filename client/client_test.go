package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud"
)

const (
	account = "123456789012"
	keyID   = "AKIAIOSFODNN7EXAMPLE"
	secret  = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
)

// TestMain has no configuration of the machine's be found.
func TestMain(m *testing.M) {
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		os.Setenv(name, "/nonexistent")
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"} {
		os.Unsetenv(name)
	}
	os.Setenv("AWS_ACCESS_KEY_ID", keyID)
	os.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	os.Exit(m.Run())
}

// serve starts a server and gives the URL of its API.
func serve(t *testing.T) string {
	t.Helper()
	s, err := cloud.New(t.Context(), cloud.Options{
		DataDir: t.TempDir(), APIAddr: "127.0.0.1:0", DeviceAddr: "127.0.0.1:0", MQTTAddr: "127.0.0.1:0",
		AWS: "aws", Account: account, Regions: []string{"eu-west-1", "us-east-1"}, PublicHosts: []string{"localhost"},
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
	return "http://" + s.APIAddr()
}

func connect(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCalls(t *testing.T) {
	t.Parallel()
	endpoint := serve(t)
	ctx := t.Context()
	c := connect(t, client.Options{Endpoint: endpoint + "/", Region: "eu-west-1"})
	group := func(name string) (id string) {
		var made struct{ Id string }
		if err := c.Call(ctx, "greengrass", "CreateGroup", http.MethodPost, "/greengrass/groups", map[string]string{"Name": name}, &made); err != nil {
			t.Fatal(err)
		}
		return made.Id
	}
	mill, twin, other := group("Mill"), group("Twin"), group("Twin")

	t.Run("partition", func(t *testing.T) {
		p, err := c.Partition(ctx)
		if want := (fescue.Partition{AWS: "aws", Account: account, Region: "eu-west-1"}); err != nil || p != want {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("pages", func(t *testing.T) {
		var ids []string
		pages := 0
		err := c.Pages(ctx, "greengrass", "ListGroups", http.MethodGet, "/greengrass/groups", "MaxResults=2&NextToken", func(answer json.RawMessage) error {
			pages++
			var page struct{ Groups []client.Group }
			err := json.Unmarshal(answer, &page)
			for _, g := range page.Groups {
				ids = append(ids, g.Id)
			}
			return err
		})
		slices.Sort(ids)
		want := []string{mill, twin, other}
		slices.Sort(want)
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%d pages: %v, want %v, %v", pages, ids, want, err)
		}
	})
	t.Run("groups by id and by name", func(t *testing.T) {
		for _, name := range []string{mill, "Mill"} {
			if g, err := c.FindGroup(ctx, name); err != nil || g.Id != mill || g.Name != "Mill" {
				t.Errorf("%s: %+v, %v", name, g, err)
			}
		}
		if _, err := c.FindGroup(ctx, "Twin"); !errors.Is(err, client.ErrAmbiguous) || !strings.Contains(err.Error(), twin) || !strings.Contains(err.Error(), other) {
			t.Errorf("two of a name: %v", err)
		}
		if _, err := c.FindGroup(ctx, "mill"); err == nil || !strings.Contains(err.Error(), `no group is named "mill"`) {
			t.Errorf("none of the name: %v", err)
		}
		if _, err := c.FindGroup(ctx, fescue.NewID()); !client.IsStatus(err, http.StatusNotFound) || !client.IsCode(err, "IdNotFoundException") {
			t.Errorf("an unknown id: %v", err)
		}
	})
	t.Run("an error names the operation and has its parts", func(t *testing.T) {
		err := c.Call(ctx, "iot", "DescribeThing", http.MethodGet, "/things/none", nil, nil)
		e, ok := client.AsError(err)
		if !ok || e.Operation != "DescribeThing" || e.Code != "ResourceNotFoundException" || e.Status != 404 || e.Message == "" ||
			!strings.HasPrefix(err.Error(), "DescribeThing: "+e.Message) {
			t.Errorf("%+v, %v", e, err)
		}
		if _, ok := client.AsError(io.EOF); ok || client.IsCode(nil, "") || client.IsStatus(io.EOF, 0) {
			t.Error("something else is taken for one")
		}
	})
	t.Run("a call without a signature", func(t *testing.T) {
		var endpoints struct{ Host string }
		if err := c.Call(ctx, "", "GetEndpoints", http.MethodGet, "/fescue/v1/endpoints", nil, &endpoints); err != nil || endpoints.Host != "localhost" {
			t.Errorf("%+v, %v", endpoints, err)
		}
	})
	t.Run("another Region", func(t *testing.T) {
		if _, err := c.In("us-east-1").FindGroup(ctx, "Mill"); err == nil {
			t.Error("it has the group, too")
		}
		if _, err := c.In("us-west-9").FindGroup(ctx, "Mill"); !client.IsCode(err, "InvalidSignatureException") {
			t.Errorf("one that is not served: %v", err)
		}
		if _, err := c.FindGroup(ctx, "Mill"); err != nil {
			t.Errorf("the client itself has changed: %v", err)
		}
	})
	t.Run("a download within its bound", func(t *testing.T) {
		link := endpoint + "/healthz"
		if data, err := c.Download(ctx, link, 3); err != nil || string(data) != "ok\n" {
			t.Errorf("%q, %v", data, err)
		}
		if _, err := c.Download(ctx, link, 2); err == nil || !strings.Contains(err.Error(), "more than 2 bytes") {
			t.Errorf("beyond it: %v", err)
		}
		if _, err := c.Download(ctx, endpoint+"/none", 2); err == nil {
			t.Error("what is not there is downloaded")
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		nobody := connect(t, client.Options{Endpoint: "http://127.0.0.1:1"})
		for name, err := range map[string]error{
			"GetGroup":          nobody.Call(ctx, "greengrass", "GetGroup", http.MethodGet, "/greengrass/groups/x", nil, nil),
			"GetCallerIdentity": second(nobody.Partition(ctx)),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), name+": is a server running at http://127.0.0.1:1?") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("an answer that is not what was asked for", func(t *testing.T) {
		if err := c.Call(ctx, "", "GetHealth", http.MethodGet, "/healthz", nil, new(struct{})); err == nil || !strings.Contains(err.Error(), "GetHealth: the answer does not parse") {
			t.Errorf("%v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestEndpoints: who says where the server is. Not parallel: it sets the environment.
func TestEndpoints(t *testing.T) {
	for _, bad := range []string{"greengrass.example.com", "localhost:9080", "ftp://a", "http://", "://", "https:///path"} {
		if _, err := client.New(t.Context(), client.Options{Endpoint: bad}); err == nil || !strings.Contains(err.Error(), "not the URL of a server's API") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	asks := func(o client.Options) string {
		t.Helper()
		err := connect(t, o).Call(t.Context(), "", "X", http.MethodGet, "/", nil, nil)
		if err == nil {
			return "" // somebody serves there
		}
		_, rest, _ := strings.Cut(err.Error(), "running at ")
		at, _, _ := strings.Cut(rest, "?")
		return at
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
	if got := asks(client.Options{}); got != "http://127.0.0.1:2" {
		t.Errorf("by the environment %q", got)
	}
	if got := asks(client.Options{Endpoint: "http://127.0.0.1:1/base/"}); got != "http://127.0.0.1:1/base" {
		t.Errorf("by name %q", got)
	}
}

// TestCredentials: without any the error says what to set, and nothing of where nobody
// looked for some. Not parallel: it sets the environment.
func TestCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	ask := func(t *testing.T, want string) {
		t.Helper()
		c := connect(t, client.Options{Endpoint: "http://127.0.0.1:1"})
		for name, err := range map[string]error{
			"ListGroups":        c.Call(t.Context(), "greengrass", "ListGroups", http.MethodGet, "/greengrass/groups", nil, nil),
			"GetCallerIdentity": second(c.Partition(t.Context())),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), name+": no credentials; use fescue login, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"+want) ||
				want == "" && !strings.HasSuffix(err.Error(), "AWS_SECRET_ACCESS_KEY") || strings.Contains(err.Error(), "IMDS") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	ask(t, "")
	failing := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(failing, []byte("[default]\ncredential_process = false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", failing)
	ask(t, ": ")
}
