package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/crashfs"
)

const day = 24 * time.Hour

// offline is a gateway with its certificate, a control plane that can be away, and one
// clock for all of them and their devices.
type offline struct {
	*issuer
	*site
	id     *gateway.Identity
	log    *logBuffer
	stop   func() // ends what keeps the certificate good
	folder string
	lamp   identity
}

// newOffline has a core that has its first certificate, with an intermediate for a
// time.
func newOffline(t testing.TB, life time.Duration) *offline {
	t.Helper()
	o := &offline{issuer: newIssuer(t), folder: filepath.Join(t.TempDir(), "server"), stop: func() {}}
	var err error
	if o.authority, err = pki.NewAuthority("group", pki.RSA, o.issuer.now); err != nil {
		t.Fatal(err)
	}
	o.issuer.site.Intermediate = int64(life / time.Second)
	o.lamp = newIdentity(t, "lamp", time.Now().Add(-day), time.Now().Add(4000*day))
	o.start(t)
	another(t, o.id, nil)
	o.id.Notice(corelink.Site{Identity: o.issuer.site})
	return o
}

// start has the core start, perhaps again.
func (o *offline) start(t testing.TB) {
	t.Helper()
	o.stop()
	o.id, o.log, o.stop = o.issuer.openOn(t, disk.Local{}, o.folder)
	o.site = open(t, gateway.Options{Certificate: o.id.Certificate, Now: o.clock})
	o.SetDevices(listed(o.lamp))
	o.id.Need(true)
}

// cut takes the line away, or brings it back for nil.
func (o *offline) cut(err error) {
	o.change(func() { o.down = err })
	if err == nil {
		o.id.Notice(o.id.Site()) // as the next poll does
	}
}

var errNoLine = errors.New("no line")

func (o *offline) pass(d time.Duration) { o.change(func() { o.issuer.now = o.issuer.now.Add(d) }) }

// handshake is one of a device that knows the group's authority and the time.
func (o *offline) handshake(t testing.TB) (chain []*x509.Certificate, err error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(o.authority.Certificate)
	conn, err := tls.Dial("tcp", o.address, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{o.lamp.pair}, Time: o.clock})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates, nil
}

// connects waits until devices can connect, which try again and again.
func (o *offline) connects(t testing.TB) (chain []*x509.Certificate) {
	t.Helper()
	testkit.Eventually(t, "devices cannot connect", func() (err error) {
		chain, err = o.handshake(t)
		return err
	})
	return chain
}

// own asserts that the core signed what it shows itself.
func (o *offline) own(t testing.TB, chain []*x509.Certificate) {
	t.Helper()
	if len(chain) != 2 || !chain[1].IsCA || chain[1].Equal(o.authority.Certificate) || chain[1].CheckSignatureFrom(o.authority.Certificate) != nil {
		t.Fatalf("sent are %d certificates, want the core's own and its intermediate", len(chain))
	}
	if chain[0].NotAfter.After(chain[1].NotAfter) || chain[0].NotBefore.Before(chain[1].NotBefore) {
		t.Errorf("%v to %v is not within %v to %v", chain[0].NotBefore, chain[0].NotAfter, chain[1].NotBefore, chain[1].NotAfter)
	}
}

// alive asserts that a device's session goes on.
func alive(t testing.TB, o *offline, p *peer) {
	t.Helper()
	p.publish("still/there", "x")
}

