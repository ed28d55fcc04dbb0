package recovery_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/recovery"
)

// What the fixture testdata/mill is of.
const (
	millPrefix  = "eu-west-1:111122223333:"
	millGroup   = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001"
	millVersion = "8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002"
	millCert    = "724a2ffff7268b67d8efd0aa1f27879993773cf14dbce5b9b2d672d6b599295a"
	pumpCert    = "67041dc5c0b153a64cc9670ca15c71272674aa387307dd6a8cc7346f9802b4dc"
	lostCert    = "f9e8d7c6b5a493827160f5e4d3c2b1a0f9e8d7c6b5a493827160f5e4d3c2b1a0"
	reader      = "arn:aws:lambda:" + millPrefix + "function:MillReader:7"
	grinder     = "arn:aws:lambda:" + millPrefix + "function:MillGrinder:3"
	groupFile   = "ggc/deployment/group/group.json"
	configFile  = "config/config.json"
	lambdas     = "ggc/deployment/lambda/"
	readerDir   = lambdas + "arn.aws.lambda.eu-west-1.111122223333.function.MillReader.7"
	grinderDir  = lambdas + "arn.aws.lambda.eu-west-1.111122223333.function.MillGrinder.3"
)

// keyless fails the test when something with a private key's name is opened.
type keyless struct {
	fs.FS
	t *testing.T
}

func (k keyless) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".key") {
		k.t.Errorf("%s was opened", name)
	}
	return k.FS.Open(name)
}

func folder(t *testing.T, files fs.FS) recovery.Folder {
	t.Helper()
	deployment, err := fs.Sub(files, "ggc/deployment")
	if err != nil {
		t.Fatal(err)
	}
	return recovery.Folder{Root: keyless{files, t}, Deployment: keyless{deployment, t}}
}

// fixture is a folder of testdata in memory, with changes.
func fixture(t *testing.T, name string, changes ...func(fstest.MapFS)) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	root := os.DirFS("testdata/" + name)
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if path.Base(file) == "grinder" {
			mode = 0o755
		}
		files[file] = &fstest.MapFile{Data: data, Mode: mode, ModTime: time.Unix(1, 0)}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(files)
	}
	return files
}

// replaced changes text in a file of a fixture.
func replaced(file, old, new string) func(fstest.MapFS) {
	return func(f fstest.MapFS) {
		f[file].Data = []byte(strings.ReplaceAll(string(f[file].Data), old, new))
	}
}

func removed(prefix string) func(fstest.MapFS) {
	return func(f fstest.MapFS) {
		for name := range f {
			if strings.HasPrefix(name, prefix) {
				delete(f, name)
			}
		}
	}
}

var operator = recovery.Options{CorePolicy: `{"core":1}`, DevicePolicy: `{"device":1}`, Now: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)}

func read(t *testing.T, files fs.FS, o recovery.Options) (*recovery.Group, *recovery.Report) {
	t.Helper()
	g, report, err := recovery.Read(folder(t, files), o)
	if err != nil {
		t.Fatal(err)
	}
	return g, report
}

