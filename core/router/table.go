package router

import (
	"fmt"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/topic"
)

// Table answers where a message goes, in time that depends on its topic and not on
// the number of rows. It never changes; make one with NewTable.
type Table struct {
	sources map[string]*topic.Tree[[]*target]
	// cloud are the distinct subjects with source "cloud", in row order.
	cloud   []string
	targets []*target
}

// target is the other end of rows.
type target struct {
	name string
	kind fescue.EndpointKind
	// order is its place among the targets, by their first rows.
	order int
}

// NewTable makes a table of rows, at any number of them. The error names the
// first row that cannot be one.
//
// A row from the cloud to the cloud is none: what it sends would come back by it, for
// ever.
func NewTable(rows []fescue.Subscription) (*Table, error) {
	t := &Table{sources: make(map[string]*topic.Tree[[]*target])}
	targets := make(map[string]*target)
	subjects := make(map[string]bool)
	for _, row := range rows {
		if row.Source == "" || row.Target == "" {
			return nil, fmt.Errorf("subscription %q has no source or no target", row.Id)
		}
		if err := topic.ValidFilter(row.Subject); err != nil {
			return nil, fmt.Errorf("subscription %q: %w", row.Id, err)
		}
		if row.Source == fescue.CloudEndpoint && row.Target == fescue.CloudEndpoint {
			continue
		}
		of := t.sources[row.Source]
		if of == nil {
			of = new(topic.Tree[[]*target])
			t.sources[row.Source] = of
		}
		to := targets[row.Target]
		if to == nil {
			to = &target{row.Target, fescue.EndpointKindOf(row.Target), len(t.targets)}
			targets[row.Target] = to
			t.targets = append(t.targets, to)
		}
		others, _ := of.Get(row.Subject)
		of.Set(row.Subject, append(others, to))
		if row.Source == fescue.CloudEndpoint && !subjects[row.Subject] {
			subjects[row.Subject] = true
			t.cloud = append(t.cloud, row.Subject)
		}
	}
	return t, nil
}

// Route returns the distinct targets of a message, in the order in which the table
// first names them.
func (t *Table) Route(source, name string) []string { return names(t.route(nil, source, name)) }

// route appends the targets of a message to found, which has none.
func (t *Table) route(found []*target, source, name string) []*target {
	of := t.sources[source]
	if of == nil {
		return nil
	}
	of.Match(name, func(targets []*target) { found = append(found, targets...) })
	if len(found) > 1 {
		slices.SortFunc(found, func(a, b *target) int { return a.order - b.order })
		found = slices.Compact(found)
	}
	return found
}

// CloudFilters lists the distinct subjects whose source is the cloud: what the
// core subscribes to there.
func (t *Table) CloudFilters() []string { return slices.Clone(t.cloud) }

// Targets lists the distinct targets, in the order of the rows.
func (t *Table) Targets() []string { return names(t.targets) }

func names(targets []*target) []string {
	list := make([]string, len(targets))
	for i, t := range targets {
		list[i] = t.name
	}
	return list
}
