//go:build unix

// Package programs runs Fescue's built programs for tests: starts them, reads from what
// they print where they listen, and ends them as a signal or a power cut would. It knows
// nothing of the tests: what it cannot do it returns.
package programs

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// The key and the place of the servers that tests start.
const (
	KeyID   = "AKIAFESCUETESTKEY000"
	Secret  = "a-secret-that-only-tests-know"
	Account = "123456789012"
	Region  = "eu-west-1"
)

// ServerKey has a server start with the tests' key, as its environment.
var ServerKey = []string{"FESCUE_ACCESS_KEY_ID=" + KeyID, "FESCUE_SECRET_ACCESS_KEY=" + Secret}

// Caller is the environment of a program that calls the API at an address.
func Caller(api, region string) []string {
	return []string{"AWS_ACCESS_KEY_ID=" + KeyID, "AWS_SECRET_ACCESS_KEY=" + Secret, "AWS_REGION=" + region, "AWS_ENDPOINT_URL=http://" + api}
}

// Environment is this process's own without what would steer the AWS SDKs or the
// programs, and what is given beside it.
func Environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "FESCUE_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// Program is one that was started.
type Program struct {
	*exec.Cmd
	// Done is closed when it has ended; Err then says how, nil for exit code 0.
	Done chan struct{}
	Err  error
}

// Start starts a program that prints into out, with env beside Environment.
func Start(out io.Writer, env []string, program string, args ...string) (*Program, error) {
	return StartBy((*exec.Cmd).Start, out, env, program, args...)
}

// StartBy is Start where something else than the command itself begins it, such as a host
// of package hosts.
func StartBy(begin func(*exec.Cmd) error, out io.Writer, env []string, program string, args ...string) (*Program, error) {
	p := &Program{Cmd: exec.Command(program, args...), Done: make(chan struct{})}
	p.Env = Environment(env...)
	p.Stdout, p.Stderr = out, out
	if err := begin(p.Cmd); err != nil {
		return nil, err
	}
	go func() {
		p.Err = p.Wait()
		close(p.Done)
	}()
	return p, nil
}

// Kill ends the process at once, as a power cut would, and waits for it.
func (p *Program) Kill() {
	p.Process.Kill()
	<-p.Done
}

// Ended says how the process ended, and nil while it runs.
func (p *Program) Ended() error {
	select {
	case <-p.Done:
		if p.Err != nil {
			return fmt.Errorf("%s has ended: %w", filepath.Base(p.Path), p.Err)
		}
		return fmt.Errorf("%s has ended", filepath.Base(p.Path))
	default:
		return nil
	}
}

var (
	readyLine   = regexp.MustCompile(`(?m)^ready$`)
	addressLine = regexp.MustCompile(`(?m)^(api|device|mqtt|ops)=(.*)$`)
	madeLine    = regexp.MustCompile(`(?m)^(thing|certificate) +(\S+)`)
)

// Addresses are where a server listens, by listener, from what it printed; false
// before it is ready.
func Addresses(printed string) (map[string]string, bool) {
	found := make(map[string]string)
	for _, m := range addressLine.FindAllStringSubmatch(printed, -1) {
		found[m[1]] = m[2]
	}
	return found, readyLine.MatchString(printed)
}

// Provisioned are the ARNs of the thing and the certificate that fescue provision made,
// from what it printed.
func Provisioned(printed string) (thing, certificate string, err error) {
	made := make(map[string]string)
	for _, m := range madeLine.FindAllStringSubmatch(printed, -1) {
		if made[m[1]] == "" {
			made[m[1]] = m[2]
		}
	}
	if made["thing"] == "" || made["certificate"] == "" {
		return "", "", fmt.Errorf("provision names no thing or no certificate:\n%s", printed)
	}
	return made["thing"], made["certificate"], nil
}

// EditConfig changes the config.json of a core's folder.
func EditConfig(root string, change func(config map[string]any)) error {
	file := filepath.Join(root, "config", "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	change(config)
	if data, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}