// definition decodes the version of a kind.
func definition[T any](t *testing.T, g *recovery.Group, k fescue.Kind) T {
	t.Helper()
	var v T
	var body json.RawMessage
	for _, c := range append(g.Definitions, g.Group) {
		if c.Kind == k.Segment {
			body = c.Versions[0].Definition
		}
	}
	if body == nil {
		t.Fatalf("there is no %s definition", k.Name)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func ptr[T any](v T) *T { return &v }

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// says asks for a note about something that has all the texts.
func says(t *testing.T, notes []recovery.Note, about string, texts ...string) {
	t.Helper()
next:
	for _, n := range notes {
		if n.About != about {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(n.Text, text) {
				continue next
			}
		}
		return
	}
	t.Errorf("no note about %q with %q in %+v", about, texts, notes)
}

// TestRead has a subtest for each row of the list of what a folder can and cannot
// tell.
func TestRead(t *testing.T) {
	t.Parallel()
	pump, err := os.ReadFile("testdata/devices/Pump7.pem")
	if err != nil {
		t.Fatal(err)
	}
	o := operator
	o.DeviceCertificates = [][]byte{pump}
	mill, report := read(t, fixture(t, "mill"), o)

	t.Run("Region, account, group and version id", func(t *testing.T) {
		same(t, recovery.Partition{AWS: "aws", Account: "111122223333", Region: "eu-west-1"}, mill.Partition)
		same(t, millGroup, mill.Group.Id)
		same(t, millVersion, mill.Group.Versions[0].Version)
		if len(mill.Group.Versions) != 1 || mill.Group.Kind != "groups" {
			t.Errorf("%+v", mill.Group)
		}
	})
	t.Run("the group's name, from the core's or given", func(t *testing.T) {
		same(t, "Mill", mill.Group.Name)
		says(t, report.Assumed, "group", "the name Mill", "--name")
		named := operator
		named.Name = "Werk 2"
		g, r := read(t, fixture(t, "mill"), named)
		same(t, "Werk 2", g.Group.Name)
		for _, n := range r.Assumed {
			if strings.Contains(n.Text, "--name") {
				t.Errorf("a name that was given is reported as assumed: %+v", n)
			}
		}
		tiny, _ := read(t, fixture(t, "minimal"), operator)
		same(t, "tiny", tiny.Group.Name)
	})
	t.Run("ids of definitions: new, and the same each time", func(t *testing.T) {
		again, _ := read(t, fixture(t, "mill"), o)
		one, err := mill.Encode()
		if err != nil {
			t.Fatal(err)
		}
		two, err := again.Encode()
		if err != nil || string(one) != string(two) {
			t.Errorf("two readings differ, %v", err)
		}
		refs := definition[fescue.GroupVersion](t, mill, fescue.GroupKind)
		p := fescue.Partition(mill.Partition)
		seen := map[string]bool{}
		for _, c := range mill.Definitions {
			k := recovery.KindOf(c)
			if !fescue.ValidID(c.Id) || !fescue.ValidID(c.Versions[0].Version) || seen[c.Id] {
				t.Errorf("%+v", c)
			}
			seen[c.Id] = true
			same(t, p.VersionARN(k, c.Id, c.Versions[0].Version), refs.Reference(k))
			same(t, "Mill", c.Name)
		}
		if len(seen) != len(fescue.DefinitionKinds) {
			t.Errorf("%d definitions", len(seen))
		}
		says(t, report.Assumed, "definitions", "name", "ids")
	})
	t.Run("history is gone, the last deployment is reported", func(t *testing.T) {
		same(t, "c3d7a910-44e2-4f0e-b6a3-51b0c9d8e003", report.DeploymentID)
		says(t, report.Assumed, "group", "first", "c3d7a910-44e2-4f0e-b6a3-51b0c9d8e003")
	})
	t.Run("core: thing, certificate, Id", func(t *testing.T) {
		same(t, []fescue.Core{{
			Id: "Mill_Core", ThingArn: "arn:aws:iot:" + millPrefix + "thing/Mill_Core", CertificateArn: "arn:aws:iot:" + millPrefix + "cert/" + millCert,
			SyncShadow: ptr(true),
		}}, definition[fescue.CoreDefinitionVersion](t, mill, fescue.CoreKind).Cores)
		same(t, recovery.Thing{ThingName: "Mill_Core", Principals: []string{millCert}}, mill.Things[0])
		says(t, report.Assumed, "core", "Mill_Core")
	})
	t.Run("devices: things, certificates, Ids", func(t *testing.T) {
		device := func(name, cert string, sync bool) fescue.Device {
			return fescue.Device{
				Id: name, ThingArn: "arn:aws:iot:" + millPrefix + "thing/" + name, CertificateArn: "arn:aws:iot:" + millPrefix + "cert/" + cert, SyncShadow: &sync,
			}
		}
		same(t, []fescue.Device{device("Pump7", pumpCert, true), device("Pump8", lostCert, false)},
			definition[fescue.DeviceDefinitionVersion](t, mill, fescue.DeviceKind).Devices)
		same(t, []recovery.Thing{{ThingName: "Pump7", Principals: []string{pumpCert}}, {ThingName: "Pump8"}}, mill.Things[1:])
		says(t, report.Assumed, "devices", "Ids")
		says(t, report.Warnings, "devices", "discover")
	})
	t.Run("certificates by PEM; those that are missing are asked for", func(t *testing.T) {
		var ids []string
		for _, c := range mill.Certificates {
			ids = append(ids, c.CertificateId)
			if c.Status != fescue.CertificateActive || !strings.HasPrefix(c.CertificatePem, "-----BEGIN CERTIFICATE-----\n") {
				t.Errorf("%+v", c)
			}
		}
		same(t, []string{millCert, pumpCert}, ids)
		says(t, report.Supply, "device Pump8", lostCert, "--certificates")
	})
	t.Run("IoT policies: assumed, by name", func(t *testing.T) {
		same(t, []recovery.Policy{
			{PolicyName: "Mill_Core-policy", PolicyDocument: `{"core":1}`, Assumed: true},
			{PolicyName: "Mill_Core-devices-policy", PolicyDocument: `{"device":1}`, Assumed: true},
		}, mill.Policies)
		same(t, []string{"Mill_Core-policy"}, mill.Certificates[0].Policies)
		same(t, []string{"Mill_Core-devices-policy"}, mill.Certificates[1].Policies)
		says(t, report.Assumed, "policy Mill_Core-policy", "originals")
	})
	t.Run("functions with all settings", func(t *testing.T) {
		v := definition[fescue.FunctionDefinitionVersion](t, mill, fescue.FunctionKind)
		same(t, &fescue.FunctionDefaultConfig{Execution: &fescue.FunctionExecution{
			IsolationMode: fescue.NoContainer, RunAs: &fescue.RunAs{Uid: ptr(1001), Gid: ptr(1002)},
		}}, v.DefaultConfig)
		same(t, []fescue.Function{
			{Id: "GGIPDetector", FunctionArn: "arn:aws:lambda:::function:GGIPDetector:1", FunctionConfiguration: &fescue.FunctionConfiguration{
				MemorySize: ptr(32768), Pinned: ptr(true), Timeout: ptr(3),
			}},
			{Id: "MillGrinder", FunctionArn: grinder, FunctionConfiguration: &fescue.FunctionConfiguration{
				EncodingType: "binary", Executable: "grinder", ExecArgs: "--slow 2", Pinned: ptr(false), Timeout: ptr(60),
				Environment: &fescue.FunctionEnvironment{Execution: &fescue.FunctionExecution{IsolationMode: fescue.NoContainer}},
			}},
			{Id: "MillReader", FunctionArn: reader, FunctionConfiguration: &fescue.FunctionConfiguration{
				EncodingType: "json", Executable: "reader.handler", MemorySize: ptr(32768), Pinned: ptr(true), Timeout: ptr(20),
				Environment: &fescue.FunctionEnvironment{
					AccessSysfs: ptr(false), Execution: &fescue.FunctionExecution{IsolationMode: fescue.GreengrassContainer},
					ResourceAccessPolicies: []fescue.ResourceAccessPolicy{{ResourceId: "b-serial", Permission: "rw"}, {ResourceId: "c-model", Permission: "ro"}},
					Variables:              map[string]string{"PERIOD": "5"},
				},
			}},
		}, v.Functions)
		says(t, report.Assumed, "functions", "Ids")
	})
	t.Run("isolation that is absent stays absent", func(t *testing.T) {
		g, _ := read(t, fixture(t, "mill", replaced(groupFile, `"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer","RunAs":{"Uid":1001,"Gid":1002}}}`, `"DefaultConfig":null`),
			replaced(groupFile, `"Environment":{"Execution":{"IsolationMode":"NoContainer"}}`, `"Environment":{}`)), operator)
		v := definition[fescue.FunctionDefinitionVersion](t, g, fescue.FunctionKind)
		if v.DefaultConfig != nil || v.Functions[1].FunctionConfiguration.Environment != nil {
			t.Errorf("%+v", v)
		}
	})
	t.Run("an alias instead of a version", func(t *testing.T) {
		says(t, report.Assumed, "functions", "version number", "--alias")
		aliased := operator
		aliased.Alias = "live"
		g, _ := read(t, fixture(t, "mill"), aliased)
		v := definition[fescue.FunctionDefinitionVersion](t, g, fescue.FunctionKind)
		same(t, "arn:aws:lambda:::function:GGIPDetector:1", v.Functions[0].FunctionArn)
		same(t, strings.Replace(reader, ":7", ":live", 1), v.Functions[2].FunctionArn)
		subs := definition[fescue.SubscriptionDefinitionVersion](t, g, fescue.SubscriptionKind).Subscriptions
		same(t, strings.Replace(reader, ":7", ":live", 1), subs[0].Source)
		same(t, strings.Replace(grinder, ":3", ":live", 1), subs[1].Target)
		for _, f := range g.Functions {
			same(t, []recovery.Alias{{Name: "live"}}, f.Aliases)
		}
	})
	t.Run("SyncShadow, by ARN or by name, and entries that nobody knows", func(t *testing.T) {
		g, r := read(t, fixture(t, "mill", replaced(groupFile, `"ShadowSync":{"ref":null,"Content":[`, `"ShadowSync":{"ref":null,"Content":[{"shadow":7},{"thingName":"Pump8"},`)), operator)
		devices := definition[fescue.DeviceDefinitionVersion](t, g, fescue.DeviceKind).Devices
		if !*devices[0].SyncShadow || !*devices[1].SyncShadow {
			t.Errorf("%+v", devices)
		}
		says(t, r.Supply, "shadow sync", `{"shadow":7}`)
		tiny, _ := read(t, fixture(t, "minimal"), operator)
		if core := definition[fescue.CoreDefinitionVersion](t, tiny, fescue.CoreKind).Cores[0]; *core.SyncShadow {
			t.Errorf("%+v", core)
		}
	})
	t.Run("function code: a zip made anew, the same each time", func(t *testing.T) {
		same(t, []string{"MillGrinder 3 arn:aws:greengrass:::runtime/function/executable grinder grinds", "MillReader 7 python3.7 reader.handler "}, func() (list []string) {
			for _, f := range mill.Functions {
				list = append(list, strings.Join([]string{f.FunctionName, f.Version, f.Runtime, f.Handler, f.Description}, " "))
			}
			return list
		}())
		same(t, map[string]string{"grinder": "-rwxr-xr-x #!/bin/sh\nexec cat\n", "grinder.conf": "-rw-r--r-- speed=2\n"}, unpacked(t, mill.Functions[0]))
		same(t, map[string]string{
			"reader.py": "-rw-r--r-- import greengrasssdk\n\n\ndef handler(event, context):\n    return event\n",
			"lib/":      "drwxr-xr-x ", "lib/scale.py": "-rw-r--r-- def scale(x):\n    return 2 * x\n",
		}, unpacked(t, mill.Functions[1]))
		later, _ := read(t, fixture(t, "mill", func(f fstest.MapFS) {
			for _, file := range f {
				file.ModTime = time.Unix(1e9, 0)
			}
		}), operator)
		for i := range mill.Functions {
			one, err := mill.Functions[i].Code()
			two, err2 := later.Functions[i].Code()
			if err != nil || err2 != nil || !bytes.Equal(one, two) {
				t.Errorf("%s differs with the times of its files: %v, %v", mill.Functions[i].FunctionName, err, err2)
			}
		}
		says(t, report.Assumed, "functions", "role", "hashes")
	})
	t.Run("an executable is executable, also from a copy that lost its modes", func(t *testing.T) {
		g, _ := read(t, fixture(t, "mill", func(f fstest.MapFS) { f[grinderDir+"/grinder"].Mode = 0o644 }), operator)
		if text := unpacked(t, g.Functions[0])["grinder"]; !strings.HasPrefix(text, "-rwxr-xr-x") {
			t.Error(text)
		}
	})
	t.Run("folders with colons, which win over dots", func(t *testing.T) {
		files := fixture(t, "mill")
		files[lambdas+reader+"/reader.py"] = &fstest.MapFile{Data: []byte("colons")}
		g, r := read(t, files, operator)
		same(t, map[string]string{"reader.py": "-rw-r--r-- colons"}, unpacked(t, g.Functions[1]))
		says(t, r.Warnings, "code", "MillReader.6")
	})
	t.Run("code of other versions is left alone", func(t *testing.T) {
		says(t, report.Warnings, "code", "MillReader.6")
	})
	t.Run("code that is missing is asked for", func(t *testing.T) {
		g, r := read(t, fixture(t, "mill", removed(readerDir)), operator)
		if len(g.Functions) != 1 || len(definition[fescue.FunctionDefinitionVersion](t, g, fescue.FunctionKind).Functions) != 3 {
			t.Errorf("%d functions published", len(g.Functions))
		}
		says(t, r.Supply, "function MillReader:7", "lambda/"+reader)
	})
	t.Run("resources, with their Ids for Names", func(t *testing.T) {
		same(t, []fescue.Resource{
			{Id: "a-data", Name: "a-data", ResourceDataContainer: fescue.ResourceDataContainer{LocalVolumeResourceData: &fescue.LocalVolumeResourceData{
				SourcePath: "/srv/mill", DestinationPath: "/data", GroupOwnerSetting: &fescue.GroupOwnerSetting{AutoAddGroupOwner: ptr(false), GroupOwner: "mill"},
			}}},
			{Id: "b-serial", Name: "b-serial", ResourceDataContainer: fescue.ResourceDataContainer{LocalDeviceResourceData: &fescue.LocalDeviceResourceData{
				SourcePath: "/dev/ttyS1", GroupOwnerSetting: &fescue.GroupOwnerSetting{AutoAddGroupOwner: ptr(true)},
			}}},
			{Id: "c-model", Name: "c-model", ResourceDataContainer: fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{
				DestinationPath: "/models/wear", S3Uri: "s3://mill-models/wear/wear-2023.tar.gz",
			}}},
			{Id: "d-job", Name: "d-job", ResourceDataContainer: fescue.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &fescue.SageMakerModelResourceData{
				DestinationPath: "/models/job", SageMakerJobArn: "arn:aws:sagemaker:" + millPrefix + "training-job/wear",
				OwnerSetting: &fescue.OwnerSetting{GroupOwner: "1002", GroupPermission: "ro"},
			}}},
			{Id: "e-secret", Name: "e-secret", ResourceDataContainer: fescue.ResourceDataContainer{SecretsManagerSecretResourceData: &fescue.SecretsManagerSecretResourceData{
				ARN: "arn:aws:secretsmanager:" + millPrefix + "secret:greengrass-mill-AbCdEf", AdditionalStagingLabelsToDownload: []string{"AWSPREVIOUS"},
			}}},
		}, definition[fescue.ResourceDefinitionVersion](t, mill, fescue.ResourceKind).Resources)
		says(t, report.Assumed, "resources", "Names")
	})
	t.Run("a model that lies there is packed", func(t *testing.T) {
		says(t, report.Assumed, "resource c-model", "s3://mill-models/wear/wear-2023.tar.gz", "mlmodel/c-model")
		if len(mill.Models) != 1 || mill.Models[0].Bucket != "mill-models" || mill.Models[0].Key != "wear/wear-2023.tar.gz" || mill.Models[0].Resource != "c-model" {
			t.Fatalf("%+v", mill.Models)
		}
		same(t, map[string]string{"wear.params": "-rw-r--r-- " + string(fixture(t, "mill")[models+"c-model/wear.params"].Data)}, unpackedModel(t, mill.Models[0]))
	})
	t.Run("a model under the id of its download, for the place of its job", func(t *testing.T) {
		files := fixture(t, "mill", replaced(groupFile, `"SageMakerJobArn"`, `"unknown":0,"SageMakerJobArn"`),
			replaced(groupFile, `"Type":"ML_MODEL_SAGEMAKER_JOB"`, `"ArtifactArn":"arn:x/artifacts/resource/77","Type":"ML_MODEL_SAGEMAKER_JOB"`))
		files[strings.Replace(models, "mlmodel", "mlmodel_public", 1)+"77/model/deep"] = &fstest.MapFile{Data: []byte("learnt"), Mode: 0o755}
		g, r := read(t, files, operator)
		says(t, r.Assumed, "resource d-job", "in the place of the training job", "training-job/wear")
		job := definition[fescue.ResourceDefinitionVersion](t, g, fescue.ResourceKind).Resources[3].ResourceDataContainer
		uri := "s3://recovered-models/" + g.Group.Id + "/d-job.tar.gz"
		same(t, fescue.ResourceDataContainer{S3MachineLearningModelResourceData: &fescue.S3ModelResourceData{
			DestinationPath: "/models/job", S3Uri: uri, OwnerSetting: &fescue.OwnerSetting{GroupOwner: "1002", GroupPermission: "ro"},
		}}, job)
		same(t, map[string]string{"model/": "drwxr-xr-x ", "model/deep": "-rwxr-xr-x learnt"}, unpackedModel(t, g.Models[1]))
	})
	t.Run("a model under another name is taken where there is but one", func(t *testing.T) {
		elsewhere := func(files fstest.MapFS) {
			files[models+"0815/wear.params"] = files[models+"c-model/wear.params"]
			delete(files, models+"c-model/wear.params")
		}
		g, r := read(t, fixture(t, "mill", elsewhere), operator)
		if len(g.Models) != 0 {
			t.Errorf("which of two it is, is guessed: %+v", g.Models)
		}
		says(t, r.Supply, "resource c-model", "s3://mill-models/wear/wear-2023.tar.gz", "no folder below mlmodel")
		g, r = read(t, fixture(t, "mill", elsewhere, replaced(groupFile, `"SageMakerJobArn"`, `"SourcePath":"/srv/job","Unknown"`)), operator)
		says(t, r.Assumed, "resource c-model", "mlmodel/0815", "the only one that there is")
		if len(g.Models) != 1 {
			t.Errorf("%+v", g.Models)
		}
	})
	t.Run("a model whose object's name ends in .zip", func(t *testing.T) {
		g, _ := read(t, fixture(t, "mill", replaced(groupFile, "wear-2023.tar.gz", "wear-2023.zip")), operator)
		var packed bytes.Buffer
		if err := g.Models[0].Pack(&packed); err != nil {
			t.Fatal(err)
		}
		z, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
		if err != nil || len(z.File) != 1 || z.File[0].Name != "wear.params" {
			t.Errorf("%v, %v", z, err)
		}
	})
	t.Run("models that do not lie there, and secrets, are asked for", func(t *testing.T) {
		_, r := read(t, fixture(t, "mill", removed(models)), operator)
		says(t, r.Supply, "resource c-model", "s3://mill-models/wear/wear-2023.tar.gz", "until then a deployment fails")
		says(t, report.Supply, "resource d-job", "training-job/wear")
		says(t, report.Supply, "resource e-secret", "secret:greengrass-mill-AbCdEf")
	})
	t.Run("connectors, to be confirmed", func(t *testing.T) {
		const firehose = "arn:aws:greengrass:eu-west-1::/connectors/KinesisFirehose/versions/1"
		same(t, []fescue.Connector{{Id: "KinesisFirehose", ConnectorArn: firehose, Parameters: map[string]string{
			"DefaultDeliveryStreamArn": "arn:aws:firehose:" + millPrefix + "deliverystream/mill", "DeliveryStreamQueueSize": "5000",
		}}}, definition[fescue.ConnectorDefinitionVersion](t, mill, fescue.ConnectorKind).Connectors)
		same(t, firehose, definition[fescue.SubscriptionDefinitionVersion](t, mill, fescue.SubscriptionKind).Subscriptions[2].Target)
		says(t, report.Assumed, "connector KinesisFirehose", firehose, "confirm")
		_, r := read(t, fixture(t, "mill", replaced(groupFile, "KinesisFirehoseClient", "Teleporter")), operator)
		says(t, r.Warnings, "connector Teleporter", "no connector")
	})
	t.Run("subscriptions", func(t *testing.T) {
		subs := definition[fescue.SubscriptionDefinitionVersion](t, mill, fescue.SubscriptionKind).Subscriptions
		same(t, fescue.Subscription{Id: "s1", Source: reader, Subject: "mill/1/readings", Target: "cloud"}, subs[0])
		same(t, fescue.Subscription{Id: "s4", Source: "GGShadowService", Subject: "$aws/things/Pump7/shadow/update/delta", Target: "arn:aws:iot:" + millPrefix + "thing/Pump7"}, subs[3])
		if len(subs) != 4 {
			t.Errorf("%+v", subs)
		}
	})
	t.Run("loggers, with new Ids", func(t *testing.T) {
		same(t, []fescue.Logger{
			{Id: "GreengrassSystem-FileSystem", Component: "GreengrassSystem", Level: "INFO", Space: ptr(128), Type: "FileSystem"},
			{Id: "Lambda-AWSCloudWatch", Component: "Lambda", Level: "WARN", Type: "AWSCloudWatch"},
		}, definition[fescue.LoggerDefinitionVersion](t, mill, fescue.LoggerKind).Loggers)
		says(t, report.Assumed, "loggers", "Ids")
	})
	t.Run("the group's role is asked for", func(t *testing.T) { says(t, report.Supply, "group", "role", "connectivity") })
	t.Run("edits after the deployment cannot be seen", func(t *testing.T) { says(t, report.Assumed, "group.json", "edited") })

	t.Run("a minimal folder of an early core", func(t *testing.T) {
		g, r := read(t, fixture(t, "minimal"), operator)
		same(t, recovery.Partition{AWS: "aws-cn", Account: "444455556666", Region: "cn-north-1"}, g.Partition)
		if len(g.Definitions) != 1 || len(g.Functions) != 0 || len(g.Certificates) != 1 {
			t.Errorf("%+v", g)
		}
		same(t, []recovery.Note(nil), r.Warnings)
	})
}

