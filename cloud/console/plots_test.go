package console

import (
	"strings"
	"testing"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// TestSteps: a line is level over each value, and there is none where nothing is known.
func TestSteps(t *testing.T) {
	t.Parallel()
	no, at := value{}, func(n float64) value { return value{n, true} }
	for name, tc := range map[string]struct {
		values     []value
		line, area string
	}{
		"none":         {[]value{no, no}, "", ""},
		"one":          {[]value{no, at(5), no}, "M120 55H240", "M120 110V55H240V110Z"},
		"the last one": {[]value{no, at(10)}, "M180 0H360", "M180 110V0H360V110Z"},
		"all":          {[]value{at(0), at(10), at(5)}, "M0 110H120V0H240V55H360", "M0 110V110H120V0H240V55H360V110Z"},
		"a gap":        {[]value{at(10), no, at(5), at(5)}, "M0 0H90M180 55H270V55H360", "M0 110V0H90V110ZM180 110V55H270V55H360V110Z"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := steps(tc.values, 10, false); got != tc.line {
				t.Errorf("the line is %s, want %s", got, tc.line)
			}
			if got := steps(tc.values, 10, true); got != tc.area {
				t.Errorf("the area is %s, want %s", got, tc.area)
			}
		})
	}
}

func TestEdge(t *testing.T) {
	t.Parallel()
	for greatest, want := range map[float64]float64{0: 1, 0.2: 1, 1: 1, 3: 3, 7: 8, 9: 10, 11: 20, 99_999: 100_000, 100_001: 200_000} {
		if got := edge(greatest); got != want {
			t.Errorf("above %v: %v, want %v", greatest, got, want)
		}
	}
}

// counted is a point at which cores were counted.
func counted(at string, cores, connected int) ownapi.FleetPoint {
	return ownapi.FleetPoint{At: at, Cores: &cores, Connected: &connected}
}

func TestPlots(t *testing.T) {
	t.Parallel()
	fleet := func(points ...ownapi.FleetPoint) ownapi.FleetHistory {
		return ownapi.FleetHistory{StepSeconds: 900, Points: points}
	}
	const noon, later, last = "2026-11-30T12:00:00.000Z", "2026-11-30T12:15:00.000Z", "2026-11-30T12:30:00.000Z"
	t.Run("cores that nobody counted", func(t *testing.T) {
		if p := plotCores(fleet(ownapi.FleetPoint{At: noon}), spans[0]); p.Top != "" || len(p.Areas) > 0 || !strings.HasPrefix(p.Says, "None were counted") {
			t.Errorf("%+v", p)
		}
	})
	t.Run("cores", func(t *testing.T) {
		p := plotCores(fleet(counted(noon, 900, 900), ownapi.FleetPoint{At: later}, counted(last, 1000, 250)), spans[0])
		if p.Top != "1,000" || p.Says != "At the least 250 of 1,000, from" || p.At != last || p.Lines[0].Path != "M0 11H120M240 0H360" || p.Lines[1].Path != "M0 11H120M240 82.5H360" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("no core connected", func(t *testing.T) {
		if p := plotCores(fleet(counted(noon, 0, 0)), spans[0]); p.Top != "1" || p.Lines[1].Path != "M0 110H360" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("no deployment", func(t *testing.T) {
		if p := plotEnds(fleet(counted(noon, 1, 1)), spans[0]); p.Top != "" || p.Says != "None." {
			t.Errorf("%+v", p)
		}
	})
	t.Run("deployments", func(t *testing.T) {
		points := make([]ownapi.FleetPoint, 96)
		for i := range points {
			points[i].At = noon
		}
		points[0].Succeeded, points[3].Failed, points[4].Cancelled, points[95].Succeeded = 1500, 1, 2, 4
		p := plotEnds(fleet(points...), spans[0])
		if p.Top != "2,000" || p.Says != "1,504 in Success, 1 in Failure, 2 cancelled." || len(p.Bars) != 4 {
			t.Fatalf("%+v", p)
		}
		if b := p.Bars[1]; b.Class != "bad" || b.Height != 1 || b.Y != plotHeight-p.Bars[0].Height-1 || b.Says != "From 30 November 12:00 UTC: 1,500 in Success, 1 in Failure" {
			t.Errorf("%+v", b)
		}
		if b := p.Bars[3]; b.X+b.Width+1 != plotWidth {
			t.Errorf("the last bar is %+v", b)
		}
	})
	t.Run("requests", func(t *testing.T) {
		h := ownapi.RequestHistory{Points: []ownapi.RequestPoint{
			{At: noon}, {At: later, Requests: 900, RanSeconds: 900, MedianMicros: 500, P99Micros: 2900}, {At: last, RanSeconds: 60},
		}}
		rate, latencies := plotRequests(h, spans[0])
		if rate.Top != "1" || rate.Says != "At the most 1, from" || rate.At != later || rate.Lines[0].Path != "M120 0H240V110H360" {
			t.Errorf("%+v", rate)
		}
		if latencies.Top != "3 ms" || latencies.Says != "Half within 0.5 ms and 99 in a hundred within 2.9 ms, last." || latencies.Lines[1].Path != "M120 3.7H240" {
			t.Errorf("%+v", latencies)
		}
		rate, latencies = plotRequests(ownapi.RequestHistory{Points: []ownapi.RequestPoint{{At: noon, RanSeconds: 60}}}, spans[0])
		if rate.Top != "" || latencies.Top != "" {
			t.Errorf("%+v, %+v", rate, latencies)
		}
	})
}
