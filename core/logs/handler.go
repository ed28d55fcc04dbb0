package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// Levels of slog beyond its own four.
const (
	SlogTrace = slog.LevelDebug - 4
	SlogFatal = slog.LevelError + 4
)

// Handler writes the core's own log lines to system/<name>.log: "runtime" for
// the daemon, or a component such as "GGShadowService".
func (l *Logs) Handler(name string) slog.Handler {
	return &handler{logs: l, source: Source{Component: SystemComponent, Name: name}}
}

type handler struct {
	logs   *Logs
	source Source
	// fields are the attributes given so far, groups the open groups.
	fields []field
	groups []string
}

type field struct {
	name  string
	value any
}

func levelOf(level slog.Level) Level {
	switch {
	case level >= SlogFatal:
		return Fatal
	case level >= slog.LevelError:
		return Error
	case level >= slog.LevelWarn:
		return Warn
	case level >= slog.LevelInfo:
		return Info
	case level >= slog.LevelDebug:
		return Debug
	}
	return Trace
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	h.logs.mu.Lock()
	defer h.logs.mu.Unlock()
	return h.logs.system.takes(levelOf(level))
}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	fields := slices.Clone(h.fields)
	r.Attrs(func(a slog.Attr) bool {
		fields = appendAttr(fields, h.groups, a)
		return true
	})
	text := origin(r.PC) + "," + r.Message
	if len(fields) > 0 {
		text += " " + encode(fields)
	}
	at := r.Time
	if at.IsZero() {
		at = h.logs.now()
	}
	h.logs.take(h.source, Line{at, levelOf(r.Level), text})
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.fields = slices.Clone(h.fields)
	for _, a := range attrs {
		next.fields = appendAttr(next.fields, h.groups, a)
	}
	return &next
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.groups = append(slices.Clone(h.groups), name)
	return &next
}

// appendAttr adds an attribute; a group's members get its name in front.
func appendAttr(fields []field, groups []string, a slog.Attr) []field {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			groups = append(slices.Clone(groups), a.Key)
		}
		for _, member := range value.Group() {
			fields = appendAttr(fields, groups, member)
		}
		return fields
	}
	if a.Equal(slog.Attr{}) {
		return fields
	}
	name := a.Key
	for _, group := range slices.Backward(groups) {
		name = group + "." + name
	}
	return append(fields, field{name, plain(value)})
}

// plain is what stands in the JSON for a value.
func plain(value slog.Value) any {
	switch value.Kind() {
	case slog.KindDuration:
		return value.Duration().String()
	case slog.KindTime:
		return value.Time().UTC().Format(time.RFC3339Nano)
	}
	if err, ok := value.Any().(error); ok {
		return err.Error()
	}
	return value.Any()
}

// encode makes {"a": 1, "b": "c"}, in the order in which the fields were given.
func encode(fields []field) string {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.Write(encodeValue(f.name))
		b.WriteString(": ")
		b.Write(encodeValue(f.value))
	}
	b.WriteByte('}')
	return b.String()
}

func encodeValue(value any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		b.Reset()
		// Text always encodes.
		_ = encoder.Encode(slog.AnyValue(value).String())
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// origin is where in the code a line comes from.
func origin(pc uintptr) string {
	if pc == 0 {
		return "core:0"
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return filepath.Base(frame.File) + ":" + strconv.Itoa(frame.Line)
}
