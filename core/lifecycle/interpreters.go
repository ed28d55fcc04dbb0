package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/runtimes"
)

// interpreters finds what runs functions on this machine.
type interpreters struct {
	searchPath []string
	warn       func(message string, args ...any)

	// mu guards the maps.
	mu sync.Mutex
	// listed are the files of a name with a star in a folder.
	listed map[listing]listed
	// said is what each file printed when it was asked for its version.
	said map[executableFile]string
	// warned are the runtimes of which the log says that another version stands in.
	warned map[string]bool
}

func newInterpreters(searchPath []string, warn func(string, ...any)) *interpreters {
	return &interpreters{searchPath: searchPath, warn: warn, listed: make(map[listing]listed), said: make(map[executableFile]string), warned: make(map[string]bool)}
}

// executableFile is a file as it was when it was asked.
type executableFile struct {
	path     string
	modified time.Time
	size     int64
}

// InterpreterMissingError means that the program for a runtime is not installed.
type InterpreterMissingError struct {
	Runtime string
	// Paths are where it was looked for.
	Paths []string

	text string
}

func (e *InterpreterMissingError) Error() string {
	return strings.NewReplacer("{runtime}", e.Runtime, "{paths}", fmt.Sprint(e.Paths)).Replace(e.text)
}

// find returns the interpreter of a runtime for a user, and a container or nil: one of that
// very version when it is installed where the user may execute it, by whatever name and in
// whatever folder, otherwise one that stands in for it, which the log says once.
func (p *interpreters) find(ctx context.Context, row *runtimes.Runtime, runtime string, who *sandbox.Credential, in *sandbox.Container) (sandbox.HostPath, error) {
	wanted := row.Wanted(runtime)
	// closed is why the first that would do cannot be used.
	var closed error
	for _, exact := range []bool{true, false} {
		for _, name := range row.Interpreters {
			for _, path := range p.files(strings.ReplaceAll(name, "{runtime}", runtime)) {
				found, text, ok := row.Said(p.ask(ctx, row, path))
				if !ok || !row.Runs(wanted, found) || row.Exact(wanted, found) != exact || name == "{runtime}" && !exact {
					continue
				}
				host := sandbox.HostPath(path)
				if err := sandbox.Examine(sandbox.Spec{Program: host.Plain(), Dir: "/", Credential: who, Container: in}); err != nil {
					closed = cmp.Or(closed, err)
					continue
				}
				if !exact && p.first(runtime) {
					p.warn("The function runtime is not installed; another "+row.Language+" runs its functions.",
						"runtime", runtime, "installed", text, "executable", path)
				}
				return host, nil
			}
		}
	}
	if closed != nil {
		return "", closed
	}
	return "", &InterpreterMissingError{Runtime: runtime, Paths: p.searchPath, text: row.Missing}
}

// listing is a name with a star that was looked for in a folder, listed what was found there
// when the folder was as it was modified last.
type listing struct{ folder, name string }

type listed struct {
	folder os.FileInfo
	files  []candidate
}

// candidate is a file with the number that stands in its name for a star.
type candidate struct {
	path   string
	number int
}

// files are where a name, in which a star stands for a number, may be found, in the order
// in which they are to be tried.
func (p *interpreters) files(name string) (paths []string) {
	if !strings.Contains(name, "*") {
		for _, folder := range p.searchPath {
			paths = append(paths, filepath.Join(folder, name))
		}
		return paths
	}
	var list []candidate
	for _, folder := range p.searchPath {
		list = append(list, p.list(listing{folder, name})...)
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(b.number, a.number) })
	for _, c := range list {
		paths = append(paths, c.path)
	}
	return paths
}

// settled is how long ago a folder must have been modified for its time to show the next
// change: file systems count time in steps.
const settled = 2 * time.Second

// list are the files of a name with a star in one folder. Each deployment looks for them, and
// folders of programs are long and seldom change.
func (p *interpreters) list(l listing) []candidate {
	info, err := os.Stat(l.folder)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	before, ok := p.listed[l]
	p.mu.Unlock()
	if ok && os.SameFile(before.folder, info) && before.folder.ModTime().Equal(info.ModTime()) {
		return before.files
	}
	entries, err := os.ReadDir(l.folder)
	if err != nil {
		return nil
	}
	now := listed{folder: info}
	pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(l.name), `\*`, "([0-9]+)") + "$")
	for _, entry := range entries {
		if parts := pattern.FindStringSubmatch(entry.Name()); parts != nil {
			number, _ := strconv.Atoi(parts[1])
			now.files = append(now.files, candidate{filepath.Join(l.folder, entry.Name()), number})
		}
	}
	if time.Since(info.ModTime()) > settled {
		p.mu.Lock()
		p.listed[l] = now
		p.mu.Unlock()
	}
	return now.files
}

// ask makes an interpreter print its version. A file that is there but does not run,
// such as a version switcher's stub, has said nothing.
func (p *interpreters) ask(ctx context.Context, row *runtimes.Runtime, path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return ""
	}
	file := executableFile{path, info.ModTime(), info.Size()}
	p.mu.Lock()
	said, ok := p.said[file]
	p.mu.Unlock()
	if ok {
		return said
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, row.Probe...)
	// What a stub started may hold its output open.
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ""
	}
	if err != nil {
		out = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said[file] = string(out)
	return p.said[file]
}

// first says whether a runtime is warned of for the first time.
func (p *interpreters) first(runtime string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.warned[runtime] = true }()
	return !p.warned[runtime]
}

func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 2)
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == "#!"
}

// Interpreters are those on this machine that run functions, one for each version of
// a language. To ask them takes a while.
func (s *Supervisor) Interpreters(ctx context.Context) []fescue.CoreRuntime {
	return s.launcher.interpreters.all(ctx)
}

// Interpreters are those that a supervisor with this search path finds.
func Interpreters(ctx context.Context, searchPath []string) []fescue.CoreRuntime {
	return newInterpreters(searchPath, nil).all(ctx)
}

func (p *interpreters) all(ctx context.Context) []fescue.CoreRuntime {
	var list []fescue.CoreRuntime
	for _, row := range runtimes.All() {
		for _, name := range row.Interpreters {
			if name == "{runtime}" {
				continue // one of the other names has it, too
			}
			for _, path := range p.files(name) {
				// A version switcher's script takes its time, and chooses anew each time.
				if isScript(path) {
					continue
				}
				_, text, ok := row.Said(p.ask(ctx, &row, path))
				known := func(r fescue.CoreRuntime) bool { return r.Name == row.Language && r.Version == text }
				if ok && !slices.ContainsFunc(list, known) {
					list = append(list, fescue.CoreRuntime{Name: row.Language, Version: text, Path: path})
				}
			}
		}
	}
	return list
}
