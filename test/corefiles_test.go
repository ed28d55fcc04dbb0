package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue/testkit"
)

// openToFunctions are the files of a core's folder that functions of another user
// may use: the bits beyond the owner's. All others are closed to them. Names of
// folders end in a slash.
var openToFunctions = []struct {
	path *regexp.Regexp
	mode fs.FileMode
}{
	{regexp.MustCompile(`^\./$`), 0o055}, // the administrator's
	{regexp.MustCompile(`^(certs|ggc|ggc/deployment|ggc/deployment/\.store|ggc/deployment/lambda)/$`), 0o011},
	{regexp.MustCompile(`^certs/root\.ca\.pem$`), 0o044},
	{regexp.MustCompile(`^ggc/packages/`), 0o055},
	// Code, not group documents, which are files.
	{regexp.MustCompile(`^ggc/deployment/\.store/[0-9a-f]{64}/`), 0o055},
}

// TestFilesOfACore: functions of another user find what they need in the core's
// folder and nothing else.
func TestFilesOfACore(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can start functions as somebody else; run the tests as root to include this one")
	}
	needPython(t)
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, "Closed_Core/out")
	g := h.provision(t, "Closed_Core")
	// An earlier core left its lock as it made it.
	lock := filepath.Join(g.root, "ggc", "core.lock")
	for _, err := range []error{os.MkdirAll(filepath.Dir(lock), 0o711), os.WriteFile(lock, nil, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	g.run(t)
	script, program := h.python(t, "Script", greeter), h.echo(t, "Program")
	group, version := g.groupVersion(t, "", []function{
		{arn: script, pinned: true, variables: out(g.thing, "script")},
		{arn: program, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "program")},
	}, append(ends(script, g.thing), route{program, "#", "cloud"}))
	h.await(t, group, h.deploy(t, group, version), "Success")
	viewer.next(t, "started script")

	seen := make(map[int]bool)
	err := testkit.Walk(g.root, func(path string, info fs.FileInfo) error {
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil
		}
		name, err := filepath.Rel(g.root, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			name += "/"
		}
		var allowed fs.FileMode
		for i, row := range openToFunctions {
			if row.path.MatchString(name) {
				allowed, seen[i] = row.mode, true
			}
		}
		if beyond := info.Mode().Perm() & 0o077 &^ allowed; beyond != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			t.Errorf("%s belongs to user %d", name, owner)
		}
		return nil
	})
	if err != nil || len(seen) != len(openToFunctions) {
		t.Errorf("rows %v of the table were met, %v", seen, err)
	}
}
