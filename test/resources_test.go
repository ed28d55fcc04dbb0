//go:build linux

package test

import (
	"fmt"
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

// user is a Python function that uses what it is told to, and says what came of it.
const user = greeter + `
def handler(event, context):
    tag, name = os.environ["TAG"], event["use"]
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
	needPython(t)
	h := startServer(t).house(region)
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
	arns := []string{h.python(t, "Writer", user), h.python(t, "Reader", user), h.python(t, "Stranger", user)}
	var functions []function
	var routes []route
	for i, given := range [][]types.ResourceAccessPolicy{
		{{ResourceId: aws.String("folder"), Permission: types.PermissionRw}, {ResourceId: aws.String("line"), Permission: types.PermissionRw}},
		{{ResourceId: aws.String("folder"), Permission: types.PermissionRo}, {ResourceId: aws.String("zero"), Permission: types.PermissionRo}},
		nil,
	} {
		tag := []string{"writer", "reader", "stranger"}[i]
		functions = append(functions, function{arn: arns[i], pinned: true, memory: aws.Int32(65536), variables: out(g.thing, tag), resources: given})
		routes = append(routes, route{arns[i], g.thing + "/out", "cloud"}, route{"cloud", g.thing + "/" + tag, arns[i]})
	}
	group, version := g.groupVersion(t, "", functions, routes)
	g.awaitContained(t, group, version)
	viewer.next(t, "started writer", "started reader", "started stranger")
	for _, step := range []struct{ who, use, write, want string }{
		{"writer", "/data/in", "", "writer read /data/in: b'grain'"},
		{"writer", "/data/out", "flour", "writer wrote /data/out"},
		{"reader", "/data/out", "", "reader read /data/out: b'flour'"},
		{"reader", "/data/out", "bran", "reader /data/out: Read-only file system"},
		{"stranger", "/data/in", "", "stranger /data/in: No such file or directory"},
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
