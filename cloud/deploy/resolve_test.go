package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// problem is an expected ErrorDetail: its code and a part of its message.
type problem struct {
	code fescue.FailureCode
	text string
}

func (s *site) wantFailure(d fescue.Deployment, want ...problem) {
	s.t.Helper()
	if d.Status != fescue.Failure {
		s.t.Fatalf("deployment is %s %s; want Failure with %v", d.Status, d.Phase, want)
	}
	if len(d.ErrorDetails) != len(want) {
		s.t.Fatalf("details %q; want %q", d.ErrorDetails, want)
	}
	for i, w := range want {
		got := d.ErrorDetails[i]
		if got.DetailedErrorCode != string(w.code) || !strings.Contains(got.DetailedErrorMessage, w.text) {
			s.t.Errorf("detail %d is %q; want %s with %q", i, got, w.code, w.text)
		}
		if !strings.Contains(d.ErrorMessage, got.DetailedErrorMessage) {
			s.t.Errorf("ErrorMessage %q does not hold %q", d.ErrorMessage, got.DetailedErrorMessage)
		}
	}
}

const invalidGroup = "We cannot deploy because the group definition is invalid or corrupted for the following reasons: {ErrorSet(errorSet=[ErrorModel(errorCode="

func container(mode fescue.IsolationMode, attached ...string) *fescue.FunctionConfiguration {
	env := &fescue.FunctionEnvironment{}
	if mode != "" {
		env.Execution = &fescue.FunctionExecution{IsolationMode: mode}
	}
	for _, id := range attached {
		env.ResourceAccessPolicies = append(env.ResourceAccessPolicies, fescue.ResourceAccessPolicy{ResourceId: id, Permission: "ro"})
	}
	return &fescue.FunctionConfiguration{Environment: env}
}

// bare is a function without a container that has what its resources' owners give.
func bare(attached ...string) *fescue.FunctionConfiguration {
	c := container(fescue.NoContainer, attached...)
	for i := range c.Environment.ResourceAccessPolicies {
		c.Environment.ResourceAccessPolicies[i].Permission = ""
	}
	return c
}

// asking is a function that asks for a resource with a permission.
func asking(mode fescue.IsolationMode, id, permission string) *fescue.FunctionConfiguration {
	c := container(mode, id)
	c.Environment.ResourceAccessPolicies[0].Permission = permission
	return c
}

// ranAs is a function that runs as a user and a group.
func ranAs(uid, gid int, attached ...string) *fescue.FunctionConfiguration {
	c := container("", attached...)
	c.Environment.Execution = &fescue.FunctionExecution{RunAs: &fescue.RunAs{Uid: &uid, Gid: &gid}}
	return c
}

func oneFunction(defaultMode fescue.IsolationMode, cfg *fescue.FunctionConfiguration) fescue.FunctionDefinitionVersion {
	v := fescue.FunctionDefinitionVersion{Functions: []fescue.Function{{Id: "f", FunctionArn: reader + ":1", FunctionConfiguration: cfg}}}
	if defaultMode != "" {
		v.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{IsolationMode: defaultMode}}
	}
	return v
}

