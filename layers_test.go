package fescue_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fescue-edge/fescue"

// layers are the rooms of the house from the ground up. A package may import what
// lies in a lower layer, and siblings only where its room says so.
var layers = []struct {
	rooms []string
	// siblings may import each other below the same room.
	siblings bool
}{
	{rooms: []string{"."}},
	{rooms: []string{"disk", "periodic"}},
	{rooms: []string{"testkit"}, siblings: true},
	{rooms: []string{"systemd", "doctor", "backoff", "inbound", "pki", "policy", "shadow", "topic", "runtimes", "examples"}},
	{rooms: []string{"corelink", "mqtt", "bundle"}, siblings: true},
	{rooms: []string{"recovery"}},
	{rooms: []string{"cloud", "core", "client"}, siblings: true},
	{rooms: []string{"transfer"}},
	{rooms: []string{"cmd"}, siblings: true},
	{rooms: []string{"test"}, siblings: true},
}

// apart are rooms of which the first never imports the second, though it lies above:
// what speaks to a server is no part of one.
var apart = [][2]string{{"transfer", "cloud"}, {"transfer", "core"}}

// pure packages do no I/O: they import nothing that opens files or connections.
var pure = []string{".", "backoff", "policy", "shadow", "topic", "bundle", "recovery"}

var impure = []string{"os", "net", "net/http", "database/sql", "os/exec", "io/ioutil", "syscall"}

// TestArrowsPointDown keeps imports as the design draws them: cmd to cloud, core, and
// over transfer to client, those to corelink, mqtt and bundle, those to pki, policy, shadow and
// topic, those to disk, all to the vocabulary; cloud, core and client never to each other;
// the testkit, though it lies low, only to tests.
func TestArrowsPointDown(t *testing.T) {
	imports := packageImports(t)
	for pkg, list := range imports {
		if slices.ContainsFunc(list, func(imp string) bool { return within(imp, []string{module + "/testkit"}) }) && !forTests(pkg) {
			t.Errorf("%s imports the testkit, which is for tests", pkg)
		}
		from, fromRoom := layerOf(pkg)
		if from < 0 {
			t.Errorf("package %s has no layer", pkg)
			continue
		}
		for _, imp := range list {
			rel, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			target := path.Clean("./" + rel)
			to, toRoom := layerOf(target)
			if to > from || to == from && !(layers[from].siblings && fromRoom == toRoom) || slices.Contains(apart, [2]string{fromRoom, toRoom}) {
				t.Errorf("%s imports %s, which does not lie below it", pkg, target)
			}
		}
	}
	for _, pkg := range pure {
		for _, imp := range imports[pkg] {
			for _, bad := range impure {
				if imp == bad {
					t.Errorf("%s is pure but imports %s", pkg, imp)
				}
			}
		}
	}
}

// wires are the packages below cloud that speak to callers and devices. Every other
// one there is a service, but for the store.
var wires = []string{"cloud/awsapi", "cloud/console", "cloud/edge", "cloud/mqttfront"}

const store = "cloud/store"

// onFiles are the services that work on the files of a store which nobody need have
// open.
var onFiles = []string{"cloud/backup"}

// TestServicesDoNotKnowTheirWires: below cloud, what speaks to callers and devices
// lies above the services, and the services above the store.
func TestServicesDoNotKnowTheirWires(t *testing.T) {
	services := 0
	for pkg, list := range packageImports(t) {
		if !strings.HasPrefix(pkg, "cloud/") || within(pkg, wires) {
			continue
		}
		services++
		for _, imp := range list {
			target := strings.TrimPrefix(imp, module+"/")
			if within(target, wires) {
				t.Errorf("the service %s imports the wire %s", pkg, target)
			}
			if target == store && !within(pkg, append(onFiles, store)) {
				t.Errorf("the service %s imports the store; it declares the interface that it needs", pkg)
			}
		}
	}
	if services < 20 {
		t.Errorf("only %d services are looked at", services)
	}
}

// forTests says whether nothing but tests is made of a package.
func forTests(pkg string) bool {
	return within(pkg, []string{"testkit", "test"}) || strings.HasSuffix(pkg, "test")
}

func within(pkg string, rooms []string) bool {
	for _, room := range rooms {
		if pkg == room || strings.HasPrefix(pkg, room+"/") {
			return true
		}
	}
	return false
}

func layerOf(pkg string) (layer int, room string) {
	room, _, _ = strings.Cut(pkg, "/")
	for i, l := range layers {
		for _, r := range l.rooms {
			if r == room {
				return i, room
			}
		}
	}
	return -1, room
}

// packageImports reads the imports of every package, without those of its tests.
func packageImports(t *testing.T) map[string][]string {
	t.Helper()
	imports := make(map[string][]string)
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "testdata" || len(name) > 1 && strings.HasPrefix(name, ".") || file == "packaging") { // a module of its own
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(file))
		imports[pkg] = append(imports[pkg], "")
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[pkg] = append(imports[pkg], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}
