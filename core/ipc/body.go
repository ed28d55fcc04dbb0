package ipc

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
)

// Times are the deadlines of a request; a zero member takes the default given with
// it. Only the answer to a poll, or to who waits for a result, may take as long as it
// takes.
type Times struct {
	// Header is for a request's head: 5 s.
	Header time.Duration
	// Request is within what a request without a token has to be there as a whole; a
	// worker's body gets longer the larger it is: 10 s.
	Request time.Duration
	// Room is how long a body waits for room among others: 10 s.
	Room time.Duration
}

func (t Times) withDefaults() Times {
	return Times{
		Header:  cmp.Or(t.Header, 5*time.Second),
		Request: cmp.Or(t.Request, 10*time.Second),
		Room:    cmp.Or(t.Room, 10*time.Second),
	}
}

const (
	// minBodyRate is in bytes per second.
	minBodyRate = 256 << 10
	// maxDrain bounds what is read of a body that is refused, in bytes.
	maxDrain = 1 << 30

	answerTimeout = 30 * time.Second
	idleTimeout   = 2 * time.Minute
)

// tooLargeError means that a body is larger than it may be.
type tooLargeError struct {
	// size is in bytes, 0 where the request does not say it; limit is what it
	// may have.
	size, limit int64
}

func (e *tooLargeError) Error() string {
	if e.size == 0 {
		return fmt.Sprintf("%v: it has more than the %d bytes that it may have", invoke.ErrTooLarge, e.limit)
	}
	return fmt.Sprintf("%v: it has %d bytes, and may have %d", invoke.ErrTooLarge, e.size, e.limit)
}

func (e *tooLargeError) Unwrap() error { return invoke.ErrTooLarge }

// body reads all of a request's body, at most limit bytes; a larger one that
// says so is not read at all. done is called when it is counted elsewhere.
func (s *Server) body(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, done func(), err error) {
	size := r.ContentLength
	if size > limit {
		return nil, nil, &tooLargeError{size: size, limit: limit}
	}
	if size < 0 {
		size = limit
	}
	from := connOf(r)
	ctx, cancel := context.WithTimeout(r.Context(), s.times.Room)
	defer cancel()
	if done, err = from.room(ctx, size); err != nil {
		if r.Context().Err() != nil {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("%w: other calls are being read; call again", invoke.ErrBusy)
	}
	if from.known() {
		s.extend(w, s.times.Request+time.Duration(size/minBodyRate)*time.Second)
	}
	buffer := bytes.NewBuffer(make([]byte, 0, max(r.ContentLength, 0)+bytes.MinRead))
	_, err = buffer.ReadFrom(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		err = fmt.Errorf("%w: the body could not be read: %w", invoke.ErrInvalid, err)
	case int64(buffer.Len()) > limit:
		err = &tooLargeError{limit: limit}
	default:
		return buffer.Bytes(), done, nil
	}
	done()
	return nil, nil, err
}

// drain throws away what is left of a worker's body, so that the client, which
// may send all of it before it reads, gets the answer.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Expect") != "" || !connOf(r).known() {
		return
	}
	step := int64(s.times.Request.Seconds() * minBodyRate)
	for read := int64(0); read < maxDrain; {
		s.extend(w, s.times.Request)
		n, err := io.CopyN(io.Discard, r.Body, step)
		read += n
		if err != nil {
			return
		}
	}
}

// wait lets a request that is there as a whole wait for its answer for as long as
// it takes. The deadline of its body would end it: while a handler runs, net/http
// reads on to notice that the client left.
func wait(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// extend lets a request take that long from now.
func (s *Server) extend(w http.ResponseWriter, more time.Duration) {
	// An error means that the connection is gone, which shows by itself.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(more))
}