var resources = fescue.ResourceDefinitionVersion{Resources: []fescue.Resource{
	{Id: "device", ResourceDataContainer: fescue.ResourceDataContainer{LocalDeviceResourceData: &fescue.LocalDeviceResourceData{SourcePath: "/dev/ttyS1"}}},
	{Id: "volume", ResourceDataContainer: fescue.ResourceDataContainer{LocalVolumeResourceData: &fescue.LocalVolumeResourceData{SourcePath: "/srv", DestinationPath: "/data"}}},
	{Id: "s3", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{S3Uri: "s3://b/k"}}},
	{Id: "owned", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{
		S3Uri: "s3://b/k", OwnerSetting: &fescue.OwnerSetting{GroupOwner: "5", GroupPermission: "ro"}}}},
	{Id: "half", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{
		S3Uri: "s3://b/k", OwnerSetting: &fescue.OwnerSetting{GroupOwner: "1"}}}},
	{Id: "models", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{
		S3Uri: "s3://b/k", DestinationPath: "/models", OwnerSetting: &fescue.OwnerSetting{GroupOwner: "1", GroupPermission: "ro"}}}},
	{Id: "within", ResourceDataContainer: fescue.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &fescue.SageMakerModelResourceData{
		DestinationPath: "/models/x/", OwnerSetting: &fescue.OwnerSetting{GroupOwner: "1", GroupPermission: "ro"}}}},
	{Id: "beside", ResourceDataContainer: fescue.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &fescue.SageMakerModelResourceData{
		DestinationPath: "/models2", OwnerSetting: &fescue.OwnerSetting{GroupOwner: "1", GroupPermission: "ro"}}}},
	{Id: "job", ResourceDataContainer: fescue.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &fescue.SageMakerModelResourceData{SageMakerJobArn: "arn:job"}}},
	{Id: "none", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{S3Uri: "s3://b/none"}}},
	{Id: "text", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{S3Uri: "s3://b/text"}}},
	{Id: "lost", ResourceDataContainer: fescue.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &fescue.SageMakerModelResourceData{SageMakerJobArn: "arn:lost"}}},
	{Id: "secret", ResourceDataContainer: fescue.ResourceDataContainer{SecretsManagerSecretResourceData: &fescue.SecretsManagerSecretResourceData{ARN: home.SecretARN("kept", "a1b2c3")}}},
}}

