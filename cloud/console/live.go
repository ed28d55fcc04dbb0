package console

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Live tells open pages that what they show is not so any more, on whichever server it has
// changed. A page then fetches its parts anew; what they are is not its business.
type Live struct {
	life context.Context // ends with the streams
	end  context.CancelFunc
	told sync.WaitGroup // the streams

	mu    sync.Mutex
	pages map[*livePage]bool
	of    map[string]int // how many a key has
}

// livePage is a page that is told.
type livePage struct {
	partition fescue.Partition
	// group is whose deployments it shows, empty for all of the partition and for its cores.
	group string
	// key is the access key that has signed in, session the temporary one of its cookie.
	key, session string
	// changed and doubted have something in them when what the page shows has changed, and
	// when it is to be asked whether its session goes on.
	changed, doubted chan struct{}
}

const (
	// maxLive bounds the pages that one server tells, maxKeyLive those of one key: each holds
	// a connection. Those beyond ask now and then, as pages do that cannot be told.
	maxLive    = 1000
	maxKeyLive = 200
	// liveGroup and liveFleet are the least time between two times that a page is told: what
	// changes meanwhile is told at once then. One that shows the fleet costs more to fetch.
	liveGroup = time.Second
	liveFleet = 5 * time.Second
	// liveAlive is how often a page is told that the stream goes on, and its session and right
	// asked for; liveAgain is how soon after no answer to that.
	liveAlive = 15 * time.Second
	liveAgain = time.Second
)

// NewLive makes one that knows of no page yet.
func NewLive() *Live {
	l := &Live{pages: make(map[*livePage]bool), of: make(map[string]int)}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// Changed tells the pages that show deployments of a group; without a group those that show
// the partition's cores.
func (l *Live) Changed(p fescue.Partition, group string) {
	l.tell(func(page *livePage) chan struct{} {
		if page.partition == p && (page.group == "" || page.group == group) {
			return page.changed
		}
		return nil
	})
}

// AllChanged tells all pages.
func (l *Live) AllChanged() { l.tell(func(page *livePage) chan struct{} { return page.changed }) }

// KeyChanged has it asked whether a page goes on of an access key or a session.
func (l *Live) KeyChanged(id string) {
	l.tell(func(page *livePage) chan struct{} {
		if id == page.key || id == page.session {
			return page.doubted
		}
		return nil
	})
}

// AllKeysChanged has it asked of every page.
func (l *Live) AllKeysChanged() { l.tell(func(page *livePage) chan struct{} { return page.doubted }) }

func (l *Live) tell(which func(*livePage) chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for page := range l.pages {
		select {
		case which(page) <- struct{}{}: // never to nil
		default:
		}
	}
}

// End ends all streams.
func (l *Live) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

// Wait returns when all have ended, after End, or with ctx.
func (l *Live) Wait(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.told.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// add has a page told, if there are not too many.
func (l *Live) add(page *livePage) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.life.Err() != nil || len(l.pages) >= maxLive || l.of[page.key] >= maxKeyLive {
		return false
	}
	l.pages[page] = true
	l.of[page.key]++
	l.told.Add(1)
	return true
}

func (l *Live) remove(page *livePage) {
	defer l.told.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pages, page)
	if l.of[page.key]--; l.of[page.key] == 0 {
		delete(l.of, page.key)
	}
}

// mayShow is nil when the key may see what a page shows.
func (v *visit) mayShow(page *livePage) error {
	if page.group == "" {
		if !v.may(own, awsapi.Target{Operation: "GetFleetSummary"}) {
			return &refusal{http.StatusForbidden, "", "The key may not see the fleet."}
		}
		return nil
	}
	if !fescue.ValidID(page.group) {
		return &refusal{http.StatusNotFound, "", "There is no such group."}
	}
	_, err := get[groupInformation](v, greengrass, "/greengrass/groups/"+page.group)
	return err
}

// lasts is nil while the session goes on, and its key may see what a page shows.
func (v *visit) lasts(page *livePage) error {
	signer, err := v.c.bearer(v.r)
	if err != nil {
		return err
	}
	v.inside.Signer = signer
	return v.mayShow(page)
}

// over reports whether an answer of lasts stays as it is.
func over(err error) bool {
	refused := (*refusal)(nil)
	return errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrExpiredKey) ||
		errors.As(err, &refused) && (refused.Status == http.StatusForbidden || refused.Status == http.StatusNotFound)
}

