package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
)

func testAudit(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	wide := fescue.Partition{AWS: "aws", Account: homePartition.Account}
	record := func(p fescue.Partition, id string, after time.Duration) audit.Record {
		return audit.Record{
			Partition: p, At: madeAt.Add(after), ID: id, KeyID: "AKIA" + id, KeyName: "n", Source: "192.0.2.1",
			Service: "greengrass", Operation: "Op" + id, Resource: "*", Status: 403, Code: "AccessDeniedException",
		}
	}
	b, a, c, account := record(homePartition, "b", 0), record(homePartition, "a", 0), record(homePartition, "c", time.Second), record(wide, "d", 2*time.Second)
	c.Repeats, b.Person = 70, "anna@example.com"
	for _, r := range []audit.Record{c, b, a, account, record(elsewhere[0], "x", 0), record(elsewhere[1], "y", 0)} {
		if err := s.Audit().AddAuditRecords(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	again := a
	again.Operation = "another"
	mustDo(t, s.Audit().AddAuditRecords(ctx, again)) // what is there stays as it is
	for name, q := range map[string]struct {
		filter audit.Filter
		want   []audit.Record
	}{
		"all":           {audit.Filter{Limit: 9}, []audit.Record{a, b, c, account}},
		"a page":        {audit.Filter{Limit: 2}, []audit.Record{a, b}},
		"the next page": {audit.Filter{Limit: 9, AfterAt: a.At, AfterID: "a"}, []audit.Record{b, c, account}},
		"newest first":  {audit.Filter{Limit: 3, Newest: true}, []audit.Record{account, c, b}},
		"and the rest":  {audit.Filter{Limit: 3, Newest: true, AfterAt: b.At, AfterID: "b"}, []audit.Record{a}},
		"from":          {audit.Filter{Limit: 9, From: c.At}, []audit.Record{c, account}},
		"to":            {audit.Filter{Limit: 9, To: c.At}, []audit.Record{a, b}},
		"a key":         {audit.Filter{Limit: 9, KeyID: "AKIAb"}, []audit.Record{b}},
		"an operation":  {audit.Filter{Limit: 9, Operation: "Opc"}, []audit.Record{c}},
		"neither":       {audit.Filter{Limit: 9, Operation: "Opx"}, nil},
	} {
		if got := must(s.Audit().AuditRecords(ctx, homePartition, q.filter))(t); !gocmp.Equal(got, q.want) {
			t.Errorf("%s: %s", name, gocmp.Diff(q.want, got))
		}
	}
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 8 {
					if err := s.Audit().AddAuditRecords(ctx, record(homePartition, fmt.Sprint(i, "-", n), time.Hour)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := must(s.Audit().AuditRecords(ctx, homePartition, audit.Filter{From: madeAt.Add(time.Hour), Limit: 99}))(t); len(got) != 64 {
			t.Errorf("%d records", len(got))
		}
	})
}