// TestOffline has the line cut and the clock jump.
func TestOffline(t *testing.T) {
	t.Parallel()
	whole := t // what is started again outlives its subtest
	o := newOffline(t, 90*day)
	session := o.join(t, o.lamp)
	if chain := o.connects(t); !chain[len(chain)-1].Equal(o.authority.Certificate) {
		t.Error("with a line the control plane's own certificate is shown")
	}
	o.cut(errNoLine)
	t.Run("40 days", func(t *testing.T) {
		o.pass(40 * day)
		o.own(t, o.connects(t))
		alive(t, o, session)
		testkit.Until(t, "the log does not say so", func() bool {
			return strings.Contains(o.log.String(), "signed the certificate of its MQTT server itself")
		})
	})
	t.Run("a restart", func(t *testing.T) {
		o.start(whole)
		o.own(t, o.connects(t))
		if info, err := os.Stat(filepath.Join(o.folder, "intermediate.pem")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		session = o.join(whole, o.lamp)
	})
	t.Run("a clock that is set back", func(t *testing.T) {
		o.pass(-39 * day)
		o.own(t, o.connects(t))
		o.pass(39 * day)
		o.connects(t)
	})
	t.Run("weeks, by one certificate after the other", func(t *testing.T) {
		before := o.connects(t)[0]
		for range 3 {
			o.pass(8 * day)
			o.id.Need(true)
			testkit.Until(t, "it is not signed anew", func() bool { return o.connects(t)[0].NotAfter.After(before.NotAfter) })
			before = o.connects(t)[0]
			alive(t, o, session)
		}
	})
	t.Run("the log says before what will be", func(t *testing.T) {
		o.pass(10 * day)
		o.id.Need(true)
		testkit.Until(t, "it does not", func() bool {
			return strings.Contains(o.log.String(), "ends soon: without the line to the control plane no device can connect anew after that")
		})
	})
	t.Run("200 days", func(t *testing.T) {
		o.pass(126 * day)
		o.id.Need(true)
		testkit.Until(t, "the log does not say why", func() bool {
			text := o.log.String()
			return strings.Contains(text, "is over and could not be renewed: no device can connect anew") && strings.Contains(text, "intermediateNotAfter=")
		})
		if _, err := o.handshake(t); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("a handshake: %v", err)
		}
		alive(t, o, session)
	})
	t.Run("the line is back", func(t *testing.T) {
		o.cut(nil)
		if chain := o.connects(t); !chain[len(chain)-1].Equal(o.authority.Certificate) {
			t.Error("the core still signs itself")
		}
		alive(t, o, session)
		o.cut(errNoLine)
		o.pass(40 * day)
		o.own(t, o.connects(t)) // by another intermediate
	})
}

// TestOfflineFor is what other lengths do.
func TestOfflineFor(t *testing.T) {
	t.Parallel()
	t.Run("365 days", func(t *testing.T) {
		t.Parallel()
		o := newOffline(t, 365*day)
		o.cut(errNoLine)
		o.pass(200 * day)
		o.own(t, o.connects(t))
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		o := newOffline(t, 0)
		if _, err := os.Stat(filepath.Join(o.folder, "intermediate.pem")); !os.IsNotExist(err) {
			t.Errorf("there is an intermediate: %v", err)
		}
		o.cut(errNoLine)
		o.pass(40 * day)
		o.id.Need(true)
		testkit.Until(t, "the log does not say why", func() bool {
			return strings.Contains(o.log.String(), "is over and could not be renewed")
		})
		if _, err := o.handshake(t); err == nil {
			t.Error("a device is let in")
		}
	})
	t.Run("a change", func(t *testing.T) {
		t.Parallel()
		o := newOffline(t, 0)
		file := filepath.Join(o.folder, "intermediate.pem")
		o.change(func() { o.issuer.site.Intermediate = int64(30 * day / time.Second) })
		o.id.Notice(corelink.Site{Identity: o.issuer.site})
		testkit.Eventually(t, "no intermediate comes", func() error { _, err := os.Stat(file); return err })
		o.change(func() { o.issuer.site.Intermediate = 0 })
		o.id.Notice(corelink.Site{Identity: o.issuer.site})
		testkit.Until(t, "the intermediate stays", func() bool { _, err := os.Stat(file); return os.IsNotExist(err) })
	})
	t.Run("a control plane that promises one and sends none", func(t *testing.T) {
		t.Parallel()
		o := newOffline(t, 0)
		o.change(func() { o.issuer.site.Intermediate, o.withholds = 60, true })
		before := certificate(o.id)
		o.id.Notice(corelink.Site{Identity: o.issuer.site})
		another(t, o.id, before)
		testkit.Until(t, "the log does not say so", func() bool { return strings.Contains(o.log.String(), "none came") })
	})
}

