//go:build !linux

package pgtest

import "os/exec"

// account is the user that a server runs as: the test's own.
type account struct{}

func unprivileged(string) (account, error) { return account{}, nil }

func (account) command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

func run(cmd *exec.Cmd) (wait func() error, err error) { return cmd.Wait, cmd.Start() }
