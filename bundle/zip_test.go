package bundle_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/bundle"
)

// member is an entry of a zip made for a test; its content is its name where a
// link has no other.
type member struct {
	name    string
	mode    fs.FileMode
	content string
}

func zipped(t testing.TB, members ...member) []*zip.File {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Store}
		if m.mode != 0 {
			h.SetMode(m.mode)
		}
		f, err := w.CreateHeader(h)
		if err == nil && !strings.HasSuffix(m.name, "/") {
			_, err = f.Write([]byte(m.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return r.File
}

func link(name, target string) member { return member{name, fs.ModeSymlink | 0o777, target} }

// TestEntries: what tools and systems make is taken, as Lambda takes it.
func TestEntries(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		zip  []member
		want []string // mode, name, target
	}{
		"files":                 {[]member{{name: "a.py"}, {name: "run", mode: 0o700}}, []string{"-rw-r--r-- a.py", "-rwxr-xr-x run"}},
		"a file for root alone": {[]member{{name: "a", mode: fs.ModeSetuid | 0o4700}}, []string{"-rwxr-xr-x a"}},
		"folders":               {[]member{{name: "a/", mode: fs.ModeDir | 0o700}, {name: "a/b"}}, []string{"drwxr-xr-x a", "-rw-r--r-- a/b"}},
		"folders not listed":    {[]member{{name: "a/b/c"}, {name: "a/"}}, []string{"drwxr-xr-x a", "drwxr-xr-x a/b", "-rw-r--r-- a/b/c"}},
		"bsdtar":                {[]member{{name: "./", mode: fs.ModeDir | 0o755}, {name: "./a"}}, []string{"-rw-r--r-- a"}},
		"a folder called .":     {[]member{{name: ".", mode: fs.ModeDir | 0o755}, {name: "a//b"}}, []string{"drwxr-xr-x a", "-rw-r--r-- a/b"}},
		"Windows":               {[]member{{name: `lib\`}, {name: `lib\a`}, {name: `lib\b\c`}}, []string{"drwxr-xr-x lib", "-rw-r--r-- lib/a", "drwxr-xr-x lib/b", "-rw-r--r-- lib/b/c"}},
		"odd names":             {[]member{{name: "..a"}, {name: "a:b"}, {name: "a\nb"}, {name: "\xff"}, {name: "größe"}}, []string{"-rw-r--r-- ..a", "-rw-r--r-- a:b", "-rw-r--r-- a\nb", "-rw-r--r-- \xff", "-rw-r--r-- größe"}},
		"a file twice":          {[]member{{name: "a"}, {name: "b"}, {name: "./a", mode: 0o755}}, []string{"-rwxr-xr-x a", "-rw-r--r-- b"}},
		"links":                 {[]member{link("b/l", "../a"), link("c", "b"), {name: "a"}}, []string{"drwxr-xr-x b", "-rw-r--r-- a", "Lrwxrwxrwx b/l -> ../a", "Lrwxrwxrwx c -> b"}},
		"a link to nothing":     {[]member{link("l", "gone/./away")}, []string{"Lrwxrwxrwx l -> gone/./away"}},
		"a link through a link": {[]member{link("a/b/up", "../.."), link("l", "a/b/up/a/b")}, []string{"drwxr-xr-x a", "drwxr-xr-x a/b", "Lrwxrwxrwx a/b/up -> ../..", "Lrwxrwxrwx l -> a/b/up/a/b"}},
		"a link, then a file":   {[]member{link("a", "/etc/passwd"), {name: "a"}}, []string{"-rw-r--r-- a"}},
		"nothing":               {nil, nil},
	} {
		entries, err := bundle.Entries(zipped(t, c.zip...))
		var got []string
		for _, e := range entries {
			line := e.Mode.String() + " " + e.Name
			if e.Target != "" {
				line += " -> " + e.Target
			}
			if (e.File != nil) != e.Mode.IsRegular() {
				t.Errorf("%s: %s has the content %v", what, e.Name, e.File)
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", what, err, diff)
		}
	}
}

func TestEntriesRefused(t *testing.T) {
	t.Parallel()
	loop := []member{link("a", "b"), link("b", "a")}
	var chain []member
	for i := range 50 {
		chain = append(chain, link(fmt.Sprint("l", i), fmt.Sprint("l", i+1)))
	}
	var deep []member
	for i := range 30 {
		deep = append(deep, member{name: strings.Repeat(fmt.Sprintf("%02d/", i), 680) + "f"})
	}
	many := make([]member, bundle.MaxEntries+1)
	for i := range many {
		many[i] = member{name: fmt.Sprint(i)}
	}
	for what, c := range map[string]struct {
		zip  []member
		want string
	}{
		"climbs out":                       {[]member{{name: "../a"}}, `entry "../a" leads out of its folder`},
		"climbs out inside":                {[]member{{name: "a/../../b"}}, "leads out"},
		"climbs out at the end":            {[]member{{name: "a/.."}}, "leads out"},
		"climbs out by backslashes":        {[]member{{name: `a\..\..\b`}}, "leads out"},
		"absolute":                         {[]member{{name: "/etc/passwd"}}, "absolute path"},
		"absolute by a backslash":          {[]member{{name: `\a`}}, "absolute path"},
		"absolute on a drive":              {[]member{{name: `C:\a`}}, "absolute path"},
		"no name":                          {[]member{{name: ""}}, "has no name"},
		"a file called .":                  {[]member{{name: "."}}, "has no name"},
		"a link called .":                  {[]member{link("./.", "a")}, "has no name"},
		"a zero byte":                      {[]member{{name: "a\x00"}}, "zero byte"},
		"a long name":                      {[]member{{name: strings.Repeat("a", 256)}}, "file name of more than 255 bytes"},
		"a long path":                      {[]member{{name: strings.Repeat("a/", 1024) + "a"}}, "path of more than 2048 bytes"},
		"a file that is a folder":          {[]member{{name: "a"}, {name: "a/b"}}, `makes "a" a file and a folder at once`},
		"a folder that is a file":          {[]member{{name: "a/b"}, {name: "a"}}, `makes "a" a file and a folder at once`},
		"a folder that is a file, deep":    {[]member{{name: "a/b"}, {name: "a/b/c/d"}}, `makes "a/b" a file and a folder at once`},
		"a file below a link":              {[]member{link("a", "b"), {name: "a/c"}}, "a file and a folder at once"},
		"a file below a link that follows": {[]member{{name: "a/c"}, link("a", "b")}, "a file and a folder at once"},
		"an absolute link":                 {[]member{link("a", "/etc")}, "is a symbolic link to an absolute path"},
		"a link to an absolute link":       {[]member{link("a", "b"), link("b", "/")}, "to an absolute path"},
		"a link to nowhere":                {[]member{link("a", "")}, "no possible name"},
		"a link to a zero byte":            {[]member{link("a", "b\x00")}, "no possible name"},
		"a long link":                      {[]member{link("a", strings.Repeat("b", 2049))}, "no possible name"},
		"a link out":                       {[]member{link("a", "../b")}, "that leads out"},
		"a link out and in again":          {[]member{link("a/b", "../../c/b")}, "that leads out"},
		"a link out by a link":             {[]member{link("in", "a/b"), {name: "a/b/"}, link("l", "in/../../..")}, "that leads out"},
		"a link out by a folder not there": {[]member{link("l", "a/../..")}, "that leads out"},
		"links in a circle":                {loop, "too many others, or to itself"},
		"a link to itself":                 {[]member{link("a", "./a")}, "too many others, or to itself"},
		"links in a long chain":            {chain, "too many others"},
		"a link with a slash":              {[]member{{name: "a/", mode: fs.ModeSymlink | 0o777}}, "neither a file nor a folder"},
		"a device":                         {[]member{{name: "a", mode: fs.ModeDevice | 0o600}}, "neither a file nor a folder"},
		"a pipe":                           {[]member{{name: "a", mode: fs.ModeNamedPipe | 0o600}}, "neither a file nor a folder"},
		"too many files":                   {many, "beyond the 20000 files and folders"},
		"too many folders":                 {deep, "beyond the 20000 files and folders"},
	} {
		entries, err := bundle.Entries(zipped(t, c.zip...))
		if err == nil || entries != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	for what, change := range map[string]func(*zip.File){
		"is encrypted":                            func(f *zip.File) { f.Flags |= 1 },
		"method other than store and deflate":     func(f *zip.File) { f.Method = 12 },
		"more than 262144000 bytes unpacked":      func(f *zip.File) { f.UncompressedSize64 = bundle.MaxUnpacked + 1 },
		"hold more than 262144000 bytes unpacked": func(f *zip.File) { f.UncompressedSize64 = 1<<64 - 1 },
	} {
		files := zipped(t, member{name: "a"}, member{name: "b"})
		change(files[1])
		if _, err := bundle.Entries(files); err == nil || !strings.Contains(err.Error(), `entry "b"`) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzEntries: whatever a zip says, what is made of it stays in its folder, each
// name once, folders before what is in them and links last.
func FuzzEntries(f *testing.F) {
	f.Add("a/b", "c", "a", "l/../d")
	f.Add(`a\b`, "./", "../a", "b/c")
	f.Fuzz(func(t *testing.T, one, two, target, other string) {
		entries, err := bundle.Entries(zipped(t, member{name: one}, member{name: two}, link("l", target), link(other, "l/"+target)))
		if err != nil {
			return
		}
		seen := map[string]fs.FileMode{".": fs.ModeDir}
		links := false
		for _, e := range entries {
			if _, twice := seen[e.Name]; twice || !filepath.IsLocal(e.Name) || path.Clean(e.Name) != e.Name {
				t.Errorf("%q of %+v", e.Name, entries)
			}
			if !seen[path.Dir(e.Name)].IsDir() || links && e.Target == "" {
				t.Errorf("%q comes too early in %+v", e.Name, entries)
			}
			seen[e.Name], links = e.Mode, links || e.Target != ""
		}
	})
}
