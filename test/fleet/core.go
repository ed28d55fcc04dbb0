//go:build linux

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/cloudlink"
	"github.com/fescue-edge/fescue/corelink"
)

// identity is a core as the process that plays it gets it.
type identity struct {
	Number     int
	Thing, ARN string
	// Certificate and Key are in DER, the key an EC private key.
	Certificate, Key []byte
	// Fails has its deployments end in Failure, Takes is how long they take to start.
	Fails bool
	Takes time.Duration
	// NoMQTT has it wait by long polls, as a core does whose network lets no MQTT through.
	NoMQTT bool
	// Neighbour is the thing of the core that it sends messages to; empty if it does not.
	Neighbour string
}

// line is where a core finds the server, and whom it believes there.
type line struct {
	HTTPS, MQTT string
	Authority   []byte // in PEM
}

// pace are a core's waits; those of a core in service unless a flag says otherwise.
type pace struct {
	// KeepAlive is of the MQTT session, Poll the pause between polls while that is up.
	KeepAlive, Poll time.Duration
	// FirstRetry and MostRetry bound the pauses before it connects again.
	FirstRetry, MostRetry time.Duration
}

// core plays a core's part towards the server, with the packages with which a core does
// it: its connections, its signed deployments, what it reports. It runs nothing.
type core struct {
	identity
	pace
	// lines are the servers, in the order in which the core tries them.
	lines  []line
	tls    *tls.Config
	client *corelink.Client
	tell   func(event)
	// entries bounds how many cores connect for the first time at once.
	entries chan struct{}

	wake chan struct{}
	// cut has the lines of the core end.
	cutting sync.Mutex
	open    map[net.Conn]struct{}

	mu        sync.Mutex
	connected bool
	link      *cloudlink.Link

	// Of the agent's goroutine.
	keys  map[string]ed25519.PublicKey
	epoch int64
	// telemetry is what the server has it do, though it has no figures to send.
	telemetry fescue.Telemetry
	// ended is what has ended here and is still to be reported.
	ended *bundle.Manifest
	// nap is how long the server lets it be.
	nap time.Duration
}

func newCore(id identity, lines []line, p pace, entries chan struct{}, tell func(event)) (*core, error) {
	key, err := x509.ParseECPrivateKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("key of core %s: %w", id.Thing, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(lines[0].Authority) {
		return nil, errors.New("the server's authority is no certificate in PEM")
	}
	host, _, err := net.SplitHostPort(lines[0].HTTPS)
	if err != nil {
		return nil, err
	}
	c := &core{
		identity: id, lines: slices.Concat(lines[id.Number%len(lines):], lines[:id.Number%len(lines)]), pace: p, tell: tell, entries: entries, wake: make(chan struct{}, 1), telemetry: fescue.TelemetryOff, open: make(map[net.Conn]struct{}),
		tls: &tls.Config{
			RootCAs: roots, ServerName: host,
			Certificates: []tls.Certificate{{Certificate: [][]byte{id.Certificate}, PrivateKey: key}},
		},
	}
	// All servers have the same host here; dial finds theirs by the listener.
	c.client = corelink.NewClient(lines[0].HTTPS, c.tls, corelink.WithDial(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.dial(ctx, func(l line) string { return l.HTTPS })
	}))
	return c, nil
}

