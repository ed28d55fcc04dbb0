//go:build linux

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCompletion: shells complete what they are to, with the scripts that the program prints.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for shell, ask := range map[string]string{
		"bash": `source <(fescue completion bash)
complete -p fescue >/dev/null || exit 1
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fescue
printf '%s\n' "${COMPREPLY[@]}"`,
		"zsh": `autoload -U compinit && compinit -u -D
source <(fescue completion zsh)
[[ $_comps[fescue] == _fescue ]] || exit 1
_describe() { print -l -- ${(P)2%%:*} }
_files() { }
words=("$@"); CURRENT=$#; _fescue`,
		"fish": `fescue completion fish | source
complete -C (string join ' ' -- $argv) | string replace -r '\t.*' ''`,
	} {
		t.Run(shell, func(t *testing.T) {
			program, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s (Debian's package of that name) is not installed", shell)
			}
			script := filepath.Join(t.TempDir(), "ask")
			if err := os.WriteFile(script, []byte(ask), 0o600); err != nil {
				t.Fatal(err)
			}
			for line, want := range map[string]string{
				"fescue statu":                 "status",
				"fescue keys re":               "revoke",
				"fescue deployments --status ": "Building Failure InProgress Success",
				"fescue cores --off":           "--offline",
				"fescue cores --ta":            "--tag",
				"fescue keys ":                 "create list revoke signing",
			} {
				cmd := exec.Command(program, append([]string{script}, strings.Split(line, " ")...)...)
				cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(fescueBin)+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "XDG_CONFIG_HOME=", "XDG_DATA_HOME=")
				out, err := cmd.CombinedOutput()
				words := strings.Fields(string(out))
				slices.Sort(words)
				if got := strings.Join(words, " "); err != nil || got != want {
					t.Errorf("%q: %v, %q, want %q", line, err, got, want)
				}
			}
		})
	}
}
