// Package logs writes the core's log files in the original's places and form:
//
//	[2017-07-20T10:01:58.006Z][ERROR]-sync_manager.go:375,message {"key": "value"}
//
// Functions' lines go to user/<region>/<account>/<function>.log, the core's own,
// through a slog.Handler, to system/runtime.log (developer guide, "Monitoring
// with AWS IoT Greengrass logs"). What a logger wants elsewhere, too, is handed on.
// The package knows files, forms, levels and sizes; it must not know who writes or
// why, nor where lines go that are handed on.
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
	// Ship says that lines are handed on, too, from ShipLevel on.
	Ship      bool
	ShipLevel Level
}

// takes says whether lines of a level go anywhere.
func (c Component) takes(level Level) bool {
	return level >= c.Level || c.Ship && level >= c.ShipLevel
}

// Source is the log that a line is of.
type Source struct {
	// Component is GreengrassSystem or Lambda, Name the component's file or the
	// function's name.
	Component, Name string
	// Region and Account are the function's.
	Region, Account string
}

// The components, as logger definitions name them.
const (
	SystemComponent   = "GreengrassSystem"
	FunctionComponent = "Lambda"
)

// path is that of the source's file below the log folder.
func (s Source) path() string {
	if s.Component == SystemComponent {
		return filepath.Join("system", segment(s.Name)+".log")
	}
	return filepath.Join("user", segment(s.Region), segment(s.Account), segment(s.Name)+".log")
}

// Line is a line of a log.
type Line struct {
	At    time.Time
	Level Level
	// Text begins with its origin, if it has one.
	Text string
}

// oneLine writes newlines out: they would look like lines of their own, which a
// function could forge.
var oneLine = strings.NewReplacer("\r", `\r`, "\n", `\n`)

// String is the documented form, with the newline.
func (l Line) String() string {
	text := oneLine.Replace(l.Text)
	return "[" + l.At.UTC().Format("2006-01-02T15:04:05.000Z") + "][" + l.Level.String() + "]-" + text + "\n"
}

// Of is the configuration that a group's loggers say; without one for the files of
// a component, INFO and 128 KB as the original has it.
func Of(loggers []bundle.Logger) (system, user Component) {
	system.Level, user.Level = Info, Info
	components := map[string]*Component{SystemComponent: &system, FunctionComponent: &user}
	for _, l := range loggers {
		c := components[l.Component]
		if c == nil {
			continue
		}
		level, err := ParseLevel(l.Level)
		if err != nil {
			level = Info
		}
		switch l.Type {
		case "FileSystem":
			c.Level = level
			if l.Space != nil {
				c.Space = *l.Space
			}
		case "AWSCloudWatch":
			c.Ship, c.ShipLevel = true, level
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
	// Ship is handed the lines that loggers want elsewhere, too; nil is nowhere. It
	// must not wait.
	Ship func(Source, Line)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Logs are all log files of a core. Make one with Open.
type Logs struct {
	dir  string
	ship func(Source, Line)
	now  func() time.Time

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
	l := &Logs{dir: o.Dir, ship: o.Ship, now: o.Now, files: make(map[string]*file)}
	if l.ship == nil {
		l.ship = func(Source, Line) {}
	}
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

// Configure changes levels and sizes, as a deployment does. A log that has less space than
// before keeps to it from its next line on.
func (l *Logs) Configure(system, user Component) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range []*Component{&system, &user} {
		if c.Space <= 0 {
			c.Space = defaultSpace
		}
	}
	if l.system.Space > system.Space || l.user.Space > user.Space {
		// Files look at their space as they are opened.
		if err := l.closeAll(); err != nil {
			l.dropped++
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
	if origin != "" {
		text = origin + "," + text
	}
	l.take(Source{FunctionComponent, name, region, account}, Line{at, number, text})
}

// take puts a line where its component's loggers want it.
func (l *Logs) take(source Source, line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.user
	if source.Component == SystemComponent {
		c = l.system
	}
	if line.Level >= c.Level {
		l.write(source.path(), c.Space, line.String())
	}
	if c.Ship && line.Level >= c.ShipLevel {
		l.ship(source, line)
	}
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
