package gateway

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/core/logs"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// Issuer signs the server's certificate; corelink.Client is one.
type Issuer interface {
	CreateCertificate(ctx context.Context, thing string, request corelink.CertificateRequest) (corelink.ServerCertificate, error)
}

// IdentityOptions are what an Identity is made of. All but those with a default are
// needed.
type IdentityOptions struct {
	// Folder is where certificate and key are kept, Thing the core's name.
	Folder, Thing string
	Issuer        Issuer
	Logger        *slog.Logger
	// Key is that of the certificate, if it is the owner's own, who replaces it; without
	// one a key is made for each certificate.
	Key crypto.Signer
	// Disk is the machine's file system if nil, Now time.Now.
	Disk disk.FS
	Now  func() time.Time
}

// Identity is the server's certificate: it is asked for when there is none, when the
// one there is has other names or another authority than it should, and when two
// thirds of its life are over. A new one takes effect with the next handshake, and
// connections that there are go on. It lies on the disk, so that a core that starts
// without a line has it. With it comes an intermediate authority, by which the core
// signs for itself while the control plane cannot be reached, see intermediate.go.
type Identity struct {
	o       IdentityOptions
	current atomic.Pointer[tls.Certificate]
	// changed has an element when there may be something to do.
	changed chan struct{}

	// pending are the keys of the next certificates, kept over attempts that fail:
	// making them takes small machines seconds. They belong to the goroutine of Run.
	pending struct{ leaf, intermediate crypto.Signer }

	// first is closed when there is a certificate for the first time since the start.
	first  chan struct{}
	having sync.Once

	mu           sync.Mutex
	needed       bool
	kept         keptSite
	intermediate *intermediate
	// failed says that the last attempt to renew failed.
	failed bool
}

// keptSite is what lies on the disk beside the certificate.
type keptSite struct {
	// Site is what the control plane said last.
	Site corelink.Site `json:"site"`
	// IssuedFor is what the certificate is for.
	IssuedFor corelink.Identity `json:"issuedFor"`
	// Life is how long the control plane's last certificate is valid in all.
	Life time.Duration `json:"life,omitempty"`
	// Refused says that the control plane answered the last attempt to renew with a
	// refusal: then the line is up, and nothing is signed here, nor after a restart before
	// it was asked again.
	Refused bool `json:"refused,omitempty"`
}

// Files of an Identity. The first has the key too, unless that is the owner's; the second is for whoever wants
// to look at the certificate (AWS IoT Greengrass V1 developer guide, "Device
// authentication and authorization").
const (
	identityFile    = "server.pem"
	certificateFile = "server.crt"
	siteFile        = "site.json"

	// maxFile bounds each, in bytes.
	maxFile = 1 << 20
)

// ErrNoCertificate is the handshake's error while there is no certificate.
var ErrNoCertificate = errors.New("the MQTT server for client devices has no certificate yet")

