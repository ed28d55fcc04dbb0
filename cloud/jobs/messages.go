package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/fescue-edge/fescue"
)

// The shapes of the jobs device API (AWS IoT Core developer guide, "Jobs device
// MQTT and HTTPS APIs and data types"). Times are seconds since the epoch.

// Summary says that an execution waits or is in progress.
type Summary struct {
	JobID           string `json:"jobId"`
	QueuedAt        int64  `json:"queuedAt"`
	StartedAt       int64  `json:"startedAt,omitempty"`
	LastUpdatedAt   int64  `json:"lastUpdatedAt"`
	VersionNumber   int64  `json:"versionNumber"`
	ExecutionNumber int64  `json:"executionNumber"`
}

// executionNumber is that of the only execution of a job on a thing.
const executionNumber = 1

// Summaries are what is in progress and what is queued, in their order. Neither
// is nil.
func Summaries(pending []JobExecution) (inProgress, queued []Summary) {
	inProgress, queued = []Summary{}, []Summary{}
	for _, e := range pending {
		s := Summary{e.JobID, e.QueuedAt.Unix(), unix(e.StartedAt), e.UpdatedAt.Unix(), e.Version, executionNumber}
		if e.Status == ExecutionInProgress {
			inProgress = append(inProgress, s)
		} else {
			queued = append(queued, s)
		}
	}
	return inProgress, queued
}

// Data is an execution as its thing sees it. Document is JSON over MQTT and a text
// over HTTP.
type Data struct {
	JobID           string            `json:"jobId"`
	ThingName       string            `json:"thingName"`
	Document        any               `json:"jobDocument,omitempty"`
	Status          ExecutionStatus   `json:"status"`
	StatusDetails   map[string]string `json:"statusDetails,omitempty"`
	QueuedAt        int64             `json:"queuedAt"`
	StartedAt       int64             `json:"startedAt,omitempty"`
	LastUpdatedAt   int64             `json:"lastUpdatedAt"`
	TimeoutSeconds  *int64            `json:"approximateSecondsBeforeTimedOut,omitempty"`
	VersionNumber   int64             `json:"versionNumber"`
	ExecutionNumber int64             `json:"executionNumber"`
}

// DataOf shows an execution at a time.
func DataOf(e JobExecution, document any, now time.Time) Data {
	return Data{
		JobID: e.JobID, ThingName: e.Thing, Document: document, Status: e.Status, StatusDetails: e.Details,
		QueuedAt: e.QueuedAt.Unix(), StartedAt: unix(e.StartedAt), LastUpdatedAt: e.UpdatedAt.Unix(),
		TimeoutSeconds: Remaining(e, now), VersionNumber: e.Version, ExecutionNumber: executionNumber,
	}
}

// Remaining is how many seconds an execution has left, nil when time does not
// count.
func Remaining(e JobExecution, now time.Time) *int64 {
	if e.TimeoutAt.IsZero() {
		return nil
	}
	left := max(int64(e.TimeoutAt.Sub(now)/time.Second), 0)
	return &left
}

// State is what an update leads to.
type State struct {
	Status        ExecutionStatus   `json:"status"`
	StatusDetails map[string]string `json:"statusDetails"`
	VersionNumber int64             `json:"versionNumber"`
}

// StateOf is the state of an execution.
func StateOf(e JobExecution) State {
	if e.Details == nil {
		e.Details = map[string]string{}
	}
	return State{e.Status, e.Details, e.Version}
}

func unix(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.Unix()
}

const thingTopics = "$aws/things/"

// publishTimeout bounds the sending of one message.
const publishTimeout = 5 * time.Second

// publish sends one of the service's own messages. The record is what counts: a
// message that is lost can be asked for again with get.
func (s *Service) publish(ctx context.Context, p fescue.Partition, thing, rest string, message any) {
	payload, err := json.Marshal(message)
	if err != nil {
		s.Logger.Error("message of the jobs service does not encode", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	topic := thingTopics + thing + "/jobs/" + rest
	if err := s.Publisher.Publish(ctx, p, topic, payload, 1, false); err != nil {
		level := slog.LevelWarn
		if errors.Is(err, fescue.ErrCrowded) { // as often as the account likes: the publisher says so now and then
			level = slog.LevelDebug
		}
		s.Logger.Log(ctx, level, "message of the jobs service lost", "partition", p, "topic", topic, "error", err)
	}
}

// lockAndAnnounce announces what waits for a thing, in its turn.
func (s *Service) lockAndAnnounce(ctx context.Context, p fescue.Partition, thing string) {
	defer s.locks.Lock(thingKey{p, thing})()
	s.announce(ctx, p, thing)
}

// announce publishes what has not ended on a thing and what it is to take next,
// after something was added or has ended.
func (s *Service) announce(ctx context.Context, p fescue.Partition, thing string) {
	pending, err := s.Store.PendingExecutions(ctx, p, thing, maxPending)
	if err != nil {
		s.Logger.Warn("thing not notified of its jobs", "partition", p, "thing", thing, "error", err)
		return
	}
	now := s.Now()
	inProgress, queued := Summaries(pending)
	byStatus := map[ExecutionStatus][]Summary{}
	if len(inProgress) > 0 {
		byStatus[ExecutionInProgress] = inProgress
	}
	if len(queued) > 0 {
		byStatus[ExecutionQueued] = queued
	}
	s.publish(ctx, p, thing, "notify", struct {
		Timestamp int64                         `json:"timestamp"`
		Jobs      map[ExecutionStatus][]Summary `json:"jobs"`
	}{now.Unix(), byStatus})
	next := struct {
		Timestamp int64 `json:"timestamp"`
		Execution *Data `json:"execution,omitempty"`
	}{Timestamp: now.Unix()}
	if len(pending) > 0 {
		job, err := s.Store.Job(ctx, p, pending[0].JobID)
		if err != nil {
			s.Logger.Warn("thing not notified of its next job", "partition", p, "thing", thing, "error", err)
			return
		}
		data := DataOf(pending[0], json.RawMessage(job.Document), now)
		next.Execution = &data
	}
	s.publish(ctx, p, thing, "notify-next", next)
}
