package fescue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// FunctionDefaultConfig holds what functions inherit when they say nothing.
type FunctionDefaultConfig struct {
	Execution *FunctionExecution `json:",omitempty"`
}

// FunctionExecution says how a function is isolated and as whom it runs.
type FunctionExecution struct {
	// IsolationMode is GreengrassContainer (also when empty) or NoContainer.
	IsolationMode IsolationMode `json:",omitempty"`
	RunAs         *RunAs        `json:",omitempty"`
}

// IsolationMode is how far a function is kept from the host.
type IsolationMode string

// The isolation modes.
const (
	GreengrassContainer IsolationMode = "GreengrassContainer"
	NoContainer         IsolationMode = "NoContainer"
)

// The accounts that functions run as where nothing else is said (AWS IoT Greengrass V1
// developer guide, "Device authentication and authorization"), and how they are made.
const (
	DefaultUser  = "ggc_user"
	DefaultGroup = "ggc_group"
	MakeAccounts = "groupadd --system " + DefaultGroup + " && useradd --system --gid " + DefaultGroup + " --shell /usr/sbin/nologin " + DefaultUser
)

// RunAs is a numeric identity; a missing half falls back to the group's
// default, and that to DefaultUser or DefaultGroup.
type RunAs struct {
	Gid *int `json:",omitempty"`
	Uid *int `json:",omitempty"`
}

// Valid reports whether the mode is one that there is. A mode that was left out
// is none: Isolation says what it becomes.
func (m IsolationMode) Valid() bool { return m == GreengrassContainer || m == NoContainer }

// Isolation is the mode in which a function runs: its own, else the group's, else
// a container. Either may be nil.
func Isolation(own, group *FunctionExecution) IsolationMode {
	for _, e := range []*FunctionExecution{own, group} {
		if e != nil && e.IsolationMode != "" {
			return e.IsolationMode
		}
	}
	return GreengrassContainer
}

// Identity is whom a function runs as. Each half is its own, else the group's,
// else nil: the core then takes DefaultUser and DefaultGroup.
func Identity(own, group *FunctionExecution) (uid, gid *int) {
	for _, e := range []*FunctionExecution{own, group} {
		if e != nil && e.RunAs != nil {
			uid, gid = cmp.Or(uid, e.RunAs.Uid), cmp.Or(gid, e.RunAs.Gid)
		}
	}
	return uid, gid
}

// ModeConflicts lists what a function has that its isolation mode does not, as the
// codes that name it.
func ModeConflicts(mode IsolationMode, memorySize *int, accessSysfs *bool) (list []FailureCode) {
	if mode != NoContainer {
		return nil
	}
	if memorySize != nil {
		list = append(list, MemorySizeUnexpected)
	}
	if accessSysfs != nil && *accessSysfs {
		list = append(list, AccessSysfsUnexpected)
	}
	return list
}

// DefaultExecution is what the group's defaults say of how functions run; nil for
// nothing.
func (c *FunctionDefaultConfig) DefaultExecution() *FunctionExecution {
	if c == nil {
		return nil
	}
	return c.Execution
}

// Encodings of what goes to a function and comes from it. A function that says
// nothing has JSON.
const (
	EncodingJSON   = "json"
	EncodingBinary = "binary"
)

// ValidEncoding reports whether an EncodingType is one that there is, or none.
func ValidEncoding(e string) bool { return e == "" || e == EncodingJSON || e == EncodingBinary }

// DefaultTimeout is that of a function that has none (AWS IoT Greengrass V1
// developer guide, "Controlling execution").
const DefaultTimeout = 3 * time.Second

// maxTimeout bounds how long a function may work on an item.
const maxTimeout = 24 * time.Hour

// ProcessProblems is what of a function's configuration no process can be given:
// its encoding, its timeout in seconds (nil for the default), its variables and
// what its command line is made of.
func ProcessProblems(encoding string, timeout *int, variables map[string]string, command ...string) (list []string) {
	if !ValidEncoding(encoding) {
		list = append(list, fmt.Sprintf("EncodingType %q is neither json nor binary", encoding))
	}
	if timeout != nil && (*timeout < 0 || *timeout > int(maxTimeout.Seconds())) {
		list = append(list, fmt.Sprintf("Timeout is %d s; it must lie between 0 and a day", *timeout))
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(variables[name], "\x00") {
			list = append(list, fmt.Sprintf("the environment variable %q cannot be given to a process", name))
		}
	}
	for _, word := range command {
		if strings.Contains(word, "\x00") {
			list = append(list, fmt.Sprintf("%q cannot stand in a command line", word))
		}
	}
	return list
}

// EntryPoint is what of a function's version is started. A program is the file
// that Executable names, else Handler. In a runtime that calls a handler the
// version's own counts: Executable holds an interpreter there, or any word, in
// many a script, and the original did not mind.
func EntryPoint(runtime, handler, executable string) string {
	if runtime == ExecutableRuntime {
		return cmp.Or(executable, handler)
	}
	return cmp.Or(handler, executable)
}

// ExecutableRuntime is the Lambda runtime of native programs on a core; the
// handler is the file's name.
const ExecutableRuntime = "arn:aws:greengrass:::runtime/function/executable"

// PrivilegedGroups are groups whose members can become root, or read what only
// root may, by the names that they have on Linux distributions.
var PrivilegedGroups = []string{
	"root", "shadow", "disk", "kmem", "mem", "sudo", "wheel", "admin", "staff", "docker", "podman", "containerd", "lxd", "incus", "incus-admin",
	"libvirt", "libvirtd", "microk8s",
}

// FirstOrdinaryID is the lowest id that distributions give to people; those below
// are the system's own.
const FirstOrdinaryID = 1000
