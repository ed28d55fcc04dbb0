package main

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// jar compiles the Java sources for Java 8, and packs them without compression, which
// differs from version to version, and without times.
func jar(runtimes, temp string) ([]byte, error) {
	sources, err := filesBelow(filepath.Join(runtimes, "java"), ".java")
	if err != nil {
		return nil, err
	}
	if err := command("javac", append([]string{"--release", "8", "-Xlint:all,-options", "-Werror", "-encoding", "UTF-8", "-d", temp}, sources...)...); err != nil {
		return nil, err
	}
	classes, err := filesBelow(temp, ".class")
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	add := func(name string, content []byte) error {
		w, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	if err := add("META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\r\n\r\n")); err != nil {
		return nil, err
	}
	for _, class := range classes {
		content, err := os.ReadFile(class)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(temp, class)
		if err != nil {
			return nil, err
		}
		if err := add(filepath.ToSlash(name), content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// filesBelow are the files of a folder whose names end so, in order.
func filesBelow(dir, end string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, end) {
			files = append(files, path)
		}
		return err
	})
	return files, err
}
