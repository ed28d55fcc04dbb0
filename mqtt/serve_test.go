package mqtt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/mqtt"
)

const patience = 20 * time.Second

// allocatedBytes is how much fn allocates.
func allocatedBytes(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// recorder is a Handler that writes down what it gets.
type recorder struct {
	ack     mqtt.Connack
	onStart func(*mqtt.Session)
	decide  func(ctx context.Context) // waits
	err     error

	session *mqtt.Session
	got     chan any
}

func newRecorder() *recorder { return &recorder{got: make(chan any, 1000)} }

func (r *recorder) Connect(ctx context.Context, s *mqtt.Session, c *mqtt.Connect) mqtt.Connack {
	r.session = s
	if r.onStart != nil {
		r.onStart(s)
	}
	if r.decide != nil {
		r.decide(ctx)
	}
	r.got <- c
	return r.ack
}

func (r *recorder) record(p any) error {
	r.got <- p
	return r.err
}

func (r *recorder) Publish(_ context.Context, p *mqtt.Publish) error         { return r.record(p) }
func (r *recorder) Subscribe(_ context.Context, p *mqtt.Subscribe) error     { return r.record(p) }
func (r *recorder) Unsubscribe(_ context.Context, p *mqtt.Unsubscribe) error { return r.record(p) }
func (r *recorder) Puback(_ context.Context, id uint16) error                { return r.record(&mqtt.Puback{ID: id}) }

// served is one session over a pipe without any buffer.
type served struct {
	t       *testing.T
	handler *recorder
	conn    net.Conn // the client's end
	reader  *mqtt.Reader
	cancel  context.CancelCauseFunc
	done    chan error
}

func serve(t *testing.T, h *recorder, o mqtt.Options) *served {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	client, server := net.Pipe()
	s := &served{t: t, handler: h, conn: client, reader: mqtt.NewReader(client, 0), cancel: cancel, done: make(chan error, 1)}
	if err := client.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- mqtt.Serve(ctx, server, h, o) }()
	t.Cleanup(func() {
		client.Close()
		cancel(nil)
	})
	return s
}

func (s *served) send(packets ...mqtt.Packet) {
	s.t.Helper()
	for _, p := range packets {
		var buf bytes.Buffer
		if err := mqtt.Encode(&buf, p); err != nil {
			s.t.Fatal(err)
		}
		if _, err := s.conn.Write(buf.Bytes()); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *served) expect(want mqtt.Packet) {
	s.t.Helper()
	got, err := s.reader.Read()
	if err != nil {
		s.t.Fatalf("waiting for %#v: %v", want, err)
	}
	if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
		s.t.Fatal(diff)
	}
}

func (s *served) connect() {
	s.t.Helper()
	s.send(&mqtt.Connect{ClientID: "c", Level: 4, CleanSession: true})
	s.expect(&mqtt.Connack{})
	<-s.handler.got
}

