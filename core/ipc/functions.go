package ipc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

const (
	headerInvocationID   = "X-Amz-InvocationId"
	headerClientContext  = "X-Amz-Client-Context"
	headerInvocationType = "X-Amz-Invocation-Type"
	headerFunctionError  = "X-Amz-Function-Error"
)

// maxContext bounds a client context, in bytes of base64: Python's HTTP client
// cannot read a header line above 64 KiB.
const maxContext = 32 << 10

// invoke queues work for another function and answers with the invocation's id.
func (s *Server) invoke(w http.ResponseWriter, r *http.Request, worker Worker, arn string) {
	call := Call{
		ARN:           arn,
		Type:          InvocationType(r.Header.Get(headerInvocationType)),
		ClientContext: r.Header.Get(headerClientContext),
	}
	switch call.Type {
	case Event, RequestResponse:
	case "":
		call.Type = RequestResponse
	default:
		s.refuse(w, r, fmt.Errorf("%w: %s must be Event or RequestResponse", ErrInvalid, headerInvocationType))
		return
	}
	if len(call.ClientContext) > maxContext {
		s.refuse(w, r, fmt.Errorf("%w: %s is longer than %d bytes", ErrInvalid, headerClientContext, maxContext))
		return
	}
	payload, done, err := s.body(w, r, s.maxPayload)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer done()
	call.Payload = payload
	id := ""
	if name, ok := systemName(arn); ok {
		id, err = s.invokeSystem(r.Context(), worker, name, call)
	} else {
		id, err = s.functions.Invoke(r.Context(), worker, call)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	status := http.StatusOK
	if call.Type == Event {
		status = http.StatusAccepted
	}
	w.Header().Set(headerInvocationID, id)
	s.answer(w, r, status, nil)
}

// result waits for an invocation that this worker started.
func (s *Server) result(w http.ResponseWriter, r *http.Request, worker Worker, arn string) {
	id := r.Header.Get(headerInvocationID)
	if id == "" {
		s.refuse(w, r, fmt.Errorf("%w: %s is missing", ErrInvalid, headerInvocationID))
		return
	}
	var outcome Outcome
	var err error
	if _, ok := systemName(arn); ok {
		outcome, err = s.results.take(worker, arn, id)
	} else {
		outcome, err = s.functions.Result(r.Context(), worker, arn, id)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	// Always there: clients compare it with the empty string.
	w.Header().Set(headerFunctionError, string(outcome.Error))
	s.answer(w, r, http.StatusOK, outcome.Payload)
}

// work waits for the worker's next item, without limit.
func (s *Server) work(w http.ResponseWriter, r *http.Request, worker Worker, _ string) {
	// Reading the (empty) body lets the server notice that the client left.
	if _, _, err := s.body(w, r, 0); err != nil {
		s.refuse(w, r, err)
		return
	}
	item, err := s.functions.NextWork(r.Context(), worker)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set(headerInvocationID, item.ID)
	w.Header().Set(headerClientContext, item.ClientContext)
	err = r.Context().Err()
	if err == nil {
		err = s.write(w, http.StatusOK, item.Payload)
	}
	if err != nil {
		s.functions.Undelivered(worker, item.ID)
		panic(http.ErrAbortHandler)
	}
}

// complete takes the result or the error of an item.
func (s *Server) complete(w http.ResponseWriter, r *http.Request, worker Worker, _ string) {
	id := r.Header.Get(headerInvocationID)
	if id == "" {
		s.refuse(w, r, fmt.Errorf("%w: %s is missing", ErrInvalid, headerInvocationID))
		return
	}
	outcome := Outcome{Error: FunctionError(r.Header.Get(headerFunctionError))}
	switch outcome.Error {
	case Succeeded, Handled, Unhandled:
	default:
		s.refuse(w, r, fmt.Errorf("%w: %s must be Handled, Unhandled or empty", ErrInvalid, headerFunctionError))
		return
	}
	payload, done, err := s.body(w, r, s.maxPayload)
	var tooLarge *tooLargeError
	switch {
	case errors.As(err, &tooLarge):
		// The caller learns it at once; nothing better will come.
		if ended := s.functions.Complete(r.Context(), worker, id, tooLarge.outcome(outcome.Error)); ended != nil {
			err = ended
		}
	case err == nil:
		defer done()
		outcome.Payload = payload
		err = s.functions.Complete(r.Context(), worker, id, outcome)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, http.StatusOK, nil)
}

// initialized takes what a worker says about its start.
func (s *Server) initialized(w http.ResponseWriter, r *http.Request, worker Worker, _ string) {
	body, done, err := s.body(w, r, maxSmallBody)
	var tooLarge *tooLargeError
	if errors.As(err, &tooLarge) {
		// Only a failure has that much to say.
		s.drain(w, r)
		s.initialization(w, r, worker, Initialization{Response: "its reason could not be taken: " + err.Error()})
		return
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer done()
	var said struct {
		Success  *bool
		Response string
	}
	if err := json.Unmarshal(body, &said); err != nil || said.Success == nil {
		s.refuse(w, r, fmt.Errorf(`%w: the body must be {"Success": bool, "Response": text}`, ErrInvalid))
		return
	}
	s.initialization(w, r, worker, Initialization{Success: *said.Success, Response: said.Response})
}

func (s *Server) initialization(w http.ResponseWriter, r *http.Request, worker Worker, i Initialization) {
	if err := s.functions.Initialized(r.Context(), worker, i); err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, http.StatusOK, nil)
}

// answer sends an answer that the core can do nothing about if it is lost.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	if err := s.write(w, status, body); err != nil {
		s.logger.Debug("An answer to a function was lost.", "path", r.URL.Path, "errorString", err.Error())
	}
}