// OpenIdentity reads what lies on the disk. What cannot be read there counts as
// nothing, and is said in the log.
func OpenIdentity(o IdentityOptions) *Identity {
	if o.Disk == nil {
		o.Disk = disk.Local{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &Identity{o: o, changed: make(chan struct{}, 1), first: make(chan struct{})}
	if err := errors.Join(i.readSite(), i.readCertificate(), i.readIntermediate()); err != nil {
		o.Logger.Warn("What the MQTT server for client devices had on the disk is not used.", slog.String("errorString", err.Error()))
	}
	return i
}

func (i *Identity) readSite() error {
	data, err := disk.ReadFile(i.o.Disk, filepath.Join(i.o.Folder, siteFile), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &i.kept)
	}
	if err != nil {
		i.kept = keptSite{}
		return fmt.Errorf("read what the control plane said of this site: %w", err)
	}
	return nil
}

func (i *Identity) readCertificate() error {
	data, err := disk.ReadFile(i.o.Disk, filepath.Join(i.o.Folder, identityFile), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var pair tls.Certificate
	if err == nil && i.o.Key != nil {
		pair, _, err = identityOf(string(data), i.o.Key)
	} else if err == nil {
		pair, err = tls.X509KeyPair(data, data)
	}
	if err != nil {
		return fmt.Errorf("read the server's certificate: %w", err)
	}
	i.use(&pair)
	return nil
}

// Certificate is what tls.Config asks. While there has been none since the start, it
// waits for one for up to firstWait.
func (i *Identity) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := i.current.Load()
	if (c == nil || !validAt(c.Leaf, i.o.Now())) && i.canSign() {
		i.signal() // the clock has jumped: the client's next attempt finds another one
	}
	if c == nil && hello != nil {
		// The first one is made and signed while the first clients come.
		wait, cancel := context.WithTimeout(hello.Context(), firstWait)
		defer cancel()
		select {
		case <-i.first:
			c = i.current.Load()
		case <-wait.Done():
		}
	}
	if c == nil {
		return nil, ErrNoCertificate
	}
	return c, nil
}

// firstWait is how long a handshake waits for the first certificate.
const firstWait = 5 * time.Second

// use has clients get a certificate from now on.
func (i *Identity) use(c *tls.Certificate) {
	i.current.Store(c)
	i.having.Do(func() { close(i.first) })
}

// Site is what the control plane said last, also before a restart.
func (i *Identity) Site() corelink.Site {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.kept.Site
}

// Need says whether there are client devices. Without any, no certificate is asked
// for.
func (i *Identity) Need(needed bool) {
	i.mu.Lock()
	i.needed = needed
	i.mu.Unlock()
	i.signal()
}

// Notice takes what the control plane says, and reports whether it is new.
func (i *Identity) Notice(site corelink.Site) (fresh bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failed && !i.kept.Refused {
		i.signal() // the line is back
	}
	if sameIdentity(site.Identity, i.kept.Site.Identity) && slices.Equal(site.Ports, i.kept.Site.Ports) && slices.Equal(site.Revoked, i.kept.Site.Revoked) {
		return false
	}
	i.kept.Site = site
	if err := i.writeSite(); err != nil {
		i.o.Logger.Error("What the control plane says of this site is not kept.", slog.String("errorString", err.Error()))
	}
	i.signal()
	return true
}

func sameIdentity(a, b corelink.Identity) bool {
	return a.Authority == b.Authority && a.Intermediate == b.Intermediate && slices.Equal(a.Hosts, b.Hosts)
}

// writeSite keeps it; the caller holds mu.
func (i *Identity) writeSite() error {
	data, err := json.Marshal(i.kept)
	if err != nil {
		return err
	}
	return i.write(siteFile, data, 0o600)
}

func (i *Identity) write(name string, data []byte, mode fs.FileMode) error {
	if err := i.o.Disk.MkdirAll(i.o.Folder, 0o755); err != nil {
		return err
	}
	return disk.ReplaceFile(i.o.Disk, filepath.Join(i.o.Folder, name), data, mode)
}

// Forget removes what lies on the disk, as a reset does, and the certificate.
func (i *Identity) Forget() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.needed, i.kept, i.intermediate = false, keptSite{}, nil
	i.current.Store(nil)
	var err error
	for _, name := range []string{intermediateFile, identityFile, certificateFile, siteFile} {
		err = errors.Join(err, disk.RemoveIfThere(i.o.Disk, filepath.Join(i.o.Folder, name)))
	}
	return err
}

func (i *Identity) signal() {
	select {
	case i.changed <- struct{}{}:
	default:
	}
}

// How often the certificate is looked at and how long is waited after a failure.
const lookInterval = time.Minute

var issueRetries = backoff.Policy{First: time.Second, Most: 5 * time.Minute}

