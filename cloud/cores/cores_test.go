package cores_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here  = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	there = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	now   = time.Date(2026, 11, 23, 12, 0, 0, 457e6, time.UTC)
)

func open(t testing.TB) *cores.Service {
	t.Helper()
	s := storetest.Open(t)
	return cores.New(s.Cores(), func() time.Time { return now })
}

func isInvalid(t *testing.T, err error, text string) {
	t.Helper()
	var invalid *cores.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want an invalid argument that says %q", err, text)
	}
}

func entry(id, host string, port int) fescue.ConnectivityInfo {
	return fescue.ConnectivityInfo{ID: id, HostAddress: host, PortNumber: port}
}

func TestConnectivity(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	t.Run("none", func(t *testing.T) {
		got, err := s.Connectivity(ctx, here, "core")
		if err != nil || !cmp.Equal(got, cores.Connectivity{}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
	var version string
	t.Run("updated", func(t *testing.T) {
		info := []fescue.ConnectivityInfo{
			entry("AUTOIP_127.0.0.1_0", "127.0.0.1", 8883), entry("AUTOIP_::1_1", "::1", 65535), entry("AUTOIP_fe80::1_2", "fe80::1", 1),
			entry("n", "gate-1.factory_2.example.org", 0), {ID: "meta", HostAddress: "GATE", Metadata: strings.Repeat("ü", 1024), PortNumber: 443},
		}
		got, err := s.UpdateConnectivity(ctx, here, "core", info)
		if err != nil || !fescue.ValidID(got.Version) || !got.UpdatedAt.Equal(now) {
			t.Fatalf("%+v, %v", got, err)
		}
		if info[3].PortNumber != 0 {
			t.Error("the caller's list was changed")
		}
		info[3].PortNumber = cores.DefaultPort
		if diff := cmp.Diff(info, got.Info); diff != "" {
			t.Error(diff)
		}
		read, err := s.Connectivity(ctx, here, "core")
		if err != nil || !cmp.Equal(read, got) {
			t.Errorf("%+v, %v", read, err)
		}
		version = got.Version
	})
	t.Run("the same again is another version", func(t *testing.T) {
		got, err := s.UpdateConnectivity(ctx, here, "core", nil)
		if err != nil || got.Version == version || len(got.Info) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("another partition", func(t *testing.T) {
		if got, err := s.Connectivity(ctx, there, "core"); err != nil || got.Version != "" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestConnectivityMalformed(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	many := make([]fescue.ConnectivityInfo, 11)
	for i := range many {
		many[i] = entry(fmt.Sprint(i), "10.0.0.1", 8883)
	}
	if _, err := s.UpdateConnectivity(ctx, here, "full", many[:10]); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct {
		name, thing string
		info        []fescue.ConnectivityInfo
		text        string
	}{
		{"eleven", "core", many, "Too many items in the Connectivity Information list. You can store a maximum of 10 endpoints."},
		{"no Id", "core", []fescue.ConnectivityInfo{entry("", "::1", 1)}, "Id"},
		{"a long Id", "core", []fescue.ConnectivityInfo{entry(strings.Repeat("x", 129), "::1", 1)}, "Id"},
		{"an Id twice", "core", []fescue.ConnectivityInfo{entry("a", "::1", 1), entry("b", "::1", 1), entry("a", "::2", 1)}, `"a" stands twice`},
		{"a negative port", "core", []fescue.ConnectivityInfo{entry("a", "::1", -1)}, "PortNumber -1"},
		{"a large port", "core", []fescue.ConnectivityInfo{entry("a", "::1", 65536)}, "PortNumber 65536"},
		{"long metadata", "core", []fescue.ConnectivityInfo{{ID: "a", HostAddress: "::1", Metadata: strings.Repeat("m", 1025)}}, "Metadata"},
		{"no thing", "", nil, "name of a thing"},
		{"a path as thing", "../core", nil, "name of a thing"},
		{"a thing with NUL", "core\x00", nil, "name of a thing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := s.UpdateConnectivity(ctx, here, tc.thing, tc.info)
			isInvalid(t, err, tc.text)
		})
	}
	for _, host := range []string{
		"", " ", ".", "a..b", "a.", "-a", "a-", "a b", "a/b", "a:1", "[::1]", "fe80::1%eth0", "0.0.0.0", "::", "1.2.3", "1.2.3.400", "0x7f.1",
		"10.0.0.1/8", "http://a", "*.example.org", "ü.example.org", "a\x00b", "a\nb", "\xff", strings.Repeat("a", 64), strings.Repeat("a.", 127),
	} {
		t.Run(fmt.Sprintf("host %.20q", host), func(t *testing.T) {
			_, err := s.UpdateConnectivity(ctx, here, "core", []fescue.ConnectivityInfo{entry("a", host, 8883)})
			isInvalid(t, err, "HostAddress")
		})
	}
	t.Run("nothing was kept", func(t *testing.T) {
		if got, err := s.Connectivity(ctx, here, "core"); err != nil || got.Version != "" {
			t.Errorf("%+v, %v", got, err)
		}
		_, err := s.Connectivity(ctx, here, "co/re")
		isInvalid(t, err, "name of a thing")
	})
}

func TestRuntimeConfiguration(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	is := func(t *testing.T, p fescue.Partition, want cores.RuntimeConfiguration) {
		t.Helper()
		if got, err := s.RuntimeConfiguration(ctx, p, "core"); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("before anything: on, and nobody said so", func(t *testing.T) {
		is(t, here, cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOn})
	})
	t.Run("the core says on", func(t *testing.T) {
		must(t, s.ReportTelemetry(ctx, here, "core", fescue.TelemetryOn))
		is(t, here, cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOn, InSync: true})
	})
	t.Run("off, until the core says so", func(t *testing.T) {
		must(t, s.UpdateTelemetry(ctx, here, "core", fescue.TelemetryOff))
		is(t, here, cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOff})
		must(t, s.ReportTelemetry(ctx, here, "core", fescue.TelemetryOff))
		is(t, here, cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOff, InSync: true})
	})
	t.Run("another partition", func(t *testing.T) {
		is(t, there, cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOn})
	})
	t.Run("malformed", func(t *testing.T) {
		for _, value := range []fescue.Telemetry{"", "on", "ON", "On ", "Auto"} {
			isInvalid(t, s.UpdateTelemetry(ctx, here, "core", value), "Telemetry")
			isInvalid(t, s.ReportTelemetry(ctx, here, "core", value), "Telemetry")
		}
		isInvalid(t, s.UpdateTelemetry(ctx, here, "a b", fescue.TelemetryOn), "name of a thing")
		_, err := s.RuntimeConfiguration(ctx, here, "")
		isInvalid(t, err, "name of a thing")
		is(t, here, cores.RuntimeConfiguration{Telemetry: fescue.TelemetryOff, InSync: true})
	})
}

// A host that is taken goes into a certificate, so a certificate can hold it.
func FuzzHostAddress(f *testing.F) {
	s := open(f)
	for _, host := range []string{"127.0.0.1", "::1", "fe80::1%x", "gate.example.org", "1.2.3", "a_b", "[::1]", "\xff", "a\x00", strings.Repeat("a.", 127)} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		c, err := s.UpdateConnectivity(t.Context(), here, "core", []fescue.ConnectivityInfo{entry("a", host, 0)})
		if err != nil {
			isInvalid(t, err, "HostAddress")
			return
		}
		if c.Info[0].HostAddress != host || len(host) == 0 || len(host) > 253 || strings.ContainsAny(host, " \t\r\n\x00/%[]*@") {
			t.Errorf("%q was taken", host)
		}
	})
}