// dial opens a connection that cut ends, to the first server that takes one.
func (c *core) dial(ctx context.Context, address func(line) string) (conn net.Conn, err error) {
	var d net.Dialer
	for _, l := range c.lines {
		if conn, err = d.DialContext(ctx, "tcp", address(l)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	c.cutting.Lock()
	defer c.cutting.Unlock()
	c.open[conn] = struct{}{}
	return &tracked{conn, c}, nil
}

// tracked forgets a connection when it is closed.
type tracked struct {
	net.Conn
	of *core
}

func (t *tracked) Close() error {
	t.of.cutting.Lock()
	delete(t.of.open, t.Conn)
	t.of.cutting.Unlock()
	return t.Conn.Close()
}

// cut ends the core's connections in the middle of what they carry.
func (c *core) cut() {
	c.cutting.Lock()
	defer c.cutting.Unlock()
	for conn := range c.open {
		// Not Close: what ended itself is no loss to an MQTT client, which would wait.
		if tcp, ok := conn.(*net.TCPConn); ok {
			_, _ = tcp.CloseRead(), tcp.CloseWrite()
		}
	}
}

// rest closes what no request uses, as both sides do when nothing was asked for a while.
func (c *core) rest() { c.client.Close() }

// run is the core's life until ctx ends.
func (c *core) run(ctx context.Context) {
	defer c.client.Close()
	var link sync.WaitGroup
	defer link.Wait()
	select {
	case c.entries <- struct{}{}:
	case <-ctx.Done():
		return
	}
	tried := make(chan struct{})
	if c.NoMQTT {
		close(tried)
	} else {
		link.Go(func() { c.keepLink(ctx, sync.OnceFunc(func() { close(tried) })) })
	}
	select {
	case <-tried:
	case <-ctx.Done():
	}
	c.keepPolling(ctx, sync.OnceFunc(func() { <-c.entries }))
}

// keepLink is connected to the server's MQTT until ctx ends. tried is called after the first
// attempt, however it ended.
func (c *core) keepLink(ctx context.Context, tried func()) {
	var (
		mu    sync.Mutex
		began time.Time
	)
	link := cloudlink.New(cloudlink.Options{
		Address: c.lines[0].MQTT, TLS: c.tls, ClientID: c.Thing, KeepAlive: c.KeepAlive, FirstRetry: c.FirstRetry, MaxRetry: c.MostRetry,
		Dial: func(ctx context.Context) (net.Conn, error) {
			mu.Lock()
			began = time.Now()
			mu.Unlock()
			return c.dial(ctx, func(l line) string { return l.MQTT })
		},
		Changed: func(up bool) {
			if up {
				mu.Lock()
				took := time.Since(began)
				mu.Unlock()
				c.tell(event{Core: c.Number, What: connected, Took: took, At: time.Now()})
				tried()
			}
			c.setConnected(up)
		},
		Logger: slog.New(&troubles{core: c, tried: tried}),
	})
	link.Subscribe(func(cloudlink.Message) error {
		c.awake()
		return nil
	}).SetFilters(corelink.WakeTopic(c.Thing))
	if c.Neighbour != "" {
		c.mu.Lock()
		c.link = link
		c.mu.Unlock()
		var others sync.WaitGroup
		defer others.Wait()
		others.Go(func() { c.receive(ctx, link) })
	}
	_ = link.Run(ctx) // it has no error
}

// troubles is the log of a core's link, of which it tells why there is no connection, and
// what was refused on one.
type troubles struct {
	*core
	tried func()
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (t *troubles) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// WithAttrs implements slog.Handler.
func (t *troubles) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &troubles{t.core, t.tried, slices.Concat(t.attrs, attrs)}
}

// WithGroup implements slog.Handler.
func (t *troubles) WithGroup(string) slog.Handler { return t }

// Handle implements slog.Handler.
func (t *troubles) Handle(_ context.Context, r slog.Record) error {
	t.tried()
	text := r.Message
	for _, a := range t.attrs {
		if a.Key == "errorString" {
			text = a.Value.String()
		}
	}
	t.tell(event{Core: t.Number, What: refused, At: time.Now(), Error: text})
	return nil
}

// setConnected notes it and has the agent look, as a core does.
func (c *core) setConnected(up bool) {
	c.mu.Lock()
	c.connected = up
	c.mu.Unlock()
	c.awake()
}

func (c *core) canBeWoken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected
}

func (c *core) awake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// keepPolling asks for deployments and carries them out until ctx ends. entered is called
// after the first answer.
func (c *core) keepPolling(ctx context.Context, entered func()) {
	defer entered()
	failures := 0
	greet := sync.OnceFunc(func() { c.tell(event{Core: c.Number, What: ready, At: time.Now()}) })
	for ctx.Err() == nil {
		began := time.Now()
		again, err := c.step(ctx)
		if entered(); err == nil && (c.NoMQTT || !again) {
			greet()
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			failures++
			c.tell(event{Core: c.Number, What: failed, At: time.Now(), Error: err.Error()})
			c.pause(ctx, backoff.Policy{First: c.FirstRetry, Most: c.MostRetry}.Pause(failures))
			continue
		case again:
		case c.canBeWoken():
			c.idle(ctx, max(c.Poll, c.nap+rand.N(c.nap/2+1)))
		default:
			c.pause(ctx, c.FirstRetry-time.Since(began))
		}
		failures = 0
	}
}

// pause waits, whatever comes.
func (c *core) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// idle waits for a wake, at most so long.
func (c *core) idle(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-c.wake:
	}
}

// info is what the simulated cores say that they are.
func (c *core) info() fescue.CoreInfo {
	return fescue.CoreInfo{Version: "fleet", Formats: bundle.Formats(), Unserved: fescue.UnservedNames()}
}

