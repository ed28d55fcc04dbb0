package ipc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
)

// levels are the names that a log line can begin with, and what they mean here.
var levels = map[string]string{
	"TRACE": "TRACE", "DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARN", "WARNING": "WARN",
	"ERROR": "ERROR", "FATAL": "FATAL", "CRITICAL": "FATAL",
}

// appendLogs takes a request of the form of CloudWatch's PutLogEvents, which is
// what the log handlers bundled with the earliest functions send. Every line
// goes into the log of the worker that sent it, whatever group it names.
func (s *Server) appendLogs(w http.ResponseWriter, r *http.Request, worker invoke.Worker) {
	body, done, err := s.body(w, r, maxSmallBody)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer done()
	lines, err := parseLogEvents(body)
	if err == nil {
		err = s.workers.AppendLog(r.Context(), worker, lines)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.json(w, r, struct{}{})
}

func parseLogEvents(body []byte) ([]invoke.LogLine, error) {
	var request struct {
		Events []struct {
			Timestamp int64  `json:"timestamp"`
			Message   string `json:"message"`
		} `json:"logEvents"`
	}
	if err := json.Unmarshal(body, &request); err != nil || len(request.Events) == 0 {
		return nil, fmt.Errorf(`%w: the body must be {"logEvents": [{"timestamp": ms, "message": text}]}`, invoke.ErrInvalid)
	}
	var lines []invoke.LogLine
	for _, event := range request.Events {
		level, text := "INFO", event.Message
		if name, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "]-"); ok && levels[name] != "" {
			level, text = levels[name], rest
		}
		at := time.UnixMilli(event.Timestamp).UTC()
		for line := range strings.Lines(text) {
			lines = append(lines, invoke.LogLine{Time: at, Level: level, Text: strings.TrimRight(line, "\r\n")})
		}
	}
	return lines, nil
}
