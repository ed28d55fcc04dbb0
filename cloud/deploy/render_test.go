package deploy_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/corelink"
)

// wholeGroup has every section. Its lists are in another order than group.json's.
func wholeGroup(core, pump string) group {
	g := group{make(map[string]any), make(map[string]string)}
	g.set(fescue.CoreKind, fescue.CoreDefinitionVersion{Cores: []fescue.Core{{
		Id: "core", ThingArn: home.ThingARN("mill-core"), CertificateArn: home.CertificateARN(core), SyncShadow: ptr(true),
	}}})
	g.set(fescue.DeviceKind, fescue.DeviceDefinitionVersion{Devices: []fescue.Device{{
		Id: "pump", ThingArn: home.ThingARN("pump"), CertificateArn: home.CertificateARN(pump), SyncShadow: ptr(false),
	}}})
	g.set(fescue.ResourceKind, fescue.ResourceDefinitionVersion{Resources: []fescue.Resource{
		{Id: "e-secret", Name: "E", ResourceDataContainer: fescue.ResourceDataContainer{SecretsManagerSecretResourceData: &fescue.SecretsManagerSecretResourceData{
			ARN: "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-a1b2c3", AdditionalStagingLabelsToDownload: []string{"old"},
		}}},
		{Id: "d-job", Name: "D", ResourceDataContainer: fescue.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &fescue.SageMakerModelResourceData{
			DestinationPath: "/models/job", SageMakerJobArn: "arn:aws:sagemaker:us-east-1:123456789012:training-job/x",
		}}},
		{Id: "c-model", Name: "C", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{
			DestinationPath: "/models/wear", S3Uri: "s3://mill-models/wear/wear-2023.tar.gz", OwnerSetting: &fescue.OwnerSetting{GroupOwner: "1003", GroupPermission: "ro"},
		}}},
		{Id: "b-serial", Name: "B", ResourceDataContainer: fescue.ResourceDataContainer{LocalDeviceResourceData: &fescue.LocalDeviceResourceData{
			SourcePath: "/dev/ttyS1", GroupOwnerSetting: &fescue.GroupOwnerSetting{AutoAddGroupOwner: ptr(true)},
		}}},
		{Id: "B-data", Name: "A", ResourceDataContainer: fescue.ResourceDataContainer{LocalVolumeResourceData: &fescue.LocalVolumeResourceData{
			SourcePath: "/srv/mill", DestinationPath: "/data", GroupOwnerSetting: &fescue.GroupOwnerSetting{AutoAddGroupOwner: ptr(false), GroupOwner: "mill"},
		}}},
	}})
	g.set(fescue.FunctionKind, fescue.FunctionDefinitionVersion{
		DefaultConfig: &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{RunAs: &fescue.RunAs{Uid: ptr(1001)}}},
		Functions: []fescue.Function{
			{Id: "stats", FunctionArn: stats + ":1", FunctionConfiguration: &fescue.FunctionConfiguration{
				Pinned: ptr(false), Timeout: ptr(60), ExecArgs: " -v  --level 3 ", FunctionRuntimeOverride: "python3.11",
				Environment: &fescue.FunctionEnvironment{Execution: &fescue.FunctionExecution{
					IsolationMode: fescue.NoContainer, RunAs: &fescue.RunAs{Uid: ptr(1001), Gid: ptr(1002)},
				}},
			}},
			{Id: "reader", FunctionArn: reader + ":prod", FunctionConfiguration: &fescue.FunctionConfiguration{
				Pinned: ptr(true), Executable: "reader.<main>", MemorySize: ptr(32768), Timeout: ptr(20), EncodingType: "json",
				Environment: &fescue.FunctionEnvironment{
					Variables: map[string]string{"PERIOD": "5", "A": "&"}, AccessSysfs: ptr(false),
					ResourceAccessPolicies: []fescue.ResourceAccessPolicy{{ResourceId: "c-model", Permission: "ro"}, {ResourceId: "b-serial", Permission: "rw"}},
				},
			}},
			{Id: "detector", FunctionArn: "arn:aws:lambda:::function:GGIPDetector:1"},
		},
	})
	g.subscriptions(
		fescue.Subscription{Id: "s2", Source: home.ThingARN("pump"), Subject: "pump/#", Target: reader + ":prod"},
		fescue.Subscription{Id: "s10", Source: reader + ":prod", Subject: "mill/1/readings", Target: "cloud"},
		fescue.Subscription{Id: "s3", Source: "GGShadowService", Subject: "$aws/things/pump/shadow/#", Target: home.ThingARN("pump")})
	return g.set(fescue.LoggerKind, fescue.LoggerDefinitionVersion{Loggers: []fescue.Logger{
		{Id: "l", Component: "Lambda", Level: "DEBUG", Type: "AWSCloudWatch"},
		{Id: "g", Component: "GreengrassSystem", Level: "WARN", Type: "FileSystem", Space: ptr(512)},
	}})
}

