package mqttfront_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/policy"
	"github.com/fescue-edge/fescue/testkit"
)

const (
	patience = testkit.Patience

	// quickStart is the policy of the AWS IoT Greengrass developer guide's first
	// module.
	quickStart = `{"Version":"2012-10-17","Statement":[
	  {"Effect":"Allow","Action":["iot:Publish","iot:Subscribe","iot:Connect","iot:Receive"],"Resource":["*"]},
	  {"Effect":"Allow","Action":["greengrass:*"],"Resource":["*"]}]}`

	allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}`
)

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-west-2"}

// directory is a Directory in memory.
type directory struct {
	mu         sync.Mutex
	principals map[string]identity.Principal
	failure    error
}

func (d *directory) Principal(_ context.Context, id string) (identity.Principal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure != nil {
		return identity.Principal{}, d.failure
	}
	p, ok := d.principals[id]
	if !ok {
		return p, fmt.Errorf("%w: %s", fescue.ErrNotFound, id)
	}
	return p, nil
}

func (d *directory) Principals(ctx context.Context, ids []string) ([]identity.Answer, error) {
	answers := make([]identity.Answer, len(ids))
	for i, id := range ids {
		p, err := d.Principal(ctx, id)
		if err != nil && !errors.Is(err, fescue.ErrNotFound) {
			return nil, err
		}
		answers[i] = identity.Answer{Principal: p, Err: err}
	}
	return answers, nil
}

func (d *directory) change(id string, fn func(*identity.Principal)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.principals[id]
	fn(&p)
	d.principals[id] = p
}

func (d *directory) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failure = err
}

// keyPair is a device's key and certificate.
type keyPair struct {
	cert tls.Certificate
	id   string
}

func makeCertificate(t testing.TB, subject pkix.Name) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return keyPair{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hex.EncodeToString(sum[:])}
}

func policies(t testing.TB, docs ...string) policy.Set {
	t.Helper()
	var set policy.Set
	for _, doc := range docs {
		d, err := policy.Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, d)
	}
	return set
}

// cloud is a front with its broker, listening.
type cloud struct {
	t         testing.TB
	storage   broker.Options
	directory *directory
	broker    *broker.Broker
	front     *mqttfront.Front
	address   string
	options   func(*mqttfront.Options)
	stop      func()
}

func start(t testing.TB, options func(*mqttfront.Options)) *cloud {
	t.Helper()
	return startWith(t, broker.Options{}, options)
}

func startWith(t testing.TB, storage broker.Options, options func(*mqttfront.Options)) *cloud {
	t.Helper()
	storage.Logger = slog.New(slog.DiscardHandler)
	if storage.Remote == nil {
		storage.Dir = t.TempDir()
	}
	c := &cloud{t: t, storage: storage, options: options,
		directory: &directory{principals: map[string]identity.Principal{}}}
	c.up()
	t.Cleanup(func() { c.stop() })
	return c
}

// up starts broker, front and listener on the folder.
func (c *cloud) up() {
	t := c.t
	t.Helper()
	broker, err := broker.Start(c.storage)
	if err != nil {
		t.Fatal(err)
	}
	o := mqttfront.Options{Directory: c.directory, Broker: broker, Logger: slog.New(slog.DiscardHandler)}
	if c.options != nil {
		c.options(&o)
	}
	front, err := mqttfront.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := makeCertificate(t, pkix.Name{CommonName: "front"})
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{server.cert}, ClientAuth: tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- front.Serve(context.Background(), ln) }()
	c.broker, c.front, c.address = broker, front, ln.Addr().String()
	c.stop = sync.OnceFunc(func() {
		front.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
		broker.Shutdown()
	})
}

// device registers a new certificate with the documents as its policies.
func (c *cloud) device(p fescue.Partition, docs ...string) keyPair {
	c.t.Helper()
	who := makeCertificate(c.t, pkix.Name{CommonName: "device", Organization: []string{"Acme"}})
	set := policies(c.t, docs...)
	c.directory.change(who.id, func(pr *identity.Principal) {
		*pr = identity.Principal{
			Partition: p, Policies: set, Certificate: fescue.Certificate{
				ID: who.id, Status: fescue.CertificateActive, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			},
		}
	})
	return who
}

func (who keyPair) tlsConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{who.cert}, InsecureSkipVerify: true}
}

// client is a connected paho client.
type client struct {
	paho.Client
	t    testing.TB
	lost chan error
	got  chan paho.Message
}

func (c *cloud) clientOptions(who keyPair, id string) *paho.ClientOptions {
	return paho.NewClientOptions().AddBroker("ssl://" + c.address).SetClientID(id).
		SetTLSConfig(who.tlsConfig()).SetAutoReconnect(false).SetConnectRetry(false).
		SetProtocolVersion(4).SetConnectTimeout(patience).SetOrderMatters(true)
}

// try connects; the client is of use when the error is nil.
func (c *cloud) try(who keyPair, id string, set func(*paho.ClientOptions)) (*client, error) {
	cl := &client{t: c.t, lost: make(chan error, 1), got: make(chan paho.Message, 10_000)}
	o := c.clientOptions(who, id)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { cl.lost <- err })
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { cl.got <- m })
	if set != nil {
		set(o)
	}
	cl.Client = paho.NewClient(o)
	token := cl.Connect()
	if !token.WaitTimeout(patience) {
		c.t.Fatal("CONNECT was not answered")
	}
	if token.Error() == nil {
		c.t.Cleanup(func() { cl.Disconnect(0) })
	}
	return cl, token.Error()
}

func (c *cloud) connect(who keyPair, id string, set ...func(*paho.ClientOptions)) *client {
	c.t.Helper()
	cl, err := c.try(who, id, func(o *paho.ClientOptions) {
		for _, s := range set {
			s(o)
		}
	})
	if err != nil {
		c.t.Fatalf("connect %q: %v", id, err)
	}
	return cl
}

func persistent(o *paho.ClientOptions) { o.SetCleanSession(false).SetResumeSubs(false) }

func (cl *client) wait(token paho.Token, what string) {
	cl.t.Helper()
	if !token.WaitTimeout(patience) {
		cl.t.Fatalf("%s was not answered", what)
	}
	if err := token.Error(); err != nil {
		cl.t.Fatalf("%s: %v", what, err)
	}
}

// subscribe returns the granted QoS or 0x80.
func (cl *client) subscribe(filter string, qos byte) byte {
	cl.t.Helper()
	token := cl.Subscribe(filter, qos, nil)
	if !token.WaitTimeout(patience) {
		cl.t.Fatalf("SUBSCRIBE %s was not answered", filter)
	}
	for _, code := range token.(*paho.SubscribeToken).Result() { // paho takes $share/g/ off
		return code
	}
	cl.t.Fatalf("SUBSCRIBE %s: %v", filter, token.Error())
	return 0
}

func (cl *client) publish(topic string, qos byte, payload string) {
	cl.t.Helper()
	cl.wait(cl.Publish(topic, qos, false, payload), "PUBLISH "+topic)
}

// next is the next message as "topic payload".
func (cl *client) next() string {
	cl.t.Helper()
	select {
	case m := <-cl.got:
		return m.Topic() + " " + string(m.Payload())
	case <-time.After(patience):
		cl.t.Fatal("no message came")
		return ""
	}
}

func (cl *client) expect(want ...string) {
	cl.t.Helper()
	for _, w := range want {
		if got := cl.next(); got != w {
			cl.t.Fatalf("got message %q, want %q", got, w)
		}
	}
}

// ended waits for the connection to be closed by the front.
func (cl *client) ended() {
	cl.t.Helper()
	select {
	case <-cl.lost:
	case <-time.After(patience):
		cl.t.Fatal("the connection was not closed")
	}
}

// raw connects with the packets of package mqtt, which acknowledge nothing by
// themselves.
func (c *cloud) raw(who keyPair, connect mqtt.Connect) (*mqtt.Client, mqtt.Connack, error) {
	c.t.Helper()
	conn := c.dial(who)
	if connect.Level == 0 {
		connect.Level = mqtt.Level311
	}
	cl, ack, err := mqtt.Open(context.Background(), conn, &connect, mqtt.Options{ConnectTimeout: patience})
	if err == nil {
		c.t.Cleanup(cl.Close)
	}
	return cl, ack, err
}

func (c *cloud) dial(who keyPair) *tls.Conn {
	c.t.Helper()
	conn, err := tls.Dial("tcp", c.address, who.tlsConfig())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.NetConn().Close() })
	return conn
}

// read returns the next packet of type P and skips others.
func read[P mqtt.Packet](t testing.TB, cl *mqtt.Client) P {
	t.Helper()
	timer := time.AfterFunc(patience, cl.Close)
	defer timer.Stop()
	for {
		p, err := cl.Read()
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if want, ok := p.(P); ok {
			return want
		}
	}
}

// closed waits until the front has closed a raw connection.
func closed(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection was not closed")
	}
}
