// Package runtimes carries what a function's process loads from the core: the
// programs that run Python, Node.js and Java functions, and the modules and the library
// that the Greengrass Core SDKs expect to find there. It knows how to lay them out on disk; it
// must not know processes, functions or how the core speaks to them.
//
// What is compiled lies in dist, made by go run ./runtimes/build.
package runtimes

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fescue-edge/fescue/disk"
)

// The patterns name files, not folders: a folder would leave out __init__.py
// and could take in compiled leftovers.
//
//go:embed python/*.py python/*/*.py nodejs/*.js nodejs/node_modules/*/*.js dist/java/*.jar
var files embed.FS

// The library that executables were linked against is embedded for the processor that
// the core is built for, in library_*.go, and lies in libraryFolder.

// The programs that run functions, relative to the folder that was given to Extract.
const (
	PythonMain = "python/lambda_runtime.py"
	NodeMain   = "nodejs/lambda_nodejs_runtime.js"
	JavaMain   = "java/greengrass-runtime.jar"
)

// languages are the folders in which functions find things, and where each is among
// the files.
var languages = []struct{ name, folder string }{
	{"python", "python"},
	{"nodejs", "nodejs"},
	{"java", "dist/java"},
	{"executable", libraryFolder},
}

// storePrefix begins the names of the folders that hold one version each.
const storePrefix = ".runtimes-"

// Extract lays the runtime files out below dir, which it makes if need be:
// dir/python and the other languages are links into a folder named after the content, so a new
// version replaces a language's files at once and an interrupted Extract leaves the
// old ones.
// Files are 0644 and folders 0755, so that functions running as another user
// can read them. Files that are identical are left alone, damaged ones are
// written again, folders of earlier versions are removed.
func Extract(dir string) error {
	if err := extract(dir); err != nil {
		return fmt.Errorf("lay out the function runtimes in %s: %w", dir, err)
	}
	return nil
}

func extract(dir string) error {
	digest, err := Digest()
	if err != nil {
		return err
	}
	store := storePrefix + digest[:16]
	if err := makeDir(dir); err != nil {
		return err
	}
	err = walk(func(path string, entry fs.DirEntry, content []byte) error {
		target := filepath.Join(dir, store, filepath.FromSlash(path))
		if entry.IsDir() {
			return makeDir(target)
		}
		return writeFile(target, content)
	})
	if err != nil {
		return err
	}
	for _, language := range languages {
		if language.folder == "" {
			continue
		}
		if err := link(filepath.Join(store, filepath.FromSlash(language.folder)), filepath.Join(dir, language.name)); err != nil {
			return err
		}
	}
	return removeOthers(dir, store)
}

// walk visits all files and folders, the folders first.
func walk(visit func(path string, entry fs.DirEntry, content []byte) error) error {
	for _, each := range []embed.FS{files, library} {
		err := fs.WalkDir(each, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var content []byte
			if !entry.IsDir() {
				if content, err = each.ReadFile(path); err != nil {
					return err
				}
			}
			return visit(path, entry, content)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Digest is the hexadecimal SHA-256 over the names and contents of all files.
func Digest() (string, error) {
	hash := sha256.New()
	err := walk(func(path string, entry fs.DirEntry, content []byte) error {
		if entry.IsDir() {
			return nil
		}
		fmt.Fprintf(hash, "%s %d\n", path, len(content))
		hash.Write(content)
		return nil
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// makeDir makes a folder that everyone can enter, whatever the umask is.
func makeDir(path string) error {
	err := os.MkdirAll(path, 0o755)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o755 == 0o755 {
		return nil
	}
	return os.Chmod(path, info.Mode().Perm()|0o755)
}

// writeFile puts content in place, unless it is there already.
func writeFile(path string, content []byte) error {
	if same(path, content) {
		return nil
	}
	return disk.WriteFile(path, content, 0o644)
}

func same(path string, content []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o644 || info.Size() != int64(len(content)) {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	present, err := io.ReadAll(io.LimitReader(file, int64(len(content))+1))
	return err == nil && bytes.Equal(present, content)
}

// link makes name a symbolic link to target, in one step.
func link(target, name string) error {
	if present, err := os.Readlink(name); err == nil && present == target {
		return nil
	}
	// A plain folder in the way is from something that was not made here.
	if info, err := os.Lstat(name); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("%s is in the way; move it elsewhere", name)
	}
	return disk.ReplaceLink(disk.Local{}, target, name)
}

func removeOthers(dir, store string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), storePrefix) && entry.Name() != store {
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
