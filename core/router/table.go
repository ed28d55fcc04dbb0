package router

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/topic"
)

// Table answers where a message goes. It never changes; make one with NewTable.
type Table struct {
	sources map[string]*routes
	// cloud are the distinct subjects with source "cloud", in row order.
	cloud   []string
	targets []string
}

// routes are the rows of one source. A route knows the number of its row, so
// that targets come out in the order of the table.
type routes struct {
	exact   map[string][]route
	filters []filtered
}

type route struct {
	row    int
	target string
}

type filtered struct {
	subject string
	route
}

// NewTable makes a table of rows, at any number of them. The error names the
// first row that cannot be one.
func NewTable(rows []fescue.Subscription) (*Table, error) {
	t := &Table{sources: make(map[string]*routes)}
	targets := make(map[string]bool)
	subjects := make(map[string]bool)
	for i, row := range rows {
		if row.Source == "" || row.Target == "" {
			return nil, fmt.Errorf("subscription %q lacks a source or a target", row.Id)
		}
		if err := topic.ValidFilter(row.Subject); err != nil {
			return nil, fmt.Errorf("subscription %q: %w", row.Id, err)
		}
		of := t.sources[row.Source]
		if of == nil {
			of = &routes{exact: make(map[string][]route)}
			t.sources[row.Source] = of
		}
		entry := route{row: i, target: row.Target}
		if strings.ContainsAny(row.Subject, "+#") {
			of.filters = append(of.filters, filtered{row.Subject, entry})
		} else {
			of.exact[row.Subject] = append(of.exact[row.Subject], entry)
		}
		if !targets[row.Target] {
			targets[row.Target] = true
			t.targets = append(t.targets, row.Target)
		}
		if row.Source == fescue.CloudEndpoint && !subjects[row.Subject] {
			subjects[row.Subject] = true
			t.cloud = append(t.cloud, row.Subject)
		}
	}
	return t, nil
}

// Route returns the distinct targets of a message, in the order of the rows.
func (t *Table) Route(source, name string) []string {
	of := t.sources[source]
	if of == nil {
		return nil
	}
	found := slices.Clone(of.exact[name])
	for _, each := range of.filters {
		if topic.Match(each.subject, name) {
			found = append(found, each.route)
		}
	}
	slices.SortFunc(found, func(a, b route) int { return a.row - b.row })
	targets := make([]string, 0, len(found))
	seen := make(map[string]bool, len(found))
	for _, each := range found {
		if !seen[each.target] {
			seen[each.target] = true
			targets = append(targets, each.target)
		}
	}
	return targets
}

// CloudFilters lists the distinct subjects whose source is the cloud: what the
// core subscribes to there.
func (t *Table) CloudFilters() []string { return slices.Clone(t.cloud) }

// Targets lists the distinct targets, in the order of the rows.
func (t *Table) Targets() []string { return slices.Clone(t.targets) }
