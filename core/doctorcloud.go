package core

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/doctor"
)

// configuration looks at config.json, which was read, and at the files that it names.
func (e *Examination) configuration(cfg *config.Config) {
	path := config.Path(cfg.Root)
	e.private("config.json", path)
	for _, text := range cfg.Unused {
		e.Add("config.json", doctor.Poor, text, "leave the key out, or let it stand: the core runs all the same")
	}
	c := cfg.Credentials
	e.private("private key", c.PrivateKeyPath)
	if _, err := c.TLS(cfg.GGHTTP); err != nil {
		e.Add("certificate", doctor.Bad, err.Error(), "put certificate, key and authority where config.json says, as files in PEM form that belong together")
		return
	}
	for _, f := range []struct{ subject, file string }{{"certificate", c.CertificatePath}, {"authority", c.CAPath}} {
		last := lastOf(f.file)
		if last == nil {
			continue
		}
		says := fmt.Sprintf("%s, until %s", f.file, last.NotAfter.UTC().Format(time.RFC3339))
		switch left := time.Until(last.NotAfter); {
		case left <= 0:
			e.Add(f.subject, doctor.Bad, says, "replace it, or set this machine's clock if that is wrong")
		case left < 30*24*time.Hour:
			e.Add(f.subject, doctor.Poor, says, "replace it before")
		default:
			e.Add(f.subject, doctor.Good, says, "")
		}
	}
}

// private looks whether others can use a file.
func (e *Examination) private(subject, path string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err != nil:
		e.Add(subject, doctor.Bad, err.Error(), "put it there")
	case info.Mode().Perm()&0o077 != 0:
		e.Add(subject, doctor.Poor, fmt.Sprintf("%s can be used by others (%s)", path, info.Mode().Perm()), "chmod 600 "+path)
	default:
		e.Add(subject, doctor.Good, fmt.Sprintf("%s (%s)", path, info.Mode().Perm()), "")
	}
}

// reachTimeout bounds the try of each endpoint.
const reachTimeout = 15 * time.Second

// cloud tries the endpoints as the core does, and compares the clocks.
func (e *Examination) cloud(ctx context.Context, cfg *config.Config) {
	client, err := newClient(cfg, cfg.GGHTTP)
	if err != nil {
		return // the certificate's finding says why
	}
	defer client.Close()
	e.reach("control plane, HTTPS", cfg.GGHTTP.String(), "ggHost and ggHttpPort", e.https(ctx, client))
	e.clock(client)
	e.reach("control plane, MQTT", cfg.IoTMQTT.String(), "iotHost and iotMqttPort", e.mqtt(ctx, cfg))
}

func (e *Examination) https(ctx context.Context, client *corelink.Client) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	_, err := client.SigningKeys(ctx)
	return err
}

func (e *Examination) reach(subject, address, keys string, err error) {
	if err == nil {
		e.Add(subject, doctor.Good, address+" took this core's certificate", "")
		return
	}
	e.Add(subject, doctor.Bad, address+": "+err.Error(), "see to the server, the way there ("+keys+" in config.json, firewall, proxy) and the certificate's status and policy")
}

// clock compares the clocks by what the control plane answered.
func (e *Examination) clock(client *corelink.Client) {
	const tolerance = 5 * time.Minute
	offset, known := client.ClockOffset()
	switch {
	case !known:
		e.Add("clock", doctor.Unknown, "the control plane did not answer; here it is "+time.Now().UTC().Format(time.RFC3339), "")
	case offset.Abs() > tolerance:
		e.Add("clock", doctor.Bad, fmt.Sprintf("%s from the control plane's", offset.Abs().Round(time.Second)), "set it, or have a time service keep it: certificates look expired or not yet valid")
	default:
		e.Add("clock", doctor.Good, fmt.Sprintf("within %s of the control plane's", cmp.Or(offset.Abs().Round(time.Second), time.Second)), "")
	}
}

// mqtt connects with a client id of its own, so that a core that runs keeps its
// connection; policies for the core's own cover it.
func (e *Examination) mqtt(ctx context.Context, cfg *config.Config) error {
	secure, err := cfg.Credentials.TLS(cfg.IoTMQTT)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	o := mqtt.NewClientOptions().AddBroker("ssl://" + cfg.IoTMQTT.String()).SetClientID(cfg.ThingName + "-doctor").
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(reachTimeout)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := cfg.Proxy.Dial(ctx, cfg.IoTMQTT)
		if err != nil {
			return nil, err
		}
		session := tls.Client(conn, secure)
		if err := session.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return session, nil
	})
	client := mqtt.NewClient(o)
	token := client.Connect()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-token.Done():
	}
	client.Disconnect(0)
	return token.Error()
}
