package console

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

// plot is a small picture of what happened over a period. Whoever does not see it has the
// same as text, and whoever does has it below.
type plot struct {
	ID, Title string
	// Says is what it shows, in numbers; the sentence goes on with a time where At has one.
	Says, At string
	// Top is what its upper edge stands for; the lower one is 0. Start and Middle are
	// when it begins and its middle.
	Top, Start, Middle string
	// Lines are drawn over Areas and Bars.
	Areas, Lines []stroke
	Bars         []bar
}

// stroke is a path, of a class of the style sheet.
type stroke struct{ Class, Path string }

// bar is a box of one, with what it stands for.
type bar struct {
	Class               string
	X, Y, Width, Height float64
	Says                string
}

// Width and Height are the picture's, in units of its own.
func (plot) Width() int { return plotWidth }

// Height is how high it is.
func (plot) Height() int { return plotHeight }

const plotWidth, plotHeight = 360, 110

// bars is how many bars a plot has at most.
const bars = 28

// value is what a point of a line has; absent where nothing is known.
type value struct {
	number float64
	known  bool
}

// steps is a line through values, level over the time of each, with gaps where nothing is
// known; down closes each of its parts to an area. top is the value of the upper edge.
func steps(values []value, top float64, down bool) string {
	var path strings.Builder
	width := plotWidth / float64(len(values))
	open := false
	for i, v := range values {
		if !v.known {
			continue
		}
		open = i > 0 && values[i-1].known
		x, y := float64(i)*width, plotHeight*(1-v.number/top)
		switch {
		case open:
			fmt.Fprintf(&path, "V%s", short1(y))
		case down:
			fmt.Fprintf(&path, "M%s %dV%s", short1(x), plotHeight, short1(y))
		default:
			fmt.Fprintf(&path, "M%s %s", short1(x), short1(y))
		}
		fmt.Fprintf(&path, "H%s", short1(x+width))
		if last := i+1 == len(values) || !values[i+1].known; last && down {
			fmt.Fprintf(&path, "V%dZ", plotHeight)
		}
	}
	return path.String()
}

// short1 is a number with one decimal, as far as it has one.
func short1(n float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0")
}

// edge is a round number that is not below the greatest, at least 1.
func edge(greatest float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, n := range []float64{1, 2, 3, 4, 5, 6, 8} {
			if n*unit >= greatest {
				return n * unit
			}
		}
	}
}

// span is what a period is called.
type span struct{ Period, Text, start, middle string }

// spans are the periods that can be looked at, the first without being asked for.
var spans = []span{
	{"Day", "Last day", "24 h ago", "12 h ago"},
	{"Week", "Last week", "7 days ago", "3½ days ago"},
}

// plotCores is how many cores were connected.
func plotCores(h ownapi.FleetHistory, over span) plot {
	known, connected := make([]value, len(h.Points)), make([]value, len(h.Points))
	var greatest float64
	fewest := -1
	for i, p := range h.Points {
		if p.Cores == nil || p.Connected == nil {
			continue
		}
		known[i], connected[i] = value{float64(*p.Cores), true}, value{float64(*p.Connected), true}
		greatest = max(greatest, known[i].number)
		if fewest < 0 || *p.Connected < *h.Points[fewest].Connected {
			fewest = i
		}
	}
	p := plot{ID: "plot-cores", Title: "Connected cores", Start: over.start, Middle: over.middle}
	if fewest < 0 {
		p.Says = "None were counted yet: the first time is a minute after the server's start."
		return p
	}
	top := edge(greatest)
	low := h.Points[fewest]
	p.Says, p.At = fmt.Sprintf("At the least %s of %s, from", count(*low.Connected), count(*low.Cores)), low.At
	p.Top = count(int(top))
	p.Areas = []stroke{{"connected", steps(connected, top, true)}}
	p.Lines = []stroke{{"known", steps(known, top, false)}, {"connected", steps(connected, top, false)}}
	return p
}

// The ends of deployments, as a bar has them from below.
var ends = []struct {
	class, text string
	of          func(ownapi.FleetPoint) int
}{
	{"good", "in Success", func(p ownapi.FleetPoint) int { return p.Succeeded }},
	{"bad", "in Failure", func(p ownapi.FleetPoint) int { return p.Failed }},
	{"calm", "cancelled", func(p ownapi.FleetPoint) int { return p.Cancelled }},
}

