package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// records is a folder with one file for each running process. A core that was
// killed takes its functions with it (the kernel sees to that), but not their
// children; the next core finds those here.
type records struct{ dir string }

// record identifies a process beyond doubt: numbers are used again, but not with
// the same start time in the same run of the kernel.
type record struct {
	PID int
	// Start is field 22 of /proc/<pid>/stat, in clock ticks since boot.
	Start uint64
	Boot  string
	ARN   string
}

const recordSuffix = ".worker.json"

func (r records) add(workerID string, pid int, arn string) error {
	if r.dir == "" {
		return nil
	}
	stat, err := readStat(pid)
	if errors.Is(err, fs.ErrNotExist) {
		// It has ended already.
		return nil
	}
	if err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	text, err := json.Marshal(record{PID: pid, Start: stat.start, Boot: boot, ARN: arn})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dir, workerID+recordSuffix), text, 0o600)
}

func (r records) remove(workerID string) error {
	if r.dir == "" {
		return nil
	}
	err := os.Remove(filepath.Join(r.dir, workerID+recordSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// clear kills what the records of an earlier run name, removes the records and
// returns the numbers of the killed processes.
func (r records) clear() ([]int, error) {
	if r.dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	var killed []int
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), recordSuffix) {
			continue
		}
		path := filepath.Join(r.dir, entry.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return killed, err
		}
		var left record
		// A file that power loss cut short names nothing that still runs.
		if json.Unmarshal(text, &left) == nil && left.Boot == boot && left.PID > 1 {
			pids, err := left.kill()
			killed = append(killed, pids...)
			if err != nil {
				return killed, err
			}
		}
		if err := os.Remove(path); err != nil {
			return killed, err
		}
	}
	return killed, nil
}

// kill ends the recorded process and what is left of its group.
func (r record) kill() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	leader, err := readStat(r.PID)
	if err == nil && leader.start != r.Start {
		// The number belongs to a stranger now, and its group with it.
		return nil, nil
	}
	var killed []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := readStat(pid)
		if err != nil || stat.group != r.PID || stat.start < r.Start || !r.owns(pid) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
			killed = append(killed, pid)
		} else if !errors.Is(err, syscall.ESRCH) {
			return killed, fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return killed, nil
}

// owns says whether a process has the environment of the recorded function: its
// group's number may have been used again since all of the group ended.
func (r record) owns(pid int) bool {
	environment, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	for variable := range bytes.SplitSeq(environment, []byte{0}) {
		if string(variable) == "MY_FUNCTION_ARN="+r.ARN {
			return true
		}
	}
	return false
}

// stat is what is needed of /proc/<pid>/stat.
type stat struct {
	group int
	start uint64
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, syscall.ESRCH) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return stat{}, err
	}
	// The second field is the program's name in parentheses, which may hold
	// anything; the third is the state.
	_, rest, ok := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	group, err1 := strconv.Atoi(fields[2])
	start, err2 := strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return stat{group: group, start: start}, nil
}

func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
}
