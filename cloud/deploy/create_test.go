package deploy_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	s := open(t)
	groupID, version := s.create(s.mill("create-core"))
	coreless, corelessVersion := s.create(group{})
	foreign := s.accept(s.create(s.mill("other-core")))

	for _, tc := range []struct {
		name              string
		kind              fescue.DeploymentType
		group, version    string
		deployment        string
		partition         fescue.Partition
		want              error  // or
		text              string // of a TypeError
		fromAnotherRegion bool
	}{
		{name: "no type", group: groupID, version: version, text: "That deployment type is not valid.  Please specify one of"},
		{name: "unknown type", kind: "newdeployment", group: groupID, version: version, text: "That deployment type is not valid."},
		{name: "reset", kind: fescue.ResetDeployment, group: groupID, version: version, text: "ResetDeployments"},
		{name: "forced reset", kind: fescue.ForceResetDeployment, group: groupID, version: version, text: "ResetDeployments"},
		{name: "no version", kind: fescue.NewDeployment, group: groupID, text: "{GroupVersionId}"},
		{name: "no deployment", kind: fescue.Redeployment, group: groupID, version: version, text: "{DeploymentId}"},
		{name: "unknown deployment", kind: fescue.Redeployment, group: groupID, deployment: fescue.NewID(), text: "is invalid"},
		{name: "another group's deployment", kind: fescue.Redeployment, group: groupID, deployment: foreign.ID, text: "is invalid"},
		{name: "malformed deployment", kind: fescue.Redeployment, group: groupID, deployment: "../x", text: "Deployment ID '../x' is invalid"},
		{name: "unknown group", kind: fescue.NewDeployment, group: fescue.NewID(), version: version, want: deploy.ErrUnknownGroup},
		{name: "malformed group", kind: fescue.NewDeployment, group: "\x00", version: version, want: deploy.ErrUnknownGroup},
		{name: "upper case group", kind: fescue.NewDeployment, group: strings.ToUpper(groupID), version: version, want: deploy.ErrUnknownGroup},
		{name: "another Region's group", kind: fescue.NewDeployment, group: groupID, version: version, fromAnotherRegion: true, want: deploy.ErrUnknownGroup},
		{name: "unknown version", kind: fescue.NewDeployment, group: groupID, version: fescue.NewID(), want: deploy.ErrUnknownVersion},
		{name: "malformed version", kind: fescue.NewDeployment, group: groupID, version: "latest", want: deploy.ErrUnknownVersion},
		{name: "another group's version", kind: fescue.NewDeployment, group: groupID, version: corelessVersion, want: deploy.ErrUnknownVersion},
		{name: "no core", kind: fescue.NewDeployment, group: coreless, version: corelessVersion, want: deploy.ErrNoCore},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := home
			if tc.fromAnotherRegion {
				p = elsewhere
			}
			_, err := s.Create(t.Context(), p, tc.group, tc.kind, tc.version, tc.deployment, fescue.Token{})
			var typeErr *deploy.TypeError
			switch {
			case tc.want != nil:
				if !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
			case !errors.As(err, &typeErr) || !strings.Contains(typeErr.Text, tc.text):
				t.Errorf("error %v, want a TypeError with %q", err, tc.text)
			}
		})
	}
	t.Run("nothing of that was written", func(t *testing.T) {
		list, err := s.Deployments(t.Context(), home, groupID, fescue.Page{Limit: 10})
		if err != nil || len(list) != 0 {
			t.Errorf("deployments %v, %v", list, err)
		}
	})
	t.Run("one deployment of a group is built at a time", func(t *testing.T) {
		s := s.with(t)
		first := s.accept(groupID, version)
		_, err := s.Create(t.Context(), home, groupID, fescue.NewDeployment, version, "", fescue.Token{})
		if !errors.Is(err, deploy.ErrConcurrent) {
			t.Fatalf("error %v, want %v", err, deploy.ErrConcurrent)
		}
		s.run(s.Engine)
		s.built(first)
		if again := s.deploy(groupID, version); again.Status != fescue.InProgress {
			t.Errorf("afterwards: %s %s", again.Status, again.ErrorMessage)
		}
	})
	t.Run("a token makes one deployment", func(t *testing.T) {
		s := s.with(t)
		id, v := s.create(s.mill("token-core"))
		token := fescue.Token{Operation: "CreateDeployment", Value: "t", RequestHash: "h"}
		first, err := s.Create(t.Context(), home, id, fescue.NewDeployment, v, "", token)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Create(t.Context(), home, id, fescue.NewDeployment, v, "", token)
		if err != nil || again.ID != first.ID {
			t.Errorf("again: %s, %v; want %s", again.ID, err, first.ID)
		}
		token.RequestHash = "other"
		if _, err := s.Create(t.Context(), home, id, fescue.NewDeployment, v, "", token); !errors.Is(err, fescue.ErrTokenReused) {
			t.Errorf("for another request: %v", err)
		}
	})
	t.Run("a redeployment deploys the version of the one before", func(t *testing.T) {
		s := s.with(t)
		g := s.mill("redeployed-core")
		id, v1 := s.create(g)
		s.run(s.Engine)
		first := s.offered(id, v1)
		d, err := s.Create(t.Context(), home, id, fescue.Redeployment, "", first.ID, fescue.Token{})
		if err != nil {
			t.Fatal(err)
		}
		d = s.built(d)
		if d.GroupVersionID != v1 || d.Type != fescue.Redeployment || d.Status != fescue.InProgress || d.Epoch != first.Epoch+1 {
			t.Errorf("redeployment is %+v", d)
		}
		if m := s.manifest(s.poll("redeployed-core", first.Epoch)); m.DeploymentType != fescue.Redeployment || m.GroupVersionID != v1 {
			t.Errorf("manifest %+v", m)
		}
	})
}

