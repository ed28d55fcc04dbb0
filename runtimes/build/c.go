package main

import (
	"os"
	"path/filepath"
	"slices"
)

// soname is that of the library which programs were linked against, its file's name.
const soname = "libaws-greengrass-core-sdk-c.so"

// library compiles the C sources so that they need no version of the C library: what
// they are linked against is empty and only bears its name, so that each symbol is
// whichever the machine's own has.
func library(compiler string, flags ...string) func(runtimes, temp string) ([]byte, error) {
	return func(runtimes, temp string) ([]byte, error) {
		bare := []string{"-shared", "-nostdlib", "-nostartfiles", "-fPIC", "-s", "-Wl,--build-id=none"}
		var libraries []string
		empty := filepath.Join(temp, "empty.c")
		if err := os.WriteFile(empty, nil, 0o644); err != nil {
			return nil, err
		}
		for _, name := range []string{"libc.so.6", "libpthread.so.0"} {
			path := filepath.Join(temp, name)
			if err := command(compiler, slices.Concat(bare, flags, []string{"-Wl,-soname," + name, "-o", path, empty})...); err != nil {
				return nil, err
			}
			libraries = append(libraries, path)
		}
		sources, err := filesBelow(filepath.Join(runtimes, "c"), ".c")
		if err != nil {
			return nil, err
		}
		out := filepath.Join(temp, soname)
		err = command(compiler, slices.Concat(bare, flags, []string{
			"-std=gnu99", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=default",
			"-U_FORTIFY_SOURCE", "-fno-stack-protector", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-ident", "-ffile-prefix-map=" + runtimes + "=.",
			"-Wl,-soname," + soname, "-Wl,--version-script=" + filepath.Join(runtimes, "c", "versions.map"),
			"-Wl,--hash-style=both", "-Wl,--no-as-needed", "-Wl,-z,relro,-z,now,-z,noexecstack", "-o", out,
		}, sources, libraries)...)
		if err != nil {
			return nil, err
		}
		return os.ReadFile(out)
	}
}
