package ipc

import (
	"encoding/json"
	"net/http"

	"github.com/fescue-edge/fescue/core/invoke"
)

// listWorkers is GET …/health/workers: everything, without authentication, as
// the developer guide describes it.
func (s *Server) listWorkers(w http.ResponseWriter, r *http.Request, _ invoke.Worker) {
	s.json(w, r, nonNil(s.workers.Workers()))
}

// queryWorkers is POST …/health/workers: the workers of some functions.
func (s *Server) queryWorkers(w http.ResponseWriter, r *http.Request, _ invoke.Worker) {
	body, done, err := s.body(w, r, maxOpenBody)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer done()
	var query struct{ FuncArns []string }
	if err := json.Unmarshal(body, &query); err != nil || len(query.FuncArns) == 0 {
		s.text(w, http.StatusBadRequest, "Invalid request")
		return
	}
	workers := s.workers.Workers()
	if len(query.FuncArns) > len(workers) {
		s.text(w, http.StatusBadRequest, "Request exceeds max number of workers")
		return
	}
	byARN := make(map[string][]invoke.WorkerStatus)
	for _, worker := range workers {
		byARN[worker.FuncArn] = append(byARN[worker.FuncArn], worker)
	}
	answer := struct {
		Workers     []invoke.WorkerStatus
		InvalidArns []string
	}{[]invoke.WorkerStatus{}, []string{}}
	asked := make(map[string]bool)
	for _, arn := range query.FuncArns {
		if asked[arn] {
			continue
		}
		asked[arn] = true
		if found := byARN[arn]; len(found) > 0 {
			answer.Workers = append(answer.Workers, found...)
		} else {
			answer.InvalidArns = append(answer.InvalidArns, arn)
		}
	}
	s.json(w, r, answer)
}

func nonNil(workers []invoke.WorkerStatus) []invoke.WorkerStatus {
	if workers == nil {
		return []invoke.WorkerStatus{}
	}
	return workers
}

func (s *Server) json(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	s.answer(w, r, http.StatusOK, body)
}
