package fescue_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

func TestLocalResources(t *testing.T) {
	t.Parallel()
	volume := func(source, destination string) fescue.ResourceDataContainer {
		return fescue.ResourceDataContainer{LocalVolumeResourceData: &fescue.LocalVolumeResourceData{SourcePath: source, DestinationPath: destination}}
	}
	device := func(source string) fescue.ResourceDataContainer {
		return fescue.ResourceDataContainer{LocalDeviceResourceData: &fescue.LocalDeviceResourceData{SourcePath: source}}
	}
	for _, tc := range []struct {
		name       string
		data       fescue.ResourceDataContainer
		permission string
		want       string // part of the problem; empty for none
	}{
		{"a folder", volume("/srv/mill", "/data"), "rw", ""},
		{"a folder where it lies", volume("/srv/mill", ""), "ro", ""},
		{"without a permission", volume("/srv/mill", ""), "", ""},
		{"a permission that is none", volume("/srv/mill", ""), "wo", "'wo' is neither ro nor rw"},
		{"the machine's root", volume("/", "/host"), "ro", ""},
		{"the machine's root where it lies", volume("/", ""), "ro", "cannot be seen at '/'"},
		{"no path", volume("", ""), "ro", "must be absolute"},
		{"a relative path", volume("srv", "/data"), "ro", "must be absolute"},
		{"a relative destination", volume("/srv", "data"), "ro", "must be absolute"},
		{"/sys", volume("/sys", "/s"), "ro", "Accessing /sys is prohibited"},
		{"of /sys by a detour", volume("/srv/../sys/class", "/s"), "ro", "Accessing /sys is prohibited"},
		{"beside /sys", volume("/system", "/s"), "ro", ""},
		{"/var", volume("/var", "/v"), "ro", "nothing of /var"},
		{"of /var/run", volume("/var/run/app", "/v"), "ro", "nothing of /var"},
		{"of /var/lib", volume("/var/lib/app", "/v"), "ro", "nothing of /var"},
		{"/dev as a volume", volume("/dev", "/d"), "ro", "give a device of /dev as LocalDeviceResourceData"},
		{"a device as a volume", volume("/dev/ttyS1", "/d"), "ro", "give a device of /dev as LocalDeviceResourceData"},
		{"/dev/shm", volume("/dev/shm", "/dev/shm"), "rw", ""},
		{"/dev/shm to be read", volume("/dev/shm", "/dev/shm"), "ro", "with the permission rw only"},
		{"/dev/shm without a permission", volume("/dev/shm", "/dev/shm"), "", "with the permission rw only"},
		{"of /proc", volume("/proc/net", "/host_proc/net"), "ro", ""},
		{"/proc at /proc", volume("/proc", "/proc"), "ro", "cannot be seen at '/proc'"},
		{"of /proc where it lies", volume("/proc/stat", ""), "ro", "cannot be seen at '/proc/stat'"},
		{"at the code", volume("/srv", "/lambda"), "ro", "cannot be seen at '/lambda'"},
		{"in the runtimes", volume("/srv", "/runtime/python"), "ro", "cannot be seen at"},
		{"in /dev", volume("/srv", "/dev/x"), "ro", "cannot be seen at '/dev/x'"},
		{"in /sys", volume("/srv", "/sys/x"), "ro", "cannot be seen at '/sys/x'"},
		{"a device", device("/dev/serial/by-id/usb-1"), "rw", ""},
		{"no device", device("/etc/passwd"), "rw", "should begin with /dev, but got: /etc/passwd"},
		{"/dev as a device", device("/dev"), "rw", "should begin with /dev"},
		{"no device by a detour", device("/dev/../etc/passwd"), "rw", "should begin with /dev, but got: /etc/passwd"},
		{"a terminal's end", device("/dev/pts/3"), "rw", "of which a container has its own"},
		{"shared memory as a device", device("/dev/shm"), "rw", "of which a container has its own"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			local, ok := tc.data.Local()
			if !ok {
				t.Fatal("it is no local resource")
			}
			if got := local.Problem(tc.permission); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("problem %q, want %q", got, tc.want)
			}
		})
	}
}
