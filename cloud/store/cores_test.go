package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/store"
)

var _ cores.Store = store.Cores{}

func testConnectivity(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	want := cores.Connectivity{
		Version: fescue.NewID(), UpdatedAt: madeAt,
		Info: []fescue.ConnectivityInfo{
			{HostAddress: "fe80::1", ID: "b", PortNumber: 8883}, {HostAddress: "gate.example.org", ID: "a", Metadata: "”'", PortNumber: 1},
		},
	}
	t.Run("of a core that has none", func(t *testing.T) {
		_, err := s.Cores().Connectivity(ctx, homePartition, "core")
		refused(t, "read", err, fescue.ErrNotFound)
	})
	t.Run("is kept as it was put, in its order", func(t *testing.T) {
		mustDo(t, s.Cores().PutConnectivity(ctx, homePartition, "core", want))
		if diff := cmp.Diff(want, must(s.Cores().Connectivity(ctx, homePartition, "core"))(t)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("is replaced as a whole", func(t *testing.T) {
		empty := cores.Connectivity{Version: fescue.NewID(), UpdatedAt: madeAt.Add(time.Hour), Info: []fescue.ConnectivityInfo{}}
		mustDo(t, s.Cores().PutConnectivity(ctx, homePartition, "core", empty))
		if diff := cmp.Diff(empty, must(s.Cores().Connectivity(ctx, homePartition, "core"))(t)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("in another partition", func(t *testing.T) {
		for _, p := range elsewhere {
			_, err := s.Cores().Connectivity(ctx, p, "core")
			refused(t, p.String(), err, fescue.ErrNotFound)
		}
	})
}

func testTelemetry(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	is := func(t *testing.T, p fescue.Partition, thing string, desired, reported fescue.Telemetry) {
		t.Helper()
		gotDesired, gotReported, err := s.Cores().Telemetry(ctx, p, thing)
		if err != nil || gotDesired != desired || gotReported != reported {
			t.Errorf("%q, %q, %v; want %q, %q", gotDesired, gotReported, err, desired, reported)
		}
	}
	is(t, homePartition, "core", "", "")
	mustDo(t, s.Cores().ReportTelemetry(ctx, homePartition, "core", fescue.TelemetryOn))
	is(t, homePartition, "core", "", fescue.TelemetryOn)
	mustDo(t, s.Cores().DesireTelemetry(ctx, homePartition, "core", fescue.TelemetryOff), s.Cores().DesireTelemetry(ctx, homePartition, "other", fescue.TelemetryOn))
	is(t, homePartition, "core", fescue.TelemetryOff, fescue.TelemetryOn)
	is(t, homePartition, "other", fescue.TelemetryOn, "")
	mustDo(t, s.Cores().ReportTelemetry(ctx, homePartition, "core", fescue.TelemetryOff))
	is(t, homePartition, "core", fescue.TelemetryOff, fescue.TelemetryOff)
	for _, p := range elsewhere {
		is(t, p, "core", "", "")
	}
}

func testTags(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	d := newContainer(fescue.GroupKind, "mine")
	must(s.Definitions().CreateDefinition(ctx, homePartition, d, nil, fescue.Token{}))(t)
	none, one := map[string]string{}, map[string]string{"a": "1", "b": ""}

	t.Run("are replaced while they are what was read", func(t *testing.T) {
		mustDo(t, s.Definitions().ReplaceTags(ctx, homePartition, d.Kind, d.ID, nil, one))
		got := must(s.Definitions().Definition(ctx, homePartition, d.Kind, d.ID))(t)
		if !cmp.Equal(got.Tags, one) || !got.UpdatedAt.Equal(d.UpdatedAt) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("are not replaced after another's change", func(t *testing.T) {
		refused(t, "replace", s.Definitions().ReplaceTags(ctx, homePartition, d.Kind, d.ID, none, none), fescue.ErrConflict)
		if got := must(s.Definitions().Definition(ctx, homePartition, d.Kind, d.ID))(t); !cmp.Equal(got.Tags, one) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("of what is not there", func(t *testing.T) {
		refused(t, "unknown", s.Definitions().ReplaceTags(ctx, homePartition, d.Kind, fescue.NewID(), none, one), fescue.ErrNotFound)
		refused(t, "other kind", s.Definitions().ReplaceTags(ctx, homePartition, fescue.CoreKind, d.ID, none, one), fescue.ErrNotFound)
		for _, p := range elsewhere {
			refused(t, p.String(), s.Definitions().ReplaceTags(ctx, p, d.Kind, d.ID, one, none), fescue.ErrNotFound)
		}
	})
}