// Each problem that Building can find, alone.
func TestProblems(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	ctx := t.Context()
	certificate := s.certificate(home, "mill")
	loose := s.certificate(home, "")
	foreign := s.certificate(elsewhere, "mill")
	inactive, revoked := s.certificate(home, "inactive"), s.certificate(home, "revoked")
	err := errors.Join(
		s.registry.SetCertificateStatus(ctx, home, inactive, fescue.CertificateInactive),
		s.registry.SetCertificateStatus(ctx, home, revoked, fescue.CertificateRevoked))
	if err == nil {
		_, err = s.functions.CreateAlias(ctx, home, functions.AliasChange{Function: "MillReader", Name: "dev", FunctionVersion: ptr("$LATEST")})
	}
	if err != nil {
		t.Fatal(err)
	}
	cores := func(list ...fescue.Core) fescue.CoreDefinitionVersion {
		return fescue.CoreDefinitionVersion{Cores: list}
	}
	device := func(thingARN, certARN string) fescue.DeviceDefinitionVersion {
		return fescue.DeviceDefinitionVersion{Devices: []fescue.Device{{Id: "pump", ThingArn: thingARN, CertificateArn: certARN}}}
	}
	missing := home.VersionARN(fescue.FunctionKind, fescue.NewID(), fescue.NewID())
	const gone = "arn:aws:lambda:us-east-1:123456789012:function:Gone:1"
	connector := "arn:aws:greengrass:us-east-1::/connectors/SNS/versions/"
	sub := func(source, target string) fescue.Subscription {
		return fescue.Subscription{Id: "s1", Source: source, Subject: "#", Target: target}
	}
	many := func(n int) []string {
		arns := make([]string, n)
		for i := range arns {
			arns[i] = fmt.Sprintf("arn:aws:lambda:::function:System%d:1", i)
		}
		return arns
	}

	kept := s.secret("kept", "AWSCURRENT", "blue")
	s.secret("empty")
	s.secret("deleted", "AWSCURRENT")
	if _, _, err := s.secrets.Delete(t.Context(), home, "deleted", nil, false); err != nil {
		t.Fatal(err)
	}
	// secretOf gives the group secrets, each an ARN and what further labels.
	secretsOf := func(g group, list ...[]string) group {
		var v fescue.ResourceDefinitionVersion
		for i, s := range list {
			v.Resources = append(v.Resources, fescue.Resource{Id: fmt.Sprint("secret", i), ResourceDataContainer: fescue.ResourceDataContainer{
				SecretsManagerSecretResourceData: &fescue.SecretsManagerSecretResourceData{ARN: s[0], AdditionalStagingLabelsToDownload: s[1:]},
			}})
		}
		return g.set(fescue.ResourceKind, v)
	}
	for _, tc := range []struct {
		name   string
		change func(group)
		want   []problem
	}{
		{"nothing", func(group) {}, nil},
		{"a secret with labels", func(g group) { secretsOf(g, []string{kept, "blue", "AWSCURRENT"}) }, nil},
		{"a secret without its suffix", func(g group) { secretsOf(g, []string{strings.TrimSuffix(kept, "-a1b2c3")}) }, nil},
		{"secrets that are not there", func(g group) {
			secretsOf(g, []string{home.SecretARN("none", "a1b2c3")}, []string{""}, []string{elsewhere.SecretARN("kept", "a1b2c3")},
				[]string{home.SecretARN("kept", "zzzzzz")}, []string{home.SecretARN("deleted", "a1b2c3")}, []string{"arn:aws:s3:::kept"})
		}, []problem{{fescue.SecretNotFound, "secret:none-a1b2c3 of the resource 'secret0' can't be found"}, {fescue.SecretNotFound, "'secret1'"}, {fescue.SecretNotFound, "eu-west-1"},
			{fescue.SecretNotFound, "kept-zzzzzz"}, {fescue.SecretNotFound, "deleted-a1b2c3"}, {fescue.SecretNotFound, "arn:aws:s3:::kept"}}},
		{"labels that are not there", func(g group) { secretsOf(g, []string{home.SecretARN("empty", "a1b2c3")}, []string{kept, "green"}) },
			[]problem{{fescue.SecretLabelNotFound, "'secret0' has no version with the staging label AWSCURRENT"}, {fescue.SecretLabelNotFound, "label green"}}},
		{"a secret twice, once without its suffix", func(g group) { secretsOf(g, []string{kept}, []string{strings.TrimSuffix(kept, "-a1b2c3")}) },
			[]problem{{fescue.SecretDuplicate, "'secret0' and 'secret1' are the same secret"}}},
		{"a secret to write", func(g group) {
			secretsOf(g, []string{kept}).set(fescue.FunctionKind, oneFunction("", asking("", "secret0", "rw")))
		}, []problem{{fescue.ResourceRefused, "functions only read secrets"}}},
		{"a secret without a word of permission", func(g group) {
			secretsOf(g, []string{kept}).set(fescue.FunctionKind, oneFunction("", asking("", "secret0", "")))
		}, nil},
		{"a definition that is gone", func(g group) { g.references["functions"] = missing },
			[]problem{{fescue.DefinitionNotFound, "function definition version " + missing}}},
		{"a definition of another Region", func(g group) {
			g.references["loggers"] = elsewhere.VersionARN(fescue.LoggerKind, fescue.NewID(), fescue.NewID())
		}, []problem{{fescue.DefinitionNotFound, "logger definition"}}},
		{"a definition of another kind", func(g group) {
			g.references["devices"] = home.VersionARN(fescue.CoreKind, fescue.NewID(), fescue.NewID())
		}, []problem{{fescue.DefinitionNotFound, "device definition"}}},
		{"a reference that is no ARN", func(g group) { g.references["resources"] = "../cores" },
			[]problem{{fescue.DefinitionNotFound, "resource definition version ../cores"}}},
		{"no core in the definition", func(g group) { g.set(fescue.CoreKind, cores()) },
			[]problem{{fescue.CoreCount, "has 0"}}},
		{"two cores", func(g group) {
			c := fescue.Core{Id: "c", ThingArn: home.ThingARN("mill"), CertificateArn: home.CertificateARN(certificate)}
			g.set(fescue.CoreKind, cores(c, c))
		}, []problem{{fescue.CoreCount, "has 2"}}},
		{"a core's inactive certificate", func(g group) {
			g.set(fescue.CoreKind, cores(fescue.Core{Id: "c", ThingArn: home.ThingARN("inactive"), CertificateArn: home.CertificateARN(inactive)}))
		}, []problem{{fescue.ThingCertNotFound, inactive + " of core 'c'"}}},
		{"a device's revoked certificate", func(g group) {
			g.set(fescue.DeviceKind, device(home.ThingARN("revoked"), home.CertificateARN(revoked)))
		}, []problem{{fescue.ThingCertNotFound, revoked + " of device 'pump'"}}},
		{"a certificate of no thing", func(g group) {
			g.set(fescue.DeviceKind, device(home.ThingARN("mill"), home.CertificateARN(loose)))
		}, []problem{{fescue.ThingCertNotFound, home.ThingARN("mill")}}},
		{"an unknown certificate", func(g group) {
			g.set(fescue.DeviceKind, device(home.ThingARN("mill"), home.CertificateARN(strings.Repeat("0", 64))))
		}, []problem{{fescue.ThingCertNotFound, "000"}}},
		{"a malformed certificate id", func(g group) {
			g.set(fescue.DeviceKind, device(home.ThingARN("mill"), home.CertificateARN("../../x")))
		}, []problem{{fescue.ThingCertNotFound, "../../x"}}},
		{"another Region's certificate, by its ARN", func(g group) {
			g.set(fescue.DeviceKind, device(elsewhere.ThingARN("mill"), elsewhere.CertificateARN(foreign)))
		}, []problem{{fescue.ThingCertNotFound, elsewhere.ThingARN("mill")}}},
		{"another Region's certificate, under this one's ARN", func(g group) {
			g.set(fescue.DeviceKind, device(home.ThingARN("mill"), home.CertificateARN(foreign)))
		}, []problem{{fescue.ThingCertNotFound, foreign}}},
		{"an unknown function", func(g group) { g.functions(gone) },
			[]problem{{fescue.FunctionNotFound, gone}}},
		{"an unknown version", func(g group) { g.functions(reader + ":99") },
			[]problem{{fescue.FunctionNotFound, ":99"}}},
		{"an unknown alias", func(g group) { g.functions(reader + ":beta") },
			[]problem{{fescue.FunctionNotFound, ":beta"}}},
		{"another Region's function", func(g group) { g.functions("arn:aws:lambda:eu-west-1:123456789012:function:MillReader:1") },
			[]problem{{fescue.FunctionNotFound, "eu-west-1"}}},
		{"a function that is no ARN", func(g group) { g.functions("MillReader:1") },
			[]problem{{fescue.FunctionNotFound, "MillReader:1"}}},
		{"$LATEST", func(g group) { g.functions(reader + ":$LATEST") },
			[]problem{{fescue.FunctionUnpublished, "$LATEST"}}},
		{"no qualifier", func(g group) { g.functions(reader) },
			[]problem{{fescue.FunctionUnpublished, reader}}},
		{"an alias for $LATEST", func(g group) { g.functions(reader + ":dev") },
			[]problem{{fescue.FunctionUnpublished, ":dev"}}},
		{"a version twice, once by its alias", func(g group) { g.functions(reader+":2", reader+":prod") },
			[]problem{{fescue.FunctionDuplicate, reader + ":2"}}},
		{"two versions of a function", func(g group) { g.functions(reader+":2", reader+":1") }, nil},
		{"an unknown source", func(g group) { g.functions(reader + ":1").subscriptions(sub(stats+":1", "cloud")) },
			[]problem{{fescue.EndpointNotFound, "source " + stats + ":1 of subscription 's1'"}}},
		{"an unknown target", func(g group) { g.functions(reader + ":1").subscriptions(sub(reader+":1", home.ThingARN("pump"))) },
			[]problem{{fescue.EndpointNotFound, "target " + home.ThingARN("pump")}}},
		{"both ends unknown", func(g group) { g.subscriptions(sub("x", "y")) },
			[]problem{{fescue.EndpointNotFound, "source x"}, {fescue.EndpointNotFound, "target y"}}},
		{"a version where the definition has the alias", func(g group) { g.functions(reader + ":prod").subscriptions(sub(reader+":2", "cloud")) },
			[]problem{{fescue.EndpointNotFound, "exactly as it stands"}}},
		{"the core as an end", func(g group) { g.subscriptions(sub(home.ThingARN("mill"), "cloud")) },
			[]problem{{fescue.EndpointNotFound, home.ThingARN("mill")}}},
		{"the fixed ends", func(g group) { g.subscriptions(sub("cloud", "GGShadowService")) }, nil},
		{"a subscription of an unknown function", func(g group) { g.functions(gone).subscriptions(sub(gone, "cloud")) },
			[]problem{{fescue.FunctionNotFound, gone}}},
		{"a subscription of a function that is there twice", func(g group) {
			g.functions(reader+":2", reader+":prod").subscriptions(sub(reader+":prod", "cloud"))
		}, []problem{{fescue.FunctionDuplicate, reader + ":2"}}},
		{"an owned model without a container", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", asking(fescue.NoContainer, "owned", "")))
		}, nil},
		{"a model of half an owner", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", asking("", "half", "ro")))
		}, []problem{{fescue.ModelOwnerInvalid, "InvalidMLModelOwner - GroupOwnerSetting is provided"}}},
		{"a model that nobody permits", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", asking("", "job", "")))
		}, []problem{{fescue.ModelPermissionMissing, "refers to Machine Learning resource job with missing permission in both"}}},
		{"a model that is wanted for more than its owner gives", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", asking("", "owned", "rw")))
		}, []problem{{fescue.ModelPermissionWider, `owned with permission "rw", while resource owner setting GroupPermission only allows "ro"`}}},
		{"models within each other, without a container", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", bare("models", "beside", "within")))
		}, []problem{{fescue.ModelPathsNested, "NoContainer Function " + reader + ":1 refers to resources of nested destination path"}}},
		{"models at the same place, without a container", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", bare("models", "models")))
		}, []problem{{fescue.ModelPathsNested, reader}}},
		{"models beside each other, without a container", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", bare("models", "beside")))
		}, nil},
		{"models within each other in a container", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", container("", "models", "within")))
		}, nil},
		{"a model of the group that a function runs as", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", ranAs(7, 5)))
		}, []problem{{fescue.ModelGroupShared, "Lambda " + reader + ":1 gains access to resource owned by sharing the same group owner id"}}},
		{"a model of the group that all functions run as", func(g group) {
			v, as := oneFunction("", nil), ranAs(7, 5).Environment.Execution
			v.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: as}
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, v)
		}, []problem{{fescue.ModelGroupShared, reader}}},
		{"a model of the group that all functions run as, and one of them as another user", func(g group) {
			own := ranAs(7, 5)
			own.Environment.Execution.RunAs.Gid = nil
			v := oneFunction("", own)
			v.DefaultConfig = &fescue.FunctionDefaultConfig{Execution: ranAs(8, 5).Environment.Execution}
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, v)
		}, []problem{{fescue.ModelGroupShared, reader}}},
		{"a model of the same group that was given", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", ranAs(7, 5, "owned")))
		}, nil},
		{"a model of another group", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", ranAs(7, 2)))
		}, nil},
		{"a model of root's group", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", ranAs(0, 5)))
		}, nil},
		{"a resource that is not there", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", container("", "volume", "disk")))
		}, []problem{{fescue.ResourceNotFound, "'disk'"}}},
		{"a volume that is refused", func(g group) {
			v := fescue.ResourceDefinitionVersion{Resources: []fescue.Resource{
				{Id: "run", ResourceDataContainer: fescue.ResourceDataContainer{LocalVolumeResourceData: &fescue.LocalVolumeResourceData{SourcePath: "/var/run", DestinationPath: "/data"}}},
				{Id: "srv", ResourceDataContainer: fescue.ResourceDataContainer{LocalVolumeResourceData: &fescue.LocalVolumeResourceData{SourcePath: "/srv", DestinationPath: "/data/"}}},
			}}
			g.set(fescue.ResourceKind, v).set(fescue.FunctionKind, oneFunction("", container("", "run", "srv")))
		}, []problem{{fescue.ResourceRefused, "'run' cannot be given to function " + reader + ":1: '/var/run' cannot be a volume"},
			{fescue.ResourceRefused, "'srv' cannot be given to function " + reader + ":1: the resource 'run' is seen at the same path"}}},
		{"models that are not there", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", container("", "none", "text", "lost")))
		}, []problem{{fescue.ModelObject, "refers to a resource none with nonexistent S3 object s3://b/none: The specified key"},
			{fescue.ModelArchive, "'text' at s3://b/text cannot be deployed: it is no archive"},
			{fescue.ModelJob, "'lost' names the SageMaker training job arn:lost"}}},
		{"models of no function that are not there", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", container("")))
		}, nil},
		{"resources in a container", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", container("", "device", "volume", "s3", "owned", "job", "secret")))
		}, nil},
		{"resources without a container", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction("", container(fescue.NoContainer, "device", "volume", "s3", "owned", "job", "secret")))
		}, []problem{
			{fescue.ResourceUnexpected, "resource of type 'Local.Device' that is not allowed in IsolationMode='NoContainer'"},
			{fescue.ResourceUnexpected, "'Local.Volume'"}, {fescue.ResourceUnexpected, "'ML_Model.S3_Object'"},
			{fescue.ModelPermissionUnexpected, reader + ":1 refers to Machine Learnin resource owned with permission ro"},
			{fescue.ResourceUnexpected, "'ML_Model.SageMaker.Job'"},
		}},
		{"resources without a container by the group's default", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction(fescue.NoContainer, container("", "volume")))
		}, []problem{{fescue.ResourceUnexpected, "'Local.Volume'"}}},
		{"a container against the group's default", func(g group) {
			g.set(fescue.ResourceKind, resources).set(fescue.FunctionKind, oneFunction(fescue.NoContainer, container(fescue.GreengrassContainer, "volume")))
		}, nil},
		{"two versions of a connector", func(g group) {
			g.set(fescue.ConnectorKind, fescue.ConnectorDefinitionVersion{Connectors: []fescue.Connector{
				{Id: "a", ConnectorArn: connector + "1"}, {Id: "b", ConnectorArn: connector + "2"},
			}})
		}, []problem{{fescue.ConnectorDuplicate, "/connectors/SNS "}}},
		{"200 functions", func(g group) { g.functions(many(200)...) }, nil},
		{"201 functions", func(g group) { g.functions(many(201)...) },
			[]problem{{fescue.QuotaExceeded, "201 functions; at most 200 can be deployed (quota functions)"}}},
		{"201 resources", func(g group) {
			g.set(fescue.ResourceKind, fescue.ResourceDefinitionVersion{Resources: make([]fescue.Resource, 201)})
		}, []problem{{fescue.QuotaExceeded, "201 resources"}}},
		{"10001 subscriptions", func(g group) {
			list := make([]fescue.Subscription, 10001)
			for i := range list {
				list[i] = fescue.Subscription{Source: "GGShadowService", Target: "cloud"}
			}
			g.subscriptions(list...)
		}, []problem{{fescue.QuotaExceeded, "10001 subscriptions; at most 10000"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := s.with(t)
			g := groupOf("mill", certificate)
			tc.change(g)
			d := s.deploy(s.create(g))
			if tc.want == nil {
				if d.Status != fescue.InProgress {
					t.Errorf("deployment is %s: %s", d.Status, d.ErrorMessage)
				}
				return
			}
			s.wantFailure(d, tc.want...)
			if !strings.HasPrefix(d.ErrorMessage, invalidGroup+string(tc.want[0].code)+", errorMsg=") || !strings.HasSuffix(d.ErrorMessage, ")])}") {
				t.Errorf("ErrorMessage %q", d.ErrorMessage)
			}
		})
	}
}

