package greengrass_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "210987654321", Region: "us-east-1"}
	now   = time.Date(2026, 11, 23, 12, 0, 0, 457e6, time.UTC)
)

const (
	stamp     = "2026-11-23T12:00:00.457Z"
	arnPrefix = "arn:aws:greengrass:us-east-1:123456789012:"
)

// api is a server that takes every request for signed, in one of two partitions.
// Deployments stay Building: nothing builds them.
type api struct {
	t       testing.TB
	store   *store.DB
	bulk    *bulk.Service // Run runs bulk deployments
	input   *input
	servers map[fescue.Partition]*httptest.Server
}

func open(t testing.TB) *api {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	s := storetest.Open(t)
	clock := func() time.Time { return now }
	master, err := pki.NewMasterKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	engine := deploy.New(deploy.Options{Stores: s.Engine(), AWS: "aws", Presence: cores.NewPresence(s.Cores(), clock, logger), Now: clock, Logger: logger})
	objects := new(input)
	bulks := bulk.New(bulk.Options{Store: s.Bulk(), Leases: s.Leases(), Objects: objects, Deployments: engine, AWS: "aws", Now: clock, Logger: logger})
	service := greengrass.New(greengrass.Options{
		Definitions: definitions.New(s.Definitions(), clock), Deployments: engine, Roles: s.GroupRoles(), Bulk: bulks,
		Cores: cores.New(s.Cores(), clock), Authorities: groupca.New(s.GroupAuthorities(), master, clock), Logger: logger,
	})
	own := ownapi.New(ownapi.Options{Lent: []restjson.Operation{service.Restore()}, Logger: logger})
	a := &api{t: t, store: s, bulk: bulks, input: objects, servers: make(map[fescue.Partition]*httptest.Server)}
	for _, p := range []fescue.Partition{here, there} {
		a.servers[p] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var addressed awsapi.Service = service
			if strings.HasPrefix(r.URL.Path, awsapi.OwnPath) {
				addressed = own
			}
			r.Body = http.MaxBytesReader(w, r.Body, addressed.MaxBody(r))
			addressed.ServeCall(w, r, &awsapi.Call{Partition: p, RequestID: "r", KeyID: r.Header.Get(keyHeader)})
		}))
	}
	t.Cleanup(func() {
		for _, server := range a.servers {
			server.Close()
		}
		s.Close()
	})
	return a
}

// with is the same server for a subtest.
func (a *api) with(t testing.TB) *api {
	return &api{t: t, store: a.store, bulk: a.bulk, input: a.input, servers: a.servers}
}

// answer is what came back.
type answer struct {
	t      testing.TB
	what   string
	status int
	code   []string // the x-amzn-ErrorType headers
	text   string
}

// keyHeader names the access key that a request counts as signed with.
const keyHeader = "Key"

// call sends a request: header is lines of "Name: value" or empty.
func (a *api) call(p fescue.Partition, method, path, header, body string) *answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.servers[p].URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(header) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			req.Header.Set(name, value)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	got := &answer{t: a.t, what: method + " " + path, status: res.StatusCode, code: res.Header.Values("x-amzn-ErrorType"), text: string(data)}
	if !json.Valid(data) || res.Header.Get("Content-Type") != "application/json" {
		a.t.Errorf("%s: %s %s", got.what, res.Header.Get("Content-Type"), data)
	}
	return got
}

func (a *api) do(method, path, body string) *answer {
	a.t.Helper()
	return a.call(here, method, path, "", body)
}

var (
	hole    = regexp.MustCompile(`<\w+>`)
	varying = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{4}-[0-9:T.-]*Z)`)
)

// is asks for a success with exactly this body. What varies (an id, the time of
// a rename) is given as <name>, the same thing everywhere; is returns what was
// found there.
func (g *answer) is(status int, want string) map[string]string {
	g.t.Helper()
	found := make(map[string]string)
	var whole string
	for at := hole.FindStringIndex(want); at != nil; at = hole.FindStringIndex(want) {
		whole += want[:at[0]]
		name := want[at[0]+1 : at[1]-1]
		if found[name] == "" && strings.HasPrefix(g.text, whole) {
			found[name] = varying.FindString(g.text[len(whole):])
		}
		whole += found[name]
		want = want[at[1]:]
	}
	whole += want
	if diff := cmp.Diff(whole, g.text); diff != "" || g.status != status || len(g.code) != 0 {
		g.t.Fatalf("%s: status %d, type %q\n%s", g.what, g.status, g.code, diff)
	}
	return found
}

// refused asks for an error with exactly this message; without a code the error
// must come without a type.
func (g *answer) refused(status int, code, message string) {
	g.t.Helper()
	body, err := json.Marshal(map[string]string{"Message": message})
	if err != nil {
		g.t.Fatal(err)
	}
	var codes []string
	if code != "" {
		codes = []string{code}
	}
	if g.status != status || !cmp.Equal(g.code, codes) || !cmp.Equal(decoded(g.t, g.text), decoded(g.t, string(body))) {
		g.t.Errorf("%s: status %d, type %q, body %s; want %d, %q, %s", g.what, g.status, g.code, g.text, status, code, body)
	}
}

// mentions asks for an error whose message has the text.
func (g *answer) mentions(status int, code, text string) {
	g.t.Helper()
	message, _ := decoded(g.t, g.text)["Message"].(string)
	if g.status != status || len(g.code) != 1 || g.code[0] != code || !strings.Contains(message, text) {
		g.t.Errorf("%s: status %d, type %q, body %s; want %d, %q, %q", g.what, g.status, g.code, g.text, status, code, text)
	}
}

func decoded(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// container is one of the eight kinds as the API shows it.
type container struct {
	fescue.Kind
	path string // "/greengrass/groups"
	arn  string // up to the id
	list string // the member of List's answer
	body string // a valid first version
}

func containers() []container {
	list := []container{{fescue.GroupKind, "/greengrass/groups", arnPrefix + "/greengrass/groups/", "Groups", `{}`}}
	for _, k := range fescue.DefinitionKinds {
		path := "/greengrass/definition/" + k.Segment
		list = append(list, container{k, path, arnPrefix + path + "/", "Definitions", fmt.Sprintf(`{%q:[]}`, k.Member)})
	}
	return list
}

// made creates a container with a version and returns both ids.
func (a *api) made(p fescue.Partition, c container) (id, version string) {
	a.t.Helper()
	got := decoded(a.t, a.call(p, "POST", c.path, "", `{"Name":"n","InitialVersion":`+c.body+`}`).text)
	id, _ = got["Id"].(string)
	version, _ = got["LatestVersion"].(string)
	if !fescue.ValidID(id) || !fescue.ValidID(version) {
		a.t.Fatalf("create %s: %v", c.Name, got)
	}
	return id, version
}