func (s *served) ended(want error) {
	s.t.Helper()
	select {
	case err := <-s.done:
		if !errors.Is(err, want) {
			s.t.Errorf("Serve returned %v, want %v", err, want)
		}
	case <-time.After(patience):
		s.t.Fatal("Serve did not return")
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	h := newRecorder()
	s := serve(t, h, mqtt.Options{})
	s.connect()
	for _, p := range []mqtt.Packet{
		&mqtt.Publish{Topic: "t", Payload: []byte("x")},
		&mqtt.Publish{Topic: "t", QoS: 2, ID: 9},
		&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "#", QoS: 1}}},
		&mqtt.Unsubscribe{ID: 2, Filters: []string{"#"}},
		&mqtt.Puback{ID: 3},
	} {
		s.send(p)
		if diff := cmp.Diff(any(p), <-h.got, emptyIsNil); diff != "" {
			t.Error(diff)
		}
	}
	s.send(&mqtt.Pingreq{})
	s.expect(&mqtt.Pingresp{})
	for _, p := range []mqtt.Packet{
		&mqtt.Publish{Topic: "t", Payload: bytes.Repeat([]byte("x"), 100<<10)},
		&mqtt.Suback{ID: 1, Codes: []byte{1}},
	} {
		if err := h.session.Send(p); err != nil {
			t.Fatal(err)
		}
		s.expect(p)
	}
	s.send(&mqtt.Disconnect{})
	s.ended(nil)
	if err := h.session.Send(&mqtt.Puback{ID: 1}); !errors.Is(err, mqtt.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestServeEnds(t *testing.T) {
	t.Parallel()
	mine := errors.New("mine")
	for _, tc := range []struct {
		name    string
		options mqtt.Options
		do      func(s *served)
		want    error
	}{
		{"silence before CONNECT", mqtt.Options{ConnectTimeout: 20 * time.Millisecond}, func(*served) {}, mqtt.ErrSilent},
		{"another packet before CONNECT", mqtt.Options{}, func(s *served) {
			_, _ = s.conn.Write([]byte{0xc0})
		}, mqtt.ErrProtocol},
		{"silence past the keep-alive", mqtt.Options{MaxKeepAlive: 20 * time.Millisecond}, func(s *served) { s.connect() }, mqtt.ErrSilent},
		{"second CONNECT", mqtt.Options{}, func(s *served) {
			s.connect()
			s.send(&mqtt.Connect{Level: 4})
		}, mqtt.ErrProtocol},
		{"server's packet", mqtt.Options{}, func(s *served) {
			s.connect()
			s.send(&mqtt.Pingresp{})
		}, mqtt.ErrProtocol},
		{"malformed packet", mqtt.Options{}, func(s *served) {
			s.connect()
			_, _ = s.conn.Write([]byte{0xf0, 0})
		}, mqtt.ErrMalformed},
		{"packet too large", mqtt.Options{MaxPacket: 100}, func(s *served) {
			s.connect()
			_, _ = s.conn.Write([]byte{0x30, 101})
		}, mqtt.ErrTooLarge},
		{"handler's error", mqtt.Options{}, func(s *served) {
			s.handler.err = mine
			s.connect()
			s.send(&mqtt.Puback{ID: 1})
		}, mine},
		{"Close", mqtt.Options{}, func(s *served) {
			s.connect()
			s.handler.session.Close(mine)
			s.handler.session.Close(errors.New("a later cause"))
		}, mine},
		{"context", mqtt.Options{}, func(s *served) {
			s.connect()
			s.cancel(mine)
		}, mine},
		{"context before CONNECT", mqtt.Options{}, func(s *served) { s.cancel(mine) }, mine},
		{"refused", mqtt.Options{}, func(s *served) {
			s.handler.ack = mqtt.Connack{Code: mqtt.RefusedNotAuthorized, SessionPresent: true}
			s.send(&mqtt.Connect{Level: 4})
			s.expect(&mqtt.Connack{Code: mqtt.RefusedNotAuthorized})
		}, mqtt.ErrRefused},
		{"MQTT 5", mqtt.Options{}, func(s *served) {
			_, _ = s.conn.Write([]byte("\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"))
			s.expect(&mqtt.Connack{Code: mqtt.RefusedVersion})
		}, mqtt.ErrVersion},
		{"nobody reads CONNACK", mqtt.Options{WriteTimeout: 20 * time.Millisecond}, func(s *served) {
			s.send(&mqtt.Connect{Level: 4})
		}, mqtt.ErrStalled},
		{"nobody reads", mqtt.Options{WriteTimeout: 20 * time.Millisecond}, func(s *served) {
			s.connect()
			_ = s.handler.session.Send(&mqtt.Publish{Topic: "t"})
		}, mqtt.ErrStalled},
		{"too much for one who does not read", mqtt.Options{QueuePackets: 8}, func(s *served) {
			s.connect()
			for s.handler.session.Send(&mqtt.Publish{Topic: "t", QoS: 1, ID: 1}) == nil {
			}
		}, mqtt.ErrOverflow},
		{"too many bytes for one who does not read", mqtt.Options{QueueBytes: 1000}, func(s *served) {
			s.connect()
			if err := s.handler.session.Send(&mqtt.Publish{Topic: "t", QoS: 1, ID: 1, Payload: make([]byte, 1000)}); !errors.Is(err, mqtt.ErrOverflow) {
				s.t.Errorf("Send: %v", err)
			}
		}, mqtt.ErrOverflow},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, newRecorder(), tc.options)
			tc.do(s)
			s.ended(tc.want)
		})
	}
}

