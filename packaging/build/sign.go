package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// signer is who a release's key is said to be, signedFor what it signs.
	signer, signedFor = "release@fescue", "file"
	signersName       = "allowed_signers"
)

// sign signs the checksums in a folder with an OpenSSH key, and writes beside them which
// key that was. OpenSSH does it: the key may be in an agent or on a token.
func sign(dist, key string, out io.Writer) error {
	public, err := os.ReadFile(strings.TrimSuffix(key, ".pub") + ".pub")
	if errors.Is(err, fs.ErrNotExist) {
		public, err = exec.Command("ssh-keygen", "-y", "-f", key).Output()
	}
	if err != nil {
		return fmt.Errorf("-sign: the public key of %s: %w", key, told(err))
	}
	// Its comment, which may name a machine, is nobody's business.
	fields := bytes.Fields(public)
	if len(fields) < 2 {
		return fmt.Errorf("-sign: %s has no public key of OpenSSH's beside it: make one with ssh-keygen -t ed25519", key)
	}
	line := fmt.Appendf(nil, "%s namespaces=%q %s %s\n", signer, signedFor, fields[0], fields[1])
	if err := os.WriteFile(filepath.Join(dist, signersName), line, 0o644); err != nil {
		return err
	}
	sums := filepath.Join(dist, sumsName)
	// It asks before it writes over one.
	if err := os.Remove(sums + ".sig"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cmd := exec.Command("ssh-keygen", "-Y", "sign", "-q", "-f", key, "-n", signedFor, sums)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("-sign: ssh-keygen -Y sign: %w", err)
	}
	fingerprint := exec.Command("ssh-keygen", "-l", "-f", "-")
	fingerprint.Stdin = bytes.NewReader(public)
	name, err := fingerprint.Output()
	if err != nil {
		return fmt.Errorf("-sign: the key's fingerprint: %w", told(err))
	}
	_, err = fmt.Fprintf(out, "%s.sig, by the key %s", sums, name)
	return err
}

// told adds to the error of a program what that printed.
func told(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}