func TestProblemsTogether(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.secret("kept", "AWSCURRENT")
	s.run(s.Engine)

	t.Run("all are reported at once", func(t *testing.T) {
		s := s.with(t)
		g := s.mill("all").set(fescue.ResourceKind, resources).set(fescue.FunctionKind, fescue.FunctionDefinitionVersion{Functions: []fescue.Function{
			{Id: "a", FunctionArn: reader + ":prod", FunctionConfiguration: container(fescue.NoContainer, "device", "disk")},
			{Id: "b", FunctionArn: reader + ":2"},
			{Id: "c", FunctionArn: stats + ":7"},
			{Id: "d", FunctionArn: stats},
		}})
		g.set(fescue.DeviceKind, fescue.DeviceDefinitionVersion{Devices: []fescue.Device{
			{Id: "pump", ThingArn: home.ThingARN("pump"), CertificateArn: home.CertificateARN(strings.Repeat("a", 64))},
		}})
		g.subscriptions(
			fescue.Subscription{Id: "s1", Source: reader + ":prod", Target: home.ThingARN("fan")},
			fescue.Subscription{Id: "s2", Source: home.ThingARN("pump"), Target: stats + ":7"})
		s.wantFailure(s.deploy(s.create(g)),
			problem{fescue.ThingCertNotFound, "pump"},
			problem{fescue.ResourceUnexpected, "Local.Device"}, problem{fescue.ResourceNotFound, "disk"},
			problem{fescue.FunctionDuplicate, reader + ":2"}, problem{fescue.FunctionNotFound, stats + ":7"},
			problem{fescue.FunctionUnpublished, stats}, problem{fescue.EndpointNotFound, "fan"})
	})
	t.Run("every definition that is gone", func(t *testing.T) {
		s := s.with(t)
		g := group{references: map[string]string{}}
		var want []problem
		for _, k := range []fescue.Kind{
			fescue.CoreKind, fescue.DeviceKind, fescue.FunctionKind, fescue.ResourceKind,
			fescue.SubscriptionKind, fescue.ConnectorKind, fescue.LoggerKind,
		} {
			g.references[k.Segment] = home.VersionARN(k, fescue.NewID(), fescue.NewID())
			want = append(want, problem{fescue.DefinitionNotFound, g.references[k.Segment]})
		}
		s.wantFailure(s.deploy(s.create(g)), want...)
	})
}

