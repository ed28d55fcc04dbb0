// Package doctor is the form in which the programs say what they found of a machine: what
// was looked at, how it is, and what to do. It looks at nothing itself.
package doctor

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Health is how something on a machine is.
type Health string

// The healths. Poor is what is needed now and then, or soon; Bad keeps the program from its
// work; Unknown is what could not be looked at.
const (
	Good    Health = "ok"
	Poor    Health = "warn"
	Bad     Health = "fail"
	Unknown Health = "unknown"
)

// Finding is one thing that was looked at.
type Finding struct {
	// Subject is what it is about; Says is what was found, and Remedy what to do,
	// empty where nothing is to be done.
	Subject string `json:"subject"`
	Health  Health `json:"health"`
	Says    string `json:"says"`
	Remedy  string `json:"remedy,omitempty"`
}

// Report is what was found, in the order in which it was looked at.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Add adds a finding.
func (r *Report) Add(subject string, health Health, says, remedy string) {
	r.Findings = append(r.Findings, Finding{subject, health, says, remedy})
}

// Well reports whether nothing keeps the program from its work.
func (r *Report) Well() bool {
	for _, f := range r.Findings {
		if f.Health == Bad {
			return false
		}
	}
	return true
}

// Print writes a table for people, each remedy below what it is for.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SUBJECT\tHEALTH\tFOUND")
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Subject, f.Health, f.Says)
		if f.Remedy != "" {
			fmt.Fprintf(w, "\t\t→ %s\n", f.Remedy)
		}
	}
	return w.Flush()
}
