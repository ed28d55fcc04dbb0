package ipc

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/fescue-edge/fescue/core/invoke"
)

// statuses says how each refusal looks on the wire. The SDKs distinguish only
// success from the rest, except that the C SDK reads 429 as "try again".
var statuses = []struct {
	err    error
	status int
}{
	{invoke.ErrInvalid, http.StatusBadRequest},
	{invoke.ErrForbidden, http.StatusForbidden},
	{invoke.ErrNotFound, http.StatusNotFound},
	{invoke.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{invoke.ErrQueueFull, http.StatusTooManyRequests},
	{invoke.ErrBusy, http.StatusTooManyRequests},
	{invoke.ErrShuttingDown, http.StatusServiceUnavailable},
}

// refuse writes an error as text: SDKs copy it into the function's log. A call
// that was cut off, by its caller or by the end of the server, gets no answer:
// its connection is closed, which clients take as a reason to retry.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	s.drain(w, r)
	for _, known := range statuses {
		if errors.Is(err, known.err) {
			if known.status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "1")
			}
			s.text(w, known.status, err.Error())
			return
		}
	}
	s.logger.Error("A function's call failed.", "source", connOf(r).owner(), "method", r.Method, "path", r.URL.Path, "errorString", err.Error())
	s.text(w, http.StatusInternalServerError, "the core failed to do that; its runtime.log says why")
}

func (s *Server) text(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	s.write(w, status, []byte(strings.TrimRight(message, "\n")+"\n"))
}
