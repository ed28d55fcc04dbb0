//go:build linux

package faults

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// kind is one sort of version that is deployed.
type kind struct {
	name string
	// ends is how its deployment ends when nothing else is wrong.
	ends fescue.DeploymentStatus
	// says must stand in the details of its failure. A version that should
	// succeed may fail if it is said.
	says string
	// mode is the executable's; python is the code of a Python function in its
	// place.
	mode, python string
	// executable replaces the name of the file to run.
	executable string
	// huge adds a file that the core's disk cannot hold.
	huge bool
	// unknown names a function that does not exist.
	unknown bool
	// again deploys the last version that succeeded once more, reset clears the
	// core.
	again, reset bool
	// weight is how often it is drawn.
	weight int
}

const crashLater = "crash later"

const pythonGood = "def handler(event, context):\n    pass\n"

// kinds are all sorts of versions.
var kinds = []kind{
	{name: "good", ends: fescue.Success, weight: 10},
	{name: "good Python", ends: fescue.Success, python: pythonGood, weight: 2},
	{name: "crashing at start", ends: fescue.Failure, says: "no such sensor", mode: "crash at start", weight: 4},
	{name: "crashing at import", ends: fescue.Failure, says: "no such module", python: "raise RuntimeError('no such module')\n", weight: 2},
	{name: "crashing later", ends: fescue.Success, says: "the sensor is gone", mode: crashLater, weight: 2},
	{name: "never asking for work", ends: fescue.Success, mode: "mute", weight: 1},
	{name: "missing file", ends: fescue.Failure, says: "no such file", executable: "nowhere", weight: 2},
	{name: "too large", ends: fescue.Failure, says: "disk is full", huge: true, weight: 2},
	{name: "unknown function", ends: fescue.Failure, says: "FUNCTION", unknown: true, weight: 1},
	{name: "once more", ends: fescue.Success, again: true, weight: 2},
	{name: "reset", ends: fescue.Success, reset: true, weight: 1},
}

// version is one version to be deployed, with everything that was drawn for it.
type version struct {
	*kind
	// tag is in the environment of its function.
	tag string
	// code makes the package another one than that of the version before.
	code   bool
	filler []byte
	// steady adds a function that never changes.
	steady bool
	// contained runs its function in a container; the steady one is in one wherever
	// that can be.
	contained bool
	// given are the resources of its function.
	given []*resource

	groupVersion string
	// runs are its functions, ARN to tag; restless is the one of them that ends
	// by itself after it was ready.
	runs     map[string]string
	restless string
}

// drawVersion draws a version that can be deployed here.
func drawVersion(r *rand.Rand, tag string, disk bool) version {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	left, at := r.IntN(total), 0
	for left -= kinds[0].weight; left >= 0; left -= kinds[at].weight {
		at++
	}
	v := version{kind: &kinds[at], tag: tag, code: r.IntN(2) == 0, steady: r.IntN(4) > 0, filler: make([]byte, 1+r.IntN(300_000))}
	for i := range v.filler {
		v.filler[i] = byte(r.Uint32())
	}
	if v.huge && !disk || v.kind.python != "" && !havePython() {
		v.kind = &kinds[0]
	}
	return v
}

func havePython() bool {
	_, err := exec.LookPath("python3")
	return err == nil
}

// group is the group of a site's core.
type group struct {
	*site
	id      string
	core    string // the core definition's version
	program []byte
	steady  string // ARN of the function that never changes
	subject string // ARN of the last version of the subject
}

func newGroup(ctx context.Context, s *site, programs Programs) (*group, error) {
	g := &group{site: s}
	var err error
	if g.program, err = os.ReadFile(programs.Subject); err != nil {
		return nil, err
	}
	core, err := s.greengrass.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{
		InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{{Id: aws.String("core"), ThingArn: &s.thingARN, CertificateArn: &s.certARN}}},
	})
	if err != nil {
		return nil, err
	}
	g.core = *core.LatestVersionArn
	made, err := s.greengrass.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("Faults")})
	if err != nil {
		return nil, err
	}
	g.id = *made.Id
	if _, err := s.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(modelBucket)}); err != nil {
		return nil, err
	}
	g.steady, err = g.publish(ctx, "Steady", fescue.ExecutableRuntime, "subject", map[string][]byte{"subject": g.program})
	return g, err
}

