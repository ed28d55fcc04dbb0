package lifecycle

import (
	"strings"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// tailLines is how many lines of each function are kept in memory.
const tailLines = 20

// tail keeps the last lines of a function.
type tail struct {
	lines [tailLines]invoke.LogLine
	count int
}

func (t *tail) add(line invoke.LogLine) {
	t.lines[t.count%tailLines] = line
	t.count++
}

// list returns the lines, the oldest first.
func (t *tail) list() []invoke.LogLine {
	first := max(0, t.count-tailLines)
	list := make([]invoke.LogLine, 0, t.count-first)
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

// logLine passes a line on and remembers it; one that came otherwise than through
// a pipe may be longer, and is cut.
func (s *Supervisor) logLine(f *function, at time.Time, level, origin, text string) {
	text = cut(text, sandbox.MaxLine)
	if hasOrigin(text) {
		origin = ""
	}
	s.mu.Lock()
	f.tail.add(invoke.LogLine{Time: at, Level: level, Text: text})
	region, account, name := f.spec.Region, f.spec.Account, f.spec.Name
	s.mu.Unlock()
	s.options.Logs.FunctionLine(region, account, name, at, level, origin, text)
}

// Tail returns the last lines that a function wrote, the oldest first.
func (s *Supervisor) Tail(arn string) []invoke.LogLine {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.functions[arn]; f != nil {
		return f.tail.list()
	}
	return nil
}
