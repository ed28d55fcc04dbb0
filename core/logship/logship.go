// Package logship sends lines of logs from the core to where a logger of type
// AWSCloudWatch wants them: to the control plane, or to an endpoint that speaks
// CloudWatch Logs. Nobody waits for it: what cannot be sent yet waits in memory, in
// a bounded place for each log, from which the oldest lines go when it is full.
// They are counted, and said where the next lines arrive.
//
// The package knows queues and destinations. It must not know files, levels or
// functions.
package logship

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/corelink"
)

// Bounds of what waits, in bytes of texts as JSON has them, with lineCost for each
// line beside its text.
const (
	mostOfLog = 1 << 20
	mostOfAll = 4 << 20
	lineCost  = 64
	// longest bounds a line's text; the rest is cut.
	longest = 32 << 10
)

// Times.
const (
	// pause is between batches, hurry where more waits than one takes: 256 KB/s at
	// most.
	pause = 4 * time.Second
	hurry = time.Second
	// warnPause is between two lines about what is refused.
	warnPause = time.Minute
	// denialPatience is how long lines of a log that may not be written are kept for
	// another try, as permissions take a while to hold.
	denialPatience = 5 * time.Minute
	// lastTime bounds the sending of what waits at the end.
	lastTime = 3 * time.Second
)

// Destination takes batches.
type Destination interface {
	// Send sends a batch, and takes from it what it has sent: when it fails, the
	// batch comes again with the rest. ErrRefused says that trying again does not
	// help.
	Send(ctx context.Context, batch *Batch) error
	// String names it in messages.
	String() string
}

// ErrRefused means that a destination does not want a batch, now or later.
var ErrRefused = errors.New("refused")

// Batch are lines to be sent at once.
type Batch struct {
	// ID is a UUID, GroupID the deployed group.
	ID, GroupID string
	Logs        []Log
	// Denied are logs that a destination took out of Logs because they may not be
	// written now, perhaps later; Denial is why.
	Denied []Log
	Denial error
}

// lines is how many the batch has, those included that were lost before them.
func (b *Batch) lines() int { return linesOf(b.Logs) }

func linesOf(list []Log) (n int) {
	for _, l := range list {
		n += len(l.Lines) + l.Lost
	}
	return n
}

// Log are lines of one log.
type Log struct {
	logs.Source
	// Lost is how many lines before these could not be kept.
	Lost  int
	Lines []logs.Line
}

// Shipper keeps lines until they are sent. Make one with New; Run owns it.
type Shipper struct {
	to Destination
	// ready is signalled when lines wait, full when more do than a batch takes.
	ready, full chan struct{}

	mu     sync.Mutex
	group  string
	queues map[logs.Source]*queue
	size   int
	// denials are of logs that may not be written.
	denials map[logs.Source]*denial
	// lost is how many lines had no room since it was last said.
	lost int
}

// denial is what is known of a log that may not be written: since when, how often it was
// tried, and when it is tried again.
type denial struct {
	since, until time.Time
	tries        int
}

// queue are the lines of one log that wait.
type queue struct {
	lines []logs.Line
	size  int
	lost  int
}

