package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// request is what the requests of things may hold.
type request struct {
	ClientToken           string            `json:"clientToken"`
	Status                ExecutionStatus   `json:"status"`
	StatusDetails         map[string]string `json:"statusDetails"`
	ExpectedVersion       number            `json:"expectedVersion"`
	ExecutionNumber       number            `json:"executionNumber"`
	IncludeJobDocument    *bool             `json:"includeJobDocument"`
	IncludeExecutionState bool              `json:"includeJobExecutionState"`
	StepTimeoutInMinutes  int64             `json:"stepTimeoutInMinutes"`
}

// number is an integer that may also come as a text, as the developer guide's own
// example of expectedVersion does.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(text), `"`), 10, 64)
	if err != nil || v < 0 {
		return errors.New("not a whole number")
	}
	*n = number(v)
	return nil
}

// answer is what goes to an accepted topic.
type answer struct {
	ClientToken    string `json:"clientToken,omitempty"`
	Timestamp      int64  `json:"timestamp"`
	Execution      *Data  `json:"execution,omitempty"`
	ExecutionState *State `json:"executionState,omitempty"`
	JobDocument    any    `json:"jobDocument,omitempty"`
	// The two lists stand in the answer of get only.
	InProgress *[]Summary `json:"inProgressJobs,omitempty"`
	Queued     *[]Summary `json:"queuedJobs,omitempty"`
}

// rejection is what goes to a rejected topic.
type rejection struct {
	Code           string `json:"code"`
	Message        string `json:"message"`
	ClientToken    string `json:"clientToken,omitempty"`
	Timestamp      int64  `json:"timestamp"`
	ExecutionState *State `json:"executionState,omitempty"`
}

// rejections are the codes of the device API (AWS IoT Core developer guide, "Jobs
// device MQTT and HTTPS APIs and data types", ErrorCode). The state goes with
// those that say the execution is not as the thing thinks.
var rejections = []struct {
	is        error
	code      string
	withState bool
}{
	{fescue.ErrNotFound, "ResourceNotFound", false},
	{ErrEnded, "InvalidStateTransition", true},
	{ErrVersion, "VersionMismatch", true},
	{errJSON, "InvalidJson", false},
}

var errJSON = errors.New("the payload is not a JSON object of the members that this request has")

// Receive answers a message that is a request to the jobs service, and leaves any
// other alone. Whether the sender may publish to the topic is decided already.
func (s *Service) Receive(ctx context.Context, p fescue.Partition, topic string, payload []byte) {
	thing, jobID, operation, ok := parseTopic(topic)
	if !ok {
		return
	}
	rest := strings.TrimPrefix(topic, thingTopics+thing+"/jobs/")
	var r request
	a, e, err := answer{}, JobExecution{}, parse(payload, &r)
	if err == nil {
		a, e, err = s.answer(ctx, p, thing, jobID, operation, r)
	}
	if err == nil {
		a.ClientToken, a.Timestamp = r.ClientToken, s.Now().Unix()
		s.publish(ctx, p, thing, rest+"/accepted", a)
		return
	}
	s.publish(ctx, p, thing, rest+"/rejected", s.reject(p, topic, r, e, err))
}

func (s *Service) reject(p fescue.Partition, topic string, r request, e JobExecution, err error) rejection {
	out := rejection{ClientToken: r.ClientToken, Timestamp: s.Now().Unix(), Message: err.Error()}
	var argument *InvalidError
	if errors.As(err, &argument) {
		out.Code = "InvalidRequest"
		return out
	}
	for _, row := range rejections {
		if errors.Is(err, row.is) {
			out.Code = row.code
			if row.withState {
				state := StateOf(e)
				out.ExecutionState = &state
			}
			return out
		}
	}
	s.Logger.Error("jobs request failed", "partition", p, "topic", topic, "error", err)
	out.Code, out.Message = "InternalError", "The server could not carry out the request. Its log has the cause."
	return out
}

