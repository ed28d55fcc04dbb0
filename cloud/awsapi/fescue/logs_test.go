package fescue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/logs"
	"github.com/fescue-edge/fescue/corelink"
)

// TestLogEvents: lines come back in pages, in the order in which they came, for the
// group's core alone.
func TestLogEvents(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, _ := a.deployable()
	batch := func(name, text string, lines, lost int) corelink.LogBatch {
		l := corelink.LogLines{Component: corelink.FunctionLogs, Name: name, Lost: lost}
		for i := range lines {
			l.Lines = append(l.Lines, corelink.LogLine{At: now.UnixMilli(), Level: "INFO", Text: fmt.Sprint(i, text)})
		}
		return corelink.LogBatch{ID: fescue.NewID(), GroupID: group, Logs: []corelink.LogLines{l}}
	}
	if err := a.logs.Put(t.Context(), here, "mill", batch("F", "", 1, 0)); !errors.Is(err, logs.ErrForeign) {
		t.Errorf("of a group without a core: %v", err)
	}
	a.cores.set(group, "mill")
	if err := a.logs.Put(t.Context(), here, "other", batch("F", "", 1, 0)); !errors.Is(err, logs.ErrForeign) {
		t.Errorf("of another core: %v", err)
	}
	if err := a.logs.Put(t.Context(), here, "mill", corelink.LogBatch{}); !errors.Is(err, logs.ErrBatch) {
		t.Errorf("nothing: %v", err)
	}
	for range 10 {
		b := batch("F", strings.Repeat("x", 10_000), 20, 2)
		for range 2 { // the answer to the first was lost
			if err := a.logs.Put(t.Context(), here, "mill", b); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := "/fescue/v1/groups/" + group + "/logs"
	seen, lost, pages := make(map[string]bool), 0, 0
	for token := ""; ; pages++ {
		var page api.LogEvents
		a.get("GET", path+"?Name=F&NextToken="+token, "", &page)
		for _, e := range page.Events {
			if lost += e.Lost; seen[e.Id] || e.CoreThingName != "mill" || e.CameAt != stamp || e.Time != stamp {
				t.Errorf("%.200v", e)
			}
			seen[e.Id] = true
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	if len(seen) != 10*21 || lost != 20 || pages == 0 {
		t.Errorf("%d lines, %d lost, on %d pages", len(seen), lost, pages+1)
	}
	for _, query := range []string{"?Name=G", "?CoreThingName=other", "?Component=GreengrassSystem", "?From=2030-01-01T00:00:00Z"} {
		if text := a.call(here, "GET", path+query, "").text; text != `{"Events":[]}` {
			t.Errorf("%s: %.200s", query, text)
		}
	}
	for _, tc := range []struct {
		path, code, text string
		status           int
	}{
		{"/fescue/v1/groups/" + knownID + "/logs", "ResourceNotFoundException", "That group definition does not exist.", 404},
		{"/fescue/v1/groups/g/logs", "ResourceNotFoundException", "That group definition does not exist.", 404},
		{path + "?From=yesterday", "BadRequestException", "From 'yesterday' is not a time such as", 400},
		{path + "?Component=lambda", "BadRequestException", "Component 'lambda' is neither GreengrassSystem nor Lambda.", 400},
		{path + "?NextToken=x", "BadRequestException", "NextToken is not one that this API gave out", 400},
		{"/fescue/v1/groups/" + knownID + "/activity", "ResourceNotFoundException", "That group definition does not exist.", 404},
	} {
		t.Run(tc.path, func(t *testing.T) {
			a.refused("GET", tc.path, "", tc.status, tc.code, tc.text)
		})
	}
	if text := a.call(here, "GET", "/fescue/v1/groups/"+group+"/activity", "").text; text != `{"Answered":false}` {
		t.Errorf("a group without a core does: %s", text)
	}
}