// models is the folder of models in a fixture.
const models = "ggc/deployment/mlmodel/"

// unpackedModel is a model's .tar.gz: mode and text by name.
func unpackedModel(t *testing.T, m recovery.Model) map[string]string {
	t.Helper()
	var packed bytes.Buffer
	if err := m.Pack(&packed); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(z); ; {
		head, err := archive.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[head.Name] = head.FileInfo().Mode().String() + " " + string(text)
	}
}

// unpacked is a function's zip: mode and text by name.
func unpacked(t *testing.T, f recovery.Function) map[string]string {
	t.Helper()
	code, err := f.Code()
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(code), int64(len(code)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range z.File {
		in, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name] = entry.Mode().String() + " " + string(text)
	}
	return files
}

// TestWarnings: what does not fit together is reported, and recovered all the same.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		about  string
		texts  []string
	}{
		"another certificate than group.json names": {replaced(groupFile, millCert, pumpCert), "core Mill_Core", []string{millCert, pumpCert}},
		"a resource that is not there":              {replaced(groupFile, `{"ResourceId":"b-serial"`, `{"ResourceId":"z"`), "function MillReader", []string{`"z"`}},
		"unknown members":                           {replaced(groupFile, `"Priority":1,"Pinned":true,"Executable"`, `"Priority":1,"Warp":9,"Pinned":true,"Executable"`), "group.json", []string{"GroupDefinitions.Lambdas.Content[].DeploymentConfiguration.Warp"}},
		"an unknown section":                        {replaced(groupFile, `"Version":null`, `"Version":null,"connectors":{"x":1}`), "group.json", []string{"connectors"}},
		"another Region":                            {replaced(groupFile, `"Region":"eu-west-1"`, `"Region":"us-east-1"`), "group.json", []string{"us-east-1", "eu-west-1"}},
		"an end that the group does not have":       {replaced(groupFile, `"Target":"cloud"`, `"Target":"`+strings.Replace(reader, ":7", ":9", 1)+`"`), "subscription s1", []string{":9"}},
		"an argument with white space":              {replaced(groupFile, `"--slow"`, `"very slow"`), "function MillGrinder", []string{"very slow"}},
		"a program that is not there":               {removed(grinderDir + "/grinder"), "function MillGrinder:3", nil},
		"no config.json":                            {removed(configFile), "config/config.json", []string{"not there"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r := read(t, fixture(t, "mill", c.change), operator)
			notes := r.Warnings
			if c.texts == nil {
				notes = append(notes, r.Supply...)
			}
			says(t, notes, c.about, c.texts...)
		})
	}
	t.Run("a certificate that has ended", func(t *testing.T) {
		t.Parallel()
		late := operator
		late.Now = time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
		_, r := read(t, fixture(t, "mill"), late)
		says(t, r.Warnings, "core Mill_Core", "ended on 2049-12-31")
	})
	t.Run("a certificate that is not in the folder", func(t *testing.T) {
		t.Parallel()
		g, r := read(t, fixture(t, "mill", removed("certs/")), operator)
		says(t, r.Supply, "core Mill_Core", millCert, "certs/724a2ffff7.cert.pem")
		if len(g.Certificates) != 0 || len(g.Policies) != 0 || len(g.Things[0].Principals) != 0 {
			t.Errorf("%+v", g)
		}
	})
}

