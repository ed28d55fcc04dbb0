package fescue_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

const (
	someID      = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001"
	someVersion = "8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, k := range fescue.DefinitionKinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			if k.Member != k.Name+"s" || k.Segment != strings.ToLower(k.Member) || k.Reference != k.Name+"DefinitionVersionArn" {
				t.Errorf("kind %+v", k)
			}
			var v fescue.GroupVersion
			if err := json.Unmarshal([]byte(`{"`+k.Reference+`":"an ARN"}`), &v); err != nil {
				t.Fatal(err)
			}
			for _, other := range fescue.DefinitionKinds {
				want := ""
				if other == k {
					want = "an ARN"
				}
				if got := v.Reference(other); got != want {
					t.Errorf("reference of %s: %q", other.Name, got)
				}
			}
			if v.Reference(fescue.GroupKind) != "" {
				t.Error("a group version refers to a group")
			}
		})
	}
}

func TestParseVersionARN(t *testing.T) {
	t.Parallel()
	for _, k := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			arn := home.VersionARN(k, someID, someVersion)
			id, version, err := home.ParseVersionARN(k, arn)
			if err != nil || id != someID || version != someVersion {
				t.Errorf("%s: %q, %q, %v", arn, id, version, err)
			}
			for _, other := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
				if _, _, err := home.ParseVersionARN(other, arn); other != k && err == nil {
					t.Errorf("%s is taken for a %s version", arn, other.Name)
				}
			}
		})
	}
	good := home.VersionARN(fescue.CoreKind, someID, someVersion)
	for name, arn := range map[string]string{
		"empty":             "",
		"no version":        home.DefinitionARN(fescue.CoreKind, someID),
		"empty version":     home.VersionARN(fescue.CoreKind, someID, ""),
		"empty id":          home.VersionARN(fescue.CoreKind, "", someVersion),
		"upper case":        home.VersionARN(fescue.CoreKind, strings.ToUpper(someID), someVersion),
		"more after it":     good + "/versions/" + someVersion,
		"trailing slash":    good + "/",
		"new line":          good + "\n",
		"no slash":          strings.Replace(good, ":/greengrass", ":greengrass", 1),
		"path trick":        strings.Replace(good, "/cores/", "/cores/../cores/", 1),
		"another account":   strings.Replace(good, "123456789012", "210987654321", 1),
		"another Region":    strings.Replace(good, "us-east-1", "eu-west-1", 1),
		"another partition": strings.Replace(good, "arn:aws:", "arn:aws-cn:", 1),
		"another service":   strings.Replace(good, ":greengrass:", ":iot:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if id, version, err := home.ParseVersionARN(fescue.CoreKind, arn); err == nil || id != "" || version != "" {
				t.Errorf("%q: %q, %q, %v", arn, id, version, err)
			}
		})
	}
}

// What a caller leaves out stays out, what is empty stays empty.
func TestEntities(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body any
		text string
	}{
		{new(fescue.CoreDefinitionVersion), `{}`},
		{new(fescue.CoreDefinitionVersion), `{"Cores":[]}`},
		{new(fescue.CoreDefinitionVersion), `{"Cores":[{"CertificateArn":"c","Id":"i","SyncShadow":false,"ThingArn":"t"}]}`},
		{new(fescue.DeviceDefinitionVersion), `{"Devices":[{"CertificateArn":"c","Id":"i","ThingArn":"t"}]}`},
		{new(fescue.FunctionDefinitionVersion), `{"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer","RunAs":{"Gid":0,"Uid":0}}},"Functions":[]}`},
		{new(fescue.FunctionDefinitionVersion), `{"Functions":[{"FunctionArn":"f","FunctionConfiguration":{"EncodingType":"json","Environment":{"AccessSysfs":false,"Execution":{"RunAs":{"Uid":1}},"ResourceAccessPolicies":[{"Permission":"ro","ResourceId":"r"}],"Variables":{"A":""}},"ExecArgs":"a b","Executable":"x","FunctionRuntimeOverride":"python3.8","MemorySize":0,"Pinned":false,"Timeout":3},"Id":"i"}]}`},
		{new(fescue.FunctionDefinitionVersion), `{"Functions":[{"FunctionConfiguration":{"Environment":{"ResourceAccessPolicies":[],"Variables":{}}},"Id":"i"}]}`},
		{new(fescue.ResourceDefinitionVersion), `{"Resources":[{"Id":"i","Name":"n","ResourceDataContainer":{"SecretsManagerSecretResourceData":{"ARN":"a","AdditionalStagingLabelsToDownload":[]}}}]}`},
		{new(fescue.ResourceDefinitionVersion), `{"Resources":[{"Id":"i","Name":"n","ResourceDataContainer":{"S3MachineLearningModelResourceData":{"DestinationPath":"/d","OwnerSetting":{"GroupOwner":"g","GroupPermission":"ro"},"S3Uri":"s3://b/k"}}}]}`},
		{new(fescue.ResourceDefinitionVersion), `{"Resources":[{"Id":"i","Name":"n","ResourceDataContainer":{"LocalVolumeResourceData":{"DestinationPath":"/d","GroupOwnerSetting":{"AutoAddGroupOwner":true},"SourcePath":"/s"}}}]}`},
		{new(fescue.SubscriptionDefinitionVersion), `{"Subscriptions":[{"Id":"i","Source":"cloud","Subject":"#","Target":"GGShadowService"}]}`},
		{new(fescue.ConnectorDefinitionVersion), `{"Connectors":[{"ConnectorArn":"c","Id":"i","Parameters":{}}]}`},
		{new(fescue.LoggerDefinitionVersion), `{"Loggers":[{"Component":"Lambda","Id":"i","Level":"INFO","Space":128,"Type":"FileSystem"}]}`},
		{new(fescue.GroupVersion), `{}`},
		{new(fescue.GroupVersion), `{"CoreDefinitionVersionArn":"c","LoggerDefinitionVersionArn":"l"}`},
	} {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			if err := json.Unmarshal([]byte(c.text), c.body); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(c.body)
			if err != nil || string(got) != c.text {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

func TestDefaultLoggers(t *testing.T) {
	t.Parallel()
	list := fescue.DefaultLoggers()
	if len(list) != 2 || list[0].Component != "GreengrassSystem" || list[1].Component != "Lambda" {
		t.Fatalf("%+v", list)
	}
	for _, l := range list {
		if l.Type != "FileSystem" || l.Level != "INFO" || *l.Space != 128 {
			t.Errorf("%+v", l)
		}
	}
}
