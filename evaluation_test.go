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

// TestOrderOfEvaluation: no return names a variable beside a call that is to fill it. Go
// does not say which of the two comes first.
func TestOrderOfEvaluation(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		files++
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, statement := range filledBeside(parsed) {
			t.Errorf("%s returns a variable beside the call that fills it: call first, then return", set.Position(statement.Pos()))
		}
		return nil
	})
	if err != nil || files < 500 {
		t.Fatalf("%d files are looked at; %v", files, err)
	}
}

func TestFilledBeside(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]int{
		`return x, rows.Scan(&x)`:                        1,
		`return x, rows.Scan(&y, &x.name)`:               1,
		`return x.name, rows.Scan(&x.name)`:              1,
		`return x[0], rows.Scan(&x[1], &x[0])`:           1,
		`return rows.Scan(&x), x`:                        1,
		`return &T{x}, f(g(&x))`:                         1,
		`return func() (int, error) { return x, f(&x) }`: 1,
		`return y, rows.Scan(&x)`:                        0,
		`return f(x), g(x)`:                              0,
		`return rows.Scan(&x)`:                           0,
		`return &x, rows.Scan(&x)`:                       0,
		`return T{f: 1}, rows.Scan(&f)`:                  0,
		`err = rows.Scan(&x); return x, err`:             0,
	} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {\n"+statement+"\n}", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(filledBeside(parsed)); got != want {
			t.Errorf("%s: %d found, want %d", statement, got, want)
		}
	}
}

// filledBeside are the returns of a file whose one result is read from a variable, and
// whose other is a call that is given the variable's address.
func filledBeside(file *ast.File) (list []*ast.ReturnStmt) {
	ast.Inspect(file, func(n ast.Node) bool {
		statement, ok := n.(*ast.ReturnStmt)
		if !ok {
			return true
		}
		for i, filling := range statement.Results {
			filled := addressed(filling)
			for j, other := range statement.Results {
				if i != j && readsAny(other, filled) {
					list = append(list, statement)
					return true
				}
			}
		}
		return true
	})
	return list
}

// addressed are the variables whose addresses a result gives to calls.
func addressed(result ast.Expr) map[string]bool {
	names := make(map[string]bool)
	ast.Inspect(result, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			for _, argument := range call.Args {
				if address, ok := argument.(*ast.UnaryExpr); ok && address.Op == token.AND {
					if name := root(address.X); name != "" {
						names[name] = true
					}
				}
			}
		}
		_, function := n.(*ast.FuncLit)
		return !function
	})
	return names
}

// root is the variable that a field or an element lies in.
func root(e ast.Expr) string {
	for {
		switch inner := e.(type) {
		case *ast.Ident:
			return inner.Name
		case *ast.SelectorExpr:
			e = inner.X
		case *ast.IndexExpr:
			e = inner.X
		case *ast.ParenExpr:
			e = inner.X
		default:
			return ""
		}
	}
}

// readsAny reports whether a result has the value of one of the variables, and not its
// address alone.
func readsAny(result ast.Expr, names map[string]bool) (reads bool) {
	ast.Inspect(result, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.UnaryExpr:
			if n.Op == token.AND && root(n.X) != "" {
				return false
			}
		case *ast.SelectorExpr:
			reads = reads || readsAny(n.X, names)
			return false
		case *ast.KeyValueExpr:
			reads = reads || readsAny(n.Value, names)
			return false
		case *ast.FuncLit:
			return false
		case *ast.Ident:
			reads = reads || names[n.Name]
		}
		return true
	})
	return reads
}
