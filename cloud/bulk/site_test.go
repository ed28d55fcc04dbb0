package bulk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/bulk"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/registry"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	home      = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	elsewhere = fescue.Partition{AWS: "aws", Account: "210987654321", Region: "us-east-1"}
)

const (
	patience = testkit.Patience
	role     = "arn:aws:iam::123456789012:role/bulk"
	input    = "s3://input/records.json"
)

// site is a service over a real database and a real engine, whose builder runs.
// The groups' cores are not registered, so that deployments end in Building.
type site struct {
	t       *testing.T
	store   *store.DB
	engine  *deploy.Engine
	groups  *definitions.Service
	objects *objects
	options bulk.Options
	*bulk.Service
}

func open(t *testing.T) *site { return openOn(t, storetest.Database(t)) }

func openOn(t *testing.T, database string) *site {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	s := storetest.OpenOn(t, database)
	authority, err := pki.NewAuthority("devices", pki.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	st := &site{
		t: t, store: s, groups: definitions.New(s.Definitions(), time.Now), objects: &objects{contents: make(map[string]string)},
		engine: deploy.New(deploy.Options{
			Stores: s.Engine(), AWS: "aws", Now: time.Now, Logger: logger,
			Principals: registry.New(registry.Options{Stores: s.Registry(), Authority: authority, AWS: "aws", Now: time.Now, Logger: logger}),
		}),
	}
	running(t, st.engine.Run)
	st.options = bulk.Options{
		Store: s.Bulk(), Leases: s.Leases(), Objects: st.objects, Deployments: st.engine, AWS: "aws", Rate: 1e6, FirstRetry: 5 * time.Millisecond,
		Now: time.Now, Logger: logger,
	}
	st.Service = bulk.New(st.options)
	return st
}

// running runs f until the function returned is called, or the test ends.
func running(t *testing.T, f func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("it does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// objects is an object store of one partition, home, that can fail.
type objects struct {
	mu       sync.Mutex
	contents map[string]string // "bucket/key"
	failures int
}

func (o *objects) put(place, content string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.contents[place] = content
}

func (o *objects) Open(_ context.Context, p fescue.Partition, bucket, key string) (io.ReadCloser, int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failures--; o.failures >= 0 {
		return nil, 0, errors.New("the object store is away")
	}
	content, ok := o.contents[bucket+"/"+key]
	if !ok || p != home {
		return nil, 0, fmt.Errorf("s3://%s/%s: %w", bucket, key, fescue.ErrNotFound)
	}
	return io.NopCloser(strings.NewReader(content)), int64(len(content)), nil
}

// group makes a group that can be deployed, or one without a core.
func (s *site) group(withCore bool) (id, version string) {
	s.t.Helper()
	ctx := s.t.Context()
	body := `{}`
	if withCore {
		core, err := s.groups.Create(ctx, home, fescue.CoreKind, "", []byte(`{"Cores":[{"Id":"c","ThingArn":"`+home.ThingARN("Nobody")+
			`","CertificateArn":"`+home.CertificateARN(strings.Repeat("0", 64))+`"}]}`), nil, fescue.Token{})
		if err != nil {
			s.t.Fatal(err)
		}
		body = `{"CoreDefinitionVersionArn":"` + home.VersionARN(fescue.CoreKind, core.ID, core.LatestVersion) + `"}`
	}
	g, err := s.groups.Create(ctx, home, fescue.GroupKind, "g", []byte(body), nil, fescue.Token{})
	if err != nil {
		s.t.Fatal(err)
	}
	return g.ID, g.LatestVersion
}

func line(group, version string) string {
	return fmt.Sprintf(`{"GroupId":%q,"GroupVersionId":%q,"DeploymentType":"NewDeployment"}`, group, version) + "\n"
}

// fleet makes groups and the input that deploys them.
func (s *site) fleet(n int) (groups []string, content string) {
	s.t.Helper()
	for range n {
		group, version := s.group(true)
		groups = append(groups, group)
		content += line(group, version)
	}
	return groups, content
}

// begin starts a bulk deployment of an input.
func (s *site) begin(content string) bulk.BulkDeployment {
	s.t.Helper()
	s.objects.put("input/records.json", content)
	b, err := s.Start(s.t.Context(), home, role, input, nil, fescue.Token{})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// until waits for a status.
func (s *site) until(id string, want bulk.BulkStatus) bulk.BulkDeployment {
	s.t.Helper()
	var b bulk.BulkDeployment
	testkit.Eventually(s.t, string(want), func() error {
		var err error
		if b, err = s.BulkDeployment(s.t.Context(), home, id); err == nil && b.Status != want {
			err = fmt.Errorf("%+v", b)
		}
		return err
	})
	return b
}

// deployments counts the deployments of each group.
func (s *site) deployments(groups []string) map[string]int {
	s.t.Helper()
	counts := make(map[string]int)
	for _, g := range groups {
		list, err := s.store.Deployments().Deployments(s.t.Context(), home, g, fescue.Page{Limit: 100})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(list) > 0 {
			counts[g] = len(list)
		}
	}
	return counts
}

// reports are all reports, newest first, read in pages of three.
func (s *site) reports(id string) []bulk.BulkReport {
	s.t.Helper()
	var list []bulk.BulkReport
	pg := fescue.Page{Limit: 3}
	for {
		got, err := s.Reports(s.t.Context(), home, id, pg)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(got) == 0 {
			return list
		}
		list = append(list, got...)
		pg.After = fmt.Sprint(got[len(got)-1].Number)
	}
}
