package lifecycle

import (
	"fmt"
	"strings"
)

const (
	// maxReason bounds what is reported of a function's own words outside its log,
	// in bytes.
	maxReason = 512
	// maxReasonLog bounds each end of the same in its log.
	maxReasonLog = 8 << 10
)

// sentence is the one line that says most of a text that may be a whole
// traceback: of Python's the last one, which names the exception, else the
// first.
func sentence(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	line := lines[0]
	if before, ok := strings.CutSuffix(line, "Traceback (most recent call last):"); ok {
		line = before + lines[len(lines)-1]
	}
	return cut(line, maxReason)
}

// cut shortens a text to n bytes at a character's border.
func cut(text string, n int) string {
	if len(text) > n {
		text = text[:n] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

// ends shortens a text in its middle, to about n bytes at each end.
func ends(text string, n int) string {
	if len(text) > 2*n {
		text = text[:n] + "…\n…" + text[len(text)-n:]
	}
	return strings.ToValidUTF8(text, "")
}

// lastError is what a function wrote last to stderr or as an error, empty if
// nothing.
func (t *tail) lastError() string {
	lines := t.list()
	for i := len(lines) - 1; i >= 0; i-- {
		level, text := lines[i].Level, strings.TrimSpace(lines[i].Text)
		if (level == "ERROR" || level == "FATAL") && text != "" {
			return cut(text, maxReason)
		}
	}
	return ""
}

// why is the cause of a process's end with what the function wrote before, where
// it said nothing better.
func (f *function) why(w *worker, cause string) string {
	if last := f.tail.lastError(); w.failure == "" && w.pid != 0 && last != "" {
		return fmt.Sprintf("%s after it wrote %q", cause, last)
	}
	return cause
}
