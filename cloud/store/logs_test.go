package store_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/logs"
	"github.com/fescue-edge/fescue/cloud/retention"
)

func testLogs(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	const space = 1 << 20
	piece := func(p fescue.Partition, group, thing, id string, after time.Duration) logs.Piece {
		return logs.Piece{
			Partition: p, GroupID: group, Thing: thing, ID: id, At: madeAt.Add(after), Component: "Lambda", Name: "F" + id, Body: []byte("\x00body " + id),
		}
	}
	add := func(t *testing.T, space int64, pieces ...logs.Piece) {
		t.Helper()
		if err := s.Logs().AddLogs(ctx, pieces[0].Partition, pieces[0].Thing, pieces, space); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := piece(homePartition, "g", "mill", "a", 0), piece(homePartition, "g", "mill", "b", 0), piece(homePartition, "g", "pump", "c", time.Second)
	b.Component, b.Name = "GreengrassSystem", "runtime"
	add(t, space, a, b)
	add(t, space, a, b) // the answer was lost
	add(t, space, c)
	add(t, space, piece(homePartition, "other", "saw", "d", 0))
	for _, p := range elsewhere {
		add(t, space, piece(p, "g", "mill", "a", 0))
	}
	for name, q := range map[string]struct {
		filter logs.Filter
		want   []logs.Piece
	}{
		"all":           {logs.Filter{Limit: 9}, []logs.Piece{a, b, c}},
		"a page":        {logs.Filter{Limit: 1}, []logs.Piece{a}},
		"the next page": {logs.Filter{Limit: 9, AfterAt: a.At, AfterID: "a"}, []logs.Piece{b, c}},
		"from":          {logs.Filter{Limit: 9, From: c.At}, []logs.Piece{c}},
		"a core":        {logs.Filter{Limit: 9, Thing: "pump"}, []logs.Piece{c}},
		"a component":   {logs.Filter{Limit: 9, Component: "GreengrassSystem"}, []logs.Piece{b}},
		"a function":    {logs.Filter{Limit: 9, Component: "Lambda", Name: "Fa"}, []logs.Piece{a}},
		"none":          {logs.Filter{Limit: 9, Name: "Fx"}, nil},
	} {
		if got := must(s.Logs().Logs(ctx, homePartition, "g", q.filter))(t); !gocmp.Equal(got, q.want) {
			t.Errorf("%s: %s", name, gocmp.Diff(q.want, got))
		}
	}
	t.Run("the oldest go for room", func(t *testing.T) {
		body := bytes.Repeat([]byte("x"), 3000) // 4000 in base64
		for i := range 300 {
			p := piece(homePartition, "big", "big", fmt.Sprintf("%03d", i), time.Duration(i)*time.Second)
			p.Body = body
			add(t, 40_000, p)
		}
		got := must(s.Logs().Logs(ctx, homePartition, "big", logs.Filter{Limit: 100}))(t)
		if len(got) < 8 || len(got) > 10 || got[len(got)-1].ID != "299" {
			t.Errorf("%d pieces are kept, the last is %s", len(got), got[len(got)-1].ID)
		}
		// What goes for its age makes room, too.
		if n := expire(t, s, retention.RetainedLogs, madeAt.Add(time.Hour)); n == 0 {
			t.Error("nothing was old")
		}
		for i := range 10 {
			p := piece(homePartition, "big", "big", fmt.Sprintf("new %d", i), 2*time.Hour)
			p.Body = body
			add(t, 40_000, p)
		}
		if got := must(s.Logs().Logs(ctx, homePartition, "big", logs.Filter{Limit: 100}))(t); len(got) != 10 {
			t.Errorf("%d new pieces are kept", len(got))
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 8 {
					p := piece(homePartition, "many", "many", fmt.Sprint(i, "-", n), 3*time.Hour)
					if err := s.Logs().AddLogs(ctx, homePartition, "many", []logs.Piece{p}, space); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := must(s.Logs().Logs(ctx, homePartition, "many", logs.Filter{Limit: 100}))(t); len(got) != 64 {
			t.Errorf("%d pieces", len(got))
		}
	})
}
