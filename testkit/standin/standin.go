// Package standin builds functions for tests, in compiled languages. Of the Greengrass
// Core SDKs only that for Node.js is in a registry; what stands in for the others is
// our own, written against what the published ones refer to.
package standin

import (
	"archive/zip"
	"bytes"
	"embed"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed java c
var files embed.FS

// Java compiles a function and gives the files of its package, by their paths: its
// classes, and lib/sdk.jar with what stands in for the SDK and for
// aws-lambda-java-core. sources are the texts of the function's classes, by file name;
// runtimes is the folder that the function runtimes were extracted to. libraries are
// jars that it is compiled against and that are in its package, too.
func Java(t testing.TB, runtimes string, sources map[string]string, libraries ...string) map[string][]byte {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		t.Skip("javac (Debian's package default-jdk-headless) is not installed; install it to run this test")
	}
	dir := t.TempDir()
	extract(t, dir, "java")
	sdk := compile(t, filepath.Join(dir, "sdk"), append(libraries, filepath.Join(runtimes, "java", "*")), below(t, filepath.Join(dir, "java")))
	var paths []string
	for name, text := range sources {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	code := compile(t, filepath.Join(dir, "code"), append(libraries, filepath.Join(runtimes, "java", "*"), filepath.Join(dir, "sdk")), paths)
	code["lib/sdk.jar"] = jar(t, sdk)
	for _, library := range libraries {
		content, err := os.ReadFile(library)
		if err != nil {
			t.Fatal(err)
		}
		code["lib/"+filepath.Base(library)] = content
	}
	return code
}

// soname is the library of the Greengrass Core SDK for C.
const soname = "libaws-greengrass-core-sdk-c.so"

// C compiles a program and gives the files of its package: program, and in lib the
// library that it was linked against, which does nothing and which its RUNPATH names,
// as that of the SDK.
func C(t testing.TB, source string) map[string][]byte {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc (Debian's package gcc, with libc6-dev) is not installed; install it to run this test")
	}
	dir := t.TempDir()
	extract(t, dir, "c")
	header := filepath.Join(dir, "c")
	files := map[string][]byte{"program": nil, "lib/" + soname: nil}
	Write(t, dir, map[string][]byte{"main.c": []byte(source)})
	for _, arguments := range [][]string{
		{"-shared", "-fPIC", "-Wl,-soname," + soname, "-Wl,--version-script=" + filepath.Join(header, "stub.map"), "-o", filepath.Join(dir, soname), filepath.Join(header, "stub.c")},
		{"-Wall", "-Werror", "-I", header, "-o", filepath.Join(dir, "program"), filepath.Join(dir, "main.c"), filepath.Join(dir, soname), "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib"},
	} {
		if out, err := exec.Command("gcc", arguments...).CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	for name := range files {
		content, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	return files
}

// extract writes a folder of files into dir.
func extract(t testing.TB, dir, folder string) {
	t.Helper()
	sub, err := fs.Sub(files, folder)
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, folder), sub)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// below are the files of a folder.
func below(t testing.TB, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// compile gives the classes of sources, which it leaves in dir.
func compile(t testing.TB, dir string, classPath, sources []string) map[string][]byte {
	t.Helper()
	command := exec.Command("javac", slices.Concat([]string{"--release", "8", "-Xlint:-options", "-encoding", "UTF-8", "-cp", strings.Join(classPath, ":"), "-d", dir}, sources)...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	classes := make(map[string][]byte)
	for _, path := range below(t, dir) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		classes[filepath.ToSlash(name)] = content
	}
	return classes
}

func jar(t testing.TB, classes map[string][]byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	for name, content := range classes {
		w, err := archive.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// Write puts the files of a package below dir.
func Write(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
