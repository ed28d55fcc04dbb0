package logs_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/logs"
)

func open(t *testing.T, user, system logs.Component) (*logs.Logs, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	l, err := logs.Open(logs.Options{Dir: dir, User: user, System: system})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, dir
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var at = time.Date(2017, 7, 20, 12, 1, 58, 6e6, time.FixedZone("CEST", 7200))

func TestFunctionLine(t *testing.T) {
	t.Parallel()

	t.Run("the documented place and form", func(t *testing.T) {
		t.Parallel()
		l, dir := open(t, logs.Component{Level: logs.Info}, logs.Component{})
		l.FunctionLine("eu-west-1", "123456789012", "F", at, "ERROR", "", "app.py:3,broken")
		l.FunctionLine("eu-west-1", "123456789012", "F", at, "INFO", "stdout", "said")
		l.FunctionLine("eu-west-1", "123456789012", "F", at, "DEBUG", "", "too little")
		l.FunctionLine("eu-west-1", "123456789012", "F", at, "INFO", "stdout", "one\n[2017-07-20T10:01:58.006Z][FATAL]-forged")
		l.FunctionLine("eu-west-1", "123456789012", "F", at, "odd", "stdout", "level")
		want := "[2017-07-20T10:01:58.006Z][ERROR]-app.py:3,broken\n" +
			"[2017-07-20T10:01:58.006Z][INFO]-stdout,said\n" +
			`[2017-07-20T10:01:58.006Z][INFO]-stdout,one\n[2017-07-20T10:01:58.006Z][FATAL]-forged` + "\n" +
			"[2017-07-20T10:01:58.006Z][INFO]-stdout,level\n"
		if got := read(t, dir, "user/eu-west-1/123456789012/F.log"); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})

	t.Run("only the owner can read it", func(t *testing.T) {
		t.Parallel()
		l, dir := open(t, logs.Component{}, logs.Component{})
		l.FunctionLine("r", "a", "F", at, "INFO", "", "x")
		for path, want := range map[string]os.FileMode{"user": 0o700, "user/r/a": 0o700, "user/r/a/F.log": 0o600} {
			info, err := os.Stat(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
			}
		}
	})

	t.Run("names stay inside the folder", func(t *testing.T) {
		t.Parallel()
		l, dir := open(t, logs.Component{}, logs.Component{})
		for _, name := range []string{"..", "", "../../escape", "a/b", "a\x00b"} {
			l.FunctionLine(name, name, name, at, "INFO", "", "x")
		}
		if l.Dropped() != 0 {
			t.Errorf("%d lines dropped", l.Dropped())
		}
		entries, err := os.ReadDir(filepath.Dir(dir))
		if err != nil || len(entries) != 1 {
			t.Errorf("something was written outside: %v %v", entries, err)
		}
	})

	t.Run("all files together keep to their space", func(t *testing.T) {
		t.Parallel()
		const space = 8
		l, dir := open(t, logs.Component{Space: space}, logs.Component{})
		for i := range 2000 {
			l.FunctionLine("r", "a", "F", at, "INFO", "", fmt.Sprintf("x:1,line %d", i))
		}
		var total int64
		entries, err := os.ReadDir(filepath.Join(dir, "user/r/a"))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if len(entries) != 4 || total > space<<10 || total < space<<9 {
			t.Errorf("%d files with %d bytes, want 4 with at most %d", len(entries), total, space<<10)
		}
		if !strings.Contains(read(t, dir, "user/r/a/F.log"), "line 1999\n") {
			t.Error("the last line is not in the current file")
		}
		l.FunctionLine("r", "a", "Long", at, "INFO", "", strings.Repeat("x", space<<12))
		l.FunctionLine("r", "a", "Long", at, "INFO", "", "next")
		if l.Dropped() != 0 {
			t.Errorf("%d lines dropped", l.Dropped())
		}
	})

	t.Run("a smaller space counts for what was written before", func(t *testing.T) {
		t.Parallel()
		l, dir := open(t, logs.Component{Space: 64}, logs.Component{})
		fill := func(n int) {
			for i := range n {
				l.FunctionLine("r", "a", "F", at, "INFO", "", fmt.Sprintf("x:1,line %d", i))
			}
		}
		total := func() (bytes int64, files int) {
			found, err := filepath.Glob(filepath.Join(dir, "user/r/a/F.log*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range found {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				bytes += info.Size()
			}
			return bytes, len(found)
		}
		fill(3000)
		if bytes, files := total(); bytes < 32<<10 || files != 4 {
			t.Fatalf("%d files with %d bytes", files, bytes)
		}
		for _, space := range []int{20, 8, 1, 64} {
			l.Configure(logs.Component{Level: logs.Info}, logs.Component{Level: logs.Info, Space: space})
			fill(1)
			if bytes, _ := total(); bytes > int64(space)<<10 {
				t.Errorf("%d bytes, of %d KB", bytes, space)
			}
		}
		fill(3000)
		if bytes, files := total(); bytes < 32<<10 || bytes > 64<<10 || files != 4 || l.Dropped() != 0 {
			t.Errorf("%d files with %d bytes, %d lines dropped", files, bytes, l.Dropped())
		}
	})

	t.Run("a file that exists is continued", func(t *testing.T) {
		t.Parallel()
		l, dir := open(t, logs.Component{}, logs.Component{})
		l.FunctionLine("r", "a", "F", at, "INFO", "", "one")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l.FunctionLine("r", "a", "F", at, "INFO", "", "two")
		if got := read(t, dir, "user/r/a/F.log"); strings.Count(got, "\n") != 2 {
			t.Errorf("got %s", got)
		}
	})

	t.Run("what cannot be written is counted, and tried anew", func(t *testing.T) {
		t.Parallel()
		l, dir := open(t, logs.Component{}, logs.Component{})
		obstacle := filepath.Join(dir, "user", "r")
		if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		l.FunctionLine("r", "a", "F", at, "INFO", "", "lost")
		if l.Dropped() != 1 {
			t.Errorf("%d lines dropped, want 1", l.Dropped())
		}
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		l.FunctionLine("r", "a", "F", at, "INFO", "", "kept")
		if got := read(t, dir, "user/r/a/F.log"); !strings.Contains(got, "kept") {
			t.Errorf("got %s", got)
		}
	})

	t.Run("more logs than files may be open", func(t *testing.T) {
		t.Parallel()
		l, dir := open(t, logs.Component{}, logs.Component{})
		for range 2 {
			for i := range 300 {
				l.FunctionLine("r", "a", fmt.Sprint("F", i), at, "INFO", "", "x")
			}
		}
		if got := read(t, dir, "user/r/a/F299.log"); strings.Count(got, "\n") != 2 || l.Dropped() != 0 {
			t.Errorf("got %s, %d dropped", got, l.Dropped())
		}
	})
}

func TestHandler(t *testing.T) {
	t.Parallel()
	l, dir := open(t, logs.Component{}, logs.Component{Level: logs.Debug})
	logger := slog.New(l.Handler("runtime"))
	logger.Log(t.Context(), logs.SlogTrace, "not written")
	logger.Debug("plain")
	logger.With("funcArn", "a:b").WithGroup("g").Error("with <fields>", "n", 1, "d", time.Second, "e", errors.New("bad \"quote\""),
		slog.Group("h", "x", true), "f", func() {}, "t", at)
	logger.Log(t.Context(), logs.SlogFatal, "two\nlines", slog.Attr{})
	logger.WithGroup("").Warn("warned", slog.Group("", "inline", 1))
	l.Configure(logs.Component{Level: logs.Error}, logs.Component{})
	logger.Info("no more")
	l.Configure(logs.Component{}, logs.Component{})

	lines := strings.SplitAfter(read(t, dir, "system/runtime.log"), "\n")
	want := []string{
		`[DEBUG]-logs_test\.go:\d+,plain`,
		`[ERROR]-logs_test\.go:\d+,with <fields> {"funcArn": "a:b", "g\.n": 1, "g\.d": "1s", "g\.e": "bad \\"quote\\"", ` +
			`"g\.h\.x": true, "g\.f": ".+", "g\.t": "2017-07-20T10:01:58.006Z"}`,
		`[FATAL]-logs_test\.go:\d+,two\\nlines`,
		`[WARN]-logs_test\.go:\d+,warned {"inline": 1}`,
	}
	if len(lines) != len(want)+1 {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines)-1, len(want), strings.Join(lines, ""))
	}
	for i := range want {
		pattern := `^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]` + strings.Replace(want[i], "[", `\[`, 1) + `\n$`
		if !regexp.MustCompile(pattern).MatchString(lines[i]) {
			t.Errorf("got  %swant %s", lines[i], want[i])
		}
	}
}

