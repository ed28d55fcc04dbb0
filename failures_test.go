package fescue_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

// declared reads the constants of a type out of the source, so that one that a
// table forgets is found.
func declared(t *testing.T, file, typeName string) []string {
	t.Helper()
	return slices.Collect(maps.Values(declaredNames(t, file, typeName)))
}

// declaredNames are their values by name.
func declaredNames(t *testing.T, file, typeName string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typeName {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values[spec.Names[0].Name] = text
		}
		return true
	})
	return values
}

func TestFailureTable(t *testing.T) {
	t.Parallel()
	rows := make(map[fescue.FailureCode]int)
	for _, f := range allFailures {
		rows[f.Code]++
		t.Run(string(f.Code), func(t *testing.T) {
			t.Parallel()
			if (f.Phase == "") != f.Code.Warns() || f.Concerns == "" {
				t.Errorf("phase %q, concerns %q", f.Phase, f.Concerns)
			}
			if f.Text == "" || strings.HasSuffix(f.Text, ".") || !strings.HasSuffix(f.Remedy, ".") {
				t.Errorf("text %q, remedy %q: the text goes without a full stop, the remedy with one", f.Text, f.Remedy)
			}
			var values []any
			for _, verb := range verbs(f.Text) {
				if verb == 'd' {
					values = append(values, 7)
				} else {
					values = append(values, "val%ue")
				}
			}
			d := f.Code.Detail(values...)
			if d.DetailedErrorCode != string(f.Code) || strings.Contains(d.DetailedErrorMessage, "%!") {
				t.Errorf("detail %+v", d)
			}
			if strings.Count(d.DetailedErrorMessage, "val%ue")+strings.Count(d.DetailedErrorMessage, "7") != len(values) {
				t.Errorf("message %q for %d values", d.DetailedErrorMessage, len(values))
			}
			if !strings.HasSuffix(d.DetailedErrorMessage, ". "+f.Remedy) {
				t.Errorf("message %q without the remedy", d.DetailedErrorMessage)
			}
		})
	}
	t.Run("every code has one row", func(t *testing.T) {
		t.Parallel()
		codes := append(declared(t, "failurecodes.go", "FailureCode"), declared(t, "warnings.go", "FailureCode")...)
		for _, code := range codes {
			if n := rows[fescue.FailureCode(code)]; n != 1 {
				t.Errorf("%s has %d rows", code, n)
			}
		}
		if len(codes) == 0 || len(codes) != len(rows) {
			t.Errorf("%d codes, %d rows", len(codes), len(rows))
		}
	})
	t.Run("a code without a row", func(t *testing.T) {
		t.Parallel()
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		fescue.FailureCode("NEW").Detail()
	})
}

// verbs are the letters of the formatting verbs of a text.
func verbs(text string) []byte {
	var list []byte
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '%' {
			i++
			list = append(list, text[i])
		}
	}
	return list
}

func TestFailureMessages(t *testing.T) {
	t.Parallel()
	t.Run("of an invalid group", func(t *testing.T) {
		t.Parallel()
		got := fescue.InvalidGroupMessage([]fescue.ErrorDetail{{"A", "first"}, {"B", "second"}})
		const want = "We cannot deploy because the group definition is invalid or corrupted for the following reasons: " +
			"{ErrorSet(errorSet=[ErrorModel(errorCode=A, errorMsg=first), ErrorModel(errorCode=B, errorMsg=second)])}"
		if got != want {
			t.Errorf("%s", got)
		}
		many := slices.Repeat([]fescue.ErrorDetail{{"A", "first"}}, fescue.MostErrorDetails+2)
		if got := fescue.InvalidGroupMessage(many); strings.Count(got, "errorCode=A") != fescue.MostErrorDetails || !strings.HasSuffix(got, "])} There are 2 more problems.") {
			t.Errorf("%s", got)
		}
	})
	t.Run("of anything else", func(t *testing.T) {
		t.Parallel()
		d := fescue.Deployment{ID: "d", GroupID: "g", Type: fescue.NewDeployment}
		if got := fescue.FailureMessage(d, "100% wrong"); got != "Deployment d of type NewDeployment for group g failed error: 100% wrong" {
			t.Errorf("%s", got)
		}
	})
}
