package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
)

// records is a store that can fail.
type records struct {
	list  []audit.Record
	fails error
}

func (r *records) AddAuditRecords(ctx context.Context, list ...audit.Record) error {
	if err := errors.Join(r.fails, ctx.Err()); err != nil {
		return err
	}
	r.list = append(r.list, list...)
	return nil
}

func (r *records) AuditRecords(context.Context, fescue.Partition, audit.Filter) ([]audit.Record, error) {
	return r.list, nil
}

func TestRecordsThatWait(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var log bytes.Buffer
	st := &records{}
	s := audit.New(st, slog.New(slog.NewTextHandler(&log, nil)))
	add := func(id string) error { return s.Add(ctx, audit.Record{ID: id, Operation: "DeleteGroup"}) }
	if err := errors.Join(s.Ready(ctx), add("1"), s.Ready(ctx)); err != nil {
		t.Fatal(err)
	}
	st.fails = errors.New("disk full")
	if err := add("2"); !errors.Is(err, st.fails) {
		t.Errorf("%v", err)
	}
	if text := log.String(); !strings.Contains(text, "disk full") || !strings.Contains(text, "request=2") || !strings.Contains(text, "DeleteGroup") {
		t.Errorf("log %s", text)
	}
	for range 2 {
		if err := s.Ready(ctx); !errors.Is(err, st.fails) {
			t.Errorf("ready: %v", err)
		}
	}
	st.fails = nil
	if err := errors.Join(s.Ready(ctx), add("3"), s.Ready(ctx)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Records(ctx, fescue.Partition{}, audit.Filter{})
	if err != nil || len(got) != 3 || got[0].ID+got[1].ID+got[2].ID != "123" {
		t.Errorf("%+v, %v", got, err)
	}
}

// What a caller did is recorded although it did not wait for the answer.
func TestCallerThatIsGone(t *testing.T) {
	t.Parallel()
	st := &records{}
	s := audit.New(st, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Add(ctx, audit.Record{ID: "1"}); err != nil || len(st.list) != 1 {
		t.Errorf("%v, %+v", err, st.list)
	}
}

// Denials that are alike have two records in a minute, however many they are.
func TestDenials(t *testing.T) {
	t.Parallel()
	start := func() (*records, *audit.Service) {
		st := &records{}
		return st, audit.New(st, slog.New(slog.DiscardHandler))
	}
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	denial := audit.Record{
		Partition: fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}, KeyID: "AKIAREADER", KeyName: "reader", Source: "192.0.2.1",
		Service: "greengrass", Operation: "DeleteGroup", Resource: "arn:g", Status: 403, Code: "AccessDeniedException",
	}
	add := func(t *testing.T, s *audit.Service, i int, change ...func(*audit.Record)) {
		r := denial
		r.ID, r.At = fmt.Sprint("request-", i), at.Add(time.Duration(i)*time.Millisecond)
		for _, f := range change {
			f(&r)
		}
		if err := s.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("alike", func(t *testing.T) {
		t.Parallel()
		st, s := start()
		for i := range 10_000 {
			add(t, s, i)
		}
		if len(st.list) != 1 || st.list[0].ID != "request-0" || st.list[0].Repeats != 0 {
			t.Errorf("%+v", st.list)
		}
		if err := errors.Join(s.Flush(), s.Flush()); err != nil {
			t.Fatal(err)
		}
		want := denial
		want.At, want.Repeats = at.Add(9_999*time.Millisecond), 9_999
		if len(st.list) != 2 || !fescue.ValidID(st.list[1].ID) {
			t.Fatalf("%+v", st.list)
		}
		want.ID = st.list[1].ID
		if diff := cmp.Diff(want, st.list[1]); diff != "" {
			t.Error(diff)
		}
		add(t, s, 1) // of the next minute
		if len(st.list) != 3 {
			t.Errorf("%+v", st.list[2:])
		}
	})
	t.Run("what was not denied, and what differs", func(t *testing.T) {
		t.Parallel()
		st, s := start()
		for i := range 10 {
			add(t, s, i, func(r *audit.Record) { r.Status, r.Code = 200, "" })
			add(t, s, i, func(r *audit.Record) { r.Status, r.Code = 500, "InternalFailure" })
			add(t, s, i, func(r *audit.Record) { r.Status, r.Code = 400, "BadRequestException" })
		}
		for _, change := range []func(*audit.Record){
			func(*audit.Record) {},
			func(r *audit.Record) { r.KeyID = "AKIAOTHER" },
			func(r *audit.Record) { r.Source = "192.0.2.2" },
			func(r *audit.Record) { r.Operation = "DeleteThing" },
			func(r *audit.Record) { r.Resource = "arn:h" },
			func(r *audit.Record) { r.Partition.Region = "eu-west-1" },
			func(r *audit.Record) { r.Status, r.Code = 403, "AccessDenied" },
		} {
			add(t, s, 0, change)
		}
		if len(st.list) != 37 {
			t.Errorf("%d records", len(st.list))
		}
	})
	t.Run("resources and addresses at random", func(t *testing.T) {
		t.Parallel()
		st, s := start()
		const calls = 5_000
		for i := range calls {
			add(t, s, i, func(r *audit.Record) {
				r.Resource, r.Source = fmt.Sprint("arn:", i), fmt.Sprint("192.0.2.", i%200)
			})
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		last := st.list[len(st.list)-1]
		if len(st.list) != 102 || last.Resource != "*" || last.Source != "" || last.Repeats != calls-101 {
			t.Errorf("%d records, the last %+v", len(st.list), last)
		}
	})
	t.Run("what cannot be written waits", func(t *testing.T) {
		t.Parallel()
		st, s := start()
		add(t, s, 0)
		add(t, s, 1)
		st.fails = errors.New("disk full")
		if err := s.Flush(); err == nil {
			t.Error("flushed")
		}
		st.fails = nil
		if err := s.Ready(t.Context()); err != nil || len(st.list) != 2 || st.list[1].Repeats != 1 {
			t.Errorf("%+v, %v", st.list, err)
		}
	})
}
