package fescue

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/logs"
	"github.com/fescue-edge/fescue/corelink"
)

// Logs reads what cores sent of their logs.
type Logs interface {
	// Read is a page of a group's lines; with more there is another behind its last
	// piece.
	Read(ctx context.Context, p fescue.Partition, groupID string, f logs.Filter) (lines []logs.Lines, more bool, err error)
}

// LogEvent is a line of a core's log.
type LogEvent struct {
	// Id is the line's own, for whoever reads again what came last.
	Id string
	// Time is when the line was written, by the core's clock, CameAt when it came.
	Time          string
	CameAt        string
	CoreThingName string
	Component     string
	Name          string
	Level         string
	Message       string
	// Lost, in an event without a Message, is how many lines of the log the core
	// could not keep until they were sent.
	Lost int `json:",omitempty"`
}

// LogEvents is the answer of ListLogEvents.
type LogEvents struct {
	Events    []LogEvent
	NextToken string `json:",omitempty"`
}

func (a *API) listLogEvents(ctx context.Context, r *restjson.Request, _ nothing) (answer LogEvents, err error) {
	group := r.Label("GroupId")
	if !fescue.ValidID(group) {
		return answer, unknownGroup
	}
	if _, err := a.o.Definitions.Definition(ctx, r.Partition, fescue.GroupKind, group); err != nil {
		return answer, notFoundAs(err, unknownGroup)
	}
	filter := logs.Filter{Thing: r.Query.Get("CoreThingName"), Component: r.Query.Get("Component"), Name: r.Query.Get("Name")}
	if c := filter.Component; c != "" && c != corelink.SystemLogs && c != corelink.FunctionLogs {
		return answer, refuse(http.StatusBadRequest, badRequest, "Component '%.64s' is neither %s nor %s.", c, corelink.SystemLogs, corelink.FunctionLogs)
	}
	if filter.From, err = parseTime(r, "From"); err != nil {
		return answer, err
	}
	if token := r.Query.Get("NextToken"); token != "" {
		var ok bool
		if filter.AfterAt, filter.AfterID, ok = parsePlace(token, validPiece); !ok {
			return answer, refuse(http.StatusBadRequest, badRequest, "%s", restjson.ForeignToken)
		}
	}
	pieces, more, err := a.o.Logs.Read(ctx, r.Partition, group, filter)
	if err != nil {
		return answer, err
	}
	answer.Events = []LogEvent{}
	for _, p := range pieces {
		event := LogEvent{CameAt: fescue.Timestamp(p.At), CoreThingName: p.Thing, Component: p.Piece.Component, Name: p.Piece.Name}
		if p.Lost > 0 {
			lost := event
			lost.Id, lost.Time, lost.Level, lost.Lost = p.ID+".lost", lost.CameAt, "WARN", p.Lost
			answer.Events = append(answer.Events, lost)
		}
		for i, line := range p.LogLines.Lines {
			event.Id, event.Time = p.ID+"."+strconv.Itoa(i), fescue.Timestamp(time.UnixMilli(line.At))
			event.Level, event.Message = line.Level, line.Text
			answer.Events = append(answer.Events, event)
		}
		if more {
			answer.NextToken = place(p.At, p.ID)
		}
	}
	return answer, nil
}

// validPiece says whether a piece's id can be one: a UUID and a number.
func validPiece(id string) bool { return len(id) > 37 && fescue.ValidID(id[:36]) && id[36] == '.' }