func parse(payload []byte, r *request) error {
	if len(bytes.TrimSpace(payload)) == 0 {
		return nil
	}
	if !utf8.Valid(payload) {
		return errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	if dec.Decode(r) != nil {
		return errJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errJSON
	}
	if r.ExecutionNumber > executionNumber {
		return invalid("executionNumber %d: the job has one execution on the thing, number %d", r.ExecutionNumber, executionNumber)
	}
	return nil
}

// answer carries a request out. With an error it returns the execution as it is.
func (s *Service) answer(ctx context.Context, p fescue.Partition, thing, jobID, operation string, r request) (a answer, e JobExecution, err error) {
	switch operation {
	case "get":
		if jobID != "" {
			return s.describe(ctx, p, thing, jobID, r)
		}
		pending, err := s.Pending(ctx, p, thing)
		if err != nil {
			return a, e, err
		}
		inProgress, queued := Summaries(pending)
		a.InProgress, a.Queued = &inProgress, &queued
		return a, e, nil
	case "start-next":
		e, err = s.StartNext(ctx, p, thing, r.StatusDetails, Minutes(r.StepTimeoutInMinutes))
		if errors.Is(err, fescue.ErrNotFound) {
			return a, e, nil // nothing waits: an answer without an execution
		}
		if err != nil {
			return a, e, err
		}
		a.Execution, err = s.data(ctx, p, e, true)
		return a, e, err
	default: // update
		e, err = s.Update(ctx, p, thing, jobID, Change{
			Status: r.Status, Details: r.StatusDetails, ExpectedVersion: int64(r.ExpectedVersion), StepTimeout: Minutes(r.StepTimeoutInMinutes),
		})
		if err != nil {
			return a, e, err
		}
		if r.IncludeExecutionState {
			state := StateOf(e)
			a.ExecutionState = &state
		}
		if r.IncludeJobDocument != nil && *r.IncludeJobDocument {
			data, err := s.data(ctx, p, e, true)
			if err != nil {
				return a, e, err
			}
			a.JobDocument = data.Document
		}
		return a, e, nil
	}
}

func (s *Service) describe(ctx context.Context, p fescue.Partition, thing, jobID string, r request) (a answer, e JobExecution, err error) {
	e, err = s.Execution(ctx, p, thing, jobID)
	if jobID == NextID && errors.Is(err, fescue.ErrNotFound) {
		return a, e, nil
	}
	if err != nil {
		return a, e, err
	}
	a.Execution, err = s.data(ctx, p, e, r.IncludeJobDocument == nil || *r.IncludeJobDocument)
	return a, e, err
}

func (s *Service) data(ctx context.Context, p fescue.Partition, e JobExecution, withDocument bool) (*Data, error) {
	var document any
	if withDocument {
		job, err := s.Store.Job(ctx, p, e.JobID)
		if err != nil {
			return nil, err
		}
		document = json.RawMessage(job.Document)
	}
	data := DataOf(e, document, s.Now())
	return &data, nil
}

// Minutes is a time out as requests give it; what is out of range stays so.
func Minutes(n int64) time.Duration {
	const most = int64(maxTimeout/time.Minute) + 1
	return time.Duration(max(min(n, most), -1)) * time.Minute
}

// parseTopic reads $aws/things/<thing>/jobs/get, …/jobs/start-next and
// …/jobs/<job>/get or update.
func parseTopic(topic string) (thing, jobID, operation string, ok bool) {
	rest, ok := strings.CutPrefix(topic, thingTopics)
	levels := strings.Split(rest, "/")
	if !ok || len(levels) < 3 || levels[0] == "" || levels[1] != "jobs" {
		return "", "", "", false
	}
	switch {
	case len(levels) == 3 && (levels[2] == "get" || levels[2] == "start-next"):
		return levels[0], "", levels[2], true
	case len(levels) == 4 && levels[2] != "" && (levels[3] == "get" || levels[3] == "update"):
		return levels[0], levels[2], levels[3], true
	}
	return "", "", "", false
}
