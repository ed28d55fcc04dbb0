package audit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
)

// records is a store that can fail.
type records struct {
	list  []fescue.AuditRecord
	fails error
}

func (r *records) AddAuditRecords(ctx context.Context, list ...fescue.AuditRecord) error {
	if err := errors.Join(r.fails, ctx.Err()); err != nil {
		return err
	}
	r.list = append(r.list, list...)
	return nil
}

func (r *records) AuditRecords(context.Context, fescue.Partition, fescue.AuditFilter) ([]fescue.AuditRecord, error) {
	return r.list, nil
}

func TestRecordsThatWait(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var log bytes.Buffer
	st := &records{}
	s := audit.New(st, slog.New(slog.NewTextHandler(&log, nil)))
	add := func(id string) error { return s.Add(ctx, fescue.AuditRecord{ID: id, Operation: "DeleteGroup"}) }
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
	got, err := s.Records(ctx, fescue.Partition{}, fescue.AuditFilter{})
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
	if err := s.Add(ctx, fescue.AuditRecord{ID: "1"}); err != nil || len(st.list) != 1 {
		t.Errorf("%v, %+v", err, st.list)
	}
}