// step asks for a deployment and, if there is one, carries it out.
func (c *core) step(ctx context.Context) (again bool, err error) {
	if c.keys == nil {
		if c.keys, err = c.signingKeys(ctx); err != nil {
			return false, err
		}
	}
	if c.ended != nil {
		return true, c.reportEnd(ctx)
	}
	wait := corelink.MaxPoll
	if c.canBeWoken() {
		wait = 0
	}
	info := c.info()
	offer, err := c.client.GetDeployment(ctx, c.Thing, corelink.Poll{
		After: c.epoch, Wait: wait, Formats: info.Formats, Info: info.Hash(), Telemetry: c.telemetry,
	})
	if err != nil {
		return false, err
	}
	c.nap = time.Duration(offer.Rest) * time.Second
	if offer.WantInfo {
		if err := c.client.ReportCore(ctx, c.Thing, info); err != nil {
			return false, err
		}
	}
	switched := offer.Telemetry != "" && offer.Telemetry != c.telemetry
	if switched {
		c.telemetry = offer.Telemetry
	}
	if offer.DeploymentID == "" {
		return offer.WantInfo || switched, nil
	}
	return true, c.deploy(ctx, offer)
}

func (c *core) signingKeys(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	answer, err := c.client.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]ed25519.PublicKey)
	for _, k := range answer.Keys {
		block, _ := pem.Decode([]byte(k.PEM))
		if block == nil {
			return nil, fmt.Errorf("signing key %s is no PEM block", k.KeyID)
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.KeyID, err)
		}
		key, ok := public.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("signing key %s is %T", k.KeyID, public)
		}
		keys[k.KeyID] = key
	}
	return keys, nil
}

// failureText is why deployments to cores that fail do.
const failureText = "this simulated core fails its deployments"

// deploy carries an offer out as far as it had not come before: verified, claimed,
// downloaded, switched, ended.
func (c *core) deploy(ctx context.Context, o corelink.Offer) error {
	c.tell(event{Core: c.Number, What: offered, Deployment: o.DeploymentID, At: time.Now()})
	m, err := bundle.Open(o.Envelope, c.keys)
	if err != nil {
		return err
	}
	if m.CoreThingArn != c.ARN || m.DeploymentID != o.DeploymentID || m.Epoch <= c.epoch {
		return fmt.Errorf("the manifest is of deployment %s to %s with epoch %d", m.DeploymentID, m.CoreThingArn, m.Epoch)
	}
	steps := []struct {
		event  fescue.DeploymentEvent
		before func() error
	}{
		{event: fescue.EventClaimed},
		{fescue.EventStaged, func() error { return c.download(ctx, m) }},
		{event: fescue.EventSwitched},
	}
	// What was reported before the line was cut is not done again.
	done := slices.Index([]fescue.DeploymentPhase{fescue.Offered, fescue.Claimed, fescue.Staged, fescue.Switched}, o.Phase)
	if done < 0 {
		return fmt.Errorf("deployment %s is offered in phase %q", o.DeploymentID, o.Phase)
	}
	for _, s := range steps[done:] {
		if s.before != nil {
			if err := s.before(); err != nil {
				return err
			}
		}
		if _, err := c.client.UpdateStatus(ctx, m.GroupID, m.DeploymentID, c.ARN, corelink.StatusReport{Event: s.event, Epoch: m.Epoch}); err != nil {
			return err
		}
	}
	c.pause(ctx, c.Takes)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.ended = &m
	return c.reportEnd(ctx)
}

// reportEnd reports how the deployment in hand ended, again if the answer was lost.
func (c *core) reportEnd(ctx context.Context) error {
	m, end := c.ended, corelink.StatusReport{Event: fescue.EventSucceeded, Epoch: c.ended.Epoch}
	if c.Fails {
		end.Event, end.Message = fescue.EventFailed, failureText
	}
	if _, err := c.client.UpdateStatus(ctx, m.GroupID, m.DeploymentID, c.ARN, end); err != nil {
		return err
	}
	c.epoch, c.ended = m.Epoch, nil
	c.tell(event{Core: c.Number, What: ended, Deployment: m.DeploymentID, At: time.Now()})
	return nil
}

// download fetches what the manifest names, and believes nothing but its hashes.
func (c *core) download(ctx context.Context, m bundle.Manifest) error {
	for _, a := range m.Downloads() {
		content, err := c.client.GetArtifact(ctx, m.GroupID, m.DeploymentID, a.SHA256, 0)
		if err != nil {
			return err
		}
		hash := sha256.New()
		n, err := io.Copy(hash, content)
		content.Close()
		if err != nil {
			return err
		}
		if n != a.Size || hex.EncodeToString(hash.Sum(nil)) != a.SHA256 {
			return fmt.Errorf("artifact %s came as other %d bytes", a.SHA256, n)
		}
	}
	return nil
}
