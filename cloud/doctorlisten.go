package cloud

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/doctor"
)

// address is one at which a server listens.
type address struct {
	subject, flag, at string
	// secure is whether it speaks TLS, http whether it answers HTTP without a certificate
	// of the client's.
	secure, http bool
}

// listeners looks at the addresses, at certificates, and at the public hosts.
func (e *examiner) listeners(ctx context.Context) {
	own := pool(filepath.Join(e.o.DataDir, authorityPEMName))
	host, _, _ := net.SplitHostPort(e.o.APIAddr)
	plain := e.o.APICertFile == "" && (e.o.InsecureHTTP || local(host))
	list := []address{
		{"API", "api", e.o.APIAddr, !plain, true},
		{"devices, HTTPS", "device", e.o.DeviceAddr, true, false},
		{"devices, MQTT", "mqtt", e.o.MQTTAddr, true, false},
		{"operators", "ops", e.o.OpsAddr, false, true},
	}
	if e.o.onePort() {
		list = slices.Delete(list, 2, 3)
	}
	served := make(map[string]bool)
	for _, a := range list {
		if a.at != "" {
			served[a.flag] = e.address(ctx, a)
		}
	}
	e.certificates(own)
	for _, host := range e.o.PublicHosts {
		e.publicHost(ctx, host, served, own)
	}
}

// address looks whether a server can listen, or does, and reports whether one of Fescue's
// does.
func (e *examiner) address(ctx context.Context, a address) (served bool) {
	host, port, err := net.SplitHostPort(a.at)
	if err != nil {
		e.Add(a.subject, doctor.Bad, fmt.Sprintf("--%s %s: %v", a.flag, a.at, err), "give an address and a port, for example 0.0.0.0:8443")
		return false
	}
	if port == "0" {
		e.Add(a.subject, doctor.Good, a.at+": each start chooses a free port", "")
		return false
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	err = bindable(a.at)
	denied := errors.Is(err, fs.ErrPermission)
	if denied || errors.Is(err, syscall.EADDRINUSE) {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port)); err == nil {
			conn.Close()
			return e.held(ctx, a, net.JoinHostPort(host, port))
		}
	}
	switch {
	case denied:
		e.Add(a.subject, doctor.Bad, a.at+": this user may not listen there", "ports below 1024 need CAP_NET_BIND_SERVICE, which the package's unit gives; or choose another with --"+a.flag)
	case err != nil:
		e.Add(a.subject, doctor.Bad, fmt.Sprintf("%s: %v", a.at, err), fmt.Sprintf("ss -ltnp 'sport = :%s' says who has the port, ip address which addresses there are; or choose another address with --%s", port, a.flag))
	case e.runs:
		e.Add(a.subject, doctor.Poor, a.at+" is free, though a server runs on the data folder", "give this command the flags that the server has")
	default:
		e.Add(a.subject, doctor.Good, a.at+" is free", "")
	}
	return false
}

// held looks who has an address.
func (e *examiner) held(ctx context.Context, a address, at string) (served bool) {
	who, err := "a server of Fescue", e.speaks(ctx, a, at)
	if e.pid != 0 {
		who = fmt.Sprintf("the server that runs (process %d)", e.pid)
	}
	switch {
	case err != nil:
		_, port, _ := net.SplitHostPort(a.at)
		e.Add(a.subject, doctor.Bad, fmt.Sprintf("%s is held, and not by a server on this data folder: %v", a.at, err), fmt.Sprintf("ss -ltnp 'sport = :%s' says by whom: end that, or choose another address with --%s", port, a.flag))
		return false
	case !e.runs && canFindHolders:
		e.Add(a.subject, doctor.Bad, a.at+" is held by a server of Fescue on another data folder", "stop that one, or choose another address with --"+a.flag)
		return false
	}
	e.Add(a.subject, doctor.Good, a.at+" is held by "+who, "")
	return true
}

