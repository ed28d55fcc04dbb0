package plan_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/plan/plantest"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/core/secrets"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

// TestMain checks that the tests find every problem that the package knows.
func TestMain(m *testing.M) {
	os.Exit(failurecoverage.Check(m.Run(), []string{"."}, "execution.go"))
}

const arn = "arn:aws:lambda:us-east-1:123456789012:function:hello:1"

// site is a core on which a group is planned: a folder with the packages, and what the
// machine has.
type site struct {
	t            *testing.T
	folder       string
	accounts     plan.Accounts
	functionUIDs plan.FunctionUIDs
	uid, gid     *int
	allowRoot    bool
	// private are the core's own folders.
	private []sandbox.HostPath
	// lacks is what the machine does not have that containers need.
	lacks []string
	// missing are the functions that cannot run here, by ARN, and kind is why.
	missing map[string]string
	kind    plan.TroubleKind
	// sealed is the error of a core that cannot open secrets.
	sealed error
	log    strings.Builder

	group    bundle.Group
	manifest bundle.Manifest
}

// open is a core with one Python function, which is staged.
func open(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, folder: t.TempDir(), accounts: ordinary{}, missing: map[string]string{}}
	s.group = bundle.Group{Arn: "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/g/versions/v"}
	s.manifest = bundle.Manifest{GroupID: "g", DeploymentID: "d"}
	s.function(arn)
	return s
}

// function adds a function to the group, and its package to the folder.
func (s *site) function(arn string) {
	s.t.Helper()
	pinned := true
	l := bundle.Lambda{FunctionArn: arn, DeploymentConfiguration: bundle.LambdaConfiguration{
		Priority: 1, Pinned: &pinned, Handler: "app.handler", Runtime: "python3.8",
	}}
	l.DeploymentConfiguration.Environment.Execution = &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}
	s.group.GroupDefinitions.Lambdas.Content = append(s.group.GroupDefinitions.Lambdas.Content, l)
	hash := hashOf(arn)
	s.manifest.Artifacts = append(s.manifest.Artifacts, bundle.PackageArtifact(arn, hash, 1))
	if err := errors.Join(os.MkdirAll(filepath.Join(s.code(hash), "lib"), 0o755), os.WriteFile(filepath.Join(s.code(hash), "app.py"), nil, 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// model adds a model of machine learning that is staged, and with attached is the
// first function's.
func (s *site) model(id, content string, owner *fescue.OwnerSetting, attached bool) {
	s.t.Helper()
	s.group.GroupDefinitions.Resources.Content = append(s.group.GroupDefinitions.Resources.Content, bundle.Resource{
		Id: id, Type: "ML_MODEL_S3_OBJECT", Data: bundle.ResourceData{S3Arn: "arn:aws:s3:::b:" + id, DestinationPath: "/ml/" + id, OwnerSetting: owner},
	})
	if attached {
		lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.ResourceAccessPolicies = append(l.Environment.ResourceAccessPolicies, fescue.ResourceAccessPolicy{ResourceId: id})
		})(&s.group)
	}
	s.manifest.Artifacts = append(s.manifest.Artifacts, bundle.ModelArtifact(id, hashOf(content), 1, bundle.Zip))
	if err := os.MkdirAll(s.modelFolder(hashOf(content)), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (s *site) code(hash string) string        { return filepath.Join(s.folder, hash) }
func (s *site) modelFolder(hash string) string { return filepath.Join(s.folder, hash+".model") }

// planner is that of the site's core.
func (s *site) planner() *plan.Planner {
	return plan.New(plan.Options{
		Disk: disk.Local{}, Code: s.code, Model: s.modelFolder, Resources: "/resources", Lambdas: "/lambda", Runner: s, Accounts: s.accounts, Secrets: vault{s.sealed},
		AllowRoot: s.allowRoot, DefaultUID: s.uid, DefaultGID: s.gid, FunctionUIDs: s.functionUIDs, Missing: s.lacks, Private: s.private,
		Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
}

// plan plans the site's group.
func (s *site) plan() (plan.Plan, []failure.Problem) {
	s.t.Helper()
	document, err := s.group.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	p, problems := s.planner().Plan(s.t.Context(), s.manifest, document)
	for _, problem := range problems {
		failurecoverage.Note([]fescue.ErrorDetail{{DetailedErrorCode: problem.Code}})
	}
	failurecoverage.Note(p.Warnings)
	return p, problems
}

// Check implements plan.Runner.
func (s *site) Check(_ context.Context, functions []plan.Function) (list []plan.Trouble) {
	for _, f := range functions {
		if cause, ok := s.missing[f.ARN]; ok {
			list = append(list, plan.Trouble{ARN: f.ARN, Cause: cause, Kind: s.kind})
		}
	}
	return list
}

// vault is the site's secrets.
type vault struct{ err error }

// Load implements plan.Secrets.
func (v vault) Load(bundle.Manifest, bundle.Group) (*secrets.Set, error) { return nil, v.err }

// Check implements plan.Secrets.
func (v vault) Check() error { return v.err }

// What tables of groups are written with.
var (
	runAs      = plantest.RunAs
	lambda     = plantest.Lambda
	system     = plantest.System
	rows       = plantest.Rows
	withVolume = plantest.WithVolume
	withDevice = plantest.WithDevice
	known      = plantest.Known
	peopled    = plantest.Peopled
)

type (
	ordinary = plantest.Ordinary
	rooted   = plantest.Rooted
	noUIDs   = plantest.NoUIDs
)

// people makes a core that can have functions be others, if this one can.
func people(s *site) {
	if os.Getuid() == 0 {
		s.accounts = known
	}
}