// TestRefusedOffline: a core that the control plane refuses has a line, and signs
// nothing.
func TestRefusedOffline(t *testing.T) {
	t.Parallel()
	whole := t // what is started again outlives its subtest
	for name, tc := range map[string]struct {
		err   error
		signs bool
	}{
		"not this core's group": {&corelink.StatusError{HTTPStatus: 404, Code: "NotFound", Message: "no group"}, false},
		"no right":              {&corelink.StatusError{HTTPStatus: 403, Code: "Forbidden", Message: "no"}, false},
		"a broken server":       {&corelink.StatusError{HTTPStatus: 500, Code: "Internal", Message: "no"}, true},
		"a clock that is wrong": {&corelink.StatusError{HTTPStatus: 401, Code: "CertificateExpired", Message: "no"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffline(t, 90*day)
			o.cut(tc.err)
			o.pass(7 * day) // it is asked for while the one there is good
			o.id.Need(true)
			testkit.Until(t, "it is not asked for", func() bool { return strings.Contains(o.log.String(), "could not be renewed") })
			o.pass(30 * day)
			if tc.signs {
				o.own(t, o.connects(t))
				return
			}
			o.id.Need(true)
			testkit.Until(t, "the log does not say why", func() bool { return strings.Contains(o.log.String(), "is over and could not be renewed") })
			if _, err := o.handshake(t); err == nil {
				t.Error("a device is let in")
			}
			asked := func() (n int) {
				o.change(func() { n = o.asked })
				return n
			}
			before := asked()
			o.start(whole)
			testkit.Until(t, "it is not asked for after a restart", func() bool { return asked() > before })
			testkit.Until(t, "the log does not say why", func() bool { return strings.Contains(o.log.String(), "is over and could not be renewed") })
			if strings.Contains(o.log.String(), "signed the certificate of its MQTT server itself") {
				t.Error("after a restart the core signs before it asks")
			}
		})
	}
}

// TestSpoiltIntermediate: nothing is signed by what is not the core's intermediate.
func TestSpoiltIntermediate(t *testing.T) {
	t.Parallel()
	whole := newOffline(t, 90*day)
	good, err := os.ReadFile(filepath.Join(whole.folder, "intermediate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(newOffline(t, 90*day).folder, "intermediate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	cert, rest := pem.Decode(good)
	key, above := pem.Decode(rest)
	_, strange := pem.Decode(other)
	_, strangeAbove := pem.Decode(strange)
	for name, data := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)/2], "without the authority above": append(pem.EncodeToMemory(cert), pem.EncodeToMemory(key)...),
		"another authority above": append(append(pem.EncodeToMemory(cert), pem.EncodeToMemory(key)...), strangeAbove...),
		"another key":             append(pem.EncodeToMemory(cert), strange...),
		"no authority":            append(append(pki.EncodeCertificate(whole.lamp.pair.Certificate[0]), pem.EncodeToMemory(key)...), above...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "intermediate.pem"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			i := newIssuer(t)
			i.down = errNoLine
			id, log := i.open(t, folder)
			id.Notice(corelink.Site{Identity: i.site})
			id.Need(true)
			testkit.Until(t, "the log does not say so", func() bool {
				return strings.Contains(log.String(), "is not used") && strings.Contains(log.String(), "has no certificate, so that none can connect")
			})
			if certificate(id) != nil {
				t.Error("a certificate was signed")
			}
		})
	}
}

