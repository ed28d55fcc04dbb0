package greengrass_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/cloud/awsapi/iam"
	"github.com/fescue-edge/fescue/cloud/awsapi/iot"
	"github.com/fescue-edge/fescue/cloud/awsapi/iotdata"
	"github.com/fescue-edge/fescue/cloud/awsapi/iotjobsdata"
	"github.com/fescue-edge/fescue/cloud/awsapi/lambda"
	"github.com/fescue-edge/fescue/cloud/awsapi/s3"
	"github.com/fescue-edge/fescue/cloud/awsapi/secretsmanager"
	"github.com/fescue-edge/fescue/cloud/awsapi/sts"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

var update = flag.Bool("update", false, "write docs/api-coverage.md anew")

// served are the operations of the model that the service registers, by name. Nothing
// is called, so they need nothing behind them.
func served() []restjson.Operation { return greengrass.New(greengrass.Options{}).Operations() }

func TestModel(t *testing.T) {
	t.Parallel()
	model := make(map[string]greengrass.ModelOperation)
	for _, op := range greengrass.Model {
		model[op.Name] = op
	}
	t.Run("has each of the 92 operations once", func(t *testing.T) {
		t.Parallel()
		if len(model) != 92 || len(greengrass.Model) != 92 {
			t.Errorf("%d names in %d rows", len(model), len(greengrass.Model))
		}
		byName := func(a, b greengrass.ModelOperation) int { return strings.Compare(a.Name, b.Name) }
		if !slices.IsSortedFunc(greengrass.Model, byName) {
			t.Error("the rows are not in the order of their names")
		}
	})
	t.Run("is what is served", func(t *testing.T) {
		t.Parallel()
		seen := make(map[string]bool)
		for _, op := range served() {
			if want := model[op.Name]; op.Method != want.Method || op.Path != want.Path || seen[op.Name] {
				t.Errorf("%s: %s %s, the model has %s %s", op.Name, op.Method, op.Path, want.Method, want.Path)
			}
			seen[op.Name] = true
		}
	})
}

// TestCoverageDocument keeps docs/api-coverage.md as the code is; with -update it
// writes it.
func TestCoverageDocument(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "docs", "api-coverage.md")
	want := coverageDocument()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/api-coverage.md is stale, run go generate ./cloud/awsapi/greengrass:\n%s", diff)
	}
}

func coverageDocument() string {
	ours := make(map[string]bool)
	for _, op := range served() {
		ours[op.Name] = true
	}
	var doc strings.Builder
	fmt.Fprintf(&doc, `# API coverage

Generated from the tables of operations in the code by `+"`go generate ./cloud/awsapi/greengrass`"+`; do not edit.
How answers differ from the original's is in [compatibility.md](compatibility.md).

## AWS IoT Greengrass V1 (greengrass, 2017-06-07)

%d of %d operations are served.

| operation | method and path | served |
|---|---|---|
`, len(ours), len(greengrass.Model))
	for _, op := range greengrass.Model {
		state := "not yet"
		if ours[op.Name] {
			state = "yes"
		}
		fmt.Fprintf(&doc, "| %s | `%s %s` | %s |\n", op.Name, op.Method, op.Path, state)
	}
	doc.WriteString("\n## Fescue's own\n\nREST-JSON, signed for greengrass, iot, iotdata or lambda; [fescue-api.json](fescue-api.json) describes them in OpenAPI.\n\n| operation | method and path |\n|---|---|\n")
	lent := []restjson.Operation{greengrass.New(greengrass.Options{}).Restore(), lambda.New(lambda.Options{}).Restore()}
	for _, op := range ownapi.New(ownapi.Options{Lent: lent}).Operations() {
		fmt.Fprintf(&doc, "| %s | `%s %s` |\n", op.Name, op.Method, op.Path)
	}
	doc.WriteString(`
## Services around it

Of these, what scripts for Greengrass call is served. All others, of which those of AWS IoT, Lambda and S3 stand here as "not yet", are answered
with an error that names them: UnknownOperationException, of iam and sts InvalidAction, of s3 NotImplemented. Invoke and InvokeAsync only say that functions run on cores.
`)
	logger := slog.New(slog.DiscardHandler)
	for _, service := range []struct {
		title string
		api   interface{ Operations() []restjson.Operation }
	}{
		{"AWS IoT (iot, 2015-05-28)", iot.New(iot.Options{Logger: logger})},
		{"AWS IoT data plane (iotdata, 2015-05-28)", iotdata.New(iotdata.Options{Logger: logger})},
		{"AWS IoT jobs data plane (iot-jobs-data, 2017-09-29)", iotjobsdata.New(iotjobsdata.Options{Logger: logger})},
		{"AWS Lambda (lambda, 2015-03-31)", lambda.New(lambda.Options{Logger: logger})},
	} {
		fmt.Fprintf(&doc, "\n### %s\n\n| operation | method and path |\n|---|---|\n", service.title)
		var notYet []string
		for _, op := range service.api.Operations() {
			if op.Handle == nil {
				notYet = append(notYet, op.Name)
				continue
			}
			fmt.Fprintf(&doc, "| %s | `%s %s` |\n", op.Name, op.Method, op.Path)
		}
		if len(notYet) > 0 {
			fmt.Fprintf(&doc, "\nNot yet: %s.\n", strings.Join(notYet, ", "))
		}
	}
	doc.WriteString("\n### Amazon S3 (s3, 2006-03-01)\n\nPath style, or virtual-host style below localhost and s3.PUBLIC-HOST.\n\n| operation |\n|---|\n")
	objects, notYet := s3.Operations()
	for _, name := range objects {
		fmt.Fprintf(&doc, "| %s |\n", name)
	}
	fmt.Fprintf(&doc, "\nNot yet: %s.\n", strings.Join(notYet, ", "))
	for _, service := range []struct {
		title string
		api   interface{ Operations() []string }
	}{
		{"AWS IAM (iam, 2010-05-08)", iam.New(nil, logger)},
		{"AWS Secrets Manager (secretsmanager, 2017-10-17)", secretsmanager.New(nil, logger)},
		{"AWS STS (sts, 2011-06-15)", sts.New(nil, nil, logger)},
	} {
		fmt.Fprintf(&doc, "\n### %s\n\n| operation |\n|---|\n", service.title)
		for _, name := range service.api.Operations() {
			fmt.Fprintf(&doc, "| %s |\n", name)
		}
	}
	return doc.String()
}
