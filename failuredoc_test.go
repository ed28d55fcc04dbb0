package fescue_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/failurecoverage"
)

//go:generate go test . -run TestFailureDocument -update

var update = flag.Bool("update", false, "write docs/deployment-errors.md anew")

// failurePhases are the sections of the document, in their order.
var failurePhases = []struct {
	phase fescue.FailurePhase
	title string
}{
	{fescue.FailsBuilding, "In Building: the control plane finds it, the core is not contacted"},
	{fescue.FailsOffered, "While the deployment waits for its core"},
	{fescue.FailsClaimed, "On the core, before anything changes"},
	{fescue.FailsSwitched, "On the core, after the switch: it goes back to what ran before"},
	{fescue.FailsAnywhere, "At any time"},
	{"", "Warnings: the deployment goes on"},
}

// allFailures are the rows of both tables.
var allFailures = slices.Concat(fescue.DeploymentFailures, fescue.DeploymentWarnings)

func failureDocument() string {
	var b strings.Builder
	b.WriteString("# Why deployments fail\n\nGenerated from the tables in `failures.go` and `warnings.go` by `go generate .`; do not edit.\n\n" +
		"DetailedErrorCode in ErrorDetails of GetDeploymentStatus is one of these; the codes are stable. The message is the cause and then the remedy.\n" +
		"An asterisk marks a text of the original's, kept for the runbooks that look for it. What cores of this version cannot do is found in Building, and by the core again.\n")
	placeholder := regexp.MustCompile(`%[a-z]`)
	cell := strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`)
	for _, section := range failurePhases {
		fmt.Fprintf(&b, "\n## %s\n\n| code | concerns | cause | what to do |\n|---|---|---|---|\n", section.title)
		for _, f := range allFailures {
			if f.Phase != section.phase {
				continue
			}
			star := ""
			if f.Original {
				star = " *"
			}
			fmt.Fprintf(&b, "| %s%s | %s | %s | %s |\n", f.Code, star, f.Concerns,
				cell.Replace(placeholder.ReplaceAllString(f.Text, "…")), cell.Replace(f.Remedy))
		}
	}
	b.WriteString(originalFailureSections())
	return b.String()
}

func TestFailureDocument(t *testing.T) {
	t.Parallel()
	const file = "docs/deployment-errors.md"
	want := failureDocument()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is stale, run go generate .:\n%s", file, diff)
	}
	for _, f := range allFailures {
		if !strings.Contains(want, "| "+string(f.Code)) {
			t.Errorf("%s has no section for phase %q", f.Code, f.Phase)
		}
	}
}

// TestEveryFailureIsReached: each row is named by the engine or by the agent, whose
// tests have to make a deployment fail with each that they name (package
// failurecoverage).
func TestEveryFailureIsReached(t *testing.T) {
	t.Parallel()
	named := make(map[string]bool)
	for _, pkg := range []string{"cloud/deploy", "core/agent", "core/depot", "core/failure", "core/plan", "core/secrets", "core/trust"} {
		codes, err := failurecoverage.Used(pkg, "features.go", "resources.go", "execution.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range codes {
			named[code] = true
		}
	}
	for _, f := range allFailures {
		if !named[string(f.Code)] {
			t.Errorf("nobody reports %s", f.Code)
		}
	}
}
