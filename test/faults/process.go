//go:build linux

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// program is one of the built programs, which can be killed and started again.
type program struct {
	path string
	args []string
	env  []string
	log  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
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
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(plainEnvironment(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// plainEnvironment is the process's own without what would steer the AWS SDK or
// the programs.
func plainEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "FESCUE_") {
			env = append(env, v)
		}
	}
	return env
}

// signal sends a signal, and with wait waits until the program has ended.
func (p *program) signal(s syscall.Signal, wait bool) {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	cmd.Process.Signal(s)
	if wait {
		<-done
	}
}

// ended says how the program ended, and nil while it runs.
func (p *program) ended() error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	select {
	case <-done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return errors.Join(fmt.Errorf("%s has ended", filepath.Base(p.path)), p.err)
	default:
		return nil
	}
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
