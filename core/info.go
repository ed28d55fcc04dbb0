package core

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue"
)

// info is what this core reports of itself to the control plane, but for the manifest
// formats that it reads.
func (p *parts) info(context.Context) fescue.CoreInfo {
	return fescue.CoreInfo{
		Version:      softwareVersion(),
		Architecture: runtime.GOARCH,
		Kernel:       kernel(),
		Cgroups:      cgroups("/sys/fs/cgroup"),
		Root:         os.Geteuid() == 0,
		Runtimes:     *p.runtimes.Load(),
	}
}

// lookForRuntimes asks the machine's interpreters for their versions, which takes
// too long to wait for it, and reports them to the control plane.
func (p *parts) lookForRuntimes(ctx context.Context) {
	found := p.supervisor.Interpreters(ctx)
	if ctx.Err() == nil {
		p.runtimes.Store(&found)
		p.agent.Wake()
	}
}

// softwareVersion is that of this program, not the version of Greengrass Core that
// functions are given.
func softwareVersion() string {
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" && build.Main.Version != "(devel)" {
		return build.Main.Version
	}
	return "devel"
}

// kernel is the release of the kernel that runs, empty when it does not say.
func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// cgroups says which versions of control groups are mounted at the usual place.
func cgroups(mount string) string {
	var fs unix.Statfs_t
	if unix.Statfs(mount, &fs) == nil && int64(fs.Type) == unix.CGROUP2_SUPER_MAGIC {
		return "v2"
	}
	there := func(name string) bool {
		_, err := os.Stat(mount + "/" + name)
		return err == nil
	}
	switch {
	case there("memory") && there("unified"):
		return "hybrid"
	case there("memory"):
		return "v1"
	}
	return ""
}
