package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
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
