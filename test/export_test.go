//go:build linux

package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// TestExportImportExport: whatever a group is made of, its export imported into
// an empty server is exported there as the same bytes.
func TestExportImportExport(t *testing.T) {
	t.Parallel()
	const seed = 20261125
	from, to := startServer(t).site(region), startServer(t).site(region)
	for i := range uint64(5) {
		r := &randomGroup{site: from, Rand: rand.New(rand.NewPCG(seed, i)), t: t, i: i}
		group := r.make()
		dir := t.TempDir()
		one, two := filepath.Join(dir, "one.json"), filepath.Join(dir, "two.json")
		if _, err := from.fescue(t, "export", "--group", group, "-o", one); err != nil {
			t.Fatalf("group %d: %v", i, err)
		}
		to.restore(t, "import", one)
		if _, err := to.fescue(t, "export", "--group", group, "-o", two); err != nil {
			t.Fatalf("group %d: %v", i, err)
		}
		if a, b := readFile(t, one), readFile(t, two); !bytes.Equal(a, b) {
			t.Errorf("group %d of seed %d differs:\n%s\n%s", i, seed, a, b)
		}
	}
}

// randomGroup makes a group of random parts.
type randomGroup struct {
	*site
	*rand.Rand
	t *testing.T
	i uint64
}

func (r *randomGroup) text() *string {
	words := []string{"mill", "Mühle", "水車", "a\"b\\c", "<&>", "x y", "🚰"}
	return aws.String(words[r.IntN(len(words))] + words[r.IntN(len(words))])
}

func (r *randomGroup) tags() map[string]string {
	tags := map[string]string{}
	for range r.IntN(3) {
		tags[*r.text()] = *r.text()
	}
	return tags
}

func (r *randomGroup) some() bool { return r.IntN(2) == 0 }

