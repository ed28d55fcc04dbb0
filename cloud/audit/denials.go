package audit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
)

const (
	// window is how long denials that are alike have one record together.
	window = time.Minute
	// maxDifferent is how many denials of a key that are not alike have records of
	// their own in that time. Further ones are alike whatever their resource is.
	maxDifferent = 100
	// denial begins the code of what the caller may not do, whatever the service.
	denial = "AccessDenied"
)

// alike is what denials have in common.
type alike struct {
	partition, key, person, source, service, operation, resource, code string
	status                                                             int
}

// denials are those of the present window. The zero value is ready.
type denials struct {
	since map[alike]*Record // the last one that was only counted
	of    map[string]int    // how many different ones a key has
}

// first are the records that are to be written: all but those of denials like
// earlier ones, which are counted.
func (d *denials) first(records []Record) []Record {
	return slices.DeleteFunc(slices.Clone(records), d.count)
}

// count counts a record that is like an earlier one.
func (d *denials) count(r Record) bool {
	if !strings.HasPrefix(r.Code, denial) {
		return false
	}
	if d.since == nil {
		d.since, d.of = make(map[alike]*Record), make(map[string]int)
	}
	k := alike{r.Partition.Key(), r.KeyID, r.Person, r.Source, r.Service, r.Operation, r.Resource, r.Code, r.Status}
	last, known := d.since[k]
	if !known && d.of[r.KeyID] >= maxDifferent {
		k.source, k.resource, r.Source, r.Resource = "", "", "", "*"
		last, known = d.since[k]
	}
	if !known {
		d.since[k] = nil
		d.of[r.KeyID]++
		return false
	}
	if last != nil {
		r.Repeats = last.Repeats
	}
	r.Repeats++
	d.since[k] = &r
	return true
}

// counted are the records of what was counted, and begins anew.
func (d *denials) counted() (records []Record) {
	for _, last := range d.since {
		if last != nil {
			last.ID = fescue.NewID()
			records = append(records, *last)
		}
	}
	d.since, d.of = nil, nil
	slices.SortFunc(records, func(x, y Record) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.ID, y.ID)) })
	return records
}