// TestRefusals: nothing is recovered from a folder that is broken or hostile.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"shipped": "nothing was ever deployed", "emptied": "nothing was ever deployed", "cut": "does not parse", "wrong-type": "does not parse",
		"another-arn": "is not the ARN of a Group version", "foreign-core": "another account or Region", "two-cores": "names 2 cores",
	} {
		t.Run("broken/"+name, func(t *testing.T) {
			t.Parallel()
			refuse(t, fixture(t, "broken/"+name), operator, text)
		})
	}
	device := func(f fstest.MapFS) { f[readerDir+"/pipe"] = &fstest.MapFile{Mode: fs.ModeNamedPipe | 0o644} }
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		text   string
	}{
		"no group.json": {removed(groupFile), "there is no group/group.json"},
		"no group.json, a write directory": {func(f fstest.MapFS) {
			removed(groupFile)(f)
			replaced(configFile, `"managedRespawn"`, `"writeDirectory":"/data/gg","managedRespawn"`)(f)
		}, "--deployment /data/gg/deployment"},
		"group.json is a folder":      {func(f fstest.MapFS) { removed(groupFile)(f); f[groupFile+"/x"] = &fstest.MapFile{} }, "is not a file"},
		"group.json without end":      {func(f fstest.MapFS) { f[groupFile].Data = bytes.Repeat([]byte(" "), 16<<20+1) }, "is larger than"},
		"a pipe in the code":          {device, "is neither a file nor a folder"},
		"a name with a backslash":     {func(f fstest.MapFS) { f[readerDir+`/..\..\x`] = &fstest.MapFile{} }, "backslash"},
		"a name that is too long":     {func(f fstest.MapFS) { f[readerDir+"/"+strings.Repeat("x", 256)] = &fstest.MapFile{} }, "more than 255 bytes"},
		"a file in place of the code": {func(f fstest.MapFS) { removed(readerDir)(f); f[readerDir] = &fstest.MapFile{Data: []byte("x")} }, "is not a folder"},
		"config.json does not parse":  {func(f fstest.MapFS) { f[configFile].Data = []byte("{") }, "does not parse"},
		"config.json of another core": {replaced(configFile, "thing/Mill_Core", "thing/Other"), "these are files of two cores"},
		"the certificate is the key":  {replaced(configFile, ".cert.pem", ".private.key"), "as certificate and as private key"},
		"the certificate file holds the key": {func(f fstest.MapFS) {
			f["certs/724a2ffff7.cert.pem"].Data = append(f["certs/724a2ffff7.cert.pem"].Data, "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n"...)
		}, "it holds a private key"},
		"the certificate is none":        {func(f fstest.MapFS) { f["certs/724a2ffff7.cert.pem"].Data = []byte("x") }, "no certificate in PEM form"},
		"the certificate is in a module": {replaced(configFile, "file:///greengrass/certs/724a2ffff7.cert.pem", "pkcs11:object=x"), "no file:// URI"},
		"a function without a version":   {replaced(groupFile, "MillReader:7", "MillReader:live"), "has no version number"},
		"a function of another account":  {replaced(groupFile, "111122223333:function:MillReader", "999922223333:function:MillReader"), "another account or Region"},
		"no function's ARN":              {replaced(groupFile, reader, "arn:aws:s3:::x"), "is not the ARN of a function"},
		"a device of another account":    {replaced(groupFile, "111122223333:thing/Pump8", "999922223333:thing/Pump8"), "another account or Region"},
		"a device without a certificate": {replaced(groupFile, "cert/"+lostCert, "cert/abc"), "is not the ARN of a certificate"},
		"a resource of no known kind":    {replaced(groupFile, `"SourcePath":"/dev/ttyS1"`, `"Teapot":"x"`), "of no known kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refuse(t, fixture(t, "mill", c.change), operator, c.text)
		})
	}
	t.Run("a device's certificate file with a key", func(t *testing.T) {
		t.Parallel()
		o := operator
		o.DeviceCertificates = [][]byte{[]byte("-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----\n")}
		refuse(t, fixture(t, "mill"), o, "private key")
	})
	t.Run("one alias for two versions", func(t *testing.T) {
		t.Parallel()
		o := operator
		o.Alias = "live"
		refuse(t, fixture(t, "mill", replaced(groupFile, "MillGrinder:3", "MillReader:6")), o, "cannot both be the alias live")
	})
	t.Run("a path of the certificate never leaves certs", func(t *testing.T) {
		t.Parallel()
		files := fixture(t, "mill", replaced(configFile, "file:///greengrass/certs/724a2ffff7.cert.pem", "file:///greengrass/certs/../../etc/ssl/724a2ffff7.cert.pem"))
		g, _ := read(t, files, operator)
		same(t, millCert, g.Certificates[0].CertificateId)
	})
}

