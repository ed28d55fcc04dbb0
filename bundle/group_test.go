package bundle_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

func encode(t *testing.T, g bundle.Group) string {
	t.Helper()
	data, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func ptr[T any](v T) *T { return &v }

// The structural slots are null, every list is there, and the keys stand in the
// order of the files found on real cores.
func TestGroupEncodeEmpty(t *testing.T) {
	t.Parallel()
	const want = `{"$Schema":null,"Arn":"","Version":null,"Region":"","Cores":[],"Devices":[],"GroupDefinitions":{` +
		`"Resources":{"ref":null,"Content":[]},"Lambdas":{"ref":null,"DefaultConfig":null,"Content":[]},` +
		`"Subscriptions":{"ref":null,"Content":[]},"Logging":{"Content":[]},"ShadowSync":{"ref":null,"Content":[]},` +
		`"ClientCertFingerprints":{"Content":[]}}}`
	if got := encode(t, bundle.Group{}); got != want {
		t.Errorf("%s", got)
	}
}

const fullGroup = `{"$Schema":null,"Arn":"arn:aws:greengrass:eu-west-1:111122223333:/greengrass/groups/5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001/versions/8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002",` +
	`"Version":null,"Region":"eu-west-1",` +
	`"Cores":[{"thingArn":"arn:aws:iot:eu-west-1:111122223333:thing/Mill_Core","certArn":"arn:aws:iot:eu-west-1:111122223333:cert/0a1b"}],` +
	`"Devices":[{"thingArn":"arn:aws:iot:eu-west-1:111122223333:thing/Pump7","certArn":"arn:aws:iot:eu-west-1:111122223333:cert/f9e8"}],` +
	`"GroupDefinitions":{"Resources":{"ref":null,"Content":[` +
	`{"Id":"a-data","Type":"LOCAL_VOLUME","Data":{"type":"LocalVolumeResourceData","SourcePath":"/srv/mill","DestinationPath":"/data","GroupOwnerSetting":{"AutoAddGroupOwner":false,"GroupOwner":"mill"}}},` +
	`{"Id":"b-serial","Type":"LOCAL_DEVICE","Data":{"type":"LocalDeviceResourceData","SourcePath":"/dev/ttyS1","GroupOwnerSetting":{"AutoAddGroupOwner":true}}},` +
	`{"Id":"c-model","Type":"ML_MODEL_S3_OBJECT","Data":{"type":"S3ObjectResourceData","DestinationPath":"/models/wear","S3Arn":"arn:aws:s3:::mill-models:wear/wear.tar.gz"},"ArtifactArn":"arn:aws:greengrass:x"}]},` +
	`"Lambdas":{"ref":null,"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer"}},"Content":[` +
	`{"FunctionArn":"arn:aws:lambda:eu-west-1:111122223333:function:MillReader:7","ArtifactArn":"arn:aws:greengrass:y",` +
	`"DeploymentConfiguration":{"Priority":1,"Pinned":true,"Executable":"reader.handler","ExecArgs":["<a>","&b"],"CodeSha256":"47DE","CodeSize":20481,"Description":"","Handler":"reader.handler","MemorySize":32768,"Timeout":20,"EncodingType":"json","Runtime":"python3.7",` +
	`"Environment":{"AccessSysfs":false,"ResourceAccessPolicies":[{"Permission":"rw","ResourceId":"b-serial"},{"Permission":"ro","ResourceId":"c-model"}],"Variables":{"PERIOD":"5"}}}},` +
	`{"FunctionArn":"arn:aws:lambda:::function:GGIPDetector:1","DeploymentConfiguration":{"Priority":1,"ExecArgs":[],"Description":"","Environment":{}}}]},` +
	`"Subscriptions":{"ref":null,"Content":[{"Id":"s1","Source":"arn:aws:lambda:eu-west-1:111122223333:function:MillReader:7","Subject":"mill/1/readings","Target":"cloud"}]},` +
	`"Logging":{"Content":[{"Type":"FileSystem","Component":"GreengrassSystem","Level":"INFO","Space":128},{"Type":"AWSCloudWatch","Component":"Lambda","Level":"INFO"}]},` +
	`"ShadowSync":{"ref":null,"Content":[{"thingArn":"arn:aws:iot:eu-west-1:111122223333:thing/Mill_Core"}]},` +
	`"ClientCertFingerprints":{"Content":["f9e8"]}}}`

func TestGroupRoundTrip(t *testing.T) {
	t.Parallel()
	g, err := bundle.ParseGroup([]byte(fullGroup))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullGroup, encode(t, g)); diff != "" {
		t.Error(diff)
	}
	if lambda := g.GroupDefinitions.Lambdas.Content[0]; *lambda.DeploymentConfiguration.MemorySize != 32768 ||
		lambda.DeploymentConfiguration.Environment.Variables["PERIOD"] != "5" {
		t.Errorf("function %+v", lambda)
	}
}

