package audit

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
)

const (
	// window is how long refusals that are alike have one record together.
	window = time.Minute
	// maxDifferent is how many refusals of a key that are not alike have records of
	// their own in that time. Further ones are alike whatever their resource is.
	maxDifferent = 100
)

// alike is what refusals have in common.
type alike struct {
	partition, key, source, service, operation, resource, code string
	status                                                     int
}

// refusals are those of the present window. The zero value is ready.
type refusals struct {
	since map[alike]*fescue.AuditRecord // the last one that was only counted
	of    map[string]int                // how many different ones a key has
}

// first are the records that are to be written: all but those of refusals like
// earlier ones, which are counted.
func (f *refusals) first(records []fescue.AuditRecord) []fescue.AuditRecord {
	return slices.DeleteFunc(slices.Clone(records), f.count)
}

// count counts a record that is like an earlier one.
func (f *refusals) count(r fescue.AuditRecord) bool {
	if r.Status < http.StatusBadRequest || r.Status >= http.StatusInternalServerError {
		return false // carried out, or perhaps
	}
	if f.since == nil {
		f.since, f.of = make(map[alike]*fescue.AuditRecord), make(map[string]int)
	}
	k := alike{r.Partition.Key(), r.KeyID, r.Source, r.Service, r.Operation, r.Resource, r.Code, r.Status}
	last, known := f.since[k]
	if !known && f.of[r.KeyID] >= maxDifferent {
		k.source, k.resource, r.Source, r.Resource = "", "", "", "*"
		last, known = f.since[k]
	}
	if !known {
		f.since[k] = nil
		f.of[r.KeyID]++
		return false
	}
	if last != nil {
		r.Repeats = last.Repeats
	}
	r.Repeats++
	f.since[k] = &r
	return true
}

// counted are the records of what was counted, and begins anew.
func (f *refusals) counted() (records []fescue.AuditRecord) {
	for _, last := range f.since {
		if last != nil {
			last.ID = fescue.NewID()
			records = append(records, *last)
		}
	}
	f.since, f.of = nil, nil
	slices.SortFunc(records, func(x, y fescue.AuditRecord) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.ID, y.ID)) })
	return records
}
