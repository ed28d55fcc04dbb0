package bundle_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

var (
	groupHash = strings.Repeat("a", 64)
	codeHash  = strings.Repeat("b", 64)
)

// manifest is a valid one.
func manifest() bundle.Manifest {
	return bundle.Manifest{
		Format: 1, AWS: "aws", Account: "123456789012", Region: "us-east-1",
		GroupID: "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001", GroupVersionID: "8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002",
		DeploymentID: "c3d7a910-44e2-4f0e-b6a3-51b0c9d8e003", DeploymentType: fescue.NewDeployment,
		CoreThingArn: "arn:aws:iot:us-east-1:123456789012:thing/Mill_Core",
		Epoch:        3, CreatedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Group: &bundle.Artifact{SHA256: groupHash, Size: 1234},
		Functions: []bundle.FunctionArtifact{
			{"arn:aws:lambda:us-east-1:123456789012:function:a:1", bundle.Artifact{SHA256: codeHash, Size: 99}},
			{"arn:aws:lambda:us-east-1:123456789012:function:b:7", bundle.Artifact{SHA256: codeHash, Size: 99}},
		},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	t.Parallel()
	reset := manifest()
	reset.DeploymentType, reset.Group, reset.Functions, reset.GroupVersionID = fescue.ResetDeployment, nil, nil, ""
	for _, m := range []bundle.Manifest{manifest(), reset} {
		t.Run(string(m.DeploymentType), func(t *testing.T) {
			t.Parallel()
			data, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := bundle.ParseManifest(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestManifestArtifacts(t *testing.T) {
	t.Parallel()
	want := []bundle.Artifact{{SHA256: groupHash, Size: 1234}, {SHA256: codeHash, Size: 99}}
	if diff := cmp.Diff(want, manifest().Artifacts()); diff != "" {
		t.Error(diff)
	}
	if p := manifest().Partition(); p != (fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}) {
		t.Errorf("partition %v", p)
	}
}

func TestManifestRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *bundle.Manifest){
		"no format":                 func(m *bundle.Manifest) { m.Format = 0 },
		"a later format":            func(m *bundle.Manifest) { m.Format = 2 },
		"no AWS partition":          func(m *bundle.Manifest) { m.AWS = "" },
		"short account":             func(m *bundle.Manifest) { m.Account = "1" },
		"bad Region":                func(m *bundle.Manifest) { m.Region = "here" },
		"bad group id":              func(m *bundle.Manifest) { m.GroupID = "../x" },
		"no group id":               func(m *bundle.Manifest) { m.GroupID = "" },
		"bad group version id":      func(m *bundle.Manifest) { m.GroupVersionID = "../x" },
		"bad deployment id":         func(m *bundle.Manifest) { m.DeploymentID = strings.ToUpper(m.DeploymentID) },
		"no type":                   func(m *bundle.Manifest) { m.DeploymentType = "" },
		"unknown type":              func(m *bundle.Manifest) { m.DeploymentType = "newDeployment" },
		"epoch zero":                func(m *bundle.Manifest) { m.Epoch = 0 },
		"negative epoch":            func(m *bundle.Manifest) { m.Epoch = -3 },
		"no core":                   func(m *bundle.Manifest) { m.CoreThingArn = "" },
		"core is no thing":          func(m *bundle.Manifest) { m.CoreThingArn = "arn:aws:iot:us-east-1:123456789012:cert/x" },
		"core without a name":       func(m *bundle.Manifest) { m.CoreThingArn = "arn:aws:iot:us-east-1:123456789012:thing/" },
		"core with a path for name": func(m *bundle.Manifest) { m.CoreThingArn = "arn:aws:iot:us-east-1:123456789012:thing/a/b" },
		"core of another account":   func(m *bundle.Manifest) { m.CoreThingArn = "arn:aws:iot:us-east-1:210987654321:thing/a" },
		"core of another Region":    func(m *bundle.Manifest) { m.CoreThingArn = "arn:aws:iot:eu-west-1:123456789012:thing/a" },
		"no group document":         func(m *bundle.Manifest) { m.Group = nil },
		"group document, no hash":   func(m *bundle.Manifest) { m.Group.SHA256 = "" },
		"group document, bad hash":  func(m *bundle.Manifest) { m.Group.SHA256 = "../" + groupHash[3:] },
		"group document, size":      func(m *bundle.Manifest) { m.Group.Size = -1 },
		"code, bad hash":            func(m *bundle.Manifest) { m.Functions[1].SHA256 = strings.ToUpper(codeHash) },
		"code, size":                func(m *bundle.Manifest) { m.Functions[0].Size = -1 },
		"shared code, size":         func(m *bundle.Manifest) { m.Functions[1].Size = -1 },
		"shared code, other size":   func(m *bundle.Manifest) { m.Functions[1].Size = 98 },
		"no function":               func(m *bundle.Manifest) { m.Functions[0].FunctionArn = "" },
		"function without version": func(m *bundle.Manifest) {
			m.Functions[0].FunctionArn = "arn:aws:lambda:us-east-1:123456789012:function:a"
		},
		"function is a thing":  func(m *bundle.Manifest) { m.Functions[0].FunctionArn = "arn:aws:iot:us-east-1:123456789012:thing/a" },
		"reset with a group":   func(m *bundle.Manifest) { m.DeploymentType, m.Functions = fescue.ResetDeployment, nil },
		"reset with functions": func(m *bundle.Manifest) { m.DeploymentType, m.Group = fescue.ForceResetDeployment, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := manifest()
			change(&m)
			if data, err := m.Encode(); !errors.Is(err, bundle.ErrManifest) {
				t.Errorf("encoded to %s, %v", data, err)
			}
			data, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := bundle.ParseManifest(data); !errors.Is(err, bundle.ErrManifest) || got.Format != 0 {
				t.Errorf("parsed to %+v, %v", got, err)
			}
		})
	}
}

func TestParseManifestMalformed(t *testing.T) {
	t.Parallel()
	data, err := manifest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for name, text := range map[string]string{
		"nothing":           ``,
		"a list":            `[]`,
		"null":              `null`,
		"cut":               good[:len(good)-1],
		"more after it":     good + `{}`,
		"a brace after it":  good + `}`,
		"a bracket after":   good + ` ]`,
		"unknown member":    strings.Replace(good, `{`, `{"later":1,`, 1),
		"unknown, nested":   strings.Replace(good, `"sha256"`, `"later":1,"sha256"`, 1),
		"wrong type":        strings.Replace(good, `"epoch":3`, `"epoch":"3"`, 1),
		"fraction":          strings.Replace(good, `"epoch":3`, `"epoch":3.5`, 1),
		"number too large":  strings.Replace(good, `"epoch":3`, `"epoch":9223372036854775808`, 1),
		"date out of range": strings.Replace(good, `2026-11-23`, `2026-13-23`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m, err := bundle.ParseManifest([]byte(text)); !errors.Is(err, bundle.ErrManifest) || m.Format != 0 {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}