// TestLevels: of each level, for each component and to both destinations, come the lines
// that are at least as urgent, and no other component's.
func TestLevels(t *testing.T) {
	t.Parallel()
	levels := []logs.Level{logs.Trace, logs.Debug, logs.Info, logs.Warn, logs.Error, logs.Fatal}
	slogLevels := []slog.Level{logs.SlogTrace, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, logs.SlogFatal}
	for i, level := range levels {
		for j, shipped := range levels {
			t.Run(fmt.Sprintf("files from %s, handed on from %s", level, shipped), func(t *testing.T) {
				t.Parallel()
				counts := make(map[string]int)
				dir := filepath.Join(t.TempDir(), "log")
				c := logs.Component{Level: level, Ship: true, ShipLevel: shipped}
				other := logs.Component{Level: logs.Fatal}
				for _, own := range []string{logs.FunctionComponent, logs.SystemComponent} {
					o := logs.Options{Dir: dir, System: c, User: other, Ship: func(s logs.Source, _ logs.Line) { counts[s.Component]++ }}
					if own == logs.FunctionComponent {
						o.System, o.User = other, c
					}
					l, err := logs.Open(o)
					if err != nil {
						t.Fatal(err)
					}
					logger := slog.New(l.Handler("runtime"))
					for k := range levels {
						if own == logs.FunctionComponent {
							l.FunctionLine("r", "a", "F", at, levels[k].String(), "x", "y")
						} else {
							logger.Log(t.Context(), slogLevels[k], "y")
						}
					}
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
				}
				for component, file := range map[string]string{logs.FunctionComponent: "user/r/a/F.log", logs.SystemComponent: "system/runtime.log"} {
					text := read(t, dir, file)
					for k, one := range levels {
						if got := strings.Contains(text, "]["+one.String()+"]-"); got != (k >= i) {
							t.Errorf("%s: %s is written: %t", component, one, got)
						}
					}
					if counts[component] != len(levels)-j {
						t.Errorf("%s: %d lines are handed on", component, counts[component])
					}
				}
			})
		}
	}
}

