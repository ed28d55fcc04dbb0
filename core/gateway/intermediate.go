package gateway

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// A core without a line signs its MQTT server's certificates itself, by an intermediate
// of the group's authority that it got while the line was up. Devices are sent the
// certificate and the intermediate, and know the authority above from discovery. It
// never signs when the control plane has answered with a refusal: then it is to have no
// certificate.

// intermediateFile has the intermediate, its key, and the authority that signed it.
const intermediateFile = "intermediate.pem"

// standardLife is how long a certificate of the core's own lives when it is not known
// how long the control plane's do: the original's default.
const standardLife = 7 * 24 * time.Hour

// endingInterval is how often it is said that the intermediate ends.
const endingInterval = 24 * time.Hour

// intermediate is what the core signs with.
type intermediate struct {
	*pki.Authority
	// above signed it.
	above *x509.Certificate
}

// intermediateOf reads what came with a certificate; nil where none is handed out.
func intermediateOf(answer corelink.ServerCertificate, key crypto.Signer) (*intermediate, error) {
	if answer.IntermediateCertificate == "" {
		if answer.Intermediate > 0 {
			return nil, errors.New("none came")
		}
		return nil, nil
	}
	cert, err := pki.ParseCertificate([]byte(answer.IntermediateCertificate))
	if err != nil {
		return nil, err
	}
	var above *x509.Certificate // the last of the chain
	for block, rest := pem.Decode([]byte(answer.Chain)); block != nil; block, rest = pem.Decode(rest) {
		if above, err = x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
	}
	return checked(&intermediate{&pki.Authority{Certificate: cert, Key: key}, above})
}

// checked refuses what does not sign for this core in the name of the authority above.
func checked(m *intermediate) (*intermediate, error) {
	public, ok := m.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case m.above == nil:
		return nil, errors.New("the authority above it is missing")
	case !ok || !public.Equal(m.Certificate.PublicKey):
		return nil, errors.New("it is not over the core's key")
	case !m.Certificate.IsCA || !m.Certificate.MaxPathLenZero:
		return nil, errors.New("it is not an authority for leaves alone")
	}
	if err := m.Certificate.CheckSignatureFrom(m.above); err != nil {
		return nil, fmt.Errorf("it is not of the authority above it: %w", err)
	}
	return m, nil
}

func (i *Identity) readIntermediate() error {
	data, err := disk.ReadFile(i.o.Disk, filepath.Join(i.o.Folder, intermediateFile), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		i.intermediate, err = parseIntermediate(data)
	}
	if err != nil {
		return fmt.Errorf("read the intermediate authority: %w", err)
	}
	return nil
}

func (m *intermediate) encode() ([]byte, error) {
	data, err := m.Encode()
	return append(data, pki.EncodeCertificate(m.above.Raw)...), err
}

func parseIntermediate(data []byte) (*intermediate, error) {
	a, err := pki.ParseAuthority(data)
	if err != nil {
		return nil, err
	}
	last := bytes.LastIndex(data, []byte("-----BEGIN "))
	above, err := pki.ParseCertificate(data[last:])
	if err != nil {
		return nil, err
	}
	return checked(&intermediate{a, above})
}

// keepIntermediate writes one down, or removes the one there is for nil; the caller
// holds mu.
func (i *Identity) keepIntermediate(next *intermediate) error {
	if next == nil {
		i.intermediate = nil
		return disk.RemoveIfThere(i.o.Disk, filepath.Join(i.o.Folder, intermediateFile))
	}
	data, err := next.encode()
	if err == nil {
		err = i.write(intermediateFile, data, 0o600)
	}
	if err == nil {
		i.intermediate = next
	}
	return err
}

// intermediateDue reports whether another one is to be asked for; the caller holds mu.
// One that was renewed often has most of its life before it when the line is cut.
func (i *Identity) intermediateDue(now time.Time) bool {
	if i.kept.IssuedFor.Intermediate == 0 {
		return false
	}
	if i.intermediate == nil {
		return true
	}
	c := i.intermediate.Certificate
	return now.After(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 10))
}

// intermediateEnd is when what the core signs ends at the latest; false without an
// intermediate.
func (i *Identity) intermediateEnd() (time.Time, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.intermediate == nil {
		return time.Time{}, false
	}
	return i.intermediate.Certificate.NotAfter, true
}

// canSign reports whether the core may sign a certificate now.
func (i *Identity) canSign() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.maySign()
}