// expectedGroup is wholeGroup as the original would have written it; what
// differs in each run stands in braces.
const expectedGroup = `{"$Schema":null,
"Arn":"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/{group}/versions/{version}",
"Version":null,"Region":"us-east-1",
"Cores":[{"thingArn":"arn:aws:iot:us-east-1:123456789012:thing/mill-core","certArn":"arn:aws:iot:us-east-1:123456789012:cert/{core}"}],
"Devices":[{"thingArn":"arn:aws:iot:us-east-1:123456789012:thing/pump","certArn":"arn:aws:iot:us-east-1:123456789012:cert/{pump}"}],
"GroupDefinitions":{
"Resources":{"ref":null,"Content":[
{"Id":"B-data","Type":"LOCAL_VOLUME","Data":{"type":"LocalVolumeResourceData","SourcePath":"/srv/mill","DestinationPath":"/data","GroupOwnerSetting":{"AutoAddGroupOwner":false,"GroupOwner":"mill"}}},
{"Id":"b-serial","Type":"LOCAL_DEVICE","Data":{"type":"LocalDeviceResourceData","SourcePath":"/dev/ttyS1","GroupOwnerSetting":{"AutoAddGroupOwner":true}}},
{"Id":"c-model","Type":"ML_MODEL_S3_OBJECT","Data":{"type":"S3ObjectResourceData","DestinationPath":"/models/wear","S3Arn":"arn:aws:s3:::mill-models:wear/wear-2023.tar.gz","S3Metadata":{"LastModifiedTime":1690000000000,"ContentMD5":null,"ContentLength":7},"OwnerSetting":{"GroupOwner":"1003","GroupPermission":"ro"}},
"ArtifactArn":"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/{group}/deployments/{deployment}/artifacts/resource/{uuid}"},
{"Id":"d-job","Type":"ML_MODEL_SAGEMAKER_JOB","Data":{"type":"SageMakerJobResourceData","DestinationPath":"/models/job","SageMakerJobArn":"arn:aws:sagemaker:us-east-1:123456789012:training-job/x"}},
{"Id":"e-secret","Type":"SECRETS_MANAGER_SECRET","Data":{"type":"SecretsManagerSecretResourceData","ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:x-a1b2c3","AdditionalStagingLabelsToDownload":["old"]}}]},
"Lambdas":{"ref":null,"DefaultConfig":{"Execution":{"RunAs":{"Uid":1001}}},"Content":[
{"FunctionArn":"arn:aws:lambda:::function:GGIPDetector:1","DeploymentConfiguration":{"Priority":1,"ExecArgs":[],"Description":"","Environment":{}}},
{"FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:MillReader:2",
"ArtifactArn":"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/{group}/deployments/{deployment}/artifacts/lambda/{uuid}",
"DeploymentConfiguration":{"Priority":1,"Pinned":true,"Executable":"reader.<main>","ExecArgs":[],"CodeSha256":"{readerSha}","CodeSize":{readerSize},"Description":"","Handler":"reader.handler","MemorySize":32768,"Timeout":20,"EncodingType":"json","Runtime":"python3.7",
"Environment":{"AccessSysfs":false,"ResourceAccessPolicies":[{"Permission":"ro","ResourceId":"c-model"},{"Permission":"rw","ResourceId":"b-serial"}],"Variables":{"A":"&","PERIOD":"5"}}}},
{"FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:MillStats:1",
"ArtifactArn":"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/{group}/deployments/{deployment}/artifacts/lambda/{uuid}",
"DeploymentConfiguration":{"Priority":1,"Pinned":false,"ExecArgs":["-v","--level","3"],"CodeSha256":"{statsSha}","CodeSize":{statsSize},"Description":"","Handler":"stats.main","Timeout":60,"Runtime":"python3.11",
"Environment":{"Execution":{"IsolationMode":"NoContainer","RunAs":{"Gid":1002,"Uid":1001}}}}}]},
"Subscriptions":{"ref":null,"Content":[
{"Id":"s10","Source":"arn:aws:lambda:us-east-1:123456789012:function:MillReader:2","Subject":"mill/1/readings","Target":"cloud"},
{"Id":"s2","Source":"arn:aws:iot:us-east-1:123456789012:thing/pump","Subject":"pump/#","Target":"arn:aws:lambda:us-east-1:123456789012:function:MillReader:2"},
{"Id":"s3","Source":"GGShadowService","Subject":"$aws/things/pump/shadow/#","Target":"arn:aws:iot:us-east-1:123456789012:thing/pump"}]},
"Logging":{"Content":[
{"Type":"FileSystem","Component":"GreengrassSystem","Level":"WARN","Space":512},
{"Type":"AWSCloudWatch","Component":"Lambda","Level":"DEBUG"}]},
"ShadowSync":{"ref":null,"Content":[{"thingArn":"arn:aws:iot:us-east-1:123456789012:thing/mill-core"}]},
"ClientCertFingerprints":{"Content":["{pump}"]}}}`