// publish makes a new version of a function.
func (g *group) publish(ctx context.Context, name, runtime, handler string, files map[string][]byte) (arn string, err error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, content := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		f, err := w.CreateHeader(header)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	_, err = g.lambda.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: lambdatypes.Runtime(runtime), Handler: &handler,
		Role: aws.String("arn:aws:iam::" + programs.Account + ":role/lambda"), Code: &lambdatypes.FunctionCode{ZipFile: buf.Bytes()},
	})
	var conflict *lambdatypes.ResourceConflictException
	if errors.As(err, &conflict) {
		_, err = g.lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: buf.Bytes()})
	}
	if err != nil {
		return "", err
	}
	published, err := g.lambda.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name})
	if err != nil {
		return "", err
	}
	return *published.FunctionArn, nil
}

// prepare publishes a version and makes its group version.
func (g *group) prepare(ctx context.Context, v *version) error {
	if v.again || v.reset {
		return nil
	}
	subject, err := g.publishSubject(ctx, v)
	if err != nil {
		return err
	}
	v.runs = map[string]string{subject: v.tag}
	if v.mode == crashLater {
		v.restless = subject
	}
	list := []types.Function{g.function(subject, v.tag, v)}
	resources, err := g.define(ctx, v, &list[0])
	if err != nil {
		return err
	}
	if v.steady {
		v.runs[g.steady] = "steady"
		list = append(list, g.function(g.steady, "steady", &version{kind: &kinds[0], contained: g.containers}))
	}
	funcs, err := g.greengrass.CreateFunctionDefinition(ctx, &greengrass.CreateFunctionDefinitionInput{InitialVersion: &types.FunctionDefinitionVersion{
		DefaultConfig: &types.FunctionDefaultConfig{Execution: &types.FunctionDefaultExecutionConfig{
			IsolationMode: types.FunctionIsolationModeNoContainer, RunAs: runAs(),
		}},
		Functions: list,
	}})
	if err != nil {
		return err
	}
	in := &greengrass.CreateGroupVersionInput{GroupId: &g.id, CoreDefinitionVersionArn: &g.core, FunctionDefinitionVersionArn: funcs.LatestVersionArn}
	if resources != "" {
		in.ResourceDefinitionVersionArn = &resources
	}
	made, err := g.greengrass.CreateGroupVersion(ctx, in)
	if err == nil {
		v.groupVersion = *made.Version
	}
	return err
}

func (g *group) publishSubject(ctx context.Context, v *version) (arn string, err error) {
	switch {
	case v.python != "":
		return g.publish(ctx, "Python", "python3.7", "main.handler", map[string][]byte{"main.py": []byte(v.python), "filler": v.filler})
	case v.unknown:
		return g.steady + "999", nil
	case v.huge:
		return g.publish(ctx, "Subject", fescue.ExecutableRuntime, "subject", map[string][]byte{
			"subject": g.program, "filler": v.filler, "huge": make([]byte, 2*diskSize),
		})
	case v.code || g.subject == "":
		g.subject, err = g.publish(ctx, "Subject", fescue.ExecutableRuntime, "subject", map[string][]byte{"subject": g.program, "filler": v.filler})
	}
	return g.subject, err
}

func (g *group) function(arn, tag string, v *version) types.Function {
	config := &types.FunctionConfiguration{
		Pinned: aws.Bool(true), Timeout: aws.Int32(10), EncodingType: types.EncodingTypeBinary,
		Environment: &types.FunctionConfigurationEnvironment{Variables: map[string]string{"SITE": g.root, "TAG": tag, "MODE": v.mode}},
	}
	if v.python != "" {
		config.EncodingType = types.EncodingTypeJson
	}
	if v.executable != "" {
		config.Executable = &v.executable
	}
	if v.contained {
		config.MemorySize = aws.Int32(containerMemory)
		config.Environment.Execution = &types.FunctionExecutionConfig{IsolationMode: types.FunctionIsolationModeGreengrassContainer}
	}
	return types.Function{Id: aws.String(fmt.Sprintf("f-%s", tag)), FunctionArn: &arn, FunctionConfiguration: config}
}

// containerMemory is the MemorySize of functions in containers, in KB.
const containerMemory = 64 << 10

// runAs is whom functions run as: a test machine has no ggc_user.
func runAs() *types.FunctionRunAsConfig {
	if os.Geteuid() != 0 {
		return nil
	}
	return &types.FunctionRunAsConfig{Uid: aws.Int32(65534), Gid: aws.Int32(65534)}
}