// maySign is canSign; the caller holds mu.
func (i *Identity) maySign() bool {
	return i.needed && !i.kept.Refused && i.intermediate != nil && validAt(i.intermediate.Certificate, i.o.Now()) && len(i.hosts()) > 0
}

// hosts are the names for which the core signs; the caller holds mu.
func (i *Identity) hosts() []string {
	if len(i.kept.Site.Hosts) > 0 {
		return i.kept.Site.Hosts
	}
	return i.kept.IssuedFor.Hosts
}

// life is how long a certificate of the core's own lives; the caller holds mu.
func (i *Identity) life() time.Duration {
	if i.kept.Life > 0 {
		return i.kept.Life
	}
	return standardLife
}

// ownSigned reports whether the core signed a certificate itself: the one above it is
// not its own issuer.
func ownSigned(c *tls.Certificate) bool {
	if len(c.Certificate) < 2 {
		return false
	}
	above, err := x509.ParseCertificate(c.Certificate[1])
	return err == nil && !bytes.Equal(above.RawIssuer, above.RawSubject)
}

// signHere signs a certificate by the intermediate, if the core may and the present one
// nears its end or has other names than it should; with over only if the present one is
// not valid now. One that cannot be written down is used all the same.
func (i *Identity) signHere(over bool) {
	i.mu.Lock()
	wanted := i.wantsOwn(over)
	i.mu.Unlock()
	if !wanted {
		return
	}
	key, err := i.leafKey()
	if err != nil {
		i.o.Logger.Error("The core cannot make a key for its MQTT server.", slog.String("errorString", err.Error()))
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.wantsOwn(over) { // a reset came first
		return
	}
	hosts := i.hosts()
	leaf, err := i.intermediate.SignServerWithin(key.Public(), hosts, i.o.Now(), i.life())
	if err != nil {
		i.o.Logger.Error("The core cannot sign the certificate of its MQTT server.", slog.String("errorString", err.Error()))
		return
	}
	chain := append(pki.EncodeCertificate(leaf.Raw), i.intermediate.PEM()...)
	pair, data, err := i.identity(string(chain), key)
	if err != nil {
		i.o.Logger.Error("The core cannot use the certificate that it signed.", slog.String("errorString", err.Error()))
		return
	}
	i.pending.leaf = nil
	i.use(&pair)
	i.kept.IssuedFor = corelink.Identity{Hosts: hosts, Intermediate: i.kept.IssuedFor.Intermediate}
	if err := errors.Join(i.write(identityFile, data, 0o600), i.write(certificateFile, chain, 0o644), i.writeSite()); err != nil {
		i.o.Logger.Error("The certificate that the core signed for its MQTT server is not kept; after a restart it signs another.", slog.String("errorString", err.Error()))
	}
	i.o.Logger.Warn("The core has signed the certificate of its MQTT server itself, since the control plane does not. It can go on so until the intermediate authority ends.",
		slog.Any("hosts", hosts), slog.Time("notAfter", leaf.NotAfter), slog.Time("intermediateNotAfter", i.intermediate.Certificate.NotAfter))
}

// wantsOwn reports whether a certificate is to be signed here; the caller holds mu.
func (i *Identity) wantsOwn(over bool) bool {
	if !i.maySign() {
		return false
	}
	c, now := i.current.Load(), i.o.Now()
	if c == nil || !validAt(c.Leaf, now) {
		return true
	}
	ending := now.After(c.Leaf.NotAfter.Add(-i.life()/6)) && c.Leaf.NotAfter.Before(i.intermediate.Certificate.NotAfter)
	return !over && (ending || !slices.Equal(i.kept.IssuedFor.Hosts, i.hosts()))
}

// warnOfEnd says, in the last third of the intermediate's life, when no device will be
// able to connect anew.
func (i *Identity) warnOfEnd() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.intermediate == nil {
		return false
	}
	c, now := i.intermediate.Certificate, i.o.Now()
	left := c.NotAfter.Sub(now)
	if left <= 0 || left > c.NotAfter.Sub(c.NotBefore)/3 {
		return false
	}
	i.o.Logger.Log(context.Background(), slog.LevelWarn, "The intermediate authority of this core ends soon: without the line to the control plane no device can connect anew after that. Those that are connected stay.",
		slog.Time("notAfter", c.NotAfter), slog.Duration("left", left.Round(time.Second)))
	return true
}
