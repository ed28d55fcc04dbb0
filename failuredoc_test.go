package fescue_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
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
}

// cannotOccur are failures that the original documented and that cannot come up
// here.
const cannotOccur = `
## Of the original, and not here

| documented for | why it cannot come up |
|---|---|
| containers: mounts of ` + "`proc`, `/dev/shm`, `/var/run`" + `, overlay file systems, ` + "`exec setns`" + `, the container test, ` + "`wait 1s for container to stop`" + ` | functions run without a container in this version; one that asks for a container fails with CONTAINER_UNSUPPORTED_ERROR |
| Java for the stream manager | there is no stream manager in this version: SYSTEM_COMPONENT_UNSUPPORTED_ERROR |
| access to local resources: ` + "`don't have rw permission on the file`" + `, nested destination paths, shared group owners | local resources fail with RESOURCE_UNSUPPORTED_ERROR in this version |
| model buckets and secrets that the service role cannot read | the control plane reads its own store with its own rights |
| MemorySize that is missing in a container, ` + "`SourcePath`" + ` outside of /dev | refused when the definition is made, with the original's text |
| a clock that is wrong: ` + "`x509: certificate has expired or is not yet valid`" + `; a status that cannot be reported: ` + "`failed to report deployment status back to cloud`" + `; ` + "`403 Forbidden`" + ` | no failure of the deployment: the core cannot tell anybody. They stand in its runtime.log, it tries again, and the deployment ends by its deadline |
`

func failureDocument() string {
	var b strings.Builder
	b.WriteString("# Why deployments fail\n\nGenerated from the table in `failures.go` by `go generate .`; do not edit.\n\n" +
		"DetailedErrorCode in ErrorDetails of GetDeploymentStatus is one of these; the codes are stable. The message is the cause and then the remedy.\n" +
		"An asterisk marks a text of the original's, kept for the runbooks that look for it.\n")
	placeholder := regexp.MustCompile(`%[a-z]`)
	cell := strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`)
	for _, section := range failurePhases {
		fmt.Fprintf(&b, "\n## %s\n\n| code | concerns | cause | what to do |\n|---|---|---|---|\n", section.title)
		for _, f := range fescue.DeploymentFailures {
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
	b.WriteString(cannotOccur)
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
	for _, f := range fescue.DeploymentFailures {
		if !strings.Contains(want, "| "+string(f.Code)) {
			t.Errorf("%s has no section for phase %q", f.Code, f.Phase)
		}
	}
}

// TestEveryFailureIsReached: each row is named by a test of the engine, of the
// agent or of the programs, beside the table's own.
func TestEveryFailureIsReached(t *testing.T) {
	t.Parallel()
	names := make(map[string]string)
	for name, code := range declaredNames(t, "failures.go", "FailureCode") {
		names[name] = code
	}
	for _, root := range []string{"cloud", "core", "test"} {
		err := filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, "_test.go") || len(names) == 0 {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for name, code := range names {
				if regexp.MustCompile(`fescue\.`+name+`\b`).Match(text) || strings.Contains(string(text), `"`+code+`"`) {
					delete(names, name)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, code := range names {
		t.Errorf("no test reaches %s (%s)", name, code)
	}
}
