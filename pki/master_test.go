package pki_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/pki"
)

func masterKey(t *testing.T, seed byte) *pki.MasterKey {
	t.Helper()
	k, err := pki.NewMasterKey(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadMasterKey(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	t.Run("is made and read again", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "master.key")
		made, err := pki.LoadMasterKey(path, true)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		for _, create := range []bool{true, false} {
			again, err := pki.LoadMasterKey(path, create)
			if err != nil || again.ID() != made.ID() {
				t.Errorf("%v", err)
			}
		}
	})
	t.Run("two are not the same", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		a, err := pki.LoadMasterKey(filepath.Join(dir, "a"), true)
		b, err2 := pki.LoadMasterKey(filepath.Join(dir, "b"), true)
		if err := errors.Join(err, err2); err != nil || a.ID() == b.ID() {
			t.Errorf("%v", err)
		}
	})
	t.Run("white space around it", func(t *testing.T) {
		t.Parallel()
		k, err := pki.LoadMasterKey(write(t, filepath.Join(t.TempDir(), "k"), "\n "+good+" \r\n", 0o400), false)
		if err != nil || k.ID() != masterKey(t, 1).ID() {
			t.Errorf("%v", err)
		}
	})
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		err  string
	}{
		"readable by the group":  {good, 0o640, "chmod 600"},
		"readable by others":     {good, 0o604, "chmod 600"},
		"writable by the group":  {good, 0o620, "chmod 600"},
		"empty":                  {"", 0o600, "32 bytes, not 0"},
		"not base64":             {good[:10] + "*" + good[11:], 0o600, "not base64"},
		"a byte short":           {base64.StdEncoding.EncodeToString(make([]byte, 31)), 0o600, "32 bytes"},
		"a byte long":            {base64.StdEncoding.EncodeToString(make([]byte, 33)), 0o600, "32 bytes"},
		"two keys":               {good + "\n" + good, 0o600, "not base64"},
		"a key in another shape": {strings.Repeat("01", 32), 0o600, "32"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, filepath.Join(t.TempDir(), "k"), c.text, c.mode)
			k, err := pki.LoadMasterKey(path, true)
			if err == nil || k != nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if err != nil && c.text != "" && strings.Contains(err.Error(), c.text) {
				t.Errorf("the error contains the key: %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != c.text {
				t.Errorf("the file changed: %v", err)
			}
		})
	}
	t.Run("another user's, lent to the group, as in containers", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("only root can give files to other users")
		}
		for mode, taken := range map[os.FileMode]bool{0o440: true, 0o640: true, 0o460: false, 0o444: false} {
			path := write(t, filepath.Join(t.TempDir(), "k"), good, mode)
			if err := os.Chown(path, 12345, -1); err != nil {
				t.Fatal(err)
			}
			if _, err := pki.LoadMasterKey(path, false); (err == nil) != taken {
				t.Errorf("mode %04o: %v", mode, err)
			}
		}
	})
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "k")
		if _, err := pki.LoadMasterKey(path, false); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Error("it was made")
		}
	})
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		if _, err := pki.LoadMasterKey(filepath.Join(t.TempDir(), "none", "k"), true); err == nil {
			t.Error("no error")
		}
	})
}

func TestSeal(t *testing.T) {
	t.Parallel()
	k := masterKey(t, 1)
	for _, secret := range []string{"", "s", strings.Repeat("x", 1<<16)} {
		sealed, err := k.Seal([]byte(secret), "access-key/A")
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Open(sealed, "access-key/A")
		if err != nil || string(got) != secret {
			t.Errorf("%d bytes: %q, %v", len(secret), got, err)
		}
		again, err := k.Seal([]byte(secret), "access-key/A")
		if err != nil || bytes.Equal(sealed, again) {
			t.Errorf("sealed twice alike: %v", err)
		}
		if len(secret) > 4 && bytes.Contains(sealed, []byte(secret[:4])) {
			t.Error("the secret shows")
		}
	}
	sealed, err := k.Seal([]byte("secret"), "access-key/A")
	if err != nil {
		t.Fatal(err)
	}
	refused := func(t *testing.T, k *pki.MasterKey, sealed []byte, label string) {
		t.Helper()
		if got, err := k.Open(sealed, label); !errors.Is(err, pki.ErrSealed) || got != nil || !strings.Contains(err.Error(), label) {
			t.Errorf("%q, %v", got, err)
		}
	}
	t.Run("another key", func(t *testing.T) {
		t.Parallel()
		refused(t, masterKey(t, 2), sealed, "access-key/A")
	})
	t.Run("another label", func(t *testing.T) {
		t.Parallel()
		refused(t, k, sealed, "access-key/B")
		refused(t, k, sealed, "")
	})
	t.Run("changed", func(t *testing.T) {
		t.Parallel()
		for i := range sealed {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			refused(t, k, changed, "access-key/A")
			refused(t, k, sealed[:i], "access-key/A")
		}
		refused(t, k, append(bytes.Clone(sealed), 0), "access-key/A")
		refused(t, k, nil, "access-key/A")
	})
}

func TestDerive(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for name, k := range map[string]*pki.MasterKey{"1": masterKey(t, 1), "2": masterKey(t, 2)} {
		for _, purpose := range []string{"", "broker", "broker2"} {
			key, err := k.Derive(purpose)
			again, err2 := k.Derive(purpose)
			if err := errors.Join(err, err2); err != nil || len(key) != 32 || !bytes.Equal(key, again) {
				t.Errorf("%s: %d bytes, %v", purpose, len(key), err)
			}
			if other, ok := seen[string(key)]; ok {
				t.Errorf("key %s, purpose %q derives the same as %s", name, purpose, other)
			}
			seen[string(key)] = name + " " + purpose
		}
	}
}

func TestNewMasterKey(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 16, 31, 33, 64} {
		if k, err := pki.NewMasterKey(make([]byte, n)); err == nil || k != nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
	raw := bytes.Repeat([]byte{1}, 32)
	k, err := pki.NewMasterKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	before, err := k.Derive("x")
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if after, err := k.Derive("x"); err != nil || !bytes.Equal(before, after) {
		t.Error("the caller's bytes are still used")
	}
}
