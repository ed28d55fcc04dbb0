//go:build linux

package faults

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/fescue-edge/fescue/testkit/programs"
)

// program is one of the built programs, which can be killed and started again.
type program struct {
	path string
	args []string
	env  []string
	log  string

	mu      sync.Mutex
	process *programs.Program
}

// start starts the program. Its output is appended to its log.
func (p *program) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	started, err := programs.Start(log, p.env, p.path, p.args...)
	if err == nil {
		p.process = started
	}
	return err
}

// signal sends a signal, and with wait waits until the program has ended.
func (p *program) signal(s syscall.Signal, wait bool) {
	p.mu.Lock()
	current := p.process
	p.mu.Unlock()
	if current == nil {
		return
	}
	current.Process.Signal(s)
	if wait {
		<-current.Done
	}
}

// ended says how the program ended, and nil while it runs.
func (p *program) ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process.Ended()
}

// running is one process of a function.
type running struct {
	pid      int
	arn, tag string
}

// functions finds the processes of functions of a site by their environment.
func functions(site string) []running {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	var list []running
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(data, []byte("SITE="+site+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		r := running{pid: pid}
		for v := range strings.SplitSeq(string(data), "\x00") {
			switch key, value, _ := strings.Cut(v, "="); key {
			case "MY_FUNCTION_ARN":
				r.arn = value
			case "TAG":
				r.tag = value
			}
		}
		list = append(list, r)
	}
	return list
}
