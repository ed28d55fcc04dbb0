package ipc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue/core/invoke"
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

// invoke passes a call on and answers with the invocation's id.
func (s *Server) invoke(w http.ResponseWriter, r *http.Request, worker invoke.Worker) {
	call := invoke.Call{
		ARN:           r.PathValue("arn"),
		Type:          invoke.Type(r.Header.Get(headerInvocationType)),
		ClientContext: r.Header.Get(headerClientContext),
	}
	switch call.Type {
	case invoke.Event, invoke.RequestResponse:
	case "":
		call.Type = invoke.RequestResponse
	default:
		s.refuse(w, r, fmt.Errorf("%w: %s must be Event or RequestResponse", invoke.ErrInvalid, headerInvocationType))
		return
	}
	if len(call.ClientContext) > maxContext {
		s.refuse(w, r, fmt.Errorf("%w: %s is longer than %d bytes", invoke.ErrInvalid, headerClientContext, maxContext))
		return
	}
	payload, done, err := s.body(w, r, s.maxPayload)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer done()
	call.Payload = payload
	id, err := s.calls.Invoke(r.Context(), worker, call)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	status := http.StatusOK
	if call.Type == invoke.Event {
		status = http.StatusAccepted
	}
	w.Header().Set(headerInvocationID, id)
	s.answer(w, r, status, nil)
}

// invocationID is the one that a request names; without it the request is
// refused.
func (s *Server) invocationID(w http.ResponseWriter, r *http.Request) (id string, ok bool) {
	id = r.Header.Get(headerInvocationID)
	if id == "" {
		s.refuse(w, r, fmt.Errorf("%w: %s is missing", invoke.ErrInvalid, headerInvocationID))
	}
	return id, id != ""
}

// result waits for an invocation that this worker started.
func (s *Server) result(w http.ResponseWriter, r *http.Request, worker invoke.Worker) {
	id, ok := s.invocationID(w, r)
	if !ok {
		return
	}
	wait(w)
	err := s.calls.Result(r.Context(), worker, r.PathValue("arn"), id, func(outcome invoke.Outcome) {
		// Always there: clients compare it with the empty string.
		w.Header().Set(headerFunctionError, string(outcome.Error))
		s.answer(w, r, http.StatusOK, outcome.Payload)
	})
	if err != nil {
		s.refuse(w, r, err)
	}
}

// work waits for the worker's next item, without limit.
func (s *Server) work(w http.ResponseWriter, r *http.Request, worker invoke.Worker) {
	// Reading the (empty) body lets the server notice that the client left.
	if _, _, err := s.body(w, r, 0); err != nil {
		s.refuse(w, r, err)
		return
	}
	wait(w)
	item, err := s.workers.NextWork(r.Context(), worker)
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
		s.workers.Undelivered(worker, item.ID)
		panic(http.ErrAbortHandler)
	}
}

// complete takes the result or the error of an item.
func (s *Server) complete(w http.ResponseWriter, r *http.Request, worker invoke.Worker) {
	id, ok := s.invocationID(w, r)
	if !ok {
		return
	}
	outcome := invoke.Outcome{Error: invoke.FunctionError(r.Header.Get(headerFunctionError))}
	switch outcome.Error {
	case invoke.Succeeded, invoke.Handled, invoke.Unhandled:
	default:
		s.refuse(w, r, fmt.Errorf("%w: %s must be Handled, Unhandled or empty", invoke.ErrInvalid, headerFunctionError))
		return
	}
	payload, done, err := s.body(w, r, s.maxPayload)
	var tooLarge *tooLargeError
	switch {
	case errors.As(err, &tooLarge):
		// The caller learns it at once; nothing better will come.
		outcome = invoke.TooLarge(outcome.Error, tooLarge.size, tooLarge.limit)
		if ended := s.workers.Complete(r.Context(), worker, id, outcome); ended != nil {
			err = ended
		}
	case err == nil:
		defer done()
		outcome.Payload = payload
		err = s.workers.Complete(r.Context(), worker, id, outcome)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, http.StatusOK, nil)
}

// initialized takes what a worker says about its start.
func (s *Server) initialized(w http.ResponseWriter, r *http.Request, worker invoke.Worker) {
	said, err := s.initialization(w, r)
	if err == nil {
		err = s.workers.Initialized(r.Context(), worker, said)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, http.StatusOK, nil)
}

func (s *Server) initialization(w http.ResponseWriter, r *http.Request) (invoke.Initialization, error) {
	body, done, err := s.body(w, r, maxSmallBody)
	var tooLarge *tooLargeError
	if errors.As(err, &tooLarge) {
		// Only a failure has that much to say.
		s.drain(w, r)
		return invoke.Initialization{Response: "its reason could not be taken: " + err.Error()}, nil
	}
	if err != nil {
		return invoke.Initialization{}, err
	}
	defer done()
	var said struct {
		Success  *bool
		Response string
	}
	if err := json.Unmarshal(body, &said); err != nil || said.Success == nil {
		return invoke.Initialization{}, fmt.Errorf(`%w: the body must be {"Success": bool, "Response": text}`, invoke.ErrInvalid)
	}
	return invoke.Initialization{Success: *said.Success, Response: said.Response}, nil
}

// answer sends an answer that the core can do nothing about if it is lost.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	if err := s.write(w, status, body); err != nil {
		s.logger.Debug("An answer to a function was lost.", "path", r.URL.Path, "errorString", err.Error())
	}
}