// New makes a shipper.
func New(to Destination) *Shipper {
	return &Shipper{to: to, queues: make(map[logs.Source]*queue), denials: make(map[logs.Source]*denial), ready: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// SetGroup says which group's lines come from now on. What waits of another is let
// go: that group no longer has this core.
func (s *Shipper) SetGroup(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.group {
		s.group, s.size = id, 0
		clear(s.queues)
		clear(s.denials)
	}
}

// Add keeps a line until it is sent. It never waits.
func (s *Shipper) Add(source logs.Source, line logs.Line) {
	if len(line.Text) > longest {
		line.Text = line.Text[:longest]
	}
	line.Text = strings.ToValidUTF8(line.Text, "\uFFFD")
	cost := costOf(line)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group == "" {
		return
	}
	q := s.queue(source)
	q.lines = append(q.lines, line)
	q.size += cost
	s.size += cost
	s.bound(q)
	signal(s.ready)
	if s.size > corelink.MaxBatch {
		signal(s.full)
	}
}

// queue is that of a log, made if there is none.
func (s *Shipper) queue(source logs.Source) *queue {
	q := s.queues[source]
	if q == nil {
		q = new(queue)
		s.queues[source] = q
	}
	return q
}

// bound drops lines until what waits is in its bounds; q has grown.
func (s *Shipper) bound(q *queue) {
	for q.size > mostOfLog {
		s.drop(q)
	}
	for s.size > mostOfAll {
		s.drop(s.largest())
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// costOf is what a line takes, of memory and on the wire.
func costOf(line logs.Line) int {
	n := lineCost + len(line.Text)
	for _, c := range []byte(line.Text) {
		switch {
		case c < ' ', c == '<', c == '>', c == '&':
			n += 5
		case c == '"', c == '\\':
			n++
		}
	}
	return n
}

func (s *Shipper) drop(q *queue) {
	cost := costOf(q.lines[0])
	q.lines[0] = logs.Line{}
	q.lines = q.lines[1:]
	q.size -= cost
	s.size -= cost
	q.lost++
	s.lost++
}

func (s *Shipper) largest() *queue {
	var most *queue
	for _, q := range s.queues {
		if most == nil || q.size > most.size {
			most = q
		}
	}
	return most
}

// Run sends until ctx ends, and then what waits for a moment more.
func (s *Shipper) Run(ctx context.Context, logger *slog.Logger) {
	retry := backoff.Policy{First: time.Second, Most: time.Minute}
	var batch *Batch
	refused := refusals{text: "Lines of logs were refused and are lost; others are sent."}
	denied := refusals{text: "Lines of logs may not be written where they are sent; they are tried again for five minutes, and others are sent."}
	for failures := 0; ; {
		wait := pause
		if batch == nil {
			if !s.await(ctx) {
				break
			}
			if batch = s.take(false); batch == nil {
				continue
			}
			wait = 0
		}
		logs := len(batch.Logs)
		sources := sourcesOf(batch.Logs)
		err := s.to.Send(ctx, batch)
		if lost := s.putBack(batch, sources); lost > 0 {
			refused.warn(logger, s.to, lost, batch.Denial)
		} else if len(batch.Denied) > 0 {
			denied.warn(logger, s.to, linesOf(batch.Denied), batch.Denial)
		}
		batch.Denied = nil
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, ErrRefused):
			// What a destination takes of a batch shows that it is the rest that it does not
			// want; one that takes nothing is left alone for longer and longer.
			failures++
			if wait = retry.Pause(failures); len(batch.Logs) < logs {
				failures, wait = 0, pause
			}
			refused.warn(logger, s.to, batch.lines(), err)
			batch = nil
		case err != nil:
			failures++
			wait = retry.Pause(failures)
			if failures == 1 {
				logger.Warn("Lines of logs could not be sent; they are sent later, as far as there is room for them.",
					slog.String("to", s.to.String()), slog.String("errorString", err.Error()))
			}
		default:
			if failures > 0 {
				logger.Info("Lines of logs are sent again.", slog.String("to", s.to.String()))
			}
			batch, failures, wait = nil, 0, pause
			s.sayLost(logger)
		}
		if !s.sleep(ctx, wait, batch == nil && err == nil) {
			break
		}
	}
	s.finish(context.WithoutCancel(ctx), batch)
}

// refusals are what is refused, which is logged once in warnPause: each line about it may
// be the next that is refused.
type refusals struct {
	text  string
	lines int
	last  time.Time
}

func (r *refusals) warn(logger *slog.Logger, to Destination, lines int, err error) {
	r.lines += lines
	if !r.last.IsZero() && time.Since(r.last) < warnPause {
		return
	}
	logger.Warn(r.text,
		slog.String("to", to.String()), slog.Int("lines", r.lines), slog.String("errorString", err.Error()))
	r.lines, r.last = 0, time.Now()
}

// finish sends what waits, and is done after lastTime.
func (s *Shipper) finish(ctx context.Context, batch *Batch) {
	ctx, cancel := context.WithTimeout(ctx, lastTime)
	defer cancel()
	for {
		if batch == nil {
			batch = s.take(true)
		}
		if batch == nil || s.to.Send(ctx, batch) != nil {
			return
		}
		batch = nil
	}
}

// sayLost logs the lines that had no room.
func (s *Shipper) sayLost(logger *slog.Logger) {
	s.mu.Lock()
	lost := s.lost
	s.lost = 0
	s.mu.Unlock()
	if lost > 0 {
		logger.Warn("Lines of logs had no room while they waited to be sent, and are lost there; the log files have what their Space holds.",
			slog.String("to", s.to.String()), slog.Int("lines", lost))
	}
}

// await waits for a line, and then a little for more, and is false when ctx ended
// before.
func (s *Shipper) await(ctx context.Context) bool {
	for {
		due := s.due()
		if due == 0 {
			return s.sleep(ctx, hurry, false)
		}
		timer := time.NewTimer(due)
		select {
		case <-ctx.Done():
		case <-s.ready:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// due is how long no line that waits is to be sent: at most denialPatience.
func (s *Shipper) due() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := denialPatience
	for source, q := range s.queues {
		if len(q.lines) > 0 {
			first = min(first, s.heldFor(source))
		}
	}
	return first
}

// heldFor is how long a log is not tried, because it may not be written.
func (s *Shipper) heldFor(source logs.Source) time.Duration {
	if d := s.denials[source]; d != nil {
		return max(0, time.Until(d.until))
	}
	return 0
}

func sourcesOf(list []Log) (sources []logs.Source) {
	for _, l := range list {
		sources = append(sources, l.Source)
	}
	return sources
}

// putBack has what was denied of a batch, which had logs of the sources, wait for another
// try, before the lines that came since, and says how many lines are lost because it was
// denied for too long. Logs that were taken are not denied any more.
func (s *Shipper) putBack(batch *Batch, sources []logs.Source) (lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if batch.GroupID != s.group {
		return 0 // they are let go
	}
	left := append(sourcesOf(batch.Denied), sourcesOf(batch.Logs)...)
	for _, source := range sources {
		if !slices.Contains(left, source) {
			delete(s.denials, source)
		}
	}
	retry := backoff.Policy{First: 5 * time.Second, Most: time.Minute}
	for _, l := range batch.Denied {
		d := s.denials[l.Source]
		if d == nil {
			d = &denial{since: time.Now()}
			s.denials[l.Source] = d
		}
		d.tries++
		d.until = time.Now().Add(retry.Pause(d.tries))
		if time.Since(d.since) > denialPatience {
			lost += linesOf([]Log{l})
			continue
		}
		q := s.queue(l.Source)
		q.lines = append(l.Lines, q.lines...)
		q.lost += l.Lost
		for _, line := range l.Lines {
			q.size += costOf(line)
			s.size += costOf(line)
		}
		s.bound(q)
	}
	return lost
}

// sleep waits, shorter when it is hurried by more lines than a batch takes, and is
// false when ctx ended before.
func (s *Shipper) sleep(ctx context.Context, d time.Duration, hurried bool) bool {
	var full <-chan struct{}
	if hurried {
		first := min(d, hurry)
		if !s.sleep(ctx, first, false) {
			return false
		}
		full, d = s.full, d-first
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-full:
	case <-timer.C:
	}
	return true
}

// take makes a batch of what waits, of each log its share, with those that are held only
// if all is wanted; nil when nothing waits.
func (s *Shipper) take(all bool) *Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	// In no order: where there are too many, it is not always the same that wait.
	sources := slices.DeleteFunc(slices.Collect(maps.Keys(s.queues)), func(source logs.Source) bool { return !all && s.heldFor(source) > 0 })
	if len(sources) == 0 {
		return nil
	}
	sources = sources[:min(len(sources), corelink.MaxBatchLogs)]
	batch := &Batch{ID: fescue.NewID(), GroupID: s.group}
	room := corelink.MaxBatch
	for i, source := range sources {
		q := s.queues[source]
		share := room / (len(sources) - i)
		log := Log{Source: source, Lost: q.lost}
		used := 0
		for len(q.lines) > 0 {
			cost := costOf(q.lines[0])
			if used+cost > max(share, longest) && used > 0 || used+cost > room {
				break
			}
			log.Lines = append(log.Lines, q.lines[0])
			q.lines = q.lines[1:]
			used += cost
		}
		q.size -= used
		s.size -= used
		room -= used
		if len(log.Lines) == 0 {
			continue
		}
		q.lost = 0
		batch.Logs = append(batch.Logs, log)
		if len(q.lines) == 0 {
			delete(s.queues, source)
		}
	}
	if s.size > 0 {
		signal(s.ready)
	}
	return batch
}
