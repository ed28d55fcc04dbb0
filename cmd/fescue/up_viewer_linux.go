package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/transfer"
)

// upViewer is the thing as which up listens to the function's messages.
const upViewer = "fescue-up-viewer"

// What is shown of the messages: the first few, without waiting for ever.
const (
	shownMessages = 2
	showPatience  = 10 * time.Second
)

// viewer listens to the example's messages as any MQTT client would: with a
// certificate of its own, over mutual TLS.
type viewer struct {
	*upRun
	client   mqtt.Client
	messages chan mqtt.Message
}

func (u *upRun) startViewer(ctx context.Context) (*viewer, error) {
	pair, err := u.viewerIdentity(ctx)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(u.server.AuthorityPEM())
	v := &viewer{upRun: u, messages: make(chan mqtt.Message, 16)}
	v.client = mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("ssl://" + local(u.server.MQTTAddr())).
		SetClientID(upViewer).
		SetTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}))
	if err := finish(v.client.Connect()); err != nil {
		return nil, fmt.Errorf("connect to MQTT: %w", err)
	}
	err = finish(v.client.Subscribe(exampleTopic, 0, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case v.messages <- m:
		default: // enough to show
		}
	}))
	if err != nil {
		v.close()
		return nil, fmt.Errorf("subscribe to %s: %w", exampleTopic, err)
	}
	return v, nil
}

// viewerIdentity is the viewer's certificate: that of an earlier run, or a new
// one.
func (u *upRun) viewerIdentity(ctx context.Context) (tls.Certificate, error) {
	certFile, keyFile := filepath.Join(u.Data, "viewer.cert.pem"), filepath.Join(u.Data, "viewer.private.key")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if !errors.Is(err, os.ErrNotExist) {
		return pair, err
	}
	place, err := u.api.Partition(ctx)
	if err != nil {
		return pair, err
	}
	dev, err := transfer.RegisterDevice(ctx, u.api, upViewer, fescue.CorePolicy(place, upViewer, []string{exampleTopic}))
	if err != nil {
		return pair, err
	}
	if err := disk.WriteFile(keyFile, []byte(dev.PrivateKey), 0o600); err != nil {
		return pair, err
	}
	if err := disk.WriteFile(certFile, []byte(dev.CertificatePEM), 0o644); err != nil {
		return pair, err
	}
	return tls.LoadX509KeyPair(certFile, keyFile)
}

func finish(t mqtt.Token) error {
	if !t.WaitTimeout(client.Timeout) {
		return fmt.Errorf("no answer within %s", client.Timeout)
	}
	return t.Error()
}

// show prints the first messages.
func (v *viewer) show(ctx context.Context) {
	timeout := time.After(showPatience)
	for range shownMessages {
		select {
		case m := <-v.messages:
			v.say("message", "%s %s", m.Topic(), m.Payload())
		case <-timeout:
			v.say("message", "none on %s within %s; the function's log says why", exampleTopic, showPatience)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (v *viewer) close() { v.client.Disconnect(0) }
