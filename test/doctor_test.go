//go:build linux

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/doctor"
)

// TestDoctor: the doctor says what a core has and what is missing, also beside one that runs.
func TestDoctor(t *testing.T) {
	t.Parallel()
	h := startServer(t).site(region)
	g := h.provision(t, "Doctor_Core")
	examine := func(t *testing.T, root string) (found core.Examination, code int) {
		t.Helper()
		out, errs, code := program(t, edgeBin, "doctor", "--json", "--root", root)
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Fatalf("%v: %s%s", err, out, errs)
		}
		return found, code
	}
	health := func(t *testing.T, found core.Examination, subject string) doctor.Finding {
		t.Helper()
		for _, f := range found.Findings {
			if f.Subject == subject {
				return f
			}
		}
		t.Errorf("nothing is said of %s: %+v", subject, found.Findings)
		return doctor.Finding{}
	}
	_, key, _ := g.identity(t)

	t.Run("a gateway that is well, beside its core", func(t *testing.T) {
		g.run(t)
		connected := func() bool {
			_, ok := g.process.out.Find(`(Deployment agent connected to cloud)`)
			return ok
		}
		eventually(t, "the core is connected", func() error {
			if !connected() {
				return os.ErrDeadlineExceeded
			}
			return nil
		})
		found, code := examine(t, g.root)
		for _, subject := range []string{"kernel", "config.json", "private key", "certificate", "authority", "control plane, HTTPS", "clock", "control plane, MQTT"} {
			if f := health(t, found, subject); f.Health != doctor.Good {
				t.Errorf("%+v", f)
			}
		}
		if code != 0 || found.Core.Kernel == "" || found.Core.Root != (os.Geteuid() == 0) || len(found.Core.Formats) == 0 {
			t.Errorf("exit code %d, %+v", code, found.Core)
		}
		if f := health(t, found, "containers"); (f.Health == doctor.Good) != (len(found.Core.Missing) == 0) || f.Health != doctor.Good && f.Remedy == "" {
			t.Errorf("%+v, missing %q", f, found.Core.Missing)
		}
		if text := g.process.out.String(); strings.Contains(text, "The connection to the cloud is down") {
			t.Errorf("the core lost its connection:\n%s", text)
		}
		if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "fescue-doctor-*")); len(left) > 0 {
			t.Errorf("it left %v", left)
		}
	})
	t.Run("for people", func(t *testing.T) {
		out, errs, code := program(t, edgeBin, "doctor", "--root", g.root)
		if code != 0 || errs != "" || !strings.Contains(out, "SUBJECT ") || !strings.Contains(out, "\ncontrol plane, MQTT  ") {
			t.Errorf("%d %s\n%s", code, errs, out)
		}
	})
	t.Run("a key that others may read", func(t *testing.T) {
		defer os.Chmod(key, 0o600)
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		found, code := examine(t, g.root)
		if f := health(t, found, "private key"); f.Health != doctor.Poor || f.Remedy != "chmod 600 "+key || code != 0 {
			t.Errorf("%+v, exit code %d", f, code)
		}
	})
	t.Run("a key that is another's", func(t *testing.T) {
		kept := readFile(t, key)
		defer os.WriteFile(key, kept, 0o600)
		_, foreign, _ := h.provision(t, "Doctor_Other").identity(t)
		if err := os.WriteFile(key, readFile(t, foreign), 0o600); err != nil {
			t.Fatal(err)
		}
		found, code := examine(t, g.root)
		if f := health(t, found, "certificate"); f.Health != doctor.Bad || !strings.Contains(f.Says, "private key") || code != 1 {
			t.Errorf("%+v, exit code %d", f, code)
		}
	})
	t.Run("a server that is away", func(t *testing.T) {
		h.Kill()
		found, code := examine(t, g.root)
		for _, subject := range []string{"control plane, HTTPS", "control plane, MQTT"} {
			if f := health(t, found, subject); f.Health != doctor.Bad || !strings.Contains(f.Says, "connection refused") {
				t.Errorf("%+v", f)
			}
		}
		if f := health(t, found, "clock"); f.Health != doctor.Unknown || code != 1 {
			t.Errorf("%+v, exit code %d", f, code)
		}
	})
	t.Run("a folder without a configuration", func(t *testing.T) {
		_, errs, code := program(t, edgeBin, "doctor", "--root", t.TempDir())
		if code != 1 || !strings.Contains(errs, "see what is marked fail") {
			t.Errorf("%d %s", code, errs)
		}
	})
}
