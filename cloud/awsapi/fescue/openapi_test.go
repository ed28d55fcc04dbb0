package fescue_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// TestDescribed: each row says what it does and what it answers. That answers are as the
// description has them, every call of these tests sees to.
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
}

// description is docs/fescue-api.json, as far as answers go: by path and method, what is
// answered by status.
type description struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct{ Schema map[string]any }
		}
	}
}

var described = sync.OnceValues(func() (d description, err error) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "fescue-api.json"))
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	return d, err
})

// differs says what an answer has that its description has not, and the other way; nothing
// for answers of operations that are not described, which nothing but refusals are.
func (d description) differs(method, path string, status int, contentType, text string) []string {
	path, _, _ = strings.Cut(path, "?")
	for template, methods := range d.Paths {
		if !matches(template, path) {
			continue
		}
		operation, ok := methods[strings.ToLower(method)]
		if !ok {
			continue
		}
		name := "default"
		if status == 200 {
			name = "200"
		}
		kind, _, _ := strings.Cut(contentType, ";")
		content, ok := operation.Responses[name].Content[kind]
		if !ok {
			return []string{fmt.Sprintf("status %d in %q is not described", status, contentType)}
		}
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return []string{err.Error()}
		}
		return compare("answer", content.Schema, value)
	}
	if status == 200 {
		return []string{"the operation is not described"}
	}
	return nil
}

// matches reports whether a path is one of a template with parameters.
func matches(template, path string) bool {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i, segment := range want {
		if !strings.HasPrefix(segment, "{") && segment != have[i] {
			return false
		}
	}
	return true
}

// compare holds a value against a schema of JSON.
func compare(at string, schema map[string]any, value any) (wrong []string) {
	is := map[string]bool{}
	switch v := value.(type) {
	case map[string]any:
		is["object"] = true
		properties, _ := schema["properties"].(map[string]any)
		others, open := schema["additionalProperties"].(map[string]any)
		for name, member := range v {
			if of, ok := properties[name].(map[string]any); ok {
				wrong = append(wrong, compare(at+"."+name, of, member)...)
			} else if open {
				wrong = append(wrong, compare(at+"."+name, others, member)...)
			} else {
				wrong = append(wrong, at+"."+name+" is not described")
			}
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s.%s is described, and not there", at, name))
			}
		}
	case []any:
		is["array"] = true
		items, _ := schema["items"].(map[string]any)
		for i, item := range v {
			wrong = append(wrong, compare(fmt.Sprintf("%s[%d]", at, i), items, item)...)
		}
	case string:
		is["string"] = true
	case bool:
		is["boolean"] = true
	case float64:
		is["integer"] = v == math.Trunc(v)
	}
	if kind, _ := schema["type"].(string); !is[kind] {
		wrong = append(wrong, fmt.Sprintf("%s is %v, described as %q", at, value, schema["type"]))
	}
	return wrong
}

// TestCompare: what answers are held against is held to.
func TestCompare(t *testing.T) {
	t.Parallel()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ method, path, contentType, text, want string }{
		{"GET", "/fescue/v1/fleet", "application/json", `{"Cores":3,"Connected":2}`, ""},
		{"GET", "/fescue/v1/fleet", "application/json", `{"Cores":3}`, "answer.Connected is described, and not there"},
		{"GET", "/fescue/v1/fleet", "application/json", `{"Cores":3,"Connected":2,"More":1}`, "answer.More is not described"},
		{"GET", "/fescue/v1/fleet", "application/json", `{"Cores":"3","Connected":2}`, `answer.Cores is 3, described as "integer"`},
		{"GET", "/fescue/v1/fleet", "application/json", `{"Cores":3.5,"Connected":2}`, `answer.Cores is 3.5, described as "integer"`},
		{"GET", "/fescue/v1/fleet", "text/plain", `{"Cores":3,"Connected":2}`, `status 200 in "text/plain" is not described`},
		{"GET", "/fescue/v1/fleet/x", "application/json", `{}`, "the operation is not described"},
		{"PUT", "/fescue/v1/fleet", "application/json", `{}`, "the operation is not described"},
		{"POST", "/fescue/v1/cores/A/epoch", "application/json", `{"ThingName":"A","Before":1,"Epoch":true}`, `answer.Epoch is true, described as "integer"`},
		{"GET", "/fescue/v1/cores", "application/json", `{"Cores":{}}`, `answer.Cores is map[], described as "array"`},
	} {
		if got := strings.Join(d.differs(row.method, row.path, 200, row.contentType, row.text), "; "); got != row.want {
			t.Errorf("%s %s %s: %q, want %q", row.method, row.path, row.text, got, row.want)
		}
	}
}
