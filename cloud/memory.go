package cloud

import (
	"bufio"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue/doctor"
)

const (
	// memoryPart is how much of the memory the server may have counts for garbage collection,
	// in percent: what is left is for what does not, such as SQLite's pages and the program.
	memoryPart = 80
	// memoryVariable is Go's, which goes before.
	memoryVariable = "GOMEMLIMIT"
	// What a server with connected cores had at its peak, with 2,000 to 10,000 of them, see
	// docs/scaling.md.
	memoryBase, memoryCore = 128 << 20, 90 << 10
)

// LimitMemory has garbage be collected more eagerly before the process has all memory that its
// control group or its machine gives it: when many cores come back at once there is more of
// it than of anything else. What is in use is never refused.
func LimitMemory(logger *slog.Logger) {
	if os.Getenv(memoryVariable) != "" {
		return
	}
	if m := memoryOf(os.DirFS("/"), "self"); m.bytes > 0 {
		debug.SetMemoryLimit(m.limit())
		logger.Debug("memory limited", "bytes", m.limit(), "of", m.of)
	}
}

// memory is what a process may have.
type memory struct {
	bytes int64 // 0 where it is not known
	of    string
}

func (m memory) limit() int64 { return m.bytes / 100 * memoryPart }

// memoryOf is the memory of a process, "self" for this one: the least that its control groups
// say, or the machine's.
func memoryOf(root fs.FS, pid string) memory {
	m := memory{machineMemory(root), "this machine's memory"}
	for _, group := range memoryGroups(root, pid) {
		text, err := fs.ReadFile(root, group)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		// "max", or a number that no machine has, is none.
		if err == nil && n > 0 && (m.bytes == 0 || n < m.bytes) {
			m = memory{n, "the memory of its control group (/" + group + ")"}
		}
	}
	return m
}

func machineMemory(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	var kb int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kb); err != nil {
		return 0
	}
	return kb << 10
}

// memoryGroups are the files with the limits of the control groups that a process is in, of
// both versions. A container may see only its own, as the root of all.
func memoryGroups(root fs.FS, pid string) (files []string) {
	f, err := root.Open(path.Join("proc", pid, "cgroup"))
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		part := strings.SplitN(lines.Text(), ":", 3)
		if len(part) < 3 {
			continue
		}
		var folder, file string
		switch {
		case part[0] == "0" && part[1] == "":
			folder, file = "sys/fs/cgroup", "memory.max"
		case part[1] == "memory":
			folder, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for group := path.Clean("/" + part[2]); ; group = path.Dir(group) {
			files = append(files, path.Join(folder, group, file))
			if group == "/" {
				break
			}
		}
	}
	return files
}

// memory says from where on garbage is collected more eagerly, and whether that is enough for
// the cores that there are.
func (e *examiner) memory() {
	const subject = "memory"
	pid := "self"
	if e.pid > 0 {
		pid = strconv.Itoa(e.pid)
	}
	m := memoryOf(os.DirFS("/"), pid)
	if m.bytes == 0 {
		e.Add(subject, doctor.Unknown, "this system does not say how much there is", "")
		return
	}
	says := fmt.Sprintf("%d MB, %s; a server collects garbage more eagerly from %d MB on", m.bytes>>20, m.of, m.limit()>>20)
	if set := os.Getenv(memoryVariable); set != "" {
		says = fmt.Sprintf("%d MB, %s; %s=%s counts where it is set for the server", m.bytes>>20, m.of, memoryVariable, set)
	}
	cores := 0
	if e.database != nil {
		cores = e.database.Cores()
	}
	if need := memoryBase + int64(cores)*memoryCore; cores > 0 && need > m.limit() {
		e.Add(subject, doctor.Poor, fmt.Sprintf("%s; %d cores, should all be connected here and come back at once, have taken %d MB", says, cores, need>>20), "give it more, or have a second server")
		return
	}
	e.Add(subject, doctor.Good, says, "")
}
