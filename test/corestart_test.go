//go:build linux

package test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit/ports"
)

// TestCoreStart: a core that cannot start says so in the original's words where it
// had some, and what to do; keys of its file that have no effect are reported.
func TestCoreStart(t *testing.T) {
	t.Parallel()
	authority, err := pki.NewAuthority("a", pki.ECDSA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	core := issued(t, authority)
	const crypto = `"crypto":{"caPath":"file://certs/ca.pem","principals":{"IoTCertificate":{"certificatePath":"file://certs/core.pem","privateKeyPath":"file://certs/core.key"}}}`
	file := func(port int, rest string) string {
		return fmt.Sprintf(`{"coreThing":{"thingArn":"arn:aws:iot:eu-west-1:123456789012:thing/Start","iotHost":"127.0.0.1:1","ggHost":"127.0.0.1:1","ggDaemonPort":%d},"runtime":{},%s}`, port, rest)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := ports.Take(t)
	for _, tc := range []struct {
		name, config string
		spoil        func(t *testing.T, root string)
		says         []string
	}{
		{name: "no configuration", says: []string{"Couldn't find ROOT/config/config.json."}},
		{name: "half a configuration", config: file(free, crypto)[:100], says: []string{"Failed to parse ROOT/config/config.json."}},
		{name: "no certificate", config: `{"coreThing":{"caPath":"ca.pem","keyPath":"core.key"}}`, says: []string{"The configuration file is missing the CaPath, CertPath or KeyPath."}},
		{name: "a path that is no URI", config: file(free, strings.Replace(crypto, "file://certs/core.key", "/certs/core.key", 1)),
			says: []string{"Error occurred while generating TLS config: ErrUnknownURIScheme"}},
		{name: "a key in hardware", config: file(free, strings.Replace(crypto, "file://certs/core.key", "pkcs11:object=core;type=private", 1)),
			says: []string{"keys in a hardware security module (pkcs11:) are not supported", "file:///path/to/private.key"}},
		{name: "a certificate that is missing", config: file(free, crypto), spoil: func(t *testing.T, root string) { os.Remove(filepath.Join(root, "certs", "core.pem")) },
			says: []string{"core certificate ROOT/certs/core.pem", "no such file"}},
		{name: "a value out of range", config: file(free, `"mqttMaxConnectionRetryInterval":0,`+crypto), says: []string{"mqttMaxConnectionRetryInterval is 0; it must lie between 1 and"}},
		{name: "a port that is taken", config: file(taken.Addr().(*net.TCPAddr).Port, crypto),
			says: []string{"open the function API on port", "address already in use", "end the other process or change ggDaemonPort"}},
		{name: "a folder for the pid file that is not there", config: file(free, `"pidFileDirectory":"/none/such",`+crypto),
			says: []string{"write /none/such/greengrassd.pid of pidFileDirectory in config.json"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := startFolder(t, tc.config, core)
			if tc.spoil != nil {
				tc.spoil(t, root)
			}
			_, errs, code := program(t, edgeBin, "--root", root)
			for _, text := range tc.says {
				if text = strings.ReplaceAll(text, "ROOT", root); !strings.Contains(errs, text) {
					t.Errorf("it does not say %q:\n%s", text, errs)
				}
			}
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
		})
	}
	t.Run("keys without effect, and a pid file", func(t *testing.T) {
		run := t.TempDir()
		root := startFolder(t, file(free, fmt.Sprintf(`"managedRespawn":true,"pidFileDirectory":%q,"system":{"useOverlayWithTmpfs":true},%s`, run, crypto)), core)
		p := startProgram(t, edgeBin, nil, "--root", root)
		eventually(t, "it has started", func() error {
			if _, ok := p.out.Find(`(The core starts)`); !ok {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		for text, want := range map[string]int{`level=WARN msg="managedRespawn of config.json has no effect: `: 1, "useOverlayWithTmpfs": 0} {
			if n := strings.Count(p.out.String(), text); n != want {
				t.Errorf("it says %d times %q", n, text)
			}
		}
		pid := filepath.Join(run, "greengrassd.pid")
		if text := string(readFile(t, pid)); text != fmt.Sprintln(p.Process.Pid) {
			t.Errorf("the pid file has %q, not %d", text, p.Process.Pid)
		}
		second := startProgram(t, edgeBin, nil, "--root", root)
		<-second.Done
		if !strings.Contains(second.out.String(), fmt.Sprintf("is held by the process with [pid = %d]; stop it first", p.Process.Pid)) {
			t.Errorf("a second core says:\n%s", second.out)
		}
		if err := p.interrupt(t); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(pid); !os.IsNotExist(err) {
			t.Errorf("the pid file stays: %v", err)
		}
	})
	t.Run("a crash is written down, and the next one after it", func(t *testing.T) {
		root := startFolder(t, file(free, crypto), core)
		log := filepath.Join(root, "ggc", "var", "log", "crash.log")
		for n := range 2 {
			p := startProgram(t, edgeBin, nil, "--root", root)
			eventually(t, "it has started", func() error {
				if _, ok := p.out.Find(`(The core starts)`); !ok {
					return fmt.Errorf("not yet")
				}
				return nil
			})
			if text := string(readFile(t, log)); strings.Count(text, "SIGABRT: abort") != n {
				t.Errorf("start %d: crash.log has %.200q", n, text)
			}
			if err := p.Process.Signal(syscall.SIGABRT); err != nil {
				t.Fatal(err)
			}
			<-p.Done
			if text := string(readFile(t, log)); strings.Count(text, "SIGABRT: abort") != n+1 || !strings.Contains(text, "goroutine ") {
				t.Errorf("crash %d: crash.log has %.200q", n, text)
			}
		}
		if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("its mode is %v, %v", info.Mode(), err)
		}
	})
}

// issued are the files of a core's folder below certs.
func issued(t *testing.T, authority *pki.Authority) map[string][]byte {
	t.Helper()
	leaf, err := authority.IssueServer(pki.ECDSA, []string{"core"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"ca.pem": authority.PEM(), "core.pem": pki.EncodeCertificate(leaf.Leaf.Raw), "core.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

// startFolder is a core's folder with a configuration, unless that is empty.
func startFolder(t *testing.T, config string, certs map[string][]byte) (root string) {
	t.Helper()
	root = openDir(t)
	files := map[string][]byte{}
	for name, content := range certs {
		files["certs/"+name] = content
	}
	if config != "" {
		files["config/config.json"] = []byte(config)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
