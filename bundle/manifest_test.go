package bundle_test

import (
	"encoding/json"
	"errors"
	"fmt"
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
		AWS: "aws", Account: "123456789012", Region: "us-east-1",
		GroupID: "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001", GroupVersionID: "8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002",
		DeploymentID: "c3d7a910-44e2-4f0e-b6a3-51b0c9d8e003", DeploymentType: fescue.NewDeployment,
		CoreThingArn: "arn:aws:iot:us-east-1:123456789012:thing/Mill_Core",
		Epoch:        3, CreatedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Artifacts: []bundle.Artifact{
			bundle.GroupArtifact(groupHash, 1234),
			bundle.PackageArtifact("arn:aws:lambda:us-east-1:123456789012:function:a:1", codeHash, 99),
			bundle.PackageArtifact("arn:aws:lambda:us-east-1:123456789012:function:b:7", codeHash, 99),
		},
	}
}

// document is the manifest as it is signed in one format.
func document(t testing.TB, m bundle.Manifest, format int) []byte {
	t.Helper()
	envelope, err := bundle.Sign(m, signer(1), format)
	if err != nil {
		t.Fatal(err)
	}
	return unwrap(t, envelope).Payload
}

func TestManifestRoundTrip(t *testing.T) {
	t.Parallel()
	reset := manifest()
	reset.DeploymentType, reset.Artifacts, reset.GroupVersionID = fescue.ResetDeployment, nil, ""
	for _, m := range []bundle.Manifest{manifest(), reset} {
		for _, format := range bundle.Formats() {
			t.Run(fmt.Sprintf("%s in format %d", m.DeploymentType, format), func(t *testing.T) {
				t.Parallel()
				got, err := bundle.ParseManifest(document(t, m, format))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(m, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestFormat1 holds the wire form that the first cores read.
func TestFormat1(t *testing.T) {
	t.Parallel()
	const want = `{"format":1,"aws":"aws","account":"123456789012","region":"us-east-1",` +
		`"groupId":"5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001","groupVersionId":"8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002",` +
		`"deploymentId":"c3d7a910-44e2-4f0e-b6a3-51b0c9d8e003","deploymentType":"NewDeployment",` +
		`"coreThingArn":"arn:aws:iot:us-east-1:123456789012:thing/Mill_Core","epoch":3,"createdAt":"2026-11-23T12:00:00Z",` +
		`"group":{"sha256":"{g}","size":1234},"functions":[` +
		`{"functionArn":"arn:aws:lambda:us-east-1:123456789012:function:a:1","sha256":"{c}","size":99},` +
		`{"functionArn":"arn:aws:lambda:us-east-1:123456789012:function:b:7","sha256":"{c}","size":99}]}`
	got := document(t, manifest(), 1)
	if diff := cmp.Diff(strings.NewReplacer("{g}", groupHash, "{c}", codeHash).Replace(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestManifestParts(t *testing.T) {
	t.Parallel()
	m := manifest()
	if diff := cmp.Diff(m.Artifacts[:2], m.Downloads()); diff != "" {
		t.Error(diff)
	}
	if p := m.Partition(); p != (fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}) {
		t.Errorf("partition %v", p)
	}
	if g, ok := m.GroupDocument(); !ok || g != m.Artifacts[0] {
		t.Errorf("group document %v, %v", g, ok)
	}
	if code, ok := m.Package(m.Artifacts[2].Name); !ok || code != m.Artifacts[2] {
		t.Errorf("package %v, %v", code, ok)
	}
	if code, ok := m.Package("other"); ok {
		t.Errorf("package of nobody: %v", code)
	}
}

func TestManifestRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *bundle.Manifest){
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
		"no group document":         func(m *bundle.Manifest) { m.Artifacts = m.Artifacts[1:] },
		"group document, no hash":   func(m *bundle.Manifest) { m.Artifacts[0].SHA256 = "" },
		"group document, bad hash":  func(m *bundle.Manifest) { m.Artifacts[0].SHA256 = "../" + groupHash[3:] },
		"group document, size":      func(m *bundle.Manifest) { m.Artifacts[0].Size = -1 },
		"group document, named":     func(m *bundle.Manifest) { m.Artifacts[0].Name = "x" },
		"two group documents":       func(m *bundle.Manifest) { m.Artifacts[1] = bundle.GroupArtifact(codeHash, 1) },
		"group document, packed":    func(m *bundle.Manifest) { m.Artifacts[0].Unpack = bundle.Zip },
		"code, bad hash":            func(m *bundle.Manifest) { m.Artifacts[2].SHA256 = strings.ToUpper(codeHash) },
		"code, size":                func(m *bundle.Manifest) { m.Artifacts[1].Size = -1 },
		"code, not packed":          func(m *bundle.Manifest) { m.Artifacts[1].Unpack = bundle.Plain },
		"code, packed otherwise":    func(m *bundle.Manifest) { m.Artifacts[1].Unpack = "rar" },
		"code with a group's hash":  func(m *bundle.Manifest) { m.Artifacts[1].SHA256, m.Artifacts[1].Size = groupHash, 1234 },
		"shared code, size":         func(m *bundle.Manifest) { m.Artifacts[2].Size = -1 },
		"shared code, other size":   func(m *bundle.Manifest) { m.Artifacts[2].Size = 98 },
		"no function":               func(m *bundle.Manifest) { m.Artifacts[1].Name = "" },
		"a function twice":          func(m *bundle.Manifest) { m.Artifacts[2].Name = m.Artifacts[1].Name },
		"function without version": func(m *bundle.Manifest) {
			m.Artifacts[1].Name = "arn:aws:lambda:us-east-1:123456789012:function:a"
		},
		"function is a thing": func(m *bundle.Manifest) { m.Artifacts[1].Name = "arn:aws:iot:us-east-1:123456789012:thing/a" },
		"a model of no resource": func(m *bundle.Manifest) {
			m.Artifacts = append(m.Artifacts, bundle.ModelArtifact("a/b", codeHash, 99, bundle.Zip))
		},
		"a model, not packed": func(m *bundle.Manifest) {
			m.Artifacts = append(m.Artifacts, bundle.ModelArtifact("wear", groupHash[1:]+"0", 9, bundle.Plain))
		},
		"a model twice": func(m *bundle.Manifest) {
			model := bundle.ModelArtifact("wear", groupHash[1:]+"0", 9, bundle.TarGz)
			m.Artifacts = append(m.Artifacts, model, model)
		},
		"another kind":         func(m *bundle.Manifest) { m.Artifacts[1].Kind = "gadget" },
		"no kind":              func(m *bundle.Manifest) { m.Artifacts[1].Kind = "" },
		"reset with a group":   func(m *bundle.Manifest) { m.DeploymentType, m.Artifacts = fescue.ResetDeployment, m.Artifacts[:1] },
		"reset with functions": func(m *bundle.Manifest) { m.DeploymentType, m.Artifacts = fescue.ForceResetDeployment, m.Artifacts[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := manifest()
			change(&m)
			for _, format := range bundle.Formats() {
				if data, err := bundle.Sign(m, signer(1), format); !errors.Is(err, bundle.ErrManifest) {
					t.Errorf("signed as %s, %v", data, err)
				}
			}
			if got, err := bundle.ParseManifest(spelled(t, m)); !errors.Is(err, bundle.ErrManifest) || got.Epoch != 0 {
				t.Errorf("parsed to %+v, %v", got, err)
			}
		})
	}
}

// spelled is a manifest in format 2 whatever is in it.
func spelled(t testing.TB, m bundle.Manifest) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{
		"format": 2, "aws": m.AWS, "account": m.Account, "region": m.Region,
		"groupId": m.GroupID, "groupVersionId": m.GroupVersionID, "deploymentId": m.DeploymentID, "deploymentType": m.DeploymentType,
		"coreThingArn": m.CoreThingArn, "epoch": m.Epoch, "createdAt": m.CreatedAt, "artifacts": m.Artifacts,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseManifestMalformed(t *testing.T) {
	t.Parallel()
	old, good := string(document(t, manifest(), 1)), string(document(t, manifest(), 2))
	for name, text := range map[string]string{
		"nothing":           ``,
		"a list":            `[]`,
		"null":              `null`,
		"cut":               good[:len(good)-1],
		"more after it":     good + `{}`,
		"a brace after it":  good + `}`,
		"a bracket after":   good + ` ]`,
		"no format":         strings.Replace(good, `"format":2`, `"format":0`, 1),
		"a later format":    strings.Replace(good, `"format":2`, `"format":3`, 1),
		"unknown member":    strings.Replace(old, `{`, `{"later":1,`, 1),
		"unknown, nested":   strings.Replace(old, `"sha256"`, `"later":1,"sha256"`, 1),
		"wrong type":        strings.Replace(good, `"epoch":3`, `"epoch":"3"`, 1),
		"fraction":          strings.Replace(good, `"epoch":3`, `"epoch":3.5`, 1),
		"number too large":  strings.Replace(good, `"epoch":3`, `"epoch":9223372036854775808`, 1),
		"date out of range": strings.Replace(good, `2026-11-23`, `2026-13-23`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m, err := bundle.ParseManifest([]byte(text)); !errors.Is(err, bundle.ErrManifest) || m.Epoch != 0 {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}

// TestLaterMembers: from format 2 on, what need not be understood may be added.
func TestLaterMembers(t *testing.T) {
	t.Parallel()
	good := string(document(t, manifest(), 2))
	later := strings.Replace(strings.Replace(good, `{`, `{"later":{"a":[1]},`, 1), `"sha256"`, `"later":1,"sha256"`, 1)
	m, err := bundle.ParseManifest([]byte(later))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(manifest(), m); diff != "" {
		t.Error(diff)
	}
}

// TestModelsInAManifest: format 2 names models; format 1, which the first cores read,
// cannot.
func TestModelsInAManifest(t *testing.T) {
	t.Parallel()
	m := manifest()
	shared := m.Artifacts[1]
	m.Artifacts = append(m.Artifacts, bundle.ModelArtifact("wear", groupHash[1:]+"0", 9, bundle.TarGz), bundle.ModelArtifact("code", shared.SHA256, shared.Size, bundle.Zip))
	key := signer(1)
	if _, err := bundle.Sign(m, key, 1); !errors.Is(err, bundle.ErrFormat) {
		t.Errorf("format 1: %v", err)
	}
	envelope, err := bundle.Sign(m, key, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	read, err := bundle.Open(envelope, trust(key))
	if err != nil {
		t.Fatal(err)
	}
	if model, ok := read.Model("wear"); !ok || model.Unpack != bundle.TarGz || model.Size != 9 {
		t.Errorf("model %+v, %v", model, ok)
	}
	if _, ok := read.Model("other"); ok {
		t.Error("a model of nobody")
	}
	// What is code and a model lies on the disk twice.
	if had, n := len(manifest().Downloads()), len(read.Downloads()); n != had+2 {
		t.Errorf("%d downloads, %d without models", n, had)
	}
}
