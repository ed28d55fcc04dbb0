package fescue_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// forms read a request's body as a form, multipart of any size to files among them,
// before anybody has looked at who sends it. Parameters are read from URL.Query.
var forms = []string{"FormValue", "PostFormValue", "FormFile", "ParseForm", "ParseMultipartForm", "MultipartReader", "PostForm", "MultipartForm"}

// serving are the functions of net/http that serve without a deadline.
var serving = []string{"ListenAndServe", "ListenAndServeTLS", "Serve", "ServeTLS"}

// bounded are the deadlines and bounds that every http.Server has to have. How long
// bodies and answers may take is the handlers' to bound.
var bounded = []string{"ReadHeaderTimeout", "IdleTimeout", "MaxHeaderBytes"}

// TestServersAreBounded keeps out of the programs what lets anybody hold memory,
// disk or connections.
func TestServersAreBounded(t *testing.T) {
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "testdata" || name == "test" || len(name) > 1 && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if slices.Contains(forms, n.Sel.Name) {
					t.Errorf("%s: %s reads a body as a form: take parameters from URL.Query, and bodies behind a bound", set.Position(n.Pos()), n.Sel.Name)
				}
				if ofHTTP(n) && slices.Contains(serving, n.Sel.Name) {
					t.Errorf("%s: http.%s has no deadlines: make an http.Server that has", set.Position(n.Pos()), n.Sel.Name)
				}
			case *ast.CompositeLit:
				if sel, ok := n.Type.(*ast.SelectorExpr); ok && ofHTTP(sel) && sel.Sel.Name == "Server" {
					for _, field := range bounded {
						if !hasField(n, field) {
							t.Errorf("%s: an http.Server without %s", set.Position(n.Pos()), field)
						}
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func ofHTTP(n *ast.SelectorExpr) bool {
	pkg, ok := n.X.(*ast.Ident)
	return ok && pkg.Name == "http"
}

func hasField(lit *ast.CompositeLit, name string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		key, ok := pair.Key.(*ast.Ident)
		return ok && key.Name == name
	})
}
