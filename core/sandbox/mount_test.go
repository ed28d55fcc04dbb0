package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/core/sandbox"
)

// shared is a folder of the machine with files, another file system and a link in it.
func shared(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root mounts; run the tests as root to include this one")
	}
	folder := t.TempDir()
	for _, name := range []string{"below", "private"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("tmpfs", filepath.Join(folder, "below"), "tmpfs", 0, "size=64k,mode=777"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(filepath.Join(folder, "below"), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for name, text := range map[string]string{"here": "outside\n", "below/there": "mounted\n", "private/key": "secret\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/root", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "below", "private", "here", "below/there"} {
		// The umask of the test does not count.
		mode := os.FileMode(0o777)
		if strings.HasSuffix(name, "here") {
			mode = 0o666
		}
		if err := os.Chmod(filepath.Join(folder, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// shown is a mount of a folder or a file as Look gives it.
func shown(t *testing.T, path, destination string, writable bool) sandbox.Mount {
	t.Helper()
	source, err := sandbox.Look(sandbox.HostPath(path))
	if err != nil {
		t.Fatal(err)
	}
	return sandbox.Mount{Source: source.Path, Destination: sandbox.InsidePath(destination), Writable: writable}
}

func TestMounts(t *testing.T) {
	s := openContainers(t, t.TempDir())
	root := &sandbox.Credential{}
	private := func(s *sandbox.Spec) {
		last := s.Container.Mounts[len(s.Container.Mounts)-1]
		s.Container.Hidden = []sandbox.HostPath{last.Source.Join("private")}
	}
	const write = "for f in here below/there; do echo inside >>/data/$f && echo wrote; touch /data/$(dirname $f)/new && echo made; done 2>&1 | grep -o 'Read-only.*\\|wrote\\|made'"
	const refused = "Read-only file system\nRead-only file system\nRead-only file system\nRead-only file system"
	for name, c := range map[string]struct {
		script string
		mounts func(folder string) []sandbox.Mount
		change func(*sandbox.Spec)
		want   string
	}{
		"what is mounted below is seen": {"cat /data/here /data/below/there", func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, folder, "/data", false)} }, nil, "outside\nmounted"},
		"nothing is written":            {write, func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, folder, "/data", false)} }, nil, refused},
		"nothing is written by root":    {write, func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, folder, "/data", false)} }, func(s *sandbox.Spec) { s.Credential = root }, refused},
		"all is written":                {write, func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, folder, "/data", true)} }, nil, "wrote\nmade\nwrote\nmade"},
		"a file": {"cat /etc/app/here; echo x >>/etc/app/here || echo no", func(folder string) []sandbox.Mount {
			return []sandbox.Mount{shown(t, folder+"/below/there", "/etc/app/here", false)}
		}, nil, "/lambda/run: 2: cannot create /etc/app/here: Read-only file system\nmounted\nno"},
		"one within another, given first": {"ls /data; cat /data/more/there", func(folder string) []sandbox.Mount {
			return []sandbox.Mount{shown(t, folder+"/below", "/data/more", false), shown(t, folder+"/private", "/data", true)}
		}, nil, "key\nmore\nmounted"},
		"what is hidden stays so":          {"ls -A /data/private; ls /data | wc -l", func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, folder, "/data", true)} }, private, "4"},
		"the machine's root, less secrets": {"ls /data/proc /data/sys; wc -c </data/etc/shadow; ls /data/root; ls -d /data/etc", func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, "/", "/data", true)} }, func(s *sandbox.Spec) { s.Credential = root }, "/data/etc\n/data/proc:\n\n/data/sys:\n0"},
		"of /proc": {"head -c5 /host/stat; echo; grep -c lo: /host/net/dev", func(folder string) []sandbox.Mount {
			return []sandbox.Mount{shown(t, "/proc/stat", "/host/stat", false), shown(t, "/proc/net", "/host/net", false)}
		}, nil, "cpu  \n1"},
		"/dev/shm":                           {"df /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f6; test -w /dev/shm && echo ok", func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, "/dev/shm", "/dev/shm", true)} }, nil, "/dev/shm\nok"},
		"a link inside leads where it leads": {"ls -A /data/link/", func(folder string) []sandbox.Mount { return []sandbox.Mount{shown(t, folder, "/data", false)} }, func(s *sandbox.Spec) { s.Credential = root }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := inside(t, c.script)
			spec.Container.Mounts = append(spec.Container.Mounts, c.mounts(shared(t))...)
			if c.change != nil {
				c.change(&spec)
			}
			if out, _ := result(t, s, spec); sortedLines(out) != sortedLines(c.want) {
				t.Errorf("it wrote\n%s\nwant\n%s", out, c.want)
			}
		})
	}

	t.Run("a source that has become a link is not followed", func(t *testing.T) {
		spec, folder := inside(t, "ls -A /data"), shared(t)
		spec.Container.Mounts = append(spec.Container.Mounts, sandbox.Mount{Source: sandbox.HostPath(folder).Real().Join("link"), Destination: "/data", Writable: true})
		if _, err := s.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "link on its way has become a link") {
			t.Errorf("error %v", err)
		}
	})
}

func sortedLines(text string) string {
	list := strings.Split(text, "\n")
	for i := range list {
		for j := range i {
			if list[i] < list[j] {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return strings.TrimSpace(strings.Join(list, "\n"))
}

// given is a device of the machine as a function is given it, for a test that is
// skipped where there is none.
func given(t *testing.T, path string, writable bool) sandbox.Device {
	t.Helper()
	s, err := sandbox.Look(sandbox.HostPath(path))
	if err != nil {
		t.Skipf("%v; run the tests on a machine with %s to include this one", err, path)
	}
	return sandbox.Device{
		Source: s.Path, Path: sandbox.InsidePath(path), Block: s.Mode&os.ModeCharDevice == 0, Major: s.Major, Minor: s.Minor, Writable: writable,
	}
}

func TestDevices(t *testing.T) {
	s := openContainers(t, t.TempDir())
	link := filepath.Join("/dev", "fescue-test-link")
	if err := os.Symlink("tty1", link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(link) })
	const try = "for d in /dev/tty1 /dev/tty2 /dev/fescue-test-link; do test -c $d || continue; true <$d && echo read; true >>$d && echo written; chmod 777 $d || echo kept; done 2>/dev/null"
	for name, c := range map[string]struct {
		devices []sandbox.Device
		want    string
	}{
		"to be read and written": {[]sandbox.Device{given(t, "/dev/tty1", true)}, "read\nwritten\nkept"},
		"to be read":             {[]sandbox.Device{given(t, "/dev/tty1", false)}, "read\nkept"},
		"by a link":              {[]sandbox.Device{given(t, link, true)}, "read\nwritten\nkept"},
		"none":                   {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := inside(t, try)
			spec.Credential, spec.Container.Devices = &sandbox.Credential{}, c.devices
			if out, _ := result(t, s, spec); out != c.want {
				t.Errorf("it wrote\n%s\nwant\n%s", out, c.want)
			}
		})
	}
	t.Run("an ordinary user's rights count", func(t *testing.T) {
		spec := inside(t, "head -c3 /dev/zero | wc -c; true </dev/tty1 || echo no")
		spec.Container.Devices = []sandbox.Device{given(t, "/dev/tty1", true), given(t, "/dev/zero", true)}
		if out, _ := result(t, s, spec); !strings.Contains(out, "3") || !strings.Contains(out, "no") {
			t.Errorf("it wrote\n%s", out)
		}
	})
}