// Run keeps the certificate good until ctx ends.
func (i *Identity) Run(ctx context.Context) {
	failures := 0
	var logged, warned time.Time
	for {
		pause := lookInterval
		if why := i.due(); why != "" {
			// One that is over is not to wait for a line that may be dead.
			i.signHere(true)
			err := i.renew(ctx, why)
			if ctx.Err() != nil {
				return
			}
			i.noteAttempt(err)
			if failures++; err == nil {
				failures = 0
			} else {
				i.signHere(false)
				pause = issueRetries.Pause(failures)
				if i.since(logged) >= i.logInterval() {
					logged = i.o.Now()
					i.logFailure(why, err)
				}
				if i.since(warned) >= endingInterval && i.warnOfEnd() {
					warned = i.o.Now()
				}
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-i.changed:
			failures = 0
		case <-timer.C:
		}
		timer.Stop()
	}
}

// since is how long ago something was logged; a clock that went back does not keep it
// from being logged again.
func (i *Identity) since(at time.Time) time.Duration { return i.o.Now().Sub(at).Abs() }

// noteAttempt keeps how an attempt to renew ended.
func (i *Identity) noteAttempt(err error) {
	_, refused := corelink.Refused(err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.failed = err != nil
	if i.kept.Refused == refused || !i.needed { // after a reset nothing is written
		return
	}
	i.kept.Refused = refused
	if err := i.writeSite(); err != nil {
		i.o.Logger.Error("Whether the control plane refuses this core a certificate is not kept.", slog.String("errorString", err.Error()))
	}
}

// logInterval is how often it is said that there is no new certificate: more often when
// devices cannot connect for that.
func (i *Identity) logInterval() time.Duration {
	if c := i.current.Load(); c != nil && validAt(c.Leaf, i.o.Now()) {
		return time.Hour
	}
	return logs.SeldomInterval
}

// logFailure says what it means that there is no new certificate.
func (i *Identity) logFailure(why string, err error) {
	text, level := "The certificate of the MQTT server for client devices could not be renewed; the one before stays in use.", slog.LevelWarn
	switch c := i.current.Load(); {
	case c == nil:
		text, level = "The MQTT server for client devices has no certificate, so that none can connect.", slog.LevelError
	case !validAt(c.Leaf, i.o.Now()):
		text, level = "The certificate of the MQTT server for client devices is over and could not be renewed: no device can connect anew, and those that are connected stay.", slog.LevelError
	}
	attributes := []slog.Attr{slog.String("why", why), slog.String("errorString", err.Error())}
	if end, ok := i.intermediateEnd(); ok {
		attributes = append(attributes, slog.Time("intermediateNotAfter", end))
	}
	i.o.Logger.LogAttrs(context.Background(), level, text, attributes...)
}

// due says why a new certificate is to be asked for, if it is.
func (i *Identity) due() (why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c, now := i.current.Load(), i.o.Now()
	switch {
	case !i.needed:
		return ""
	case c == nil:
		return "there is none"
	case !validAt(c.Leaf, now):
		return "it is not valid at this time"
	case ownSigned(c):
		return "the core signed it itself, without a line"
	case i.kept.Site.Authority != "" && !sameIdentity(i.kept.Site.Identity, i.kept.IssuedFor):
		return "its names, its authority or the time without a line have changed"
	case i.intermediateDue(now):
		return "the intermediate authority is missing, or a tenth of its life is over"
	case now.After(renewAt(c.Leaf)):
		return "two thirds of its life are over"
	}
	return ""
}

func validAt(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// renewAt is after two thirds of a certificate's life, or somewhat later: its serial
// number, which is random, keeps cores from coming all at once.
func renewAt(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	spread := time.Duration(leaf.SerialNumber.Uint64()%100) * life / 1000
	return leaf.NotBefore.Add(life*2/3 + spread)
}

// renew asks for a certificate over a new key, and for an intermediate over another.
func (i *Identity) renew(ctx context.Context, why string) error {
	leafKey, err := i.leafKey()
	if err != nil {
		return err
	}
	leafCSR, err := i.request(leafKey)
	if err != nil {
		return err
	}
	if i.pending.intermediate == nil {
		if i.pending.intermediate, err = pki.GenerateKey(pki.RSA); err != nil {
			return err
		}
	}
	intermediateCSR, err := i.request(i.pending.intermediate)
	if err != nil {
		return err
	}
	answer, err := i.o.Issuer.CreateCertificate(ctx, i.o.Thing, corelink.CertificateRequest{CSR: leafCSR, IntermediateCSR: intermediateCSR})
	if err != nil {
		return err
	}
	pair, data, err := i.identity(answer.Chain, leafKey)
	if err != nil {
		return fmt.Errorf("the certificate that the control plane signed: %w", err)
	}
	next, bad := intermediateOf(answer, i.pending.intermediate)
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.needed {
		return nil // a reset came first
	}
	if bad == nil {
		if err := i.keepIntermediate(next); err != nil {
			return err
		}
		i.pending.intermediate = nil
	}
	if err := i.write(identityFile, data, 0o600); err != nil {
		return err
	}
	i.pending.leaf = nil
	i.kept.IssuedFor, i.kept.Life = answer.Identity, pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore)
	if err := errors.Join(i.write(certificateFile, []byte(answer.Chain), 0o644), i.writeSite()); err != nil {
		return err
	}
	i.use(&pair)
	attributes := []slog.Attr{slog.String("why", why), slog.Any("hosts", answer.Hosts), slog.Time("notAfter", pair.Leaf.NotAfter)}
	if next != nil {
		attributes = append(attributes, slog.Time("withoutLineUntil", next.Certificate.NotAfter))
	}
	i.o.Logger.LogAttrs(ctx, slog.LevelInfo, "The MQTT server for client devices has a new certificate.", attributes...)
	if bad != nil {
		return fmt.Errorf("the intermediate authority that the control plane signed: %w", bad)
	}
	return nil
}

// leafKey is the key of the next certificate.
func (i *Identity) leafKey() (key crypto.Signer, err error) {
	if i.o.Key != nil {
		return i.o.Key, nil
	}
	if i.pending.leaf == nil {
		i.pending.leaf, err = pki.GenerateKey(pki.RSA)
	}
	return i.pending.leaf, err
}

// request is a certificate signing request in PEM for a key.
func (i *Identity) request(key crypto.Signer) (string, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: i.o.Thing}}, key)
	if err != nil {
		return "", fmt.Errorf("make a certificate signing request: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), nil
}

// identity joins a chain and its key, and gives what of them lies on the disk: the owner's
// key has its own place.
func (i *Identity) identity(chain string, key crypto.Signer) (tls.Certificate, []byte, error) {
	pair, data, err := identityOf(chain, key)
	if i.o.Key != nil {
		data = []byte(chain)
	}
	return pair, data, err
}

// identityOf joins a chain and its key, also as a file of both.
func identityOf(chain string, key crypto.Signer) (tls.Certificate, []byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	data := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), chain...)
	pair, err := tls.X509KeyPair(data, data)
	return pair, data, err
}
