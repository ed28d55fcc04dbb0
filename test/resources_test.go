//go:build linux

package test

import (
	archivetar "archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// millers owns what the functions of these tests may use: a group without a name.
const millers = 43210

// user is a Python function that uses what its event names, and says what came of it.
const user = greeter + `
def handler(event, context):
    tag, name = os.environ["TAG"], os.path.expandvars(event["use"])
    try:
        if "write" in event:
            with open(name, "ab", buffering=0) as f:
                f.write(event["write"].encode())
            publish("%s wrote %s" % (tag, name))
        else:
            with open(name, "rb", buffering=0) as f:
                publish("%s read %s: %r" % (tag, name, f.read(5)))
    except OSError as e:
        publish("%s %s: %s" % (tag, name, e.strerror))
`

// serial is a device as a serial line is one, called by a link in /dev; what is written
// to it comes out of the file.
func serial(t *testing.T) (name string, end *os.File) {
	t.Helper()
	end, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("%v; run the tests where there are pseudo-terminals to include this one", err)
	}
	t.Cleanup(func() { end.Close() })
	if err := unix.IoctlSetPointerInt(int(end.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(end.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	line, name := fmt.Sprintf("/dev/pts/%d", number), fmt.Sprintf("/dev/fescue-serial-%d", os.Getpid())
	t.Cleanup(func() { os.Remove(name) })
	for _, err := range []error{os.Chown(line, 0, millers), os.Chmod(line, 0o660), os.Symlink(line, name)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return name, end
}

func resource(id string, data types.ResourceDataContainer) types.Resource {
	return types.Resource{Id: &id, Name: &id, ResourceDataContainer: &data}
}

func TestLocalResources(t *testing.T) {
	t.Parallel()
	needPython(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	g := h.contained(t, "Local_Core")
	viewer.subscribe(t, "Local_Core/out")
	folder := openDir(t)
	for _, err := range []error{
		os.WriteFile(filepath.Join(folder, "in"), []byte("grain"), 0o640), os.Chown(filepath.Join(folder, "in"), 0, millers),
		os.Chown(folder, 0, millers), os.Chmod(folder, 0o2770),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	line, end := serial(t)
	owner := &types.GroupOwnerSetting{AutoAddGroupOwner: aws.Bool(true)}
	g.resources = []types.Resource{
		resource("folder", types.ResourceDataContainer{LocalVolumeResourceData: &types.LocalVolumeResourceData{
			SourcePath: &folder, DestinationPath: aws.String("/data"), GroupOwnerSetting: owner}}),
		resource("line", types.ResourceDataContainer{LocalDeviceResourceData: &types.LocalDeviceResourceData{SourcePath: &line, GroupOwnerSetting: owner}}),
		resource("zero", types.ResourceDataContainer{LocalDeviceResourceData: &types.LocalDeviceResourceData{SourcePath: aws.String("/dev/zero")}}),
	}
	arns := []string{h.python(t, "Writer", user), h.python(t, "Reader", user), h.python(t, "Outsider", user)}
	var functions []function
	var routes []route
	for i, given := range [][]types.ResourceAccessPolicy{
		{{ResourceId: aws.String("folder"), Permission: types.PermissionRw}, {ResourceId: aws.String("line"), Permission: types.PermissionRw}},
		{{ResourceId: aws.String("folder"), Permission: types.PermissionRo}, {ResourceId: aws.String("zero"), Permission: types.PermissionRo}},
		nil,
	} {
		tag := []string{"writer", "reader", "outsider"}[i]
		functions = append(functions, function{arn: arns[i], pinned: true, memory: aws.Int32(65536), variables: out(g.thing, tag), resources: given})
		routes = append(routes, route{arns[i], g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/" + tag, arns[i]})
	}
	group, version := g.groupVersion(t, "", functions, routes)
	g.awaitContained(t, group, version)
	viewer.next(t, "started writer", "started reader", "started outsider")
	for _, step := range []struct{ who, use, write, want string }{
		{"writer", "/data/in", "", "writer read /data/in: b'grain'"},
		{"writer", "/data/out", "flour", "writer wrote /data/out"},
		{"reader", "/data/out", "", "reader read /data/out: b'flour'"},
		{"reader", "/data/out", "bran", "reader /data/out: Read-only file system"},
		{"outsider", "/data/in", "", "outsider /data/in: No such file or directory"},
		{"writer", line, "turn", "writer wrote " + line},
		{"reader", line, "turn", "reader " + line + ": Permission denied"},
		{"reader", "/dev/zero", "", `reader read /dev/zero: b'\x00\x00\x00\x00\x00'`},
	} {
		payload := fmt.Sprintf(`{"use":%q}`, step.use)
		if step.write != "" {
			payload = fmt.Sprintf(`{"use":%q,"write":%q}`, step.use, step.write)
		}
		await(t, "publish", viewer.Publish(g.thing+"/"+step.who, 1, false, payload))
		viewer.next(t, step.want)
	}
	if text := string(readFile(t, filepath.Join(folder, "out"))); text != "flour" {
		t.Errorf("the machine reads %q", text)
	}
	came := make([]byte, 16)
	if n, err := end.Read(came); err != nil || string(came[:n]) != "turn" {
		t.Errorf("from the line came %q, %v", came[:n], err)
	}
	document, err := bundle.ParseGroup(readFile(t, filepath.Join(g.root, "ggc", "deployment", "group", "group.json")))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range document.GroupDefinitions.Resources.Content {
		kinds = append(kinds, r.Id+" "+r.Type+" "+r.Data.Class+" "+r.Data.SourcePath+" "+r.Data.DestinationPath)
	}
	want := []string{"folder LOCAL_VOLUME LocalVolumeResourceData " + folder + " /data", "line LOCAL_DEVICE LocalDeviceResourceData " + line + " ", "zero LOCAL_DEVICE LocalDeviceResourceData /dev/zero "}
	if strings.Join(kinds, "\n") != strings.Join(want, "\n") {
		t.Errorf("group.json has\n%s\nwant\n%s", strings.Join(kinds, "\n"), strings.Join(want, "\n"))
	}

	// A group that its core cannot serve changes nothing.
	g.resources[0].ResourceDataContainer.LocalVolumeResourceData.GroupOwnerSetting = nil
	_, version = g.groupVersion(t, group, functions, routes)
	failed := g.await(t, group, g.deploy(t, group, version), fescue.Failure)
	if text := details(failed); !strings.Contains(text, string(fescue.ResourceClosed)) ||
		!strings.Contains(text, "65534 or [65534 43210] don't have rw permission on the file: "+folder) && !strings.Contains(text, "65534 or [65534] don't have rw permission on the file: "+folder) {
		t.Errorf("details\n%s", text)
	}
	await(t, "publish", viewer.Publish(g.thing+"/writer", 1, false, `{"use":"/data/in"}`))
	viewer.next(t, "writer read /data/in: b'grain'")
}

// packed is a model as .tar.gz, with a parent folder inside.
func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := archivetar.NewWriter(z)
	for _, head := range []archivetar.Header{
		{Name: "./model/", Typeflag: archivetar.TypeDir, Mode: 0o700},
		{Name: "./model/weights", Typeflag: archivetar.TypeReg, Mode: 0o600, Size: int64(len(text))},
		{Name: "./model/latest", Typeflag: archivetar.TypeSymlink, Linkname: "weights"},
	} {
		if err := w.WriteHeader(&head); err != nil {
			t.Fatal(err)
		}
		if head.Typeflag == archivetar.TypeReg {
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestModels(t *testing.T) {
	t.Parallel()
	needPython(t)
	const job = "arn:aws:sagemaker:" + region + ":" + account + ":training-job/wear"
	h := startServer(t, "--sagemaker-model", job+"=s3://models/wear.zip").site(region)
	put := func(key string, content []byte) {
		t.Helper()
		h.put(t, "models", key, string(content))
	}
	put("seed.tar.gz", packed(t, "seeds"))
	put("wear.zip", zipOf(t, map[string][]byte{"model/weights": []byte("tears")}))
	viewer := h.connect(t, "Viewer")
	g := h.contained(t, "Model_Core")
	viewer.subscribe(t, "Model_Core/out")
	millers := &types.ResourceDownloadOwnerSetting{GroupOwner: aws.String(fmt.Sprint(millers)), GroupPermission: types.PermissionRo}
	seed := &types.S3MachineLearningModelResourceData{S3Uri: aws.String("s3://models/seed.tar.gz"), DestinationPath: aws.String("/ml/seed")}
	g.resources = []types.Resource{
		resource("seed", types.ResourceDataContainer{S3MachineLearningModelResourceData: seed}),
		resource("wear", types.ResourceDataContainer{SageMakerMachineLearningModelResourceData: &types.SageMakerMachineLearningModelResourceData{
			SageMakerJobArn: aws.String(job), DestinationPath: aws.String("/ml/wear"), OwnerSetting: millers}}),
		resource("unused", types.ResourceDataContainer{S3MachineLearningModelResourceData: &types.S3MachineLearningModelResourceData{
			S3Uri: aws.String("s3://models/nothing"), DestinationPath: aws.String("/ml/unused")}}),
	}
	ro := func(id string) types.ResourceAccessPolicy {
		return types.ResourceAccessPolicy{ResourceId: &id, Permission: types.PermissionRo}
	}
	tags := []string{"first", "second", "plain"}
	var functions []function
	var routes []route
	for i, given := range [][]types.ResourceAccessPolicy{{ro("seed"), ro("wear")}, {ro("seed")}, {{ResourceId: aws.String("wear")}}} {
		f := function{arn: h.python(t, "Model"+tags[i], user), pinned: true, memory: aws.Int32(65536), variables: out(g.thing, tags[i]), resources: given}
		if tags[i] == "plain" {
			f.isolation, f.memory = types.FunctionIsolationModeNoContainer, nil
		}
		functions = append(functions, f)
		routes = append(routes, route{f.arn, g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/" + tags[i], f.arn})
	}
	use := func(who, name, write, want string) {
		t.Helper()
		payload := fmt.Sprintf(`{"use":%q}`, name)
		if write != "" {
			payload = fmt.Sprintf(`{"use":%q,"write":%q}`, name, write)
		}
		await(t, "publish", viewer.Publish(g.thing+"/"+who, 1, false, payload))
		viewer.next(t, want)
	}
	group, version := g.groupVersion(t, "", functions, routes)
	g.awaitContained(t, group, version)
	viewer.next(t, "started first", "started second", "started plain")
	use("first", "/ml/seed/model/latest", "", "first read /ml/seed/model/latest: b'seeds'")
	use("first", "/ml/wear/model/weights", "", "first read /ml/wear/model/weights: b'tears'")
	use("first", "/ml/wear/model/weights", "x", "first /ml/wear/model/weights: Permission denied")
	use("second", "/ml/seed/model/weights", "", "second read /ml/seed/model/weights: b'seeds'")
	use("second", "/ml/wear/model/weights", "", "second /ml/wear/model/weights: No such file")
	use("plain", "$AWS_GG_RESOURCE_PREFIX/ml/wear/model/weights", "", "b'tears'")
	use("plain", "$AWS_GG_RESOURCE_PREFIX/ml/wear/model/weights", "x", "Permission denied")
	stored := func() (list []string) {
		entries, err := os.ReadDir(filepath.Join(g.root, "ggc", "deployment", ".store"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".model") {
				list = append(list, e.Name())
			}
		}
		return list
	}
	before := stored()
	if len(before) != 2 {
		t.Errorf("%d models are on the core", len(before))
	}
	seedFolder := before[0]
	if data, err := os.ReadFile(filepath.Join(g.root, "ggc", "deployment", ".store", seedFolder, "files", "model", "weights")); err != nil || string(data) != "seeds" {
		seedFolder = before[1]
	}
	if info, err := os.Stat(filepath.Join(g.root, "ggc", "deployment", ".store", seedFolder)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a model without an owner lies behind %v, %v", info, err)
	}

	// Only what changed is fetched, and what is no longer used goes.
	put("seed.tar.gz", packed(t, "plant"))
	_, version = g.groupVersion(t, group, functions, routes)
	g.awaitContained(t, group, version)
	viewer.next(t, "started first", "started second")
	use("second", "/ml/seed/model/weights", "", "second read /ml/seed/model/weights: b'plant'")
	use("plain", "$AWS_GG_RESOURCE_PREFIX/ml/wear/model/weights", "", "b'tears'")
	functions[0].resources, functions[1].resources = nil, nil
	for range 2 { // the core keeps what it would go back to
		_, version = g.groupVersion(t, group, functions, routes)
		g.awaitContained(t, group, version)
	}
	eventually(t, "the model that nobody uses is removed", func() error {
		if left := stored(); len(left) != 1 {
			return fmt.Errorf("%d models are on the core", len(left))
		}
		return nil
	})

	// What cannot be found, or is no archive, fails the deployment by name.
	functions[0].resources = []types.ResourceAccessPolicy{ro("seed"), ro("unused")}
	seed.S3Uri = aws.String("s3://models/text.tar.gz")
	put("text.tar.gz", []byte("no archive"))
	_, version = g.groupVersion(t, group, functions, routes)
	text := details(g.await(t, group, g.deploy(t, group, version), fescue.Failure))
	if !strings.Contains(text, "refers to a resource unused with nonexistent S3 object s3://models/nothing") ||
		!strings.Contains(text, "'seed' at s3://models/text.tar.gz cannot be deployed: it is neither a .tar.gz nor a .zip archive") {
		t.Errorf("details\n%s", text)
	}
}
