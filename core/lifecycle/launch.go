package lifecycle

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/core/plan"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/runtimes"
)

// command is how a function's process is started.
type command struct {
	runtime *runtimes.Runtime
	// places are where the process finds what it needs.
	places  places
	program sandbox.InsidePath
	args    []string
	// reads are what the function's user must be able to read for it.
	reads []sandbox.InsidePath
}

// launcher resolves how functions are started.
type launcher struct {
	interpreters *interpreters
	// runtimeDir is where the runtimes package was extracted to.
	runtimeDir sandbox.HostPath
	// hidden are folders that functions in containers do not see.
	hidden []sandbox.HostPath
	// memoryKB is the machine's memory.
	memoryKB int64
}

// machineKB is the memory of the machine, which the kernel always tells.
func machineKB() int64 {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)
	return int64(info.Totalram) * int64(info.Unit) >> 10
}

// command resolves a function's command line, or says why it cannot run here.
func (l *launcher) command(ctx context.Context, f *plan.Function) (command, error) {
	c := command{runtime: runtimes.Of(f.Runtime), places: placesOf(f, l.runtimeDir)}
	if c.runtime == nil {
		return command{}, &UnsupportedRuntimeError{f.Runtime}
	}
	if len(c.runtime.Interpreters) == 0 {
		if err := program(f); err != nil {
			return command{}, err
		}
		c.program, c.args = c.places.code.Join(f.Handler), f.Arguments
		return c, nil
	}
	interpreter, err := l.interpreters.find(ctx, c.runtime, f.Runtime, f.RunAs, l.container(f))
	if err != nil {
		return command{}, err
	}
	main := c.places.runtimes.Join(c.runtime.Main)
	fill := strings.NewReplacer("{main}", string(main), "{handler}", f.Handler, "{code}", string(c.places.code))
	if f.Container != nil {
		c.args = c.runtime.Bounds(int64(f.Container.MemoryKB), l.memoryKB, f.Environment)
	}
	for _, argument := range c.runtime.Arguments {
		c.args = append(c.args, fill.Replace(argument))
	}
	c.program, c.args = interpreter.Plain(), append(c.args, f.Arguments...)
	c.reads = []sandbox.InsidePath{c.places.code, main}
	return c, nil
}

// program checks the file in the package that the handler names.
func program(f *plan.Function) error {
	path := string(f.Code.Join(f.Handler))
	if !filepath.IsLocal(f.Handler) {
		return &CodeError{path, errors.New("the handler must be a file name inside the function's package")}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return &CodeError{path, err}
	case !info.Mode().IsRegular():
		return &CodeError{path, errors.New("it is not a file")}
	case info.Mode().Perm()&0o111 == 0:
		return &CodeError{path, errors.New("it is not executable; chmod u+x it")}
	}
	return nil
}

// Check says which functions cannot run on this machine, and why. Nothing is
// started or stopped: it is meant for the time before a deployment switches.
func (s *Supervisor) Check(ctx context.Context, functions []plan.Function) []Problem {
	var problems []Problem
	for i := range functions {
		// A package that is not here is one that the deployment would fetch.
		_, err := os.Lstat(string(functions[i].Code))
		if _, err := s.resolve(ctx, &functions[i], !errors.Is(err, fs.ErrNotExist)); err != nil {
			problems = append(problems, Problem{functions[i].ARN, err})
		}
	}
	return problems
}

// resolve is the command line of a function that can run here. Of one whose package
// is not here it sees only what the machine lacks.
func (s *Supervisor) resolve(ctx context.Context, f *plan.Function, here bool) (command, error) {
	if row := runtimes.Of(f.Runtime); !here && row != nil && len(row.Interpreters) == 0 {
		if f.Container != nil {
			return command{}, nil
		}
		return command{}, f.RunAs.MayEnter(f.Code)
	}
	if info, err := os.Stat(string(f.Code)); here && err != nil {
		return command{}, &CodeError{string(f.Code), err}
	} else if here && !info.IsDir() || !filepath.IsAbs(string(f.Code)) {
		return command{}, &CodeError{string(f.Code), errors.New("it is not the absolute path of a folder")}
	}
	c, err := s.launcher.command(ctx, f)
	if err != nil {
		return command{}, err
	}
	return c, sandbox.Examine(s.spec(f, c, "", ""))
}
