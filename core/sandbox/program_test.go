package sandbox_test

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/core/sandbox"
)

// binaryFor is this test program's head, as if it were built for another machine.
func binaryFor(t *testing.T, machine elf.Machine) []byte {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	// The machine stands 18 bytes into every ELF file.
	binary.LittleEndian.PutUint16(text[18:], uint16(machine))
	return text
}

// withLoader is a program that needs a loader which is not installed.
func withLoader(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			copy(text[part.Off:], "/lib/ld-none.so\x00")
			return text
		}
	}
	t.Skip("/bin/sh needs no loader here")
	return nil
}

func TestPrograms(t *testing.T) {
	foreign := elf.EM_AARCH64
	if self, err := elf.Open("/proc/self/exe"); err != nil || self.Machine == elf.EM_AARCH64 || self.Machine == elf.EM_ARM {
		foreign = elf.EM_X86_64
	}
	for _, c := range []struct {
		name string
		text []byte
		// cause is what the error says; none for a program that starts.
		cause string
	}{
		{"a script", []byte("#!/bin/sh\nexit 0\n"), ""},
		{"a script with words after its interpreter", []byte("#! /bin/sh -e\nexit 0\n"), ""},
		{"a script that asks env", []byte("#!/usr/bin/env sh\nexit 0\n"), ""},
		{"a script that asks env with words", []byte("#!/usr/bin/env -S A=b sh -e\nexit 0\n"), ""},
		{"a program", binaryFor(t, 0)[:0], "it is empty"},
		{"Windows line ends", []byte("#!/bin/sh\r\nexit 0\r\n"), "its first line ends in CR LF"},
		{"Windows line ends with env", []byte("#!/usr/bin/env python3\r\nexit()\r\n"), "its first line ends in CR LF"},
		{"no interpreter", []byte("#!/opt/none/python3.7\n"), "the interpreter /opt/none/python3.7 that its first line names is not installed"},
		{"no interpreter for env", []byte("#!/usr/bin/env python9.9 -u\n"), "the interpreter python9.9 that its first line names is in none of the folders of PATH (/usr/bin:/bin)"},
		{"an interpreter that is no program", []byte("#!/etc/passwd\n"), "its interpreter does not start: "},
		{"an empty first line", []byte("#!\necho\n"), "names no interpreter"},
		{"no first line", []byte("echo hello\n"), "neither a Linux program nor a script"},
		{"a byte order mark", []byte("\xef\xbb\xbf#!/bin/sh\n"), "a byte order mark stands before its #!"},
		{"another machine", binaryFor(t, foreign), "it is built for " + strings.TrimPrefix(foreign.String(), "EM_")},
		{"a damaged program", []byte("\x7fELF"), "it is damaged"},
		{"no loader", withLoader(t), "its loader /lib/ld-none.so is not installed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := open(t, sandbox.Tree, "")
			spec := parent()
			folder := sandbox.HostPath(t.TempDir())
			spec.Dir, spec.Program, spec.Args = folder.Plain(), folder.Join("run").Plain(), nil
			if err := os.WriteFile(string(folder.Join("run")), c.text, 0o755); err != nil {
				t.Fatal(err)
			}
			before := sandbox.Examine(spec)
			p, err := s.Start(t.Context(), spec)
			if err == nil {
				p.Wait()
			}
			if c.cause == "" {
				if err := errors.Join(before, err); err != nil {
					t.Error(err)
				}
				return
			}
			var wrong *sandbox.ProgramError
			if !errors.As(before, &wrong) || !strings.Contains(before.Error(), c.cause) || !strings.Contains(before.Error(), string(spec.Program)) {
				t.Errorf("before it is started: %v, want one that says %q", before, c.cause)
			}
			// env starts, and finds out by itself; so does an ELF interpreter.
			if err != nil && !strings.Contains(err.Error(), c.cause) {
				t.Errorf("when it is started: %v, want one that says %q", err, c.cause)
			}
		})
	}
}

func TestClosedToTheUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can ask for somebody else; run the tests as root to include this one")
	}
	top, err := os.MkdirTemp("", "closed-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	who := &sandbox.Credential{UID: 54321, GID: 54322, Groups: []uint32{54323}}
	home, code := filepath.Join(top, "home"), filepath.Join(top, "home", "ggc", "code")
	program := filepath.Join(code, "run")
	prepare := func() {
		t.Helper()
		if err := os.MkdirAll(code, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		change func() error
		want   string
	}{
		{"nothing is closed", func() error { return os.Chmod(top, 0o755) }, ""},
		{"the folder of a user", func() error { return os.Chmod(home, 0o700) },
			"the user with UID 54321 and GID 54322 may not enter the folder " + home},
		{"a folder that a link leads through", func() error {
			closed := filepath.Join(top, "closed")
			return errors.Join(os.Mkdir(closed, 0o700), os.Rename(home, filepath.Join(closed, "home")), os.Symlink(filepath.Join(closed, "home"), home))
		}, "may not enter the folder " + filepath.Join(top, "closed")},
		{"the folder is its group's", func() error { return errors.Join(os.Chmod(home, 0o710), os.Chown(home, 0, 54323)) }, ""},
		{"the code", func() error { return os.Chmod(code, 0o700) }, "may not enter the folder " + code},
		{"the code may be entered, not read", func() error { return os.Chmod(code, 0o711) }, "may not read " + code},
		{"a program that may not be executed", func() error { return os.Chmod(program, 0o744) }, "may not execute " + program},
		{"a script that may not be read", func() error { return os.Chmod(program, 0o711) }, "may not read " + program},
		{"no code yet", func() error { return os.RemoveAll(code) }, "run cannot be started: it does not exist"},
		{"no code yet, and the folder of a user", func() error { return errors.Join(os.RemoveAll(code), os.Chmod(home, 0o700)) },
			"may not enter the folder " + home},
	} {
		t.Run(c.name, func(t *testing.T) {
			prepare()
			if err := errors.Join(os.Chmod(top, 0o755), c.change()); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(home)
			s, _ := open(t, sandbox.Tree, "")
			folder := sandbox.HostPath(code)
			spec := sandbox.Spec{
				ID: "x", Program: folder.Join("run").Plain(), Dir: folder.Plain(), Reads: []sandbox.InsidePath{folder.Plain()}, Credential: who,
			}
			before := sandbox.Examine(spec)
			p, err := s.Start(t.Context(), spec)
			if err == nil {
				p.Wait()
			}
			if c.want == "" {
				if err := errors.Join(before, err); err != nil {
					t.Error(err)
				}
				return
			}
			if before == nil || !strings.Contains(before.Error(), c.want) {
				t.Errorf("got %v, want one that says %q", before, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("when it is started: %v, want one that says %q", err, c.want)
			}
		})
	}
}
