package core

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue/corelink"
)

// activity is what this core does now.
func (p *parts) activity() corelink.Activity {
	memory := readMemory("/proc")
	queue := p.link.Stats()
	a := corelink.Activity{
		At: time.Now().UTC(), Since: p.started, MemoryKB: memory.own[os.Getpid()],
		Messages: queue.Messages, Bytes: queue.Bytes, Dropped: queue.Dropped, Functions: p.supervisor.Activity(),
	}
	workers := 0
	for i := range a.Functions {
		f := &a.Functions[i]
		f.Workers = f.Workers[:min(len(f.Workers), corelink.MaxActivityWorkers-workers)]
		workers += len(f.Workers)
		for j := range f.Workers {
			f.Workers[j].MemoryKB = memory.of(f.Workers[j].PID)
		}
	}
	a.Functions = a.Functions[:min(len(a.Functions), corelink.MaxActivityFunctions)]
	devices := p.local.gateway.Activity()
	a.Devices = devices[:min(len(devices), corelink.MaxActivityDevices)]
	return a
}

// memory is what processes have in memory, in KB, and which are whose children.
type memory struct {
	own      map[int]int64
	children map[int][]int
}

// readMemory reads it of all processes of a /proc. What ends meanwhile is left out.
func readMemory(proc string) memory {
	m := memory{make(map[int]int64), make(map[int][]int)}
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat"))
	if err != nil {
		return m
	}
	page := int64(os.Getpagesize() >> 10)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		// The program's name, in parentheses, may have any bytes.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if err != nil || len(fields) < 22 {
			continue
		}
		parent, err1 := strconv.Atoi(string(fields[1]))
		pages, err2 := strconv.ParseInt(string(fields[21]), 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		m.own[pid] = pages * page
		m.children[parent] = append(m.children[parent], pid)
	}
	return m
}

// of is a process's memory with that of all that came of it.
func (m memory) of(pid int) int64 {
	sum := m.own[pid]
	for _, child := range m.children[pid] {
		sum += m.of(child)
	}
	return sum
}
