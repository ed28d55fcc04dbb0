package fescue

import "cmp"

// How a function runs: what its own configuration and its group's defaults say
// together.

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
// else nil: the core then takes ggc_user and ggc_group.
func Identity(own, group *FunctionExecution) (uid, gid *int) {
	for _, e := range []*FunctionExecution{own, group} {
		if e != nil && e.RunAs != nil {
			uid, gid = cmp.Or(uid, e.RunAs.Uid), cmp.Or(gid, e.RunAs.Gid)
		}
	}
	return uid, gid
}

// DefaultExecution is what the group's defaults say of how functions run; nil for
// nothing.
func (c *FunctionDefaultConfig) DefaultExecution() *FunctionExecution {
	if c == nil {
		return nil
	}
	return c.Execution
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