const expectedBareGroup = `{"$Schema":null,
"Arn":"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/{group}/versions/{version}",
"Version":null,"Region":"us-east-1",
"Cores":[{"thingArn":"arn:aws:iot:us-east-1:123456789012:thing/bare-core","certArn":"arn:aws:iot:us-east-1:123456789012:cert/{core}"}],
"Devices":[],
"GroupDefinitions":{
"Resources":{"ref":null,"Content":[]},
"Lambdas":{"ref":null,"DefaultConfig":null,"Content":[]},
"Subscriptions":{"ref":null,"Content":[]},
"Logging":{"Content":[
{"Type":"FileSystem","Component":"GreengrassSystem","Level":"INFO","Space":128},
{"Type":"FileSystem","Component":"Lambda","Level":"INFO","Space":128}]},
"ShadowSync":{"ref":null,"Content":[]},
"ClientCertFingerprints":{"Content":[]}}}`

var artifactID = regexp.MustCompile(`/artifacts/(?:lambda|resource)/([^"]+)"`)

func TestRender(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.secret("x", "AWSCURRENT", "old")
	s.run(s.Engine)
	core, pump, bare := s.certificate(home, "mill-core"), s.certificate(home, "pump"), s.certificate(home, "bare-core")
	readerCode, err := s.functions.Get(t.Context(), home, functions.Reference{Name: "MillReader", Qualifier: "2"})
	if err != nil {
		t.Fatal(err)
	}
	statsCode, err := s.functions.Get(t.Context(), home, functions.Reference{Name: "MillStats", Qualifier: "1"})
	if err != nil {
		t.Fatal(err)
	}

	for _, tc := range []struct {
		name, thing, core string
		group             group
		want              string
	}{
		{"every section", "mill-core", core, wholeGroup(core, pump), expectedGroup},
		{"a core and nothing else", "bare-core", bare, groupOf("bare-core", bare), expectedBareGroup},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := s.with(t)
			d := s.offered(s.create(tc.group))
			m := s.manifest(s.poll(tc.thing, 0))
			got := string(s.blob(m.Artifacts[0].SHA256))
			if m.Artifacts[0].Size != int64(len(got)) {
				t.Errorf("manifest says %d bytes, group.json has %d", m.Artifacts[0].Size, len(got))
			}
			ids := make(map[string]bool)
			for _, match := range artifactID.FindAllStringSubmatch(got, -1) {
				ids[match[1]] = uuid.Validate(match[1]) == nil
			}
			for id, valid := range ids {
				if !valid {
					t.Errorf("artifact id %q is not a UUID", id)
				}
				got = strings.ReplaceAll(got, id, "{uuid}")
			}
			want := strings.NewReplacer("\n", "", "{group}", d.GroupID, "{version}", d.GroupVersionID, "{deployment}", d.ID,
				"{core}", tc.core, "{pump}", pump,
				"{readerSha}", functions.CodeSHA256(readerCode), "{readerSize}", text(readerCode.CodeSize),
				"{statsSha}", functions.CodeSHA256(statsCode), "{statsSize}", text(statsCode.CodeSize)).Replace(tc.want)
			if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
				t.Error(diff)
			}
		})
	}

	t.Run("the manifest names core, epoch and code", func(t *testing.T) {
		s := s.with(t)
		id := s.certificate(home, "manifest-core")
		g := groupOf("manifest-core", id).functions(stats+":1", reader+":prod", "arn:aws:lambda:::function:GGIPDetector:1")
		d := s.offered(s.create(g))
		offer := s.poll("manifest-core", 0)
		m := s.manifest(offer)
		want := bundle.Manifest{
			AWS: "aws", Account: home.Account, Region: home.Region,
			GroupID: d.GroupID, GroupVersionID: d.GroupVersionID, DeploymentID: d.ID, DeploymentType: fescue.NewDeployment,
			CoreThingArn: home.ThingARN("manifest-core"), Epoch: 1, CreatedAt: m.CreatedAt,
			Artifacts: []bundle.Artifact{
				m.Artifacts[0],
				bundle.PackageArtifact(reader+":2", readerCode.CodeHash, readerCode.CodeSize),
				bundle.PackageArtifact(stats+":1", statsCode.CodeHash, statsCode.CodeSize),
			},
		}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Error(diff)
		}
		offer.Envelope = nil
		if diff := cmp.Diff(corelink.Offer{Epoch: 1, GroupID: d.GroupID, DeploymentID: d.ID, Phase: fescue.Offered}, offer); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("an alias that moved is resolved again", func(t *testing.T) {
		s := s.with(t)
		id, version := s.create(groupOf("alias-core", s.certificate(home, "alias-core")).functions(reader + ":moving"))
		_, err := s.functions.CreateAlias(t.Context(), home, functions.AliasChange{Function: "MillReader", Name: "moving", FunctionVersion: ptr("1")})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"1", "2"} {
			if _, err := s.functions.UpdateAlias(t.Context(), home, functions.AliasChange{Function: "MillReader", Name: "moving", FunctionVersion: &v}); err != nil {
				t.Fatal(err)
			}
			d := s.offered(id, version)
			m := s.manifest(s.poll("alias-core", d.Epoch-1))
			var doc bundle.Group
			if err := json.Unmarshal(s.blob(m.Artifacts[0].SHA256), &doc); err != nil {
				t.Fatal(err)
			}
			if got := doc.GroupDefinitions.Lambdas.Content[0].FunctionArn; got != reader+":"+v || m.Artifacts[1].Name != got {
				t.Errorf("alias at %s: group.json has %s, the manifest %s", v, got, m.Artifacts[1].Name)
			}
		}
	})
}

// lines splits compact JSON where a reader of a diff would.
func lines(doc string) []string { return strings.SplitAfter(doc, ",") }

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}
