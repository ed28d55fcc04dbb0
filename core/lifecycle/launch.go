package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/runtimes"
)

// command is a resolved command line; python says whether PYTHONPATH applies.
type command struct {
	path   string
	args   []string
	python bool
	// reads are what the function's user must be able to read for it.
	reads []string
}

// launcher finds the programs that run functions. It remembers what it found,
// and asks again when that is gone.
type launcher struct {
	searchPath []string
	runtimeDir string
	warn       func(message string, args ...any)

	mu     sync.Mutex
	found  map[string]string
	warned map[string]bool
}

var pythonRuntime = regexp.MustCompile(`^python([0-9]+)\.([0-9]+)$`)

// command resolves a function's command line, or says why it cannot run here.
func (l *launcher) command(ctx context.Context, f *Function) (command, error) {
	switch {
	case f.Runtime == fescue.ExecutableRuntime:
		return executable(f)
	case pythonRuntime.MatchString(f.Runtime):
		interpreter, err := l.python(ctx, f.Runtime, f.Credential)
		if err != nil {
			return command{}, err
		}
		main := filepath.Join(l.runtimeDir, filepath.FromSlash(runtimes.PythonMain))
		args := []string{"-u", main, "--handler=" + f.Handler}
		return command{path: interpreter, args: append(args, f.ExecArgs...), python: true, reads: []string{f.Dir, main}}, nil
	}
	return command{}, &UnsupportedRuntimeError{f.Runtime}
}

func executable(f *Function) (command, error) {
	path := filepath.Join(f.Dir, f.Handler)
	if !filepath.IsLocal(f.Handler) {
		return command{}, &CodeError{path, errors.New("the handler must be a file name inside the function's package")}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return command{}, &CodeError{path, err}
	case !info.Mode().IsRegular():
		return command{}, &CodeError{path, errors.New("it is not a file")}
	case info.Mode().Perm()&0o111 == 0:
		return command{}, &CodeError{path, errors.New("it is not executable; chmod u+x it")}
	}
	return command{path: path, args: f.ExecArgs}, nil
}

// python returns the interpreter of a runtime for a user: that very version when it
// is installed where the user may execute it; for Python 3 otherwise another 3.x,
// which the log says once.
func (l *launcher) python(ctx context.Context, runtime string, who *sandbox.Credential) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := runtime + " for " + who.String()
	if path, ok := l.found[key]; ok {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		delete(l.found, key)
	}
	parts := pythonRuntime.FindStringSubmatch(runtime)
	if parts[1] != "2" && parts[1] != "3" {
		return "", &UnsupportedRuntimeError{runtime}
	}
	candidates := []string{runtime}
	if parts[1] == "3" {
		candidates = append(candidates, "python3")
		// Newer ones after the distribution's own choice.
		for minor := 30; minor >= 0; minor-- {
			candidates = append(candidates, "python3."+strconv.Itoa(minor))
		}
	}
	// closed is why the first that would do cannot be used.
	var closed error
	for _, name := range candidates {
		for _, dir := range l.searchPath {
			path := filepath.Join(dir, name)
			version, ok := pythonVersion(ctx, path)
			if !ok || !strings.HasPrefix(version, parts[1]+".") {
				continue
			}
			exact := strings.HasPrefix(version+".", parts[1]+"."+parts[2]+".")
			if name == runtime && !exact {
				continue
			}
			if err := sandbox.Examine(sandbox.Spec{Program: path, Dir: "/", Credential: who}); err != nil {
				closed = cmp.Or(closed, err)
				continue
			}
			if !exact && !l.warned[runtime] {
				l.warned[runtime] = true
				l.warn("The function runtime is not installed; another Python runs its functions.",
					"runtime", runtime, "installed", "python"+version, "executable", path)
			}
			l.found[key] = path
			return path, nil
		}
	}
	if closed != nil {
		return "", closed
	}
	return "", &InterpreterMissingError{Runtime: runtime, Executable: runtime, Paths: l.searchPath}
}

// pythonVersion asks an interpreter for its version. A file that is there but
// does not run, such as a version switcher's stub, does not count.
func pythonVersion(ctx context.Context, path string) (string, bool) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// Python 2 prints its version to stderr.
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return "", false
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "Python ")
	return version, ok
}

// Check says which functions cannot run on this machine, and why. Nothing is
// started or stopped: it is meant for the time before a deployment switches.
func (s *Supervisor) Check(ctx context.Context, functions []Function) []Problem {
	var problems []Problem
	for i := range functions {
		// A package that is not here is one that the deployment would fetch.
		_, err := os.Lstat(functions[i].Dir)
		if _, err := s.resolve(ctx, &functions[i], !errors.Is(err, fs.ErrNotExist)); err != nil {
			problems = append(problems, Problem{functions[i].ARN, err})
		}
	}
	return problems
}

// resolve is the command line of a function that can run here. Of one whose package
// is not here it sees only what the machine lacks.
func (s *Supervisor) resolve(ctx context.Context, f *Function, here bool) (command, error) {
	if err := f.validate(); err != nil {
		return command{}, err
	}
	if !here && f.Runtime == fescue.ExecutableRuntime {
		return command{}, f.Credential.MayEnter(f.Dir)
	}
	if info, err := os.Stat(f.Dir); here && err != nil {
		return command{}, &CodeError{f.Dir, err}
	} else if here && !info.IsDir() || !filepath.IsAbs(f.Dir) {
		return command{}, &CodeError{f.Dir, errors.New("it is not the absolute path of a folder")}
	}
	c, err := s.launcher.command(ctx, f)
	if err != nil {
		return command{}, err
	}
	return c, sandbox.Examine(s.spec(f, c, "", ""))
}

func (f *Function) validate() error {
	switch f.Encoding {
	case "", EncodingJSON, EncodingBinary:
	default:
		return fmt.Errorf("encoding %q is neither json nor binary", f.Encoding)
	}
	for name, value := range f.Environment {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return fmt.Errorf("environment variable %q cannot be set", name)
		}
	}
	for _, arg := range append([]string{f.Handler}, f.ExecArgs...) {
		if strings.Contains(arg, "\x00") {
			return errors.New("a command line cannot hold a NUL character")
		}
	}
	return nil
}
