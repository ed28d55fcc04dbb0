package fescue_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestNobodySleeps: no test waits for a fixed time. It waits for a condition with
// package testkit; passes time of a bubble of package synctest; or, to hit a process
// anywhere in its work, sleeps for a time that is drawn by rand.N. What tests the
// passing of time itself has a ticker.
func TestNobodySleeps(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		files++
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, call := range sleeps(parsed) {
			t.Errorf("%s sleeps for a fixed time: wait for a condition with testkit.Eventually", set.Position(call.Pos()))
		}
		return nil
	})
	if err != nil || files < 200 {
		t.Fatalf("%d files are looked at; %v", files, err)
	}
}

func TestSleeps(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]int{
		`time.Sleep(time.Second)`:                           1,
		`for { time.Sleep(5 * time.Millisecond) }`:          1,
		`<-time.After(time.Second)`:                         1,
		`time.Sleep(rand.N(time.Second))`:                   0,
		`select { case <-c: case <-time.After(patience): }`: 0,
		`testkit.Until(t, "x", f)`:                          0,
	} {
		for header, bubble := range map[string]bool{"": false, `import "testing/synctest"`: true} {
			parsed, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+header+"\nfunc f() {\n"+statement+"\n}", 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(sleeps(parsed)); got != want && !bubble || bubble && got != 0 {
				t.Errorf("%s %s: %d sleeps, want %d", header, statement, got, want)
			}
		}
	}
}

// sleeps are what waits for a fixed time in a file that has no bubble.
func sleeps(file *ast.File) (list []ast.Node) {
	for _, imp := range file.Imports {
		if imp.Path.Value == `"testing/synctest"` {
			return nil
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CommClause: // a case of a select is a deadline
			for _, s := range n.Body {
				ast.Inspect(s, func(inner ast.Node) bool {
					list = append(list, sleep(inner)...)
					return true
				})
			}
			return false
		default:
			list = append(list, sleep(n)...)
		}
		return true
	})
	return list
}

// sleep is the node if it is a sleep for a fixed time.
func sleep(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.ExprStmt:
		if receive, ok := n.X.(*ast.UnaryExpr); ok && receive.Op == token.ARROW && calls(receive.X, "time", "After") {
			return []ast.Node{n}
		}
	case *ast.CallExpr:
		if calls(n, "time", "Sleep") && !calls(n.Args[0], "rand", "N") {
			return []ast.Node{n}
		}
	}
	return nil
}

func calls(n ast.Node, pkg, function string) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != function {
		return false
	}
	name, ok := selector.X.(*ast.Ident)
	return ok && name.Name == pkg
}