// plotEnds is how deployments ended.
func plotEnds(h ownapi.FleetHistory, over span) plot {
	p := plot{ID: "plot-ends", Title: "Deployments that ended", Start: over.start, Middle: over.middle}
	sum := func(points []ownapi.FleetPoint, of func(ownapi.FleetPoint) int) (n int) {
		for _, p := range points {
			n += of(p)
		}
		return n
	}
	says := func(points []ownapi.FleetPoint) (text string, all int) {
		var each []string
		for _, end := range ends {
			if n := sum(points, end.of); n > 0 {
				each = append(each, count(n)+" "+end.text)
				all += n
			}
		}
		return strings.Join(each, ", "), all
	}
	text, all := says(h.Points)
	if all == 0 {
		p.Says = "None."
		return p
	}
	p.Says = text + "."
	of := slices.Collect(slices.Chunk(h.Points, max(1, (len(h.Points)+bars-1)/bars)))
	var greatest int
	for _, points := range of {
		_, n := says(points)
		greatest = max(greatest, n)
	}
	top := edge(float64(greatest))
	p.Top = count(int(top))
	width := plotWidth / float64(len(of))
	for i, points := range of {
		text, _ := says(points)
		bottom := float64(plotHeight)
		for _, end := range ends {
			n := sum(points, end.of)
			if n == 0 {
				continue
			}
			height := max(plotHeight*float64(n)/top, 1) // one of many is to be seen
			bottom -= height
			p.Bars = append(p.Bars, bar{end.class, float64(i)*width + 1, bottom, width - 2, height, "From " + moment(points[0].At) + ": " + text})
		}
	}
	return p
}

// plotRequests is how many requests the servers answered, and plotLatencies how fast.
func plotRequests(h ownapi.RequestHistory, over span) (requests, latencies plot) {
	rate, median, p99 := make([]value, len(h.Points)), make([]value, len(h.Points)), make([]value, len(h.Points))
	var most, slowest float64
	var fastest, last int
	for i, p := range h.Points {
		if p.RanSeconds == 0 {
			continue
		}
		rate[i] = value{float64(p.Requests) / float64(p.RanSeconds), true}
		if rate[i].number >= most {
			most, fastest = rate[i].number, i
		}
		if p.Requests > 0 {
			median[i], p99[i] = value{float64(p.MedianMicros), true}, value{float64(p.P99Micros), true}
			slowest, last = max(slowest, p99[i].number), i
		}
	}
	requests = plot{ID: "plot-requests", Title: "Requests a second", Start: over.start, Middle: over.middle, Says: "None were counted yet."}
	latencies = plot{ID: "plot-latencies", Title: "How long they took", Start: over.start, Middle: over.middle, Says: "None were counted yet."}
	if most > 0 {
		top := edge(most)
		requests.Top = count(int(top))
		requests.Says, requests.At = fmt.Sprintf("At the most %.3g, from", most), h.Points[fastest].At
		requests.Areas = []stroke{{"connected", steps(rate, top, true)}}
		requests.Lines = []stroke{{"connected", steps(rate, top, false)}}
	}
	if slowest > 0 {
		top := edge(slowest)
		latencies.Top = millis(top)
		latencies.Says = fmt.Sprintf("Half within %s and 99 in a hundred within %s, last.", millis(median[last].number), millis(p99[last].number))
		latencies.Areas = []stroke{{"connected", steps(median, top, true)}}
		latencies.Lines = []stroke{{"connected", steps(median, top, false)}, {"known", steps(p99, top, false)}}
	}
	return requests, latencies
}

// count is a number with its thousands apart.
func count(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// millis is a number of microseconds.
func millis(micros float64) string { return fmt.Sprintf("%.3g ms", micros/1000) }

// moment is a time that the API gave, for a sentence.
func moment(at string) string {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return at
	}
	return t.UTC().Format("2 January 15:04 UTC")
}

// history is what the overview draws of a period.
type history struct {
	Spans []span
	Over  span
	Plots []plot
}

// history asks for the period that is looked at. What concerns the whole server, its own
// account alone may see.
func (v *visit) history() (history, error) {
	over := spans[max(0, slices.IndexFunc(spans, func(s span) bool { return s.Period == cmp.Or(v.form.Get("period"), spans[0].Period) }))]
	h := history{Spans: spans, Over: over}
	fleet, err := get[ownapi.FleetHistory](v, own, "/fescue/v1/fleet/history?Period="+over.Period)
	if err != nil {
		return h, err
	}
	h.Plots = []plot{plotCores(fleet, over), plotEnds(fleet, over)}
	requests, err := get[ownapi.RequestHistory](v, own, "/fescue/v1/metrics/requests?Period="+over.Period)
	if refused(err) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	rate, latencies := plotRequests(requests, over)
	h.Plots = append(h.Plots, rate, latencies)
	return h, nil
}