// TestPowerCutOffline cuts the power at every third operation of the disk by which a
// core renews (keys take long to make), and starts it without a line.
func TestPowerCutOffline(t *testing.T) {
	t.Parallel()
	o := newOffline(t, 90*day)
	before := make(map[string][]byte)
	for _, name := range []string{"server.pem", "server.crt", "site.json", "intermediate.pem"} {
		data, err := os.ReadFile(filepath.Join(o.folder, name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = data
	}
	i := o.issuer
	began := i.clock()
	for left, cut := 0, true; cut; left += 3 {
		const folder = "/server"
		fs := crashfs.New()
		if err := errors.Join(fs.MkdirAll(folder, 0o755), fs.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		for name, data := range before {
			if err := disk.ReplaceFile(fs, filepath.Join(folder, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		i.change(func() { i.down, i.now = nil, began.Add(7*day) })
		fs.FailAfter(left, func() {})
		id, _, stop := i.openOn(t, fs, folder)
		first := certificate(id)
		id.Need(true)
		testkit.Until(t, "nothing is renewed", func() bool { return fs.Failed() || certificate(id) != first })
		stop()
		cut = fs.Failed()
		fs.Restore(func() bool { return left%2 == 0 })
		i.change(func() { i.down, i.now = errNoLine, began.Add(46*day) })
		again, log, stop := i.openOn(t, fs, folder)
		again.Need(true)
		testkit.Until(t, "no certificate is signed without a line", func() bool {
			c := certificate(again)
			return c != nil && c.Leaf.NotAfter.After(i.clock())
		})
		stop()
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(i.authority.Certificate)
		c := certificate(again)
		above, err := x509.ParseCertificate(c.Certificate[1])
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(above)
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: i.clock(), DNSName: "127.0.0.1"}); err != nil {
			t.Errorf("after %d operations: %v\n%s", left, err, log)
		}
	}
}

// TestClientsOfOffline has other TLS libraries look at what the core signed.
func TestClientsOfOffline(t *testing.T) {
	t.Parallel()
	o := newOffline(t, 90*day)
	o.cut(errNoLine)
	for _, name := range []string{"server.pem", "server.crt"} {
		if err := os.Remove(filepath.Join(o.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	o.start(t)
	chain := o.connects(t)
	o.own(t, chain)
	dir := t.TempDir()
	file := func(name string, blocks ...[]byte) string {
		path := filepath.Join(dir, name)
		var text []byte
		for _, b := range blocks {
			text = append(text, b...)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKCS8PrivateKey(o.lamp.pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ca := file("ca.pem", o.authority.PEM())
	cert, key := file("lamp.pem", pki.EncodeCertificate(o.lamp.pair.Certificate[0])), file("lamp.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	host, port, err := net.SplitHostPort(o.address)
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, want, program string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Stdin = strings.NewReader("")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", program, err, out)
		}
	}
	t.Run("openssl", func(t *testing.T) {
		program, err := exec.LookPath("openssl")
		if err != nil {
			t.Skip("openssl is not installed; install it to have it look at the chain")
		}
		run(t, "Verify return code: 0 (ok)", program, "s_client", "-connect", o.address, "-CAfile", ca, "-cert", cert, "-key", key,
			"-x509_strict", "-verify_return_error", "-verify_ip", host, "-verify", "3")
		run(t, ": OK", program, "verify", "-x509_strict", "-CAfile", ca, "-untrusted", file("between.pem", pki.EncodeCertificate(chain[1].Raw)), "-verify_ip", host, file("leaf.pem", pki.EncodeCertificate(chain[0].Raw)))
	})
	t.Run("Python", func(t *testing.T) {
		list := filepath.SplitList(os.Getenv("FESCUE_TEST_PYTHONS"))
		if path, err := exec.LookPath("python3"); len(list) == 0 && err == nil {
			list = []string{path}
		}
		if len(list) == 0 {
			t.Skip("python3 is not installed; install it to have it look at the chain")
		}
		for _, python := range list {
			run(t, "agreed", python, "-c", pythonClient, host, port, ca, cert, key)
		}
	})
	t.Run("Node.js", func(t *testing.T) {
		list := filepath.SplitList(os.Getenv("FESCUE_TEST_NODES"))
		if path, err := exec.LookPath("node"); len(list) == 0 && err == nil {
			list = []string{path}
		}
		if len(list) == 0 {
			t.Skip("node is not installed; install it to have it look at the chain")
		}
		for _, node := range list {
			run(t, "agreed", node, "-e", nodeClient, host, port, ca, cert, key)
		}
	})
}

// The clients check the chain, strictly where they can, and the address.
const (
	pythonClient = `
import socket, ssl, sys
host, port, ca, cert, key = sys.argv[1:]
c = ssl.create_default_context(cafile=ca)
if hasattr(ssl, "VERIFY_X509_STRICT"):
    c.verify_flags |= ssl.VERIFY_X509_STRICT
c.load_cert_chain(cert, key)
if sys.version_info < (3, 5):
    c.check_hostname = False # it knows no addresses
s = c.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
print("agreed " + s.version())
`
	nodeClient = `
const fs = require('fs'), tls = require('tls'), [host, port, ca, cert, key] = process.argv.slice(1);
const s = tls.connect({host, port, ca: fs.readFileSync(ca), cert: fs.readFileSync(cert), key: fs.readFileSync(key)}, () => {
  console.log(s.authorized ? 'agreed ' + s.getProtocol() : s.authorizationError);
  s.destroy();
});
s.on('error', (e) => { console.log(e); process.exit(1); });
`
)
