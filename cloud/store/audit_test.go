package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func testAudit(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	wide := fescue.Partition{AWS: "aws", Account: homePartition.Account}
	record := func(p fescue.Partition, id string, after time.Duration) fescue.AuditRecord {
		return fescue.AuditRecord{
			Partition: p, At: madeAt.Add(after), ID: id, KeyID: "AKIA" + id, KeyName: "n", Source: "192.0.2.1",
			Service: "greengrass", Operation: "Op" + id, Resource: "*", Status: 403, Code: "AccessDeniedException",
		}
	}
	b, a, c, account := record(homePartition, "b", 0), record(homePartition, "a", 0), record(homePartition, "c", time.Second), record(wide, "d", 2*time.Second)
	c.Repeats = 70
	for _, r := range []fescue.AuditRecord{c, b, a, account, record(elsewhere[0], "x", 0), record(elsewhere[1], "y", 0)} {
		if err := s.AddAuditRecords(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddAuditRecords(ctx, a); err == nil {
		t.Error("a record was written twice")
	}
	if err := s.AddAuditRecords(ctx, record(homePartition, "new", 0), a); err == nil {
		t.Error("a record was written twice beside a new one")
	}
	for name, q := range map[string]struct {
		filter fescue.AuditFilter
		want   []fescue.AuditRecord
	}{
		"all":           {fescue.AuditFilter{Limit: 9}, []fescue.AuditRecord{a, b, c, account}},
		"a page":        {fescue.AuditFilter{Limit: 2}, []fescue.AuditRecord{a, b}},
		"the next page": {fescue.AuditFilter{Limit: 9, AfterAt: a.At, AfterID: "a"}, []fescue.AuditRecord{b, c, account}},
		"from":          {fescue.AuditFilter{Limit: 9, From: c.At}, []fescue.AuditRecord{c, account}},
		"to":            {fescue.AuditFilter{Limit: 9, To: c.At}, []fescue.AuditRecord{a, b}},
		"a key":         {fescue.AuditFilter{Limit: 9, KeyID: "AKIAb"}, []fescue.AuditRecord{b}},
		"an operation":  {fescue.AuditFilter{Limit: 9, Operation: "Opc"}, []fescue.AuditRecord{c}},
		"neither":       {fescue.AuditFilter{Limit: 9, Operation: "Opx"}, nil},
	} {
		if got := must(s.AuditRecords(ctx, homePartition, q.filter))(t); !gocmp.Equal(got, q.want) {
			t.Errorf("%s: %s", name, gocmp.Diff(q.want, got))
		}
	}
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 8 {
					if err := s.AddAuditRecords(ctx, record(homePartition, fmt.Sprint(i, "-", n), time.Hour)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := must(s.AuditRecords(ctx, homePartition, fescue.AuditFilter{From: madeAt.Add(time.Hour), Limit: 99}))(t); len(got) != 64 {
			t.Errorf("%d records", len(got))
		}
	})
}