func TestGroupEncodeLeavesItsInput(t *testing.T) {
	t.Parallel()
	g := bundle.Group{}
	g.GroupDefinitions.Lambdas.Content = []bundle.Lambda{{FunctionArn: "f"}}
	if !strings.Contains(encode(t, g), `"ExecArgs":[]`) {
		t.Error("ExecArgs is not there")
	}
	if g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.ExecArgs != nil || g.Cores != nil {
		t.Error("Encode changed the group that it was given")
	}
}

// The word GreengrassContainer stands in the file only where a definition says
// it: start scripts of containers search the file for it.
func TestGroupIsolationMode(t *testing.T) {
	t.Parallel()
	var g bundle.Group
	g.GroupDefinitions.Lambdas.Content = []bundle.Lambda{{FunctionArn: "f", DeploymentConfiguration: bundle.LambdaConfiguration{
		Priority: 1, Pinned: ptr(true), MemorySize: ptr(0), Environment: fescue.FunctionEnvironment{AccessSysfs: ptr(true)},
	}}}
	if text := encode(t, g); strings.Contains(text, "Container") || strings.Contains(text, "Execution") {
		t.Errorf("%s", text)
	}
	g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.Environment.Execution = &fescue.FunctionExecution{IsolationMode: fescue.GreengrassContainer}
	if text := encode(t, g); !strings.Contains(text, `"Environment":{"AccessSysfs":true,"Execution":{"IsolationMode":"GreengrassContainer"}}`) {
		t.Errorf("%s", text)
	}
}

func TestParseGroup(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing in it": `{}`,
		"null":          `null`,
		"as it was shipped": `{"Version":"test group version","Devices":[],"Cores":[],
			"GroupDefinitions":{
			"Logging":{"Content":[{"Component":"GreengrassSystem","Level":"DEBUG","Type":"FileSystem","Space":128}]},
			"Lambdas":{"ref":null,"Content":[]},"Subscriptions":{"ref":null,"Content":[]},"ShadowSync":{"ref":null,"Content":[]}},
			"Region":null}`,
		"unknown members": `{"Later":{"a":1},"GroupDefinitions":{"Later":[]}}`,
		"null lists":      `{"Cores":null,"GroupDefinitions":{"Lambdas":{"Content":null},"Resources":null}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := bundle.ParseGroup([]byte(text))
			if err != nil || len(g.Cores) != 0 || len(g.GroupDefinitions.Lambdas.Content) != 0 {
				t.Errorf("%+v, %v", g, err)
			}
		})
	}
	for name, text := range map[string]string{
		"nothing":       ``,
		"cut":           fullGroup[:len(fullGroup)/2],
		"more after it": fullGroup + `}`,
		"a list":        `[]`,
		"a text":        `"{}"`,
		"no list":       `{"Cores":{}}`,
		"wrong type":    `{"GroupDefinitions":{"Lambdas":{"Content":[{"DeploymentConfiguration":{"Timeout":"3"}}]}}}`,
		"huge number":   `{"GroupDefinitions":{"Logging":{"Content":[{"Space":1e99}]}}}`,
		"nested deep":   strings.Repeat(`{"A":`, 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if g, err := bundle.ParseGroup([]byte(text)); err == nil || !cmp.Equal(g, bundle.Group{}) {
				t.Errorf("%+v, %v", g, err)
			}
		})
	}
}

func FuzzParseGroup(f *testing.F) {
	for _, s := range []string{`{}`, fullGroup, `{"Cores":[{}]}`, `{"GroupDefinitions":{"ShadowSync":{"Content":[{}]}}}`, `[`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := bundle.ParseGroup(data)
		if err != nil {
			return
		}
		once, err := g.Encode()
		if err != nil || !json.Valid(once) {
			t.Fatalf("%s: %v", once, err)
		}
		again, err := bundle.ParseGroup(once)
		if err != nil {
			t.Fatalf("%s does not parse again: %v", once, err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s becomes %s, %v", once, twice, err)
		}
	})
}