// speaks is nil where a server like this one answers.
func (e *examiner) speaks(ctx context.Context, a address, at string) error {
	if !a.http {
		leaf, err := presented(ctx, at, "")
		if err != nil {
			return err
		}
		return e.ofServer(leaf, e.o.DeviceCertFile)
	}
	scheme, path := "http", "/fescue/v1/endpoints"
	if a.secure {
		scheme = "https"
	}
	if a.flag == "ops" {
		path = "/healthz"
	}
	client := http.Client{Timeout: lookTimeout, Transport: &http.Transport{
		// Who answers is what is looked for; nothing is told.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+at+e.o.BasePath+path, nil)
	if a.flag == "ops" && err == nil {
		req.URL.Path = path
	}
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if a.flag == "ops" {
		if string(body) != "ok\n" {
			return fmt.Errorf("GET %s answers %s", path, resp.Status)
		}
		return nil
	}
	var is corelink.Endpoints
	if json.Unmarshal(body, &is) != nil || is.Host == "" {
		return fmt.Errorf("GET %s answers %s, and not as a server of Fescue", path, resp.Status)
	}
	if mine, err := os.ReadFile(filepath.Join(e.o.DataDir, authorityPEMName)); err == nil && is.CA != "" && !bytes.Equal(bytes.TrimSpace(mine), bytes.TrimSpace([]byte(is.CA))) {
		return errors.New("it is a server of Fescue with another authority")
	}
	return nil
}

// presented is the certificate that a TLS server shows to a client that asks for a name.
func presented(ctx context.Context, at, name string) (leaf *x509.Certificate, err error) {
	dialer := tls.Dialer{Config: &tls.Config{
		ServerName: name, InsecureSkipVerify: true, // who shows what is looked for
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf = state.PeerCertificates[0]
			return nil
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", at)
	if err == nil {
		conn.Close()
	}
	if leaf != nil {
		return leaf, nil // a server that then asks for a client's ends the handshake
	}
	return nil, cmp.Or(err, errors.New("no certificate is shown"))
}

// ofServer is nil for a certificate of this server's: of its authority, or that of a file.
func (e *examiner) ofServer(leaf *x509.Certificate, file string) error {
	if file != "" {
		if list := certificatesIn(file); len(list) == 0 || !list[0].Equal(leaf) {
			return fmt.Errorf("it shows another certificate (%s) than that of %s", leaf.Subject, file)
		}
		return nil
	}
	path := filepath.Join(e.o.DataDir, authorityPEMName)
	for _, authority := range certificatesIn(path) {
		if leaf.CheckSignatureFrom(authority) == nil {
			return nil
		}
	}
	return fmt.Errorf("it shows a certificate (%s) that is not of %s", leaf.Subject, path)
}

// certificatesIn are those of a PEM file.
func certificatesIn(file string) (list []*x509.Certificate) {
	text, _ := os.ReadFile(file)
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return list
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			list = append(list, c)
		}
	}
}

// pool trusts the certificates of a file; the machine's where there are none.
func pool(file string) *x509.CertPool {
	list := certificatesIn(file)
	if len(list) == 0 {
		return nil
	}
	p := x509.NewCertPool()
	for _, c := range list {
		p.AddCert(c)
	}
	return p
}

// certificates looks at those that lie in files, and when they end.
func (e *examiner) certificates(own *x509.CertPool) {
	now := time.Now()
	if e.o.Now != nil {
		now = e.o.Now()
	}
	for _, c := range []struct{ subject, cert, key string }{
		{"authority", filepath.Join(e.o.DataDir, authorityPEMName), ""},
		{"API certificate", e.o.APICertFile, e.o.APIKeyFile},
		{"device certificate", e.o.DeviceCertFile, e.o.DeviceKeyFile},
	} {
		if c.cert == "" || c.key == "" && own == nil {
			continue // made by a server, and renewed by it
		}
		if c.key != "" {
			if _, err := tls.LoadX509KeyPair(c.cert, c.key); err != nil {
				e.Add(c.subject, doctor.Bad, fmt.Sprintf("%s with %s: %v", c.cert, c.key, err), "put a certificate and its key there, as PEM files that the server's user can read")
				continue
			}
			if info, err := os.Stat(c.key); err == nil && info.Mode().Perm()&0o007 != 0 {
				e.Add(c.subject, doctor.Poor, fmt.Sprintf("everyone can use %s (%s)", c.key, info.Mode().Perm()), "chmod 600 "+c.key)
			}
		}
		list := certificatesIn(c.cert)
		if len(list) == 0 {
			continue
		}
		end, remedy := list[0].NotAfter, "put a new one in its place before: it is read again when the files change"
		if c.key == "" {
			remedy = "cores and devices trust it: plan for another one before"
		}
		says := fmt.Sprintf("%s, until %s", c.cert, end.UTC().Format(time.RFC3339))
		switch left := end.Sub(now); {
		case left <= 0:
			e.Add(c.subject, doctor.Bad, says, "put a new one in its place, or set this machine's clock if that is wrong")
		case left < expiryNotice:
			e.Add(c.subject, doctor.Poor, says, remedy)
		default:
			e.Add(c.subject, doctor.Good, says, "")
		}
	}
}

// publicHost looks whether a name leads here, as far as this machine can see.
func (e *examiner) publicHost(ctx context.Context, host string, served map[string]bool, own *x509.CertPool) {
	subject := "public host " + host
	ctx, cancel := context.WithTimeout(ctx, 2*lookTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		e.Add(subject, doctor.Bad, err.Error(), "give it an address in DNS, or name another one with --public-host: cores and devices look for the server by it")
		return
	}
	if alone := !slices.ContainsFunc(found, func(a string) bool { return !local(a) }); alone {
		if at, _, _ := net.SplitHostPort(e.o.DeviceAddr); local(at) {
			e.Add(subject, doctor.Good, "this machine alone, as is --device", "")
		} else {
			e.Add(subject, doctor.Poor, "it leads gateways to themselves ("+strings.Join(found, ", ")+")", "name with --public-host what gateways know this machine by")
		}
		return
	}
	says := strings.Join(found, ", ")
	if !served["device"] {
		e.Add(subject, doctor.Good, says+"; whether it leads here is tried while the server runs", "")
		return
	}
	_, port, _ := net.SplitHostPort(e.o.DeviceAddr)
	at := net.JoinHostPort(host, port)
	leaf, err := presented(ctx, at, host)
	if err == nil {
		err = e.ofServer(leaf, e.o.DeviceCertFile)
	}
	if err == nil {
		if e.o.DeviceCertFile != "" {
			own = nil // an authority that devices have been made to trust may be unknown here
			err = leaf.VerifyHostname(host)
		} else {
			_, err = leaf.Verify(x509.VerifyOptions{Roots: own, DNSName: host})
		}
	}
	if err != nil {
		e.Add(subject, doctor.Poor, fmt.Sprintf("from this machine %s does not lead to the server: %v", at, err), "see to DNS, to the firewall and to what passes ports on; a network may lead its own machines elsewhere than gateways")
		return
	}
	e.Add(subject, doctor.Good, fmt.Sprintf("%s; from this machine %s leads to the server, with a certificate for it", says, at), "")
}

// local reports whether a host or address is this machine's own loopback.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
