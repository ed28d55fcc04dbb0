// Package logs writes the core's log files in the original's places and form:
//
//	[2017-07-20T10:01:58.006Z][ERROR]-sync_manager.go:375,message {"key": "value"}
//
// Functions' lines go to user/<region>/<account>/<function>.log, the core's own,
// through a slog.Handler, to system/runtime.log (developer guide, "Monitoring
// with AWS IoT Greengrass logs"). The package knows files, forms and sizes; it
// must not know who writes or why.
package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/bundle"
)

// Level is a log level of Greengrass; higher ones are more urgent.
type Level int

// The levels, in ascending order.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
	Fatal
)

var levelNames = []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

func (l Level) String() string {
	if l < Trace || l > Fatal {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levelNames[l]
}

// ParseLevel reads a level as a logger definition or a function names it.
func ParseLevel(name string) (Level, error) {
	for i, known := range levelNames {
		if name == known {
			return Level(i), nil
		}
	}
	return Info, fmt.Errorf("log level %q is none of %s", name, strings.Join(levelNames, ", "))
}

// Component is the configuration of one half of the logs.
type Component struct {
	// Level is the lowest that is written.
	Level Level
	// Space bounds each log with its rotated files together, in KB; 0 means 128.
	Space int
}

// Of is the configuration that a group's loggers say; without one for the files of
// a component, INFO and 128 KB as the original has it.
func Of(loggers []bundle.Logger) (system, user Component) {
	system.Level, user.Level = Info, Info
	components := map[string]*Component{"GreengrassSystem": &system, "Lambda": &user}
	for _, l := range loggers {
		c := components[l.Component]
		if c == nil || l.Type != "FileSystem" {
			continue
		}
		if level, err := ParseLevel(l.Level); err == nil {
			c.Level = level
		}
		if l.Space != nil {
			c.Space = *l.Space
		}
	}
	return system, user
}

// defaultSpace is what the original used before a group said otherwise, in KB.
const defaultSpace = 128

// Options say where the logs are.
type Options struct {
	// Dir is the absolute path of ggc/var/log.
	Dir string
	// System configures the core's own log, User those of functions.
	System, User Component
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Logs are all log files of a core. Make one with Open.
type Logs struct {
	dir string
	now func() time.Time

	mu           sync.Mutex
	system, user Component
	files        map[string]*file
	dropped      int
}

// maxFiles bounds the files that are open at a time.
const maxFiles = 256

// Open makes the folders. The logs can be read by their owner only: functions
// write secrets into them.
func Open(o Options) (*Logs, error) {
	l := &Logs{dir: o.Dir, now: o.Now, files: make(map[string]*file)}
	if l.now == nil {
		l.now = time.Now
	}
	l.Configure(o.System, o.User)
	for _, name := range []string{"system", "user"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, name), 0o700); err != nil {
			return nil, fmt.Errorf("make the log folder: %w", err)
		}
	}
	return l, nil
}

// Configure changes levels and sizes, as a deployment does.
func (l *Logs) Configure(system, user Component) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range []*Component{&system, &user} {
		if c.Space <= 0 {
			c.Space = defaultSpace
		}
	}
	l.system, l.user = system, user
}

// Close closes all files. Lines that come later open theirs again.
func (l *Logs) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closeAll()
}

func (l *Logs) closeAll() error {
	var errs []error
	for path, f := range l.files {
		errs = append(errs, f.close())
		delete(l.files, path)
	}
	return errors.Join(errs...)
}

// Dropped is how many lines could not be written, because the disk was full for
// example. Nobody waits for a log, so lines are not kept for later.
func (l *Logs) Dropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// FunctionLine writes a line of a function's log. Origin is empty when the text
// begins with its own.
func (l *Logs) FunctionLine(region, account, name string, at time.Time, level, origin, text string) {
	number, err := ParseLevel(level)
	if err != nil {
		number = Info
	}
	path := filepath.Join("user", segment(region), segment(account), segment(name)+".log")
	if origin != "" {
		text = origin + "," + text
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if number >= l.user.Level {
		l.write(path, l.user.Space, line(at, number, text))
	}
}

// line is the documented form. Newlines inside would look like lines of their
// own, which a function could forge.
func line(at time.Time, level Level, text string) string {
	text = strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(text)
	return "[" + at.UTC().Format("2006-01-02T15:04:05.000Z") + "][" + level.String() + "]-" + text + "\n"
}

// segment makes one path segment of a name, whatever it holds.
func segment(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r < ' ' {
			return '_'
		}
		return r
	}, name)
	switch name {
	case "", ".", "..":
		return "_"
	}
	return name
}

func (l *Logs) write(path string, space int, text string) {
	f := l.files[path]
	if f == nil {
		if len(l.files) >= maxFiles {
			// The rest is opened again as it is needed.
			if err := l.closeAll(); err != nil {
				l.dropped++
			}
		}
		f = &file{path: filepath.Join(l.dir, path)}
		l.files[path] = f
	}
	if err := f.write(text, int64(space)<<10); err != nil {
		l.dropped++
		// The next line opens it anew: it may have been removed or its disk
		// mounted again.
		_ = f.close()
		delete(l.files, path)
	}
}