// live tells a page, as server-sent events, until the browser goes, the session ends, its
// key may not see any more what the page shows, or the server ends.
func (v *visit) live() error {
	page := &livePage{
		partition: v.partition(), group: v.form.Get("group"), key: v.inside.Signer.ID,
		changed: make(chan struct{}, 1), doubted: make(chan struct{}, 1),
	}
	if cookie, err := v.r.Cookie(cookieName); err == nil {
		page.session, _, _ = strings.Cut(cookie.Value, ".")
	}
	if err := v.mayShow(page); err != nil {
		return err
	}
	pause := liveFleet
	if page.group != "" {
		pause = liveGroup
	}
	live := v.c.o.Live
	if !live.add(page) {
		return &refusal{http.StatusTooManyRequests, "", "Too many pages are told of changes already."}
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	if s := v.taken(); s != nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(v.r.Context())) // it ends with the handler
		v.r = v.r.WithContext(ctx)
		go func() {
			defer cancel()
			defer context.AfterFunc(live.life, cancel)()
			defer live.remove(page)
			defer s.end()
			defer v.broken() // as net/http does for handlers
			v.follow(page, pause, s, s.gone)
		}()
		return nil
	}
	defer live.remove(page)
	v.follow(page, pause, v.w, v.r.Context().Done())
	return nil
}

// broken keeps what panics in a stream from ending the server.
func (v *visit) broken() {
	if why := recover(); why != nil {
		v.c.o.Logger.Error("the stream of a page broke", "panic", why, "stack", string(debug.Stack()))
	}
}

// follow tells a page until there is nobody to tell any more, which gone says.
func (v *visit) follow(page *livePage, pause time.Duration, to http.ResponseWriter, gone <-chan struct{}) {
	s := &eventStream{to: to, connection: http.NewResponseController(to)}
	alive, next, again := time.NewTicker(liveAlive), time.NewTimer(0), (<-chan time.Time)(nil)
	defer alive.Stop()
	defer next.Stop()
	err := s.send("", nil) // the header
	for due := (<-chan struct{})(nil); err == nil; {
		select {
		case <-gone:
			return
		case <-v.c.o.Live.life.Done():
			return
		case <-next.C:
			due = page.changed
			continue
		case <-due:
			due = nil
			next.Reset(pause)
			err = s.send("changed", nil)
			continue
		case <-page.doubted:
			v.c.o.Keys.Current(v.r.Context(), page.key) // for the question below
		case <-again:
			v.c.o.Keys.Current(v.r.Context(), page.key)
		case <-alive.C:
			err = s.send("", nil)
		}
		again = nil
		if answer := v.lasts(page); over(answer) {
			s.send("ended", nil)
			return
		} else if answer != nil {
			again = time.After(liveAgain)
		}
	}
}

// takenStream is an answer without an end, on a connection that was taken from the HTTP
// server: the server would hold buffers and the stack of a handler for it, which is several
// times what it takes to tell a page now and then.
type takenStream struct {
	net.Conn
	header http.Header
	gone   chan struct{} // closed when the browser is
}

// streamTime is how long an event may take to be written.
const streamTime = 30 * time.Second

// taken takes the connection; nil where it cannot be had.
func (v *visit) taken() *takenStream {
	if v.r.Method != http.MethodGet {
		return nil
	}
	conn, _, err := http.NewResponseController(v.w).Hijack()
	if err != nil {
		return nil
	}
	conn.SetDeadline(time.Time{})
	s := &takenStream{Conn: conn, header: v.w.Header().Clone(), gone: make(chan struct{})}
	s.header.Set("Connection", "close")
	s.header.Set("Date", v.c.o.Now().UTC().Format(http.TimeFormat))
	go func() {
		defer close(s.gone)
		conn.Read(make([]byte, 1)) // browsers send nothing more on it
	}()
	return s
}

// Header implements http.ResponseWriter.
func (s *takenStream) Header() http.Header { return s.header }

// WriteHeader implements http.ResponseWriter.
func (s *takenStream) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (s *takenStream) Write(p []byte) (int, error) {
	s.SetWriteDeadline(time.Now().Add(streamTime))
	if s.header != nil {
		var head bytes.Buffer
		head.WriteString("HTTP/1.1 200 OK\r\n")
		s.header.Write(&head)
		head.WriteString("\r\n")
		if _, err := s.Conn.Write(head.Bytes()); err != nil {
			return 0, err
		}
		s.header = nil
	}
	return s.Conn.Write(p)
}

// FlushError lets http.ResponseController flush what is flushed already.
func (s *takenStream) FlushError() error { return nil }

// end closes the connection.
func (s *takenStream) end() {
	s.Close()
	<-s.gone
}
