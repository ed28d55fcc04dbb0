package inbound

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"
)

// Pace is how slow a client may be. What it sends and what it reads earns it time:
// Grace at first, and a second for each Rate bytes, but never more than twice Grace
// in advance. The zero value is DefaultPace.
type Pace struct {
	Grace time.Duration
	Rate  int // bytes a second
	// Linger is how long the rest of a body is thrown away behind an answer that
	// did not wait for it. A client that still sends would not see the answer if
	// the connection were closed at once.
	Linger time.Duration
}

// DefaultPace lets a zip of 50 MB come over a line of 64 kbit/s.
var DefaultPace = Pace{Grace: 30 * time.Second, Rate: 8 << 10, Linger: 30 * time.Second}

// lingerGap is how long nothing may come while a rest is thrown away.
const lingerGap = 5 * time.Second

// time is what so many bytes earn.
func (p Pace) time(bytes int) time.Duration {
	return time.Duration(bytes) * time.Second / time.Duration(p.Rate)
}

// ErrSlow is why a body ends early.
var ErrSlow = errors.New("the body came too slowly")

// Handler bounds every request to next: how slowly its body may come and its answer
// be read. maxBody bounds the body in bytes; 0 leaves that to next. An answer
// does not wait for a body that next has not read.
func (p Pace) Handler(next http.Handler, maxBody int64) http.Handler {
	if p == (Pace{}) {
		p = DefaultPace
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w, pace: p}
		inner := r
		if r.Body != nil && r.Body != http.NoBody {
			a.extend(0) // 100 Continue
			// A copy: net/http looks at the body of its own.
			inner = r.WithContext(r.Context())
			a.body = &body{ReadCloser: r.Body, connection: http.NewResponseController(w), pace: p, credit: p.Grace}
			inner.Body = a.body
			if maxBody > 0 {
				inner.Body = http.MaxBytesReader(a, a.body, maxBody)
			}
		}
		next.ServeHTTP(a, inner)
		a.end(r)
	})
}

// body is a request's, which must come in time.
type body struct {
	io.ReadCloser
	connection *http.ResponseController
	pace       Pace
	// credit is the time that the sender still has. It is spent only while
	// somebody waits for the body.
	credit time.Duration
	ended  bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	start := time.Now()
	b.connection.SetReadDeadline(start.Add(b.credit))
	n, err := b.ReadCloser.Read(p)
	b.credit = min(b.credit-time.Since(start)+b.pace.time(n), 2*b.pace.Grace)
	switch {
	case err == io.EOF:
		b.ended = true
		// The connection is watched while the request is worked on.
		b.connection.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w: it must bring %d bytes a second, after %s", ErrSlow, b.pace.Rate, b.pace.Grace)
	}
	return n, err
}

// answer is one that must be read in time.
type answer struct {
	http.ResponseWriter
	pace  Pace
	body  *body // nil for none
	begun bool
	// until is when what is written has to be read. net/http takes the deadline from the
	// connection after each answer, so that the next one has to set its own.
	until time.Time
}

// extend gives the client its time to read n bytes more. Deadlines that lie close to each
// other are one: to set one costs as much as to write a small answer.
func (a *answer) extend(n int) {
	if until := time.Now().Add(a.pace.Grace + a.pace.time(n)); until.Sub(a.until) > a.pace.Grace/30 {
		a.until = until
		http.NewResponseController(a.ResponseWriter).SetWriteDeadline(until)
	}
}

// unread reports whether there is more of the body.
func (a *answer) unread() bool { return a.body != nil && !a.body.ended }

// begin is called before the head of the answer is sent. net/http would read the
// rest of the body first.
func (a *answer) begin(n int) {
	if !a.begun && a.unread() {
		a.Header().Set("Connection", "close")
	}
	a.begun = true
	a.extend(n)
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status >= http.StatusOK {
		a.begin(0)
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.begin(len(p))
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// end sends the answer, and then throws away what still comes.
func (a *answer) end(r *http.Request) {
	a.begin(0)
	if !a.unread() {
		return
	}
	if a.body.connection.Flush() != nil {
		return // the connection is gone, or another's
	}
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		setWaiting(c, true)
	}
	buffer := make([]byte, 16<<10)
	for last := time.Now().Add(a.pace.Linger); ; {
		gap := time.Now().Add(lingerGap)
		if gap.After(last) {
			gap = last
		}
		a.body.connection.SetReadDeadline(gap)
		if _, err := a.body.ReadCloser.Read(buffer); err != nil {
			return
		}
	}
}

// PerAddress bounds how many requests to next one address has under way. One more is
// answered 429.
func PerAddress(most int, next http.Handler) http.Handler {
	var underway Portions
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := Origin(r.RemoteAddr)
		if !underway.Take(from, 1, int64(most), math.MaxInt64) {
			http.Error(w, fmt.Sprintf("%d requests of this address are under way: try again when one has ended", most), http.StatusTooManyRequests)
			return
		}
		defer underway.Give(from, 1)
		next.ServeHTTP(w, r)
	})
}