// passes is a store whose transactions end as the test wants: together, and one after the
// other alone.
type passes struct {
	deploy.DeploymentStore
	together error
	alone    []error
	written  int
}

func (f *passes) CreateDeployments(ctx context.Context, list []deploy.Request) ([]deploy.Answer, error) {
	if len(list) > 1 {
		return nil, f.together
	}
	err := f.alone[f.written]
	f.written++
	if err != nil {
		return nil, err
	}
	return f.DeploymentStore.CreateDeployments(ctx, list)
}

// TestCreateAllLocked: groups that other transactions have do not keep the others of a round of a
// bulk deployment from being deployed.
func TestCreateAllLocked(t *testing.T) {
	t.Parallel()
	const locked, round = 8, 6 * time.Second
	database := storetest.Postgres(t)
	s := openOn(t, database)
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	requests := s.requests(20)
	hung, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Rollback()
	for _, r := range requests[:locked] {
		if _, err := hung.ExecContext(t.Context(), `
			INSERT INTO deployment (partition, id, group_id, group_version_id, type, status, phase, core_thing, epoch,
				group_tag, error_message, details_json, number, revision, leased_until, created_at, updated_at)
			VALUES ($1, $2, $2, 'v', 'NewDeployment', 'Building', '', '', 0, '', '', '', 1, 1, 0, 0, 0)`, home.Key(), r.Deployment.GroupID); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), round)
	defer cancel()
	for i, a := range s.CreateAll(ctx, home, requests) {
		if i < locked && !errors.Is(a.Err, fescue.ErrLocked) || i >= locked && a.Err != nil {
			t.Errorf("%d: %v", i, a.Err)
		}
	}
}

func TestCreateAllThatFails(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad record")
	for _, test := range []struct {
		name     string
		together error
		alone    []error
		want     []error // of three
		written  int
	}{
		{"away", fescue.ErrAway, nil, []error{fescue.ErrAway, fescue.ErrAway, fescue.ErrAway}, 0},
		{"uncertain", fmt.Errorf("commit: %w", fescue.ErrUncertain), nil, []error{fescue.ErrUncertain, fescue.ErrUncertain, fescue.ErrUncertain}, 0},
		{"out of time", context.DeadlineExceeded, nil, []error{context.DeadlineExceeded, context.DeadlineExceeded, context.DeadlineExceeded}, 0},
		{"one is bad", bad, []error{nil, bad, nil}, []error{nil, bad, nil}, 3},
		{"one is locked", fescue.ErrLocked, []error{nil, fescue.ErrLocked, nil}, []error{nil, fescue.ErrLocked, nil}, 3},
		{"away meanwhile", bad, []error{nil, fescue.ErrAway}, []error{nil, fescue.ErrAway, fescue.ErrAway}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			f := &passes{DeploymentStore: s.store.Deployments(), together: test.together, alone: test.alone}
			e := s.another(func(o *deploy.Options) { o.Stores.Deployments = f })
			var requests []deploy.Request
			for i := range test.want {
				group, version := s.create(s.mill("Mill" + strconv.Itoa(i)))
				requests = append(requests, deploy.Request{Deployment: fescue.Deployment{GroupID: group, GroupVersionID: version}})
			}
			for i, a := range e.CreateAll(t.Context(), home, requests) {
				if !errors.Is(a.Err, test.want[i]) || a.Err == nil && a.Deployment.GroupID != requests[i].Deployment.GroupID {
					t.Errorf("%d: %+v", i, a)
				}
			}
			if f.written != test.written {
				t.Errorf("%d written alone, want %d", f.written, test.written)
			}
		})
	}
}
