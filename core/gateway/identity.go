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
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// Issuer signs the server's certificate; corelink.Client is one.
type Issuer interface {
	CreateCertificate(ctx context.Context, thing string, csr []byte) (corelink.ServerCertificate, error)
}

// IdentityOptions are what an Identity is made of. All but those with a default are
// needed.
type IdentityOptions struct {
	// Folder is where certificate and key are kept, Thing the core's name.
	Folder, Thing string
	Issuer        Issuer
	Logger        *slog.Logger
	// Disk is the machine's file system if nil, Now time.Now.
	Disk disk.FS
	Now  func() time.Time
}

// Identity is the server's certificate: it is asked for when there is none, when the
// one there is has other names or another authority than it should, and when two
// thirds of its life are over. A new one takes effect with the next handshake, and
// connections that there are go on. It lies on the disk, so that a core that starts
// without a line has it.
type Identity struct {
	o       IdentityOptions
	current atomic.Pointer[tls.Certificate]
	// changed has an element when there may be something to do.
	changed chan struct{}

	mu     sync.Mutex
	needed bool
	kept   keptSite
}

// keptSite is what lies on the disk beside the certificate.
type keptSite struct {
	// Site is what the control plane said last.
	Site corelink.Site `json:"site"`
	// IssuedFor is what the certificate is for.
	IssuedFor corelink.Identity `json:"issuedFor"`
}

// Files of an Identity. The first has the key too; the second is for whoever wants
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
	i := &Identity{o: o, changed: make(chan struct{}, 1)}
	if err := errors.Join(i.readSite(), i.readCertificate()); err != nil {
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
	if err == nil {
		pair, err = tls.X509KeyPair(data, data)
	}
	if err != nil {
		return fmt.Errorf("read the server's certificate: %w", err)
	}
	i.current.Store(&pair)
	return nil
}

// Certificate is what tls.Config asks.
func (i *Identity) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := i.current.Load(); c != nil {
		return c, nil
	}
	return nil, ErrNoCertificate
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
	return a.Authority == b.Authority && slices.Equal(a.Hosts, b.Hosts)
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
	i.needed, i.kept = false, keptSite{}
	i.current.Store(nil)
	var err error
	for _, name := range []string{identityFile, certificateFile, siteFile} {
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
	var logged time.Time
	for {
		pause := lookInterval
		if why := i.due(); why != "" {
			err := i.renew(ctx, why)
			if ctx.Err() != nil {
				return
			}
			if failures++; err == nil {
				failures = 0
			} else {
				pause = issueRetries.Pause(failures)
				if since := i.o.Now().Sub(logged); since < 0 || since >= refusalInterval {
					logged = i.o.Now()
					i.logFailure(why, err)
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

// logFailure says what it means that there is no new certificate.
func (i *Identity) logFailure(why string, err error) {
	text, level := "The certificate of the MQTT server for client devices could not be renewed; the one before stays in use.", slog.LevelWarn
	switch c := i.current.Load(); {
	case c == nil:
		text, level = "The MQTT server for client devices has no certificate, so that none can connect.", slog.LevelError
	case i.o.Now().After(c.Leaf.NotAfter):
		text, level = "The certificate of the MQTT server for client devices is over and could not be renewed: no device can connect anew, and those that are connected stay.", slog.LevelError
	}
	i.o.Logger.Log(context.Background(), level, text, slog.String("why", why), slog.String("errorString", err.Error()))
}

// due says why a new certificate is to be asked for, if it is.
func (i *Identity) due() (why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.current.Load()
	switch {
	case !i.needed:
		return ""
	case c == nil:
		return "there is none"
	case i.kept.Site.Authority != "" && !sameIdentity(i.kept.Site.Identity, i.kept.IssuedFor):
		return "its names or its authority have changed"
	case i.o.Now().After(renewAt(c.Leaf)):
		return "two thirds of its life are over"
	}
	return ""
}

// renewAt is after two thirds of a certificate's life, or somewhat later: its serial
// number, which is random, keeps cores from coming all at once.
func renewAt(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	spread := time.Duration(leaf.SerialNumber.Uint64()%100) * life / 1000
	return leaf.NotBefore.Add(life*2/3 + spread)
}

// renew asks for a certificate over a new key.
func (i *Identity) renew(ctx context.Context, why string) error {
	key, err := pki.GenerateKey(pki.RSA)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: i.o.Thing}}, key)
	if err != nil {
		return fmt.Errorf("make a certificate signing request: %w", err)
	}
	answer, err := i.o.Issuer.CreateCertificate(ctx, i.o.Thing, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	if err != nil {
		return err
	}
	pair, data, err := identityOf(answer.Chain, key)
	if err != nil {
		return fmt.Errorf("the certificate that the control plane signed: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.needed {
		return nil // a reset came first
	}
	if err := i.write(identityFile, data, 0o600); err != nil {
		return err
	}
	i.kept.IssuedFor = answer.Identity
	if err := errors.Join(i.write(certificateFile, []byte(answer.Chain), 0o644), i.writeSite()); err != nil {
		return err
	}
	i.current.Store(&pair)
	i.o.Logger.Info("The MQTT server for client devices has a new certificate.", slog.String("why", why),
		slog.Any("hosts", answer.Hosts), slog.Time("notAfter", pair.Leaf.NotAfter))
	return nil
}

// identityOf joins a chain and its key, and gives them as they lie on the disk.
func identityOf(chain string, key crypto.Signer) (tls.Certificate, []byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	data := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), chain...)
	pair, err := tls.X509KeyPair(data, data)
	return pair, data, err
}
