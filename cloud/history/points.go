package history

import "time"

// Period is what is asked for.
type Period struct {
	Name string
	// Length is how much time it is, in points of Step each.
	Length, Step time.Duration
}

// Periods are all that can be asked for.
var Periods = []Period{
	{"Day", 24 * time.Hour, 15 * time.Minute},
	{"Week", 7 * 24 * time.Hour, 2 * time.Hour},
}

// from is when the first point begins of a period whose last one has now in it.
func (p Period) from(now time.Time) time.Time {
	return now.UTC().Truncate(p.Step).Add(p.Step - p.Length)
}

// index is which point has a time; one before the first or after the last is not ok.
func (p Period) index(from, at time.Time) (i int, ok bool) {
	since := at.Sub(from)
	return int(since / p.Step), since >= 0 && since < p.Length
}

// FleetPoint is what is known of a piece of a period.
type FleetPoint struct {
	At time.Time // when it begins
	// Counted reports that the cores were counted in it: where they never were, no server
	// ran. Cores is the most of them that were known, and Connected the fewest that were
	// connected.
	Counted          bool
	Cores, Connected int
	// Ends are all of it.
	Ends
}

// fleetPoints are the points of a period that begins at a time.
func fleetPoints(samples []Sample, from time.Time, over Period) []FleetPoint {
	points := make([]FleetPoint, over.Length/over.Step)
	for i := range points {
		points[i].At = from.Add(time.Duration(i) * over.Step)
	}
	for _, s := range samples {
		i, ok := over.index(from, s.At)
		if !ok {
			continue
		}
		p := &points[i]
		p.add(s.Ends)
		if !s.Counted {
			continue
		}
		if !p.Counted || s.Connected < p.Connected {
			p.Connected = s.Connected
		}
		p.Counted, p.Cores = true, max(p.Cores, s.Cores)
	}
	return points
}

// RequestPoint is how requests were answered in a piece of a period.
type RequestPoint struct {
	At time.Time
	// Requests is how many there were, in the part of it that servers ran and that is
	// past: Ran is how much, nothing where no server ran.
	Requests int64
	Ran      time.Duration
	// Median is what half of them took at most, P99 what 99 in a hundred did; nothing
	// without requests.
	Median, P99 time.Duration
}

// requestPoints are the points of a period that begins at a time.
func requestPoints(samples []RequestSample, from, now time.Time, over Period) []RequestPoint {
	points := make([]RequestPoint, over.Length/over.Step)
	took := make([]Latencies, len(points))
	for i := range points {
		points[i].At = from.Add(time.Duration(i) * over.Step)
	}
	for _, s := range samples {
		if i, ok := over.index(from, s.At); ok {
			points[i].Ran += max(0, min(Bucket, now.Sub(s.At)))
			took[i].add(s.Took)
		}
	}
	for i := range points {
		points[i].Requests = took[i].count()
		points[i].Median, points[i].P99 = took[i].Quantile(0.5), took[i].Quantile(0.99)
	}
	return points
}
