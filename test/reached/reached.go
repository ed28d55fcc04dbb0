// Package reached proves that the tests of a package make deployments fail in
// every way that the package knows: what ends of deployments say is noted, and
// compared with the failure codes in the package's source.
package reached

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue"
)

var (
	mu   sync.Mutex
	seen = make(map[string]bool)
)

// Note takes down the details of a deployment that ended in Failure, or its
// warnings.
func Note(details []fescue.ErrorDetail) {
	mu.Lock()
	defer mu.Unlock()
	for _, d := range details {
		seen[d.DetailedErrorCode] = true
	}
}

// Check is for TestMain, which gives it what its tests came to: if all were run
// and passed, every code that the package's source names must have been noted, and
// those that it reports besides.
func Check(status int, besides ...fescue.FailureCode) int {
	if status != 0 || testing.Short() || flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != "" ||
		flag.Lookup("test.list").Value.String() != "" || flag.Lookup("test.fuzz").Value.String() != "" {
		return status
	}
	used, err := Used(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, code := range besides {
		used = append(used, string(code))
	}
	for _, code := range used {
		if !seen[code] {
			fmt.Fprintf(os.Stderr, "no test makes a deployment fail with %s\n", code)
			status = 1
		}
	}
	return status
}

// Unserved are the codes of what cores do not serve, which package fescue's judge
// reports.
func Unserved() (list []fescue.FailureCode) {
	for _, u := range fescue.UnservedFeatures {
		if !slices.Contains(list, u.Code) {
			list = append(list, u.Code)
		}
	}
	return list
}

// Used are the failure codes that the source of a package names.
func Used(dir string) ([]string, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if parent := filepath.Dir(root); parent != root {
			root = parent
			continue
		}
		return nil, fmt.Errorf("no go.mod above %s", dir)
	}
	codes := make(map[string]string)
	err = inspect(filepath.Join(root, "failures.go"), func(n ast.Node) {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "FailureCode" {
				codes[spec.Names[0].Name], _ = strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		err := inspect(file, func(n ast.Node) {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return
			}
			if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "fescue" && codes[selector.Sel.Name] != "" {
				used[codes[selector.Sel.Name]] = true
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(used)), nil
}

func inspect(file string, see func(ast.Node)) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		see(n)
		return true
	})
	return nil
}