func TestServiceRole(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Engine = s.another(func(o *deploy.Options) { o.RequireServiceRole = true })
	s.run(s.Engine)
	id, version := s.create(s.mill("role"))

	t.Run("asked for and missing", func(t *testing.T) {
		d := s.with(t).deploy(id, version)
		s.with(t).wantFailure(d, problem{fescue.ServiceRoleMissing, "TES service role is not associated with this account"})
		want := fmt.Sprintf("Deployment %s of type NewDeployment for group %s failed error: TES service role is not associated with this account", d.ID, id)
		if !strings.HasPrefix(d.ErrorMessage, want) {
			t.Errorf("ErrorMessage %q, want %q", d.ErrorMessage, want)
		}
	})
	t.Run("another Region's does not count", func(t *testing.T) {
		if _, err := s.store.GroupRoles().AssociateRole(t.Context(), elsewhere, "", "arn:aws:iam::123456789012:role/gg"); err != nil {
			t.Fatal(err)
		}
		s.with(t).wantFailure(s.with(t).deploy(id, version), problem{fescue.ServiceRoleMissing, "TES"})
	})
	t.Run("associated", func(t *testing.T) {
		if _, err := s.store.GroupRoles().AssociateRole(t.Context(), home, "", "arn:aws:iam::123456789012:role/service-role/gg"); err != nil {
			t.Fatal(err)
		}
		refused := func(why string) {
			t.Helper()
			d := s.with(t).deploy(id, version)
			s.with(t).wantFailure(d, problem{fescue.ServiceRoleRefused, "GreenGrass is not authorized to assume the Service Role associated with this account"})
			if t.Failed() {
				t.Fatal(why)
			}
		}
		refused("it does not exist")
		trusting := func(service string) string {
			return `{"Statement":{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}}`
		}
		role := identity.IAMRole{Name: "gg", Path: "/service-role/", ID: "AROA1", Trust: trusting("lambda.amazonaws.com"), MaxSession: time.Hour, CreatedAt: time.Now()}
		if err := s.store.IAM().CreateIAMRole(t.Context(), home.Account, role); err != nil {
			t.Fatal(err)
		}
		refused("it trusts another service")
		if err := s.store.IAM().SetIAMRoleTrust(t.Context(), home.Account, "gg", trusting("greengrass.amazonaws.com")); err != nil {
			t.Fatal(err)
		}
		s.with(t).offered(id, version)
		if _, err := s.store.GroupRoles().AssociateRole(t.Context(), home, "", "arn:aws:iam::123456789012:role/gg"); err != nil {
			t.Fatal(err)
		}
		refused("it has another path")
	})
}

