package sandbox

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ProgramError means that a program cannot be started on this machine, whoever
// tries.
type ProgramError struct{ Path, Cause string }

func (e *ProgramError) Error() string { return e.Path + " cannot be started: " + e.Cause }

// Examine says why a process cannot be started, as far as that is seen without
// starting it: an *AccessError, a *ProgramError, or nil.
func Examine(spec Spec) error {
	dir, err := spec.find(spec.Dir)
	if err != nil {
		return err
	}
	if err := spec.Credential.mayEnter(dir); err != nil {
		return err
	}
	for _, path := range spec.Reads {
		file, err := spec.find(path)
		if err != nil {
			return err
		}
		if err := spec.Credential.mayRead(file); err != nil {
			return err
		}
	}
	return spec.examine(spec.Program, 0)
}

// find is where the core finds what the process sees.
func (s Spec) find(path InsidePath) (place, error) {
	if s.Container == nil {
		return place{"/", HostPath(path)}, nil
	}
	for _, m := range slices.Backward(outsideIn(s.Container.Mounts)) {
		if rest, ok := below(string(path), string(m.Destination)); ok {
			return place{m.Source, m.Source.Join(rest)}, nil
		}
	}
	real, err := filepath.EvalSymlinks(string(path))
	if err != nil {
		// What does not exist is examined as such.
		return place{"/", HostPath(path)}, nil
	}
	covered := slices.Concat(hidden, emptied)
	for _, folder := range s.Container.Hidden {
		covered = append(covered, string(folder))
	}
	for _, folder := range covered {
		if _, ok := below(real, folder); ok {
			return place{}, &ProgramError{string(path), "it lies in " + folder + ", which is not seen in a container"}
		}
	}
	return place{"/", HostPath(path)}, nil
}

// below says whether a path is a folder or lies in it, and gives the rest.
func below(path, folder string) (rest string, ok bool) {
	if path == folder {
		return "", true
	}
	return strings.CutPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// explain puts what can be seen of the cause in the place of the kernel's error,
// which names neither the folder nor the user.
func explain(spec Spec, err error) error {
	if cause := Examine(spec); cause != nil {
		return cause
	}
	return err
}

// headSize is as much of a script's first line as the kernel reads.
const headSize = 256

// maxInterpreters is how many scripts may be each other's interpreter.
const maxInterpreters = 4

func (s Spec) examine(inside InsidePath, depth int) error {
	found, err := s.find(inside)
	if err != nil {
		return err
	}
	path := string(found.path)
	wrong := func(format string, values ...any) error { return &ProgramError{path, fmt.Sprintf(format, values...)} }
	if err := s.Credential.mayEnter(found.above()); err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return wrong("it does not exist")
	case err != nil:
		return nil
	case !info.Mode().IsRegular():
		return wrong("it is not a file")
	}
	var system unix.Statfs_t
	if unix.Statfs(path, &system) == nil && system.Flags&unix.ST_NOEXEC != 0 {
		return wrong("its file system is mounted noexec")
	}
	if err := s.Credential.mayExecute(found); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		// What may be executed need not be readable.
		return nil
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, headSize))
	if err != nil {
		return nil
	}
	const byteOrderMark = "\xef\xbb\xbf"
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		return s.examineScript(found, string(head[2:]), depth)
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return examineBinary(path, f)
	case foreignFormats():
		return nil
	case len(head) == 0:
		return wrong("it is empty")
	case bytes.HasPrefix(head, []byte(byteOrderMark+"#!")):
		return wrong("a byte order mark stands before its #!; save it as UTF-8 without one")
	}
	return wrong("it is neither a Linux program nor a script whose first line names its interpreter, such as #!/bin/sh")
}

func (s Spec) examineScript(found place, head string, depth int) error {
	if err := s.Credential.mayRead(found); err != nil {
		return err
	}
	path := string(found.path)
	wrong := func(format string, values ...any) error { return &ProgramError{path, fmt.Sprintf(format, values...)} }
	line, _, _ := strings.Cut(head, "\n")
	if strings.HasSuffix(line, "\r") {
		return wrong("its first line ends in CR LF, as on Windows; save it with LF line ends")
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return wrong("its first line names no interpreter after #!")
	}
	interpreter := InsidePath(words[0])
	if !filepath.IsAbs(words[0]) {
		interpreter = s.Dir.Join(words[0])
	}
	if there, err := s.find(interpreter); err != nil {
		return err
	} else if _, err := os.Stat(string(there.path)); errors.Is(err, fs.ErrNotExist) {
		return wrong("the interpreter %s that its first line names is not installed", interpreter)
	}
	if depth >= maxInterpreters {
		return wrong("too many interpreters are scripts themselves")
	}
	if err := s.examine(interpreter, depth+1); err != nil {
		return wrong("its interpreter does not start: %v", err)
	}
	if filepath.Base(string(interpreter)) != "env" {
		return nil
	}
	// env looks for the first of its words that is neither an option nor a variable.
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue
		}
		if !strings.Contains(word, "/") && !s.inPath(word) {
			return wrong("the interpreter %s that its first line names is in none of the folders of PATH (%s)", word, s.path())
		}
		break
	}
	return nil
}

func (s Spec) path() string {
	for _, variable := range slices.Backward(s.Env) {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			return path
		}
	}
	return ""
}

func (s Spec) inPath(name string) bool {
	for _, folder := range filepath.SplitList(s.path()) {
		inside := InsidePath(folder)
		if !filepath.IsAbs(folder) {
			inside = s.Dir.Join(folder)
		}
		found, err := s.find(inside.Join(name))
		if err != nil {
			continue
		}
		path := string(found.path)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && s.Credential.mayExecute(found) == nil {
			return true
		}
	}
	return false
}

// machines are the programs that kernels run, by what uname(2) calls the machine. A
// kernel of 64 bits may run those of 32 too.
var machines = map[string][]elf.Machine{
	"x86_64":  {elf.EM_X86_64, elf.EM_386},
	"i686":    {elf.EM_386},
	"aarch64": {elf.EM_AARCH64, elf.EM_ARM},
	"armv8l":  {elf.EM_ARM, elf.EM_AARCH64},
	"armv7l":  {elf.EM_ARM},
	"armv6l":  {elf.EM_ARM},
	"riscv64": {elf.EM_RISCV},
}

func examineBinary(path string, file io.ReaderAt) error {
	binary, err := elf.NewFile(file)
	if err != nil {
		return &ProgramError{path, fmt.Sprintf("it is damaged: %v", err)}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil
	}
	machine := unix.ByteSliceToString(name.Machine[:])
	if known := machines[machine]; known != nil && !slices.Contains(known, binary.Machine) && !foreignFormats() {
		return &ProgramError{path, fmt.Sprintf("it is built for %s, and this machine is %s",
			strings.TrimPrefix(binary.Machine.String(), "EM_"), machine)}
	}
	for _, part := range binary.Progs {
		if part.Type != elf.PT_INTERP {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part.Open(), unix.PathMax))
		if err != nil {
			return nil
		}
		loader := unix.ByteSliceToString(text)
		if _, err := os.Stat(loader); errors.Is(err, fs.ErrNotExist) && !foreignFormats() {
			return &ProgramError{path, fmt.Sprintf("its loader %s is not installed; it is built for another kind of Linux, or needs a package for programs of its kind", loader)}
		}
	}
	return nil
}

// foreignFormats says whether the kernel was taught to run more than its own
// programs (binfmt_misc), so that their content does not show whether they can run.
func foreignFormats() bool {
	entries, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "register" && e.Name() != "status" })
}
