package logs

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What functions can make the core say is bounded, so that they cannot push
// everything else out of its log.
const (
	// maxText bounds a message and each text beside it, in bytes.
	maxText = 2 << 10
	// lineBurst is how often a line about one function or source may come at
	// once; after that one comes each lineInterval.
	lineBurst    = 30
	lineInterval = 10 * time.Second
	// maxLimits bounds what is remembered of such lines.
	maxLimits = 4096
)

// Limited hands records on with their texts cut. Of records from the same place
// in the code about the same function or source of messages (the attributes
// funcArn and source), or about messages at all (topic), it hands on a few at a
// time; the next one then says as "suppressed" how many were left out.
func Limited(next slog.Handler) slog.Handler {
	return &limited{Handler: next, limits: &limits{of: make(map[limitKey]*limit)}}
}

type limited struct {
	slog.Handler
	*limits
}

// limits are shared by all handlers that come from one.
type limits struct {
	mu sync.Mutex
	of map[limitKey]*limit
}

type limitKey struct {
	pc    uintptr
	about string
}

type limit struct {
	limiter    *rate.Limiter
	suppressed int
}

func (h *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limited{h.Handler.WithAttrs(attrs), h.limits}
}

func (h *limited) WithGroup(name string) slog.Handler {
	return &limited{h.Handler.WithGroup(name), h.limits}
}

func (h *limited) Handle(ctx context.Context, r slog.Record) error {
	short := slog.NewRecord(r.Time, r.Level, cutText(r.Message), r.PC)
	about := ""
	r.Attrs(func(a slog.Attr) bool {
		a.Value = a.Value.Resolve()
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.StringValue(err.Error())
		}
		if a.Value.Kind() == slog.KindString {
			switch a.Key {
			case "funcArn", "source":
				about += a.Value.String() + " "
			case "topic":
				about += "some topic "
			}
			a.Value = slog.StringValue(cutText(a.Value.String()))
		}
		short.AddAttrs(a)
		return true
	})
	if about != "" {
		suppressed, ok := h.take(limitKey{r.PC, about}, r.Time)
		if !ok {
			return nil
		}
		if suppressed > 0 {
			short.AddAttrs(slog.Int("suppressed", suppressed))
		}
	}
	return h.Handler.Handle(ctx, short)
}

// take says whether one more line may come, and how many did not before it.
func (l *limits) take(key limitKey, at time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.of[key]
	if found == nil {
		if len(l.of) >= maxLimits {
			clear(l.of)
		}
		found = &limit{limiter: rate.NewLimiter(rate.Every(lineInterval), lineBurst)}
		l.of[key] = found
	}
	if !found.limiter.AllowN(at, 1) {
		found.suppressed++
		return 0, false
	}
	suppressed, found.suppressed = found.suppressed, 0
	return suppressed, true
}

func cutText(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + fmt.Sprintf("… (%d bytes)", len(text))
}
