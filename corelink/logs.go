package corelink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/fescue-edge/fescue"
)

// PutLogsPattern is where a core sends lines of its logs.
const PutLogsPattern = "PUT /greengrass/cores/{ThingName}/logs"

// LogBatch is the body of PutLogs.
type LogBatch struct {
	// ID is a UUID that stays the same when the batch is sent again, because its
	// answer was lost: then it is kept once.
	ID string `json:"id"`
	// GroupID is the group that the core runs.
	GroupID string     `json:"groupId"`
	Logs    []LogLines `json:"logs"`
}

// LogLines are lines of one log, in the order in which they were written.
type LogLines struct {
	// Component is GreengrassSystem or Lambda.
	Component string `json:"component"`
	// Name is the component's, such as runtime, or the function's.
	Name string `json:"name"`
	// Lost is how many lines before these the core could not keep until they were
	// sent.
	Lost  int       `json:"lost,omitempty"`
	Lines []LogLine `json:"lines"`
}

// LogLine is one line.
type LogLine struct {
	// At is in milliseconds since 1970.
	At int64 `json:"t"`
	// Level is DEBUG, INFO and so on.
	Level string `json:"l"`
	Text  string `json:"m"`
}

// Bounds of a batch.
const (
	// MaxBatch bounds the text of all lines of a batch, in bytes. JSON may need
	// more for it, which the control plane takes up to its bound for bodies.
	MaxBatch = 256 << 10
	// MaxBatchLogs bounds the logs of a batch.
	MaxBatchLogs = 100
	// maxLogLine bounds a line's text, in bytes.
	maxLogLine = 128 << 10
)

// The components of logs, as logger definitions name them.
const (
	SystemLogs   = "GreengrassSystem"
	FunctionLogs = "Lambda"
)

var (
	logLevels = []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
	logName   = regexp.MustCompile(`^[^\x00-\x1f/\x7f]{1,170}$`)
)

// Validate refuses what no core sends.
func (b LogBatch) Validate() error {
	if !fescue.ValidID(b.ID) || !fescue.ValidID(b.GroupID) {
		return errors.New("the batch or its group has no UUID")
	}
	if len(b.Logs) == 0 || len(b.Logs) > MaxBatchLogs {
		return fmt.Errorf("a batch has between 1 and %d logs, not %d", MaxBatchLogs, len(b.Logs))
	}
	size := 0
	for _, l := range b.Logs {
		if l.Component != SystemLogs && l.Component != FunctionLogs {
			return fmt.Errorf("the component %.64q is neither %s nor %s", l.Component, SystemLogs, FunctionLogs)
		}
		if !logName.MatchString(l.Name) || l.Lost < 0 {
			return fmt.Errorf("%.200q with %d lines lost is no log", l.Name, l.Lost)
		}
		for _, line := range l.Lines {
			if line.At < 0 || !slices.Contains(logLevels, line.Level) || len(line.Text) > maxLogLine {
				return fmt.Errorf("a line of %s has a time, a level or a text that none has", l.Name)
			}
			if size += len(line.Text); size > 2*MaxBatch {
				return fmt.Errorf("the lines have more than %d bytes", 2*MaxBatch)
			}
		}
	}
	return nil
}

// PutLogs sends lines of a core's logs. Control planes from before there was this
// operation refuse it with 404.
func (c *Client) PutLogs(ctx context.Context, thing string, batch LogBatch) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer struct{}
	if err := c.call(ctx, http.MethodPut, corePath(thing)+"/logs", batch, &answer); err != nil {
		return fmt.Errorf("PutLogs of core %s: %w", thing, err)
	}
	return nil
}
