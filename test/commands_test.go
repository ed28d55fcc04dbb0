//go:build linux

package test

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

// program runs a built program to its end.
func program(t testing.TB, bin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return programIn(t, nil, bin, args...)
}

// program runs the operator's program with the site's key.
func (h *site) program(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return programIn(t, h.environment(), fescueBin, args...)
}

func programIn(t testing.TB, environment []string, bin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = append(os.Environ(), "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent")
	cmd.Env = append(cmd.Env, environment...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%s did not start", bin)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestCommandLines: what makes no sense ends with 2, says what is wrong, and points
// to the help of the command that it is about.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ line, says, help string }{
		{"bogus", "unexpected argument bogus", "fescue --help"},
		{"--bogus", "unknown flag --bogus", "fescue --help"},
		{"--log-level loud version", `"loud"`, "fescue --help"},
		{"check", "--group", "fescue check --help"},
		{"check --bogus", "unknown flag --bogus", "fescue check --help"},
		{"check --group Mill --wait soon", "--wait", "fescue check --help"},
		{"deploy --group Mill --redeploy --reset", "can't be used together", "fescue deploy --help"},
		{"deploy --group Mill --force", "--force is for --reset", "fescue deploy --help"},
		{"deploy --group Mill --timeout 1s", "--timeout is for --wait", "fescue deploy --help"},
		{"deploy --group Mill --deployment x", "--deployment is for --redeploy", "fescue deploy --help"},
		{"export", "--group", "fescue export --help"},
		{"bulk --timeout 1s", "--timeout is for --follow", "fescue bulk --help"},
		{"deployments --status Foo", "--status must be one of", "fescue deployments --help"},
		{"keys", `"list"`, "fescue keys --help"},
		{"keys bogus", "unexpected argument bogus", "fescue keys --help"},
		{"keys signing rotate --bogus", "unknown flag --bogus", "fescue keys signing rotate --help"},
		{"recover", "<path>", "fescue recover --help"},
		{"restore /nonexistent --data /nonexistent", "no such file", "fescue restore --help"},
		{"version now", "unexpected argument now", "fescue version --help"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			t.Parallel()
			out, errs, code := program(t, fescueBin, strings.Fields(tc.line)...)
			if code != 2 || out != "" || !strings.Contains(errs, tc.says) || !strings.Contains(errs, "\nRun "+tc.help+" for ") {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
		})
	}
	t.Run("of the edge program", func(t *testing.T) {
		t.Parallel()
		for _, line := range []string{"--bogus", "bogus", "--root"} {
			_, errs, code := program(t, edgeBin, line)
			if code != 2 || !strings.Contains(errs, "Run fescue-core --help") {
				t.Errorf("%s: exit code %d\n%s", line, code, errs)
			}
		}
	})
	t.Run("an endpoint that is no URL", func(t *testing.T) {
		t.Parallel()
		_, errs, code := program(t, fescueBin, "cores", "--endpoint", "greengrass.example.com")
		if code != 1 || !strings.Contains(errs, "is not the URL of a server's API") {
			t.Errorf("exit code %d\n%s", code, errs)
		}
	})
	t.Run("values that make no sense, found later", func(t *testing.T) {
		t.Parallel()
		_, errs, code := program(t, fescueBin, "deployments", "--limit", "0")
		if code != 2 || !strings.Contains(errs, "--limit 0") {
			t.Errorf("exit code %d\n%s", code, errs)
		}
	})
}

// TestHelp: every command says what it does with an example.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "up", "server", "core", "provision", "check", "watch", "cancel", "deploy", "deployments", "cores", "mqtt", "mqtt sub", "mqtt pub", "recover", "export", "import",
		"keys", "keys create", "keys signing", "keys signing rotate", "version", "audit", "backup", "restore",
	} {
		t.Run("fescue "+line, func(t *testing.T) {
			t.Parallel()
			out, errs, code := program(t, fescueBin, append(strings.Fields(line), "--help")...)
			if code != 0 || errs != "" || !strings.Contains(out, "Examples:") {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
		})
	}
	if out, _, code := program(t, edgeBin, "--help"); code != 0 || !strings.Contains(out, "Examples:") {
		t.Errorf("fescue-core --help: exit code %d\n%s", code, out)
	}
}

// TestVersion: the programs say what they were built from, or that this is unknown.
func TestVersion(t *testing.T) {
	t.Parallel()
	stamped, err := buildinfo.ReadFile(fescueBin)
	if err != nil {
		t.Fatal(err)
	}
	want := "devel\ncommit  unknown: built without"
	revision := ""
	for _, s := range stamped.Settings {
		if s.Key == "vcs.revision" {
			revision, want = s.Value, stamped.Main.Version+"\ncommit  "+s.Value
		}
	}
	for _, tc := range []struct{ bin, name, argument string }{
		{fescueBin, "fescue ", "version"}, {fescueBin, "fescue ", "--version"}, {edgeBin, "fescue-core ", "version"}, {edgeBin, "fescue-core ", "--version"},
	} {
		if out, _, code := program(t, tc.bin, tc.argument); code != 0 || !strings.HasPrefix(out, tc.name+want) {
			t.Errorf("exit code %d, want %q\n%s", code, want, out)
		}
	}
	for _, command := range [][]string{{fescueBin, "version"}, {fescueBin, "--version"}, {edgeBin, "version"}} {
		out, _, _ := program(t, command[0], command[1], "--json")
		var build fescue.Build
		if err := json.Unmarshal([]byte(out), &build); err != nil || build.Commit != revision || build.Go != stamped.GoVersion {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}

// TestRestoreWithoutKey: a backup without its master key is refused before anything
// is written, so that the next attempt with the key succeeds.
func TestRestoreWithoutKey(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	dir := t.TempDir()
	file, data, other := filepath.Join(dir, "b.tar"), filepath.Join(dir, "data"), filepath.Join(dir, "other.key")
	runProgram(t, "backup", file, "--data", s.data)
	if _, errs, code := program(t, fescueBin, "backup", file, "--data", s.data); code != 1 || !strings.Contains(errs, file+" is there already") {
		t.Errorf("a backup over another: exit code %d\n%s", code, errs)
	}
	runProgram(t, "backup", file, "--data", s.data, "--overwrite")
	key := filepath.Join(s.data, "master.key")
	if err := os.WriteFile(other, []byte("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, says string
		flags      []string
	}{
		{"no key", "give its file with --master-key", nil},
		{"another key", "another one than the backup's", []string{"--master-key", other}},
	} {
		_, errs, code := program(t, fescueBin, append([]string{"restore", file, "--data", data}, tc.flags...)...)
		if _, err := os.Lstat(data); code != 1 || !strings.Contains(errs, tc.says) || !os.IsNotExist(err) {
			t.Errorf("%s: exit code %d, the folder %v\n%s", tc.name, code, err, errs)
		}
	}
	t.Run("with the key", func(t *testing.T) {
		if text := runProgram(t, "restore", file, "--data", data, "--master-key", key); !strings.Contains(text, "Next: start a server") {
			t.Error(text)
		}
		if _, err := os.Stat(filepath.Join(data, "master.key")); err != nil {
			t.Error(err)
		}
	})
	t.Run("without it on purpose", func(t *testing.T) {
		if text := runProgram(t, "restore", file, "--data", filepath.Join(dir, "later"), "--without-master-key"); !strings.Contains(text, "Next: put the master key") {
			t.Error(text)
		}
	})
}
