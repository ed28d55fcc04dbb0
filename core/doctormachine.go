package core

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/core/lifecycle"
	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/doctor"
	"github.com/fescue-edge/fescue/runtimes"
)

// machine looks at the machine itself (AWS IoT Greengrass V1 developer guide, "What is
// AWS IoT Greengrass", has what the original wanted).
func (e *Examination) machine(ctx context.Context, o Options, inMemory bool) {
	e.Core = fescue.CoreInfo{
		Version: softwareVersion(), Architecture: runtime.GOARCH, Kernel: kernel(), Cgroups: cgroups("/sys/fs/cgroup"), Root: os.Geteuid() == 0,
		Unserved: fescue.UnservedNames(), Formats: bundle.Formats(),
	}
	if e.Core.Root {
		e.Add("user", doctor.Good, "root", "")
	} else {
		e.Add("user", doctor.Poor, fmt.Sprintf("UID %d: no containers, no RunAs, and functions run as the core's own user", os.Geteuid()), "run the core, and this, as root")
	}
	switch major, minor := release(e.Core.Kernel); {
	case major < 3 || major == 3 && minor < 17:
		e.Add("kernel", doctor.Bad, e.Core.Kernel, "use Linux 3.17 or newer, for containers 4.4")
	case major == 3 || major == 4 && minor < 4:
		e.Add("kernel", doctor.Poor, e.Core.Kernel, "containers need Linux 4.4 or newer")
	default:
		e.Add("kernel", doctor.Good, e.Core.Kernel, "")
	}
	for _, option := range kernelOptions {
		if option.there() {
			e.Add(option.name, doctor.Good, "there", "")
		} else {
			e.Add(option.name, doctor.Poor, "not there", "containers need it: "+option.remedy)
		}
	}
	e.groups()
	e.containers(o, inMemory)
	for _, link := range []string{"hardlinks", "symlinks"} {
		name := "fs.protected_" + link
		if text, err := os.ReadFile("/proc/sys/fs/protected_" + link); err == nil && strings.TrimSpace(string(text)) != "0" {
			e.Add(name, doctor.Good, strings.TrimSpace(string(text)), "")
		} else {
			e.Add(name, doctor.Poor, "0", "sysctl -w "+name+"=1, and in /etc/sysctl.d for good: users could have root follow their links")
		}
	}
	e.interpreters(ctx, o)
}

// release reads the two numbers that a kernel's release begins with.
func release(text string) (major, minor int) {
	fmt.Sscanf(text, "%d.%d", &major, &minor)
	return major, minor
}

