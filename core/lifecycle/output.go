package lifecycle

import (
	"strings"
	"time"
)

// tailLines is how many lines of each function are kept in memory.
const tailLines = 20

// LogLine is a line that a function wrote.
type LogLine struct {
	Time time.Time
	// Level is TRACE, DEBUG, INFO, WARN, ERROR or FATAL.
	Level string
	Text  string
}

// tail keeps the last lines of a function.
type tail struct {
	lines [tailLines]LogLine
	count int
}

func (t *tail) add(line LogLine) {
	t.lines[t.count%tailLines] = line
	t.count++
}

// list returns the lines, the oldest first.
func (t *tail) list() []LogLine {
	first := max(0, t.count-tailLines)
	list := make([]LogLine, 0, t.count-first)
	for i := first; i < t.count; i++ {
		list = append(list, t.lines[i%tailLines])
	}
	return list
}

// hasOrigin says whether a line begins with "<file>:<line>,".
func hasOrigin(line string) bool {
	origin, _, ok := strings.Cut(line, ",")
	if !ok {
		return false
	}
	file, number, ok := strings.Cut(origin, ":")
	if !ok || file == "" || number == "" || strings.ContainsAny(file, " \t") {
		return false
	}
	return !strings.ContainsFunc(number, func(r rune) bool { return r < '0' || r > '9' })
}

// logLine passes a line on and remembers it.
func (s *Supervisor) logLine(f *function, at time.Time, level, origin, text string) {
	if hasOrigin(text) {
		origin = ""
	}
	s.mu.Lock()
	f.tail.add(LogLine{Time: at, Level: level, Text: text})
	region, account, name := f.spec.Region, f.spec.Account, f.spec.Name
	s.mu.Unlock()
	s.options.Logs.FunctionLine(region, account, name, at, level, origin, text)
}

// Tail returns the last lines that a function wrote, the oldest first.
func (s *Supervisor) Tail(arn string) []LogLine {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.functions[arn]; f != nil {
		return f.tail.list()
	}
	return nil
}
