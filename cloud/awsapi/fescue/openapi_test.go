package fescue_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	api "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

//go:generate go test -run TestOpenAPI -update

var update = flag.Bool("update", false, "write docs/fescue-api.json anew")

// TestOpenAPI keeps docs/fescue-api.json as the table is; with -update it writes it.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	want, err := api.New(api.Options{}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "..", "docs", "fescue-api.json")
	if *update {
		if err := os.WriteFile(path, append(want, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want)+"\n", string(got)); diff != "" {
		t.Errorf("docs/fescue-api.json is stale, run go generate ./cloud/awsapi/fescue:\n%s", diff)
	}
}

// TestDescribed: each row says what it does and what it answers, and the description
// has the members that an answer has.
func TestDescribed(t *testing.T) {
	t.Parallel()
	for _, op := range api.New(api.Options{}).Described() {
		if !strings.HasSuffix(op.Summary, ".") || op.Answers == nil || op.Takes != nil && op.Method == "GET" {
			t.Errorf("%s: %q, takes %v, answers %v", op.Name, op.Summary, op.Takes, op.Answers)
		}
		for _, p := range op.Query {
			if !strings.HasSuffix(p.Says, ".") {
				t.Errorf("%s: the parameter %s is not described", op.Name, p.Name)
			}
		}
	}
	text, err := api.New(api.Options{}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct {
					Schema struct{ Properties map[string]any }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	properties := document.Paths["/fescue/v1/cores"]["get"].Responses["200"].Content["application/json"].Schema.Properties
	answer, err := json.Marshal(api.CoreList{Cores: []api.CoreSummary{}, NextToken: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(answer, &members); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(keys(members), keys(properties)) {
		t.Errorf("described %v, answered %v", keys(properties), keys(members))
	}
}

func keys(m map[string]any) map[string]bool {
	set := make(map[string]bool)
	for name := range m {
		set[name] = true
	}
	return set
}
