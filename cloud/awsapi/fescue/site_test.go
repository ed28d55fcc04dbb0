package fescue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/history"
	"github.com/fescue-edge/fescue/cloud/logs"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "210987654321", Region: "us-east-1"}
	now   = time.Date(2026, 11, 23, 12, 0, 0, 457e6, time.UTC)
)

const (
	stamp   = "2026-11-23T12:00:00.457Z"
	knownID = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001" // of nothing
)

// site is a server that takes every request for signed. Deployments stay Building.
type site struct {
	t           testing.TB
	store       *store.DB
	definitions *definitions.Service
	engine      *deploy.Engine
	logs        *logs.Service
	cores       owners
	handler     func(p fescue.Partition) http.Handler
}

func open(t testing.TB) *site {
	t.Helper()
	logger, clock := slog.New(slog.DiscardHandler), func() time.Time { return now }
	s := &site{t: t, store: storetest.Open(t)}
	s.definitions = definitions.New(s.store.Definitions(), clock)
	s.engine = deploy.New(deploy.Options{Stores: s.store.Engine(), AWS: "aws", Presence: cores.NewPresence(s.store.Cores(), clock, logger), Now: clock, Logger: logger})
	s.cores = make(owners)
	s.logs = logs.New(logs.Options{Store: s.store.Logs(), Cores: s.cores, Now: clock})
	service := api.New(api.Options{
		Logs:        s.logs,
		Bulk:        bulk.New(bulk.Options{Store: s.store.Bulk(), AWS: "aws", Now: clock, Logger: logger}),
		Definitions: s.definitions, Deployments: s.engine, Now: clock, Logger: logger, Operator: operator{},
		History: history.New(history.Options{Store: s.store.History(), Leases: s.store.Leases(), Now: clock, Logger: logger}),
		Fleet:   cores.NewFleet(s.store.Cores(), cores.NewPresence(s.store.Cores(), clock, logger)),
	})
	s.handler = func(p fescue.Partition) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			service.ServeCall(w, r, &awsapi.Call{Partition: p, RequestID: "r"})
		})
	}
	return s
}

// operator is that of a server that belongs to the account of here.
type operator struct{ api.Operator }

// Account implements api.Operator.
func (operator) Account() string { return here.Account }

// owners are the things of groups' cores.
type owners map[string]string

func (o owners) set(group, thing string) { o[group] = thing }

// GroupCore implements logs.Cores.
func (o owners) GroupCore(_ context.Context, _ fescue.Partition, groupID string) (string, error) {
	if thing, ok := o[groupID]; ok {
		return thing, nil
	}
	return "", fescue.ErrNotFound
}

// deployable is a group whose version names a core.
func (s *site) deployable() (group, version string) {
	s.t.Helper()
	made := func(k fescue.Kind, body string) fescue.Definition {
		d, err := s.definitions.Create(s.t.Context(), here, k, "n", json.RawMessage(body), nil, fescue.Token{})
		if err != nil {
			s.t.Fatal(err)
		}
		return d
	}
	core := made(fescue.CoreKind, `{"Cores":[]}`)
	g := made(fescue.GroupKind, fmt.Sprintf(`{"CoreDefinitionVersionArn":%q}`, here.VersionARN(fescue.CoreKind, core.ID, core.LatestVersion)))
	return g.ID, g.LatestVersion
}

// answer is what came back.
type answer struct {
	status     int
	code, text string
}

func (s *site) call(p fescue.Partition, method, path, body string) answer {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.handler(p).ServeHTTP(w, httptest.NewRequestWithContext(s.t.Context(), method, "http://host"+path, strings.NewReader(body)))
	text, err := io.ReadAll(w.Body)
	if err != nil || !json.Valid(text) {
		s.t.Errorf("%s %s: %s, %v", method, path, text, err)
	}
	d, err := described()
	if err != nil {
		s.t.Fatal(err)
	}
	if wrong := d.differs(method, path, w.Code, w.Header().Get("Content-Type"), string(text)); len(wrong) > 0 {
		s.t.Errorf("%s %s is not answered as docs/fescue-api.json has it: %s\n%s", method, path, strings.Join(wrong, "; "), text)
	}
	return answer{w.Code, w.Header().Get("x-amzn-ErrorType"), string(text)}
}

// get decodes a success.
func (s *site) get(method, path, body string, into any) {
	s.t.Helper()
	got := s.call(here, method, path, body)
	if err := json.Unmarshal([]byte(got.text), into); err != nil || got.status != http.StatusOK {
		s.t.Fatalf("%s %s: %+v, %v", method, path, got, err)
	}
}

// refused asks for an error whose message has the text.
func (s *site) refused(method, path, body string, status int, code, text string) {
	s.t.Helper()
	got := s.call(here, method, path, body)
	var e struct{ Message string }
	if json.Unmarshal([]byte(got.text), &e); got.status != status || got.code != code || !strings.Contains(e.Message, text) {
		s.t.Errorf("%s %s: %+v, want %d %s %q", method, path, got, status, code, text)
	}
}
