package recovery_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/fescue-edge/fescue/recovery"
)

// FuzzRead: whatever group.json is, reading it does not fail otherwise than by
// saying why, and what it gives is text that can be read again.
func FuzzRead(f *testing.F) {
	for _, pattern := range []string{"testdata/*/ggc/deployment/group/group.json", "testdata/broken/*/ggc/deployment/group/group.json"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		deployment := fstest.MapFS{
			"group/group.json":                 {Data: data},
			"lambda/" + reader + "/reader.py":  {Data: []byte("x")},
			"lambda/" + grinder + "/grinder":   {Data: []byte("x"), Mode: 0o755},
			"lambda/" + grinder + "/link":      {Data: []byte("/etc/passwd"), Mode: fs.ModeSymlink},
			"lambda/arn.aws.lambda.x.y.f.X.12": {Data: []byte("x")},
		}
		for _, o := range []recovery.Options{operator, {Name: "n", Alias: "live"}} {
			g, report, err := recovery.Read(recovery.Folder{Root: fstest.MapFS{}, Deployment: deployment}, o)
			if (err == nil) != (g != nil && report != nil) {
				t.Fatalf("%v, %v, %v", g, report, err)
			}
			if err != nil {
				continue
			}
			text, err := g.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := g.Encode()
			if err != nil || !bytes.Equal(text, again) {
				t.Fatalf("two encodings differ: %v", err)
			}
		}
	})
}