func TestCoreOfAnotherGroup(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	g := s.mill("shared")
	first, firstVersion := s.create(g)
	second, secondVersion := s.create(g)

	t.Run("before the claim the newer group takes the core", func(t *testing.T) {
		s := s.with(t)
		old := s.offered(first, firstVersion)
		next := s.offered(second, secondVersion)
		s.wantFailure(s.read(old), problem{fescue.DeploymentSuperseded, next.ID})
		s.reports(next, fescue.EventClaimed)
		s.wantFailure(s.deploy(first, firstVersion), problem{fescue.CoreInOtherGroup, "The core shared is deployed by another group"})
		s.reports(next, fescue.EventFailed)
	})
	t.Run("a claimed deployment that failed leaves the core free", func(t *testing.T) {
		s := s.with(t)
		s.reports(s.offered(first, firstVersion), fescue.EventClaimed, fescue.EventFailed)
		s.reports(s.offered(second, secondVersion), fescue.EventClaimed, fescue.EventSucceeded)
	})
	t.Run("while its group runs it is refused", func(t *testing.T) {
		s := s.with(t)
		epoch := s.poll("shared", 99).Epoch
		d := s.deploy(first, firstVersion)
		s.wantFailure(d, problem{fescue.CoreInOtherGroup, "The core shared is deployed by another group"})
		if d.Epoch != 0 || s.poll("shared", 99).Epoch != epoch {
			t.Error("the refused deployment used up an epoch")
		}
	})
}

// Of very many problems of a group the first ones and their number are reported.
func TestManyProblems(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.Engine)
	arns := make([]string, fescue.MostErrorDetails+50)
	for i := range arns {
		arns[i] = fmt.Sprintf("%s:%d", home.FunctionARN("unpublished"), i+1)
	}
	d := s.deploy(s.create(s.mill("mill").functions(arns...)))
	if len(d.ErrorDetails) != fescue.MostErrorDetails || !strings.HasSuffix(d.ErrorMessage, " There are 50 more problems.") {
		t.Errorf("%d details, %s", len(d.ErrorDetails), d.ErrorMessage)
	}
}