func TestSessionPresent(t *testing.T) {
	t.Parallel()
	for _, level := range []byte{mqtt.Level31, mqtt.Level311} {
		h := newRecorder()
		h.ack.SessionPresent = true
		s := serve(t, h, mqtt.Options{})
		s.send(&mqtt.Connect{ClientID: "c", Level: level})
		s.expect(&mqtt.Connack{SessionPresent: level == mqtt.Level311}) // MQTT 3.1 has no such flag
	}
}

// A client that goes while it is decided on its CONNECT ends that; what one that stays sends meanwhile
// comes after it.
func TestConnectTakesLong(t *testing.T) {
	t.Parallel()
	t.Run("the client goes", func(t *testing.T) {
		t.Parallel()
		h := newRecorder()
		asked, decided := make(chan struct{}), make(chan error, 1)
		h.ack.Code = mqtt.RefusedUnavailable
		h.decide = func(ctx context.Context) {
			close(asked)
			<-ctx.Done()
			decided <- context.Cause(ctx)
		}
		s := serve(t, h, mqtt.Options{})
		s.send(&mqtt.Connect{ClientID: "c", Level: mqtt.Level311})
		<-asked
		s.conn.Close()
		select {
		case err := <-decided:
			if !errors.Is(err, io.EOF) {
				t.Errorf("it ends with %v", err)
			}
		case <-time.After(patience):
			t.Fatal("it is decided for nobody")
		}
		if err := <-s.done; err == nil {
			t.Error("Serve returned nil")
		}
	})
	t.Run("the client stays", func(t *testing.T) {
		t.Parallel()
		h := newRecorder()
		proceed := make(chan struct{})
		h.decide = func(ctx context.Context) {
			<-proceed
			if ctx.Err() != nil {
				t.Errorf("it ends with %v", context.Cause(ctx))
			}
		}
		s := serve(t, h, mqtt.Options{})
		// The pipe has no buffer: that this is taken says that it is read meanwhile.
		s.send(&mqtt.Connect{ClientID: "c", Level: mqtt.Level311}, &mqtt.Publish{Topic: "early"})
		close(proceed)
		s.expect(&mqtt.Connack{})
		s.send(&mqtt.Publish{Topic: "late"})
		<-h.got // CONNECT
		for _, topic := range []string{"early", "late"} {
			if p, ok := (<-h.got).(*mqtt.Publish); !ok || p.Topic != topic {
				t.Errorf("%+v came, want %s", p, topic)
			}
		}
		s.send(&mqtt.Disconnect{})
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
}

func TestConnackComesFirst(t *testing.T) {
	t.Parallel()
	h := newRecorder()
	h.onStart = func(s *mqtt.Session) { _ = s.Send(&mqtt.Publish{Topic: "early"}) }
	s := serve(t, h, mqtt.Options{})
	s.connect()
	s.expect(&mqtt.Publish{Topic: "early"})
}

func TestDroppable(t *testing.T) {
	t.Parallel()
	h := newRecorder()
	s := serve(t, h, mqtt.Options{QueuePackets: 40})
	s.connect()
	zero, sent := &mqtt.Publish{Topic: "t"}, 0
	for h.session.Send(zero) == nil {
		sent++
	}
	if err := h.session.Send(zero); !errors.Is(err, mqtt.ErrDropped) || sent != 10 {
		t.Errorf("%d QoS 0 messages were queued, then %v; want a quarter of 40", sent, err)
	}
	if err := h.session.Send(&mqtt.Puback{ID: 7}); err != nil {
		t.Errorf("no room was left for an acknowledgement: %v", err)
	}
	for range sent { // the session goes on
		s.expect(zero)
	}
	s.expect(&mqtt.Puback{ID: 7})
	s.send(&mqtt.Disconnect{})
	s.ended(nil)
}

// TestProgressIsEnough has a client that takes a large message slowly, each piece
// in time and the whole far past the write timeout.
func TestProgressIsEnough(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	h := newRecorder()
	s := serve(t, h, mqtt.Options{WriteTimeout: timeout})
	s.connect()
	payload := strings.Repeat("x", 128<<10)
	if err := h.session.Send(&mqtt.Publish{Topic: "t", Payload: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
	pause := time.NewTicker(timeout / 5)
	defer pause.Stop()
	piece, total := make([]byte, 16<<10), 0
	for total < len(payload) {
		n, err := s.conn.Read(piece)
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
		total += n
		<-pause.C
	}
}