// TestOf: each member of a logger counts for its component and type alone.
func TestOf(t *testing.T) {
	t.Parallel()
	space := func(n int) *int { return &n }
	standard := logs.Component{Level: logs.Info}
	for name, tc := range map[string]struct {
		loggers      []bundle.Logger
		system, user logs.Component
	}{
		"no logger": {nil, standard, standard},
		"files of functions": {[]bundle.Logger{{Type: "FileSystem", Component: "Lambda", Level: "DEBUG", Space: space(512)}},
			standard, logs.Component{Level: logs.Debug, Space: 512}},
		"files of the core": {[]bundle.Logger{{Type: "FileSystem", Component: "GreengrassSystem", Level: "FATAL", Space: space(1)}},
			logs.Component{Level: logs.Fatal, Space: 1}, standard},
		"files without a space": {[]bundle.Logger{{Type: "FileSystem", Component: "Lambda", Level: "WARN"}}, standard, logs.Component{Level: logs.Warn}},
		"what is sent of functions, whose files stay as they are": {[]bundle.Logger{{Type: "AWSCloudWatch", Component: "Lambda", Level: "ERROR", Space: space(9)}},
			standard, logs.Component{Level: logs.Info, Ship: true, ShipLevel: logs.Error}},
		"all four": {[]bundle.Logger{
			{Type: "FileSystem", Component: "Lambda", Level: "ERROR", Space: space(3)}, {Type: "AWSCloudWatch", Component: "Lambda", Level: "WARN"},
			{Type: "FileSystem", Component: "GreengrassSystem", Level: "DEBUG", Space: space(4)}, {Type: "AWSCloudWatch", Component: "GreengrassSystem", Level: "FATAL"}},
			logs.Component{Level: logs.Debug, Space: 4, Ship: true, ShipLevel: logs.Fatal}, logs.Component{Level: logs.Error, Space: 3, Ship: true, ShipLevel: logs.Warn}},
		"a level that is none":     {[]bundle.Logger{{Type: "FileSystem", Component: "Lambda", Level: "info"}}, standard, standard},
		"a component that is none": {[]bundle.Logger{{Type: "FileSystem", Component: "OTA", Level: "DEBUG"}}, standard, standard},
		"a type that is none":      {[]bundle.Logger{{Type: "Syslog", Component: "Lambda", Level: "DEBUG"}}, standard, standard},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if system, user := logs.Of(tc.loggers); system != tc.system || user != tc.user {
				t.Errorf("%+v and %+v, want %+v and %+v", system, user, tc.system, tc.user)
			}
		})
	}
}

func TestParseLevel(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"} {
		level, err := logs.ParseLevel(name)
		if err != nil || level.String() != name {
			t.Errorf("ParseLevel(%q) = %v, %v", name, level, err)
		}
	}
	for _, name := range []string{"", "info", "WARNING", "NOTSET"} {
		if _, err := logs.ParseLevel(name); err == nil {
			t.Errorf("ParseLevel(%q) gave no error", name)
		}
	}
}

func TestLimited(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l, dir := open(t, logs.Component{}, logs.Component{Level: logs.Info, Space: 10000})
	handler := logs.Limited(l.Handler("runtime"))
	say := func(after time.Duration, message string, attrs ...slog.Attr) {
		r := slog.NewRecord(start.Add(after), slog.LevelWarn, message, 0)
		r.AddAttrs(attrs...)
		if err := handler.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		say(0, "failed", slog.String("funcArn", "F"))
		say(0, "failed", slog.String("funcArn", "G"))
		say(0, "dropped", slog.String("topic", "t"))
		say(0, "free")
	}
	say(10*time.Second, "again", slog.String("funcArn", "F"))
	say(10*time.Second, "cut", slog.Any("errorString", errors.New(strings.Repeat("x", 1<<20))))
	text := read(t, dir, "system", "runtime.log")
	for line, want := range map[string]int{
		`failed {"funcArn": "F"}`: 30, `failed {"funcArn": "G"}`: 30, `dropped {"topic": "t"}`: 30, "free": 100,
		`again {"funcArn": "F", "suppressed": 70}`: 1,
		`x… (1048576 bytes)"}`:                     1,
	} {
		if got := strings.Count(text, line+"\n"); got != want {
			t.Errorf("%q stands there %d times, want %d", line, got, want)
		}
	}
	if len(text) > 50<<10 {
		t.Errorf("the log has %d bytes", len(text))
	}
}
