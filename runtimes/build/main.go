// Build makes what package runtimes embeds in compiled form, from the sources beside
// it: go run ./runtimes/build. The results are committed, so that building a core needs
// Go alone; the same compilers give the same bytes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// product is a file below dist.
type product struct {
	path string
	// compiler makes it, when asked with --version it says which it is; it is in
	// Debian's package of that name.
	compiler, debian string
	// build makes it in the empty folder temp from the sources in the folder runtimes.
	build func(runtimes, temp string) ([]byte, error)
}

var products = []product{
	{"java/greengrass-runtime.jar", "javac", "default-jdk-headless", jar},
	{"executable/amd64/" + soname, "x86_64-linux-gnu-gcc", "gcc", library("x86_64-linux-gnu-gcc")},
	{"executable/arm64/" + soname, "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", library("aarch64-linux-gnu-gcc", "-mno-outline-atomics")},
	{"executable/armv7/" + soname, "arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf", library("arm-linux-gnueabihf-gcc", "-march=armv7-a+fp", "-mthumb")},
	// Raspberry Pi 1 and Zero: version 6, with floating point, whose functions pass it
	// in registers.
	{"executable/armv6/" + soname, "arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf", library("arm-linux-gnueabihf-gcc", "-march=armv6+fp", "-marm")},
}

func main() {
	check := flag.Bool("check", false, "fail when the same compiler gives other bytes than those that are there")
	dir := flag.String("runtimes", "runtimes", "the folder with the sources and dist")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `Usage: go run ./runtimes/build [flags] [word...]

Makes the files in runtimes/dist, of which the path contains one of the words, or all,
and says in runtimes/dist/compilers.txt what made them.

Examples:
  go run ./runtimes/build
  go run ./runtimes/build java
  go run ./runtimes/build -check

Flags:
`)
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(*dir, *check, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(dir string, check bool, words []string) error {
	known, err := readCompilers(dir)
	if err != nil {
		return err
	}
	for _, p := range products {
		if len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(p.path, word) }) {
			continue
		}
		compiler, err := p.version()
		if err != nil {
			return err
		}
		built, err := p.make(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
		path := filepath.Join(dir, "dist", filepath.FromSlash(p.path))
		before, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		equal := bytes.Equal(before, built)
		if check && !equal && known[p.path] == compiler {
			return fmt.Errorf("%s is not what %s makes of the sources; run go run ./runtimes/build and commit it", p.path, compiler)
		}
		fmt.Printf("%-62s %6d bytes, %s, by %s\n", p.path, len(built), map[bool]string{true: "as it was", false: "new"}[equal], compiler)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, built, 0o644); err != nil {
			return err
		}
		known[p.path] = compiler
	}
	return writeCompilers(dir, known)
}

// version is the first line of what the compiler says of itself.
func (p product) version() (string, error) {
	out, err := exec.Command(p.compiler, "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s, which makes %s, is not installed; install Debian's package %s", p.compiler, p.path, p.debian)
	}
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", p.compiler, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first), nil
}

func (p product) make(runtimes string) ([]byte, error) {
	temp, err := os.MkdirTemp("", "runtimes-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	return p.build(runtimes, temp)
}

// command runs a compiler.
func command(name string, arguments ...string) error {
	if out, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

const compilersFile = "compilers.txt"

// readCompilers are the compilers of the products that are there, by path.
func readCompilers(dir string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "dist", compilersFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	known := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if path, compiler, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			known[path] = compiler
		}
	}
	return known, nil
}

func writeCompilers(dir string, known map[string]string) error {
	var text strings.Builder
	for _, p := range products {
		if compiler, ok := known[p.path]; ok {
			fmt.Fprintf(&text, "%s: %s\n", p.path, compiler)
		}
	}
	return os.WriteFile(filepath.Join(dir, "dist", compilersFile), []byte(text.String()), 0o644)
}