func refuse(t *testing.T, files fs.FS, o recovery.Options, text string) {
	t.Helper()
	g, r, err := recovery.Read(folder(t, files), o)
	if !errors.Is(err, recovery.ErrFolder) || !strings.Contains(err.Error(), text) || g != nil || r != nil {
		t.Errorf("error %v, want one with %q", err, text)
	}
}

// TestFolderOnDisk reads through a file system that lets no link lead out.
func TestFolderOnDisk(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, dir string) recovery.Folder {
		t.Helper()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { root.Close() })
		deployment, err := root.OpenRoot("ggc/deployment")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { deployment.Close() })
		return recovery.Folder{Root: root.FS(), Deployment: deployment.FS()}
	}
	copied := func(t *testing.T) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.CopyFS(dir, fixture(t, "mill")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	swap := func(t *testing.T, dir, name, target string) {
		t.Helper()
		if err := os.RemoveAll(path.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("as it is", func(t *testing.T) {
		t.Parallel()
		if _, _, err := recovery.Read(open(t, copied(t)), operator); err != nil {
			t.Error(err)
		}
	})
	t.Run("functions that are links inside, as a Fescue core has them", func(t *testing.T) {
		t.Parallel()
		dir := copied(t)
		if err := os.CopyFS(path.Join(dir, "ggc/deployment/.store/abc"), os.DirFS(path.Join(dir, readerDir))); err != nil {
			t.Fatal(err)
		}
		swap(t, dir, readerDir, "../.store/abc")
		g, _, err := recovery.Read(open(t, dir), operator)
		if err != nil {
			t.Fatal(err)
		}
		if len(unpacked(t, g.Functions[1])) != 3 {
			t.Error("the code is not that of the link's target")
		}
	})
	t.Run("links inside of the code", func(t *testing.T) {
		t.Parallel()
		dir := copied(t)
		swap(t, dir, readerDir+"/lib/link.py", "../lib")
		g, _, err := recovery.Read(open(t, dir), operator)
		if err != nil {
			t.Fatal(err)
		}
		if got := unpacked(t, g.Functions[1]); got["lib/link.py"] != "Lrwxrwxrwx ../lib" {
			t.Errorf("%q", got)
		}
	})
	for target, text := range map[string]string{"/etc/passwd": "is a symbolic link to an absolute path", "../../../group": "is a symbolic link that leads out"} {
		t.Run("a link out of the code to "+target, func(t *testing.T) {
			t.Parallel()
			dir := copied(t)
			swap(t, dir, readerDir+"/lib/link.py", target)
			_, _, err := recovery.Read(open(t, dir), operator)
			if !errors.Is(err, recovery.ErrFolder) || !strings.Contains(err.Error(), text) {
				t.Errorf("error %v, want %q", err, text)
			}
		})
	}
	t.Run("more code than can be deployed", func(t *testing.T) {
		t.Parallel()
		dir := copied(t)
		huge := path.Join(dir, readerDir, "huge")
		if err := errors.Join(os.WriteFile(huge, nil, 0o644), os.Truncate(huge, 250<<20+1)); err != nil {
			t.Fatal(err)
		}
		_, _, err := recovery.Read(open(t, dir), operator)
		if !errors.Is(err, recovery.ErrFolder) || !strings.Contains(err.Error(), "more than the 262144000 bytes") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("more files than can be deployed", func(t *testing.T) {
		t.Parallel()
		dir := copied(t)
		for i := range bundle.MaxEntries + 1 {
			if err := os.WriteFile(path.Join(dir, readerDir, strconv.Itoa(i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := recovery.Read(open(t, dir), operator)
		if !errors.Is(err, recovery.ErrFolder) || !strings.Contains(err.Error(), "more than the 20000 files") {
			t.Errorf("error %v", err)
		}
	})
	for _, name := range []string{groupFile, configFile, "certs/724a2ffff7.cert.pem", readerDir, "ggc/deployment/lambda"} {
		t.Run("a link that leads out: "+path.Base(name), func(t *testing.T) {
			t.Parallel()
			outside, dir := copied(t), copied(t)
			swap(t, dir, name, path.Join(outside, name))
			_, _, err := recovery.Read(open(t, dir), operator)
			if !errors.Is(err, recovery.ErrFolder) || !strings.Contains(err.Error(), "escapes") {
				t.Errorf("error %v", err)
			}
		})
	}
}
