//go:build linux

package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// modulesFor gives files of kernel modules and of those that they depend on, these
// first. Debian's package has no table of them before it is installed; each says what
// it needs itself.
func modulesFor(folder string, names ...string) ([]string, error) {
	files := make(map[string]string)
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var list []string
	var add func(names ...string) error
	add = func(names ...string) error {
		for _, name := range names {
			path, ok := files[strings.ReplaceAll(name, "-", "_")]
			if !ok {
				continue // added, or built in; a guest that lacks it says so
			}
			delete(files, strings.ReplaceAll(name, "-", "_"))
			needs, err := dependsOn(path)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := add(needs...); err != nil {
				return err
			}
			list = append(list, path)
		}
		return nil
	}
	return list, add(names...)
}

// dependsOn reads what a module needs from its section of "name=value" strings.
func dependsOn(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("it has no section .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range bytes.SplitSeq(data, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}

// initramfs is an archive in the kernel's format (Documentation/driver-api/early-userspace/buffer-format.rst,
// "newc"), with a first process and modules.
func initramfs(first string, modules []string) ([]byte, error) {
	var archive bytes.Buffer
	inode := 0
	add := func(name string, mode uint32, content []byte) {
		inode++
		fmt.Fprintf(&archive, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		archive.WriteString(name + "\x00")
		archive.Write(make([]byte, -archive.Len()&3))
		archive.Write(content)
		archive.Write(make([]byte, -archive.Len()&3))
	}
	for _, folder := range []string{"dev", "modules", "disk"} {
		add(folder, 0o40755, nil)
	}
	for i, path := range append([]string{first}, modules...) {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("modules/%02d-%s", i, filepath.Base(path))
		if i == 0 {
			name = "init"
		}
		add(name, 0o100755, content)
	}
	add("TRAILER!!!", 0, nil)
	return archive.Bytes(), nil
}
