package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/mqtt"
)

const (
	// oldestRemote is the first nats-server whose messages may have a life of their own
	// (Nats-TTL), as removed records do.
	oldestRemote = "2.11.0"

	// nowPrefix is before the subjects of messages with QoS 0 between servers.
	nowPrefix = "fescue.now."
	// partPrefix and the run of a server take the keys of sessions that are to end there.
	partPrefix = "fescue.part."
	// openedSubject takes the keys of sessions that were opened somewhere.
	openedSubject = "fescue.opened"

	// tookHeader has how long that took.
	tookHeader = "Fescue-Took"

	// partTime is how long another server may take to end a session.
	partTime = 5 * time.Second
	// pingEvery finds a node that is silent: the second ping without an answer ends the
	// connection, and another node is looked for.
	pingEvery = 5 * time.Second
)

// The errors of nats-server for more replicas than there can be, of a node that knows of
// no leader, and for a message that could not be removed, since it is not there or for what the
// description says (errors.json of nats-server 2.15).
const (
	errNoPeers      jetstream.ErrorCode = 10005
	errNotClustered jetstream.ErrorCode = 10074
	errNoLeader     jetstream.ErrorCode = 10008
	errNotLeader    jetstream.ErrorCode = 10009
	errNoSequence   jetstream.ErrorCode = 10043
	errNotDeleted   jetstream.ErrorCode = 10057
)

// Remote is a nats-server, or a cluster, that several servers use in place of one of
// their own each.
type Remote struct {
	// URL has the addresses of one or several nodes, divided by commas: nats:// or
	// tls://, with USER:PASSWORD@ or TOKEN@ where that is how the account is proven.
	// Beyond this machine it is TLS in either case.
	URL string
	// Credentials is a file as nsc makes it, with a user's JWT and seed; empty for none.
	Credentials string
	// CA is a PEM file of the authorities that certify the nodes; empty for the machine's.
	CA string
	// Replicas is how many nodes keep each message; 0 is three, or as many as the cluster
	// has, and three as soon as it has so many.
	Replicas int

	// widenEvery is how often is looked whether it has, rewindAfter the other constant; those
	// if zero.
	widenEvery, rewindAfter time.Duration
}

// Check reports what is wrong with the settings themselves.
func (r *Remote) Check() error {
	for _, address := range strings.Split(r.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return errors.New("the address of the message broker is nats://HOST:PORT or tls://HOST:PORT, several of these divided by commas")
		}
	}
	if r.Replicas < 0 || r.Replicas > 5 {
		return fmt.Errorf("%d replicas: nats-server has 1 to 5", r.Replicas)
	}
	return nil
}

// options are how the nodes are connected to.
func (r *Remote) options() ([]nats.Option, error) {
	list := []nats.Option{
		nats.Name("fescue"), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.Timeout(5 * time.Second),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(2),
	}
	if r.Credentials != "" {
		list = append(list, nats.UserCredentials(r.Credentials))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CA != "" {
		text, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no PEM certificate", r.CA)
		}
	}
	if r.CA != "" || !r.near() {
		list = append(list, nats.Secure(config))
	}
	return list, nil
}

// redacted is where the nodes are, without passwords.
func (r *Remote) redacted() string {
	var list []string
	for _, address := range strings.Split(r.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(address)); err == nil {
			list = append(list, u.Host)
		}
	}
	return strings.Join(list, ", ")
}

