package fescue_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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

// description is docs/fescue-api.json, as far as queries and answers go: by path and
// method what may be asked, and what is answered by status.
type description struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name, In string
			Schema   map[string]any
		}
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

// differs says what an answer has that its description has not, and the other way, and
// what was asked by a query that is not described so, where that was served; nothing
// for answers of operations that are not described, which nothing but refusals are.
func (d description) differs(method, path string, status int, contentType, text string) []string {
	path, asked, _ := strings.Cut(path, "?")
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
		wrong := compare("answer", content.Schema, value)
		if status != 200 {
			return wrong
		}
		query, err := url.ParseQuery(asked)
		if err != nil {
			return append(wrong, err.Error())
		}
		schemas := make(map[string]map[string]any)
		for _, p := range operation.Parameters {
			if p.In == "query" {
				schemas[p.Name] = p.Schema
			}
		}
		for _, name := range slices.Sorted(maps.Keys(query)) {
			if is := schemas[name]; is == nil {
				wrong = append(wrong, "the parameter "+name+" is not described")
			} else if !parameter(is, query.Get(name)) {
				wrong = append(wrong, fmt.Sprintf("%s is %q, described as %v", name, query.Get(name), is))
			}
		}
		return wrong
	}
	if status == 200 {
		return []string{"the operation is not described"}
	}
	return nil
}

// parameter reports whether a text of a query, which is empty for none, is as a schema
// has it.
func parameter(schema map[string]any, value string) bool {
	switch {
	case value == "":
		return true
	case schema["type"] == "integer":
		n, err := strconv.Atoi(value)
		return err == nil && float64(n) >= schema["minimum"].(float64) && float64(n) <= schema["maximum"].(float64)
	case schema["format"] == "date-time":
		_, err := time.Parse(time.RFC3339, value)
		return err == nil
	}
	return schema["type"] == "string"
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
		{"GET", "/fescue/v1/cores?MaxResults=10&Contains=10", "application/json", `{"Cores":[]}`, ""},
		{"GET", "/fescue/v1/cores?MaxResults=ten", "application/json", `{"Cores":[]}`, `MaxResults is "ten", described as map[maximum:1000 minimum:1 type:integer]`},
		{"GET", "/fescue/v1/cores?MaxResults=0", "application/json", `{"Cores":[]}`, `MaxResults is "0", described as map[maximum:1000 minimum:1 type:integer]`},
		{"GET", "/fescue/v1/cores?Sort=x", "application/json", `{"Cores":[]}`, `the parameter Sort is not described`},
		{"GET", "/fescue/v1/audit?From=yesterday", "application/json", `{"Records":[]}`, `From is "yesterday", described as map[format:date-time type:string]`},
		{"GET", "/fescue/v1/cores", "application/json", `{"Cores":{}}`, `answer.Cores is map[], described as "array"`},
	} {
		if got := strings.Join(d.differs(row.method, row.path, 200, row.contentType, row.text), "; "); got != row.want {
			t.Errorf("%s %s %s: %q, want %q", row.method, row.path, row.text, got, row.want)
		}
	}
}
