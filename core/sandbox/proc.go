package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stat is what is needed of /proc/PID/stat.
type stat struct {
	parent, session int
	state           byte
	// start is the time of its start in clock ticks since boot.
	start uint64
}

// alive says that it is neither a zombie nor about to vanish.
func (s stat) alive() bool { return s.state != 'Z' && s.state != 'X' && s.state != 'x' }

// processes lists the processes of this machine.
func processes() (map[int]stat, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	list := make(map[int]stat)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// One that cannot be read has just ended.
		if s, err := readStat(pid); err == nil {
			list[pid] = s
		}
	}
	return list, nil
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	// The second field is the program's name in parentheses, which may hold
	// anything; the third is the state.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("%s cannot be read", procFile(pid, "stat"))
	}
	parent, err1 := strconv.Atoi(fields[1])
	session, err2 := strconv.Atoi(fields[3])
	start, err3 := strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return stat{}, fmt.Errorf("%s: %w", procFile(pid, "stat"), err)
	}
	return stat{parent: parent, session: session, state: fields[0][0], start: start}, nil
}

// mark is the value of markName in a process's environment, empty where it has
// none or may not be read.
func mark(pid int) string {
	environment, err := os.ReadFile(procFile(pid, "environ"))
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() == 0 {
		// The root of a container may not look into other users' processes; they
		// themselves may.
		environment, err = readAsOwner(pid, "environ")
	}
	if err != nil {
		return ""
	}
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(markName+"=")); ok {
			return string(value)
		}
	}
	return ""
}

// readAsOwner reads a file of a process with the rights of the process's user.
func readAsOwner(pid int, name string) (text []byte, err error) {
	var info unix.Stat_t
	if err := unix.Stat(procFile(pid, ""), &info); err != nil {
		return nil, err
	}
	owner := &Credential{UID: info.Uid, GID: info.Gid}
	if failed := owner.as(func() { text, err = os.ReadFile(procFile(pid, name)) }); failed != nil {
		return nil, failed
	}
	return text, err
}

// withDescendants adds to some processes everything that descends from them.
func withDescendants(list map[int]stat, some map[int]bool) {
	for grown := true; grown; {
		grown = false
		for pid, s := range list {
			if !some[pid] && some[s.parent] {
				some[pid], grown = true, true
			}
		}
	}
}

// inCgroupOf says whether a process is in a control group of a sandbox.
func inCgroupOf(pid int, id string) bool {
	text, err := os.ReadFile(procFile(pid, "cgroup"))
	return err == nil && strings.Contains(string(text), "/"+cgroupPrefix+id+"/")
}