// near reports whether all nodes are on this machine.
func (r *Remote) near() bool {
	return !slices.ContainsFunc(strings.Split(r.URL, ","), func(address string) bool {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil {
			return true
		}
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

// join connects to the nodes.
func (b *Broker) join() (err error) {
	r := b.o.Remote
	if err := r.Check(); err != nil {
		return err
	}
	options, err := r.options()
	if err != nil {
		return fmt.Errorf("message broker: %w", err)
	}
	options = append(options, b.handlers()...)
	options = append(options, nats.IgnoreAuthErrorAbort(), nats.ClosedHandler(func(*nats.Conn) {
		if b.ctx.Err() == nil {
			b.end()
		}
	}))
	if b.conn, err = nats.Connect(r.URL, options...); err != nil {
		return fmt.Errorf("connect to the message broker's nats-server (--broker) at %s: %w; see that it runs, that this machine reaches it, and that it has the account", r.redacted(), err)
	}
	if v := b.conn.ConnectedServerVersion(); !since(v, oldestRemote) {
		return fmt.Errorf("the message broker's nats-server is of version %s: it has to be %s or later", v, oldestRemote)
	}
	// What was said while there was no connection is not said later.
	if b.others, err = nats.Connect(r.URL, append(options, nats.NoEcho(), nats.ReconnectBufSize(-1))...); err != nil {
		return fmt.Errorf("connect to the message broker's nats-server (--broker) at %s: %w; see that it runs, that this machine reaches it, and that it has the account", r.redacted(), err)
	}
	return nil
}

// since reports whether a version is another one or later.
func since(version, oldest string) bool {
	numbers := func(s string) (list []int) {
		s, _, _ = strings.Cut(s, "-")
		for each := range strings.SplitSeq(s, ".") {
			n, _ := strconv.Atoi(each)
			list = append(list, n)
		}
		return list
	}
	return slices.Compare(numbers(version), numbers(oldest)) >= 0
}

// handlers log what befalls the connections.
func (b *Broker) handlers() []nats.Option {
	log := b.o.Logger
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if b.ctx.Err() == nil {
				log.Warn("message broker: the connection to nats-server was lost, connecting anew", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			log.Info("message broker: connected to nats-server again", "node", c.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("message broker: the connection to nats-server reports an error", "error", err)
		}),
	}
}

// meet has this server hear the others.
func (b *Broker) meet() error {
	for subject, fn := range map[string]nats.MsgHandler{
		nowPrefix + ">": func(m *nats.Msg) {
			if in, name, ok := original(strings.TrimPrefix(m.Subject, nowPrefix)); ok {
				b.hand(in, &mqtt.Publish{Topic: name, Payload: m.Data})
			}
		},
		openedSubject: func(m *nats.Msg) {
			// The later connection is the client's.
			at, key, _ := strings.Cut(string(m.Data), " ")
			if opened, err := strconv.ParseInt(at, 10, 64); err == nil {
				b.heard(opened)
				took, _ := time.ParseDuration(m.Header.Get(tookHeader))
				b.mu.RLock()
				s := b.sessions[key]
				// Before it is one of those that are here.
				if opening := b.opening[key]; opening != nil && opening.before(opened, took) {
					opening.overtaken(ErrTaken)
				}
				b.mu.RUnlock()
				if s != nil && s.before(opened, took) {
					s.client.End(ErrTaken)
				}
			}
		},
		partPrefix + b.run: func(m *nats.Msg) {
			if !b.goRun(func() { b.part(m) }) {
				_ = m.Respond(nil) // who asks goes on in any case
			}
		},
	} {
		if _, err := b.others.Subscribe(subject, fn); err != nil {
			return fmt.Errorf("subscribe at the message broker's nats-server: %w", err)
		}
	}
	return b.others.FlushTimeout(callTime)
}

// part ends a session that a client has opened at another server, and answers when its
// record is written.
func (b *Broker) part(m *nats.Msg) {
	ctx, cancel := context.WithTimeout(b.ctx, partTime)
	defer cancel()
	b.mu.RLock()
	s := b.sessions[string(m.Data)]
	if s == nil {
		s = b.closing[string(m.Data)]
	}
	if opening := b.opening[string(m.Data)]; opening != nil {
		opening.overtaken(ErrTaken) // before it is one of those that are here
	}
	b.mu.RUnlock()
	if s != nil {
		s.client.End(ErrTaken)
		select {
		case <-s.ended:
		case <-ctx.Done():
		}
	}
	_ = m.Respond(nil)
}

// lives reports whether the owner of a session is another server that is there.
func (b *Broker) lives(ctx context.Context, owner string) bool {
	run, _, _ := strings.Cut(owner, "/")
	if b.others == nil || run == "" || run == b.run {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	_, err := b.others.RequestWithContext(ctx, partPrefix+run, nil) // no session has this key
	return !errors.Is(err, nats.ErrNoResponders)
}

// askToPart has the owner of a session end it, if that is another server which is there.
func (b *Broker) askToPart(ctx context.Context, owner, key string) (asked bool) {
	run, _, _ := strings.Cut(owner, "/")
	if b.others == nil || run == "" || run == b.run {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	// Without an answer the record is taken over all the same: the owner can write it no
	// more, and ends the session then.
	_, err := b.others.RequestWithContext(ctx, partPrefix+run, []byte(key))
	return err == nil
}

// stamp is a number for a session's opening. It is greater than those of the openings that
// were heard of, however clocks differ.
func (b *Broker) stamp() int64 {
	for {
		last := b.stamps.Load()
		if next := max(b.o.Now().UnixNano(), last+1); b.stamps.CompareAndSwap(last, next) {
			return next
		}
	}
}

// heard notes the stamp of an opening at another server.
func (b *Broker) heard(stamp int64) {
	for last := b.stamps.Load(); last < stamp && !b.stamps.CompareAndSwap(last, stamp); last = b.stamps.Load() {
	}
}

// before reports whether a session's opening began before another one's, which has a stamp and took so
// long: by the stamps, but one that lasts for seconds longer did in any case.
func (s *Session) before(opened int64, took time.Duration) bool {
	return s.opened < opened || time.Since(s.here)-took > partTime
}

// sayOpened ends sessions of the same client that are not persistent at other servers.
func (b *Broker) sayOpened(s *Session) {
	if b.others != nil {
		m := &nats.Msg{Subject: openedSubject, Data: []byte(strconv.FormatInt(s.opened, 10) + " " + s.key), Header: nats.Header{}}
		m.Header.Set(tookHeader, time.Since(s.here).String())
		_ = b.others.PublishMsg(m)
	}
}