// identity makes a thing with a certificate, and gives their ARNs.
func (r *randomGroup) identity(name string) (thing, certificate *string) {
	r.t.Helper()
	ctx := r.t.Context()
	var thingType *string
	if r.some() {
		thingType = aws.String("type-of-" + name)
		properties := &iottypes.ThingTypeProperties{SearchableAttributes: []string{"site"}}
		if r.some() {
			properties.ThingTypeDescription = r.text()
		}
		if _, err := r.iot.CreateThingType(ctx, &iot.CreateThingTypeInput{ThingTypeName: thingType, ThingTypeProperties: properties}); err != nil {
			r.t.Fatal(err)
		}
	}
	made, err := r.iot.CreateThing(ctx, &iot.CreateThingInput{ThingName: &name, ThingTypeName: thingType, AttributePayload: &iottypes.AttributePayload{Attributes: map[string]string{"site": "north"}}})
	if err != nil {
		r.t.Fatal(err)
	}
	cert, err := r.iot.CreateKeysAndCertificate(ctx, &iot.CreateKeysAndCertificateInput{SetAsActive: r.some()})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.some() {
		policy := name + "-policy"
		document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"arn:aws:iot:` + region + `:` + account + `:topic/<&>/*"}]}`
		if _, err := r.iot.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: &policy, PolicyDocument: &document}); err != nil {
			r.t.Fatal(err)
		}
		if _, err := r.iot.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: &policy, Target: cert.CertificateArn}); err != nil {
			r.t.Fatal(err)
		}
	}
	if r.some() {
		if _, err := r.iot.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: &name, Principal: cert.CertificateArn}); err != nil {
			r.t.Fatal(err)
		}
	}
	return made.ThingArn, cert.CertificateArn
}

// function publishes a function some times, and names it by number or by alias.
func (r *randomGroup) function(name string) string {
	r.t.Helper()
	var arn string
	for n := range 1 + r.IntN(3) {
		arn = r.python(r.t, name, fmt.Sprintf("# %d", n))
	}
	if !r.some() {
		return arn
	}
	alias, err := r.lambda.CreateAlias(r.t.Context(), &lambda.CreateAliasInput{FunctionName: &name, Name: aws.String("live"), FunctionVersion: aws.String("1"), Description: r.text()})
	if err != nil {
		r.t.Fatal(err)
	}
	return *alias.AliasArn
}

// make makes the group with one to three versions, and gives its id.
func (r *randomGroup) make() string {
	r.t.Helper()
	ctx := r.t.Context()
	thing, certificate := r.identity(fmt.Sprintf("Core%d", r.i))
	core, err := r.greengrass.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{
		Name: r.text(), Tags: r.tags(), InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{
			{Id: aws.String("c"), ThingArn: thing, CertificateArn: certificate, SyncShadow: aws.Bool(r.some())},
		}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	var group string
	for n := range 1 + r.IntN(3) {
		in := &greengrass.CreateGroupVersionInput{CoreDefinitionVersionArn: core.LatestVersionArn}
		if r.some() {
			in.FunctionDefinitionVersionArn = r.functions(n)
		}
		if r.some() {
			in.DeviceDefinitionVersionArn = r.devices(n)
		}
		if r.some() {
			in.SubscriptionDefinitionVersionArn, in.LoggerDefinitionVersionArn = r.routesAndLoggers()
		}
		if group == "" {
			made, err := r.greengrass.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: r.text(), Tags: r.tags()})
			if err != nil {
				r.t.Fatal(err)
			}
			group = *made.Id
		}
		in.GroupId = &group
		if _, err := r.greengrass.CreateGroupVersion(ctx, in); err != nil {
			r.t.Fatal(err)
		}
	}
	return group
}

func (r *randomGroup) functions(n int) *string {
	r.t.Helper()
	version := &types.FunctionDefinitionVersion{}
	for k := range 1 + r.IntN(2) {
		version.Functions = append(version.Functions, types.Function{
			Id: aws.String(fmt.Sprintf("f%d", k)), FunctionArn: aws.String(r.function(fmt.Sprintf("F%d-%d-%d", r.i, n, k))),
			FunctionConfiguration: &types.FunctionConfiguration{MemorySize: aws.Int32(16384), Environment: &types.FunctionConfigurationEnvironment{
				Variables: map[string]string{"TOPIC": *r.text()},
			}},
		})
	}
	made, err := r.greengrass.CreateFunctionDefinition(r.t.Context(), &greengrass.CreateFunctionDefinitionInput{Name: r.text(), InitialVersion: version})
	if err != nil {
		r.t.Fatal(err)
	}
	return made.LatestVersionArn
}

func (r *randomGroup) devices(n int) *string {
	r.t.Helper()
	thing, certificate := r.identity(fmt.Sprintf("Device%d-%d", r.i, n))
	made, err := r.greengrass.CreateDeviceDefinition(r.t.Context(), &greengrass.CreateDeviceDefinitionInput{
		InitialVersion: &types.DeviceDefinitionVersion{Devices: []types.Device{{Id: aws.String("d"), ThingArn: thing, CertificateArn: certificate}}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return made.LatestVersionArn
}

func (r *randomGroup) routesAndLoggers() (subscriptions, loggers *string) {
	r.t.Helper()
	table := &types.SubscriptionDefinitionVersion{}
	for n := range r.IntN(4) {
		table.Subscriptions = append(table.Subscriptions, types.Subscription{
			Id: aws.String(fmt.Sprint("s", n)), Source: aws.String("cloud"), Subject: r.text(), Target: aws.String("GGShadowService"),
		})
	}
	subs, err := r.greengrass.CreateSubscriptionDefinition(r.t.Context(), &greengrass.CreateSubscriptionDefinitionInput{Name: r.text(), InitialVersion: table})
	if err != nil {
		r.t.Fatal(err)
	}
	logs, err := r.greengrass.CreateLoggerDefinition(r.t.Context(), &greengrass.CreateLoggerDefinitionInput{InitialVersion: &types.LoggerDefinitionVersion{
		Loggers: []types.Logger{{Id: aws.String("l"), Component: types.LoggerComponentLambda, Level: types.LoggerLevelInfo, Type: types.LoggerTypeFileSystem, Space: aws.Int32(int32(1 + r.IntN(999)))}},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return subs.LatestVersionArn, logs.LatestVersionArn
}