// kernelOptions are what the kernel must have for containers, by what shows it.
var kernelOptions = []struct {
	name   string
	there  func() bool
	remedy string
}{
	{"namespaces", func() bool {
		return !slices.ContainsFunc([]string{"mnt", "pid", "ipc", "uts"}, func(n string) bool { return !exists("/proc/self/ns/" + n) })
	}, "a kernel with CONFIG_NAMESPACES, PID_NS, IPC_NS and UTS_NS"},
	{"overlay file system", func() bool { return filesystem("overlay") || exists("/lib/modules/"+kernel()+"/kernel/fs/overlayfs") },
		"modprobe overlay, or a kernel with CONFIG_OVERLAY_FS"},
	{"message queues", func() bool { return filesystem("mqueue") }, "a kernel with CONFIG_POSIX_MQUEUE"},
	{"seccomp filters", func() bool { return exists("/proc/sys/kernel/seccomp/actions_avail") }, "a kernel with CONFIG_SECCOMP_FILTER"},
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func filesystem(name string) bool {
	text, err := os.ReadFile("/proc/filesystems")
	return err == nil && slices.Contains(strings.Fields(string(text)), name)
}

// groups looks at the control groups.
func (e *Examination) groups() {
	var found, missing []string
	list, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if e.Core.Cgroups != "v2" {
		list, err = os.ReadFile("/proc/cgroups")
	}
	if err == nil {
		for _, controller := range []string{"memory", "pids", "devices"} {
			if slices.Contains(strings.Fields(string(list)), controller) {
				found = append(found, controller)
			} else if controller != "devices" || e.Core.Cgroups != "v2" { // version 2 has none: programs decide there
				missing = append(missing, controller)
			}
		}
	}
	version := e.Core.Cgroups
	if version == "" {
		e.Add("control groups", doctor.Poor, "not mounted", "containers need them: mount them, as every common distribution does")
		return
	}
	if len(missing) > 0 || err != nil {
		e.Add("control groups", doctor.Poor, version+" without "+strings.Join(missing, " and "), "containers need a kernel with CONFIG_MEMCG and CONFIG_CGROUP_PIDS; on a Raspberry Pi add cgroup_enable=memory to cmdline.txt")
		return
	}
	e.Add("control groups", doctor.Good, version+" with "+strings.Join(found, ", "), "")
}

// containers makes a sandbox of its own, which makes a container as a core does at
// its start, with its layers in memory where config.json wants them there.
func (e *Examination) containers(o Options, inMemory bool) {
	const subject = "containers"
	folder, err := os.MkdirTemp("", "fescue-doctor-")
	if err != nil {
		e.Add(subject, doctor.Unknown, err.Error(), "make room for temporary files")
		return
	}
	defer os.RemoveAll(folder)
	box, err := sandbox.Open(sandbox.Options{Folder: filepath.Join(folder, "sandbox"), Logger: slog.New(slog.DiscardHandler), Init: o.ContainerInit, OverlayTmpfs: inMemory})
	if err != nil {
		e.Add(subject, doctor.Bad, err.Error(), "functions cannot be started until that is mended")
		return
	}
	e.Core.Missing = box.Missing()
	if err := box.Close(); err != nil {
		e.Add(subject, doctor.Poor, "a container was started, and its remains could not be removed: "+err.Error(), "")
	}
	if len(e.Core.Missing) == 0 {
		e.Add(subject, doctor.Good, "one was started", "")
		return
	}
	e.Core.Unserved = append(e.Core.Unserved, fescue.FeatureContainers)
	for _, text := range e.Core.Missing {
		says, remedy, _ := strings.Cut(text, "; ")
		e.Add(subject, doctor.Poor, says, remedy)
	}
}

// interpreters looks for what runs functions in each language.
func (e *Examination) interpreters(ctx context.Context, o Options) {
	e.Core.Runtimes = lifecycle.Interpreters(ctx, o.searchPath())
	seen := make(map[string]bool)
	for _, row := range runtimes.All() {
		if len(row.Interpreters) == 0 || seen[row.Language] {
			continue
		}
		seen[row.Language] = true
		var found []string
		for _, r := range e.Core.Runtimes {
			if r.Name == row.Language {
				found = append(found, r.Version+" ("+r.Path+")")
			}
		}
		if len(found) > 0 {
			e.Add(row.Language, doctor.Good, strings.Join(found, ", "), "")
			continue
		}
		e.Add(row.Language, doctor.Poor, "not found in "+strings.Join(o.searchPath(), ", "), "for functions in "+row.Language+" install it, for example Debian's package "+packages[row.Language])
	}
}

// packages are Debian's of the languages.
var packages = map[string]string{"Python": "python3", "Node.js": "nodejs", "Java": "default-jre-headless"}

// accounts looks for whom functions run as where their group says nothing.
func (e *Examination) accounts(o Options, uids config.UIDRange) {
	const remedy = fescue.MakeAccounts + "; without it a group whose functions have no RunAs fails its deployment"
	if !e.Core.Root {
		return
	}
	for _, account := range []struct {
		name   string
		lookup func(string) (int, error)
		given  bool
	}{
		{fescue.DefaultUser, plan.System{}.UID, o.DefaultUID != nil || uids != config.UIDRange{}},
		{fescue.DefaultGroup, plan.System{}.GID, o.DefaultGID != nil},
	} {
		id, err := account.lookup(account.name)
		switch {
		case account.given:
			e.Add(account.name, doctor.Good, "not needed: config.json says whom functions run as", "")
		case err != nil:
			e.Add(account.name, doctor.Poor, err.Error(), remedy)
		default:
			e.Add(account.name, doctor.Good, strconv.Itoa(id), "")
		}
	}
}

// space looks at the disk (the original wanted 128 MB).
func (e *Examination) space(cfg *config.Config) {
	const enough, least = 128 << 20, 4 << 20
	folder := cfg.Variable()
	for !exists(folder) && folder != "/" {
		folder = filepath.Dir(folder)
	}
	free, err := disk.Local{}.Free(folder)
	says := fmt.Sprintf("%d MB are free in %s", free>>20, folder)
	switch {
	case err != nil:
		e.Add("disk", doctor.Unknown, err.Error(), "")
	case free < least:
		e.Add("disk", doctor.Bad, says, "make room: no deployment can be staged")
	case free < enough:
		e.Add("disk", doctor.Poor, says, "128 MB and the functions' packages are advised")
	default:
		e.Add("disk", doctor.Good, says, "")
	}
}
