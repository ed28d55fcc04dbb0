// Package failurecoverage proves that the tests of a package make deployments fail in
// every way that the package knows: what ends of deployments say is noted, and
// compared with the failure codes in the package's source.
package failurecoverage

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
// and passed, every code that the source in the folders names must have been noted,
// and those of the rules of package fescue that it applies, by their files.
func Check(status int, folders []string, rules ...string) int {
	if status != 0 || testing.Short() || flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != "" ||
		flag.Lookup("test.list").Value.String() != "" || flag.Lookup("test.fuzz").Value.String() != "" {
		return status
	}
	var used []string
	for _, folder := range folders {
		codes, err := Used(folder, rules...)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		used = append(used, codes...)
	}
	for _, code := range used {
		if !seen[code] {
			fmt.Fprintf(os.Stderr, "no test makes a deployment fail with %s\n", code)
			status = 1
		}
	}
	return status
}

// Used are the failure codes that the source of a package names, and those that
// files of package fescue do.
func Used(dir string, rules ...string) ([]string, error) {
	root, err := module(dir)
	if err != nil {
		return nil, err
	}
	codes := make(map[string]string)
	for _, table := range []string{"failurecodes.go", "warnings.go"} {
		err := inspect(filepath.Join(root, table), func(n ast.Node) {
			if spec, ok := n.(*ast.ValueSpec); ok {
				if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "FailureCode" {
					codes[spec.Names[0].Name], _ = strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, "_test.go") })
	used := make(map[string]bool)
	use := func(name *ast.Ident) {
		if codes[name.Name] != "" {
			used[codes[name.Name]] = true
		}
	}
	for _, file := range files {
		err := inspect(file, func(n ast.Node) {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "fescue" {
					use(selector.Sel)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	for _, file := range rules {
		err := inspect(filepath.Join(root, file), func(n ast.Node) {
			if name, ok := n.(*ast.Ident); ok {
				use(name)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(used)), nil
}

// module is the folder of go.mod, at or above a folder.
func module(dir string) (string, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return root, nil
		}
		parent := filepath.Dir(root)
		if parent == root {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
		root = parent
	}
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
