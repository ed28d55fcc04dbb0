package mqtt_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/mqtt"
)

// open connects a Client with a served recorder.
func open(t *testing.T, h *recorder, o mqtt.Options) (*mqtt.Client, mqtt.Connack, error) {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- mqtt.Serve(context.Background(), server, h, mqtt.Options{}) }()
	cl, ack, err := mqtt.Open(context.Background(), client, &mqtt.Connect{ClientID: "c", Level: 4}, o)
	t.Cleanup(func() {
		if cl != nil {
			cl.Close()
		}
		<-done
	})
	return cl, ack, err
}

func TestClient(t *testing.T) {
	t.Parallel()
	h := newRecorder()
	h.ack.SessionPresent = true
	cl, ack, err := open(t, h, mqtt.Options{})
	if err != nil || !ack.SessionPresent {
		t.Fatalf("CONNACK %+v, error %v", ack, err)
	}
	<-h.got
	for i := range 100 {
		if err := cl.Send(&mqtt.Puback{ID: uint16(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.session.Send(&mqtt.Publish{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if p, err := cl.Read(); err != nil || p.(*mqtt.Publish).Topic != "t" {
		t.Errorf("read %#v, error %v", p, err)
	}
	cl.Disconnect(patience)
	if _, err := cl.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("after DISCONNECT: %v", err)
	}
	for i := range 100 { // all was written before DISCONNECT
		if p := <-h.got; p.(*mqtt.Puback).ID != uint16(i+1) {
			t.Fatalf("packet %d: %#v", i, p)
		}
	}
	if err := cl.Send(&mqtt.Puback{ID: 1}); !errors.Is(err, mqtt.ErrClosed) {
		t.Errorf("Send after DISCONNECT: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	t.Run("refused", func(t *testing.T) {
		h := newRecorder()
		h.ack.Code = mqtt.RefusedUnavailable
		_, ack, err := open(t, h, mqtt.Options{})
		if !errors.Is(err, mqtt.ErrRefused) || ack.Code != mqtt.RefusedUnavailable {
			t.Errorf("CONNACK %+v, error %v", ack, err)
		}
	})
	answer := func(data string) net.Conn {
		client, server := net.Pipe()
		go func() {
			buf := make([]byte, 100)
			_, _ = server.Read(buf)
			_, _ = io.WriteString(server, data)
			_, _ = io.Copy(io.Discard, server)
		}()
		t.Cleanup(func() { server.Close() })
		return client
	}
	connect := &mqtt.Connect{Level: 4, ClientID: "c"}
	t.Run("no answer", func(t *testing.T) {
		_, _, err := mqtt.Open(context.Background(), answer(""), connect, mqtt.Options{ConnectTimeout: 20 * time.Millisecond})
		if !errors.Is(err, mqtt.ErrSilent) {
			t.Error(err)
		}
	})
	t.Run("another answer", func(t *testing.T) {
		_, _, err := mqtt.Open(context.Background(), answer("\xd0\x00"), connect, mqtt.Options{})
		if !errors.Is(err, mqtt.ErrProtocol) {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, _, err := mqtt.Open(ctx, answer(""), connect, mqtt.Options{}); err == nil {
			t.Error("opened")
		}
	})
}

func TestClientQueue(t *testing.T) {
	t.Parallel()
	mute := func(t *testing.T, o mqtt.Options) (*mqtt.Client, net.Conn) {
		client, server := net.Pipe()
		go func() {
			buf := make([]byte, 100)
			_, _ = server.Read(buf)
			_, _ = server.Write([]byte{0x20, 2, 0, 0})
		}()
		cl, _, err := mqtt.Open(context.Background(), client, &mqtt.Connect{Level: 4}, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cl.Close()
			server.Close()
		})
		return cl, server
	}
	t.Run("Send waits for room", func(t *testing.T) {
		cl, server := mute(t, mqtt.Options{QueuePackets: 4})
		var sender sync.WaitGroup
		sender.Go(func() {
			for i := range 50 {
				if err := cl.Send(&mqtt.Puback{ID: uint16(i + 1)}); err != nil {
					t.Error(err)
				}
			}
		})
		r := mqtt.NewReader(server, 0)
		for i := range 50 {
			if p, err := r.Read(); err != nil || p.(*mqtt.Puback).ID != uint16(i+1) {
				t.Fatalf("packet %d: %#v, error %v", i, p, err)
			}
		}
		sender.Wait()
	})
	t.Run("Close releases who waits", func(t *testing.T) {
		cl, _ := mute(t, mqtt.Options{QueuePackets: 2})
		failed := make(chan error)
		go func() {
			var err error
			for err == nil {
				err = cl.Send(&mqtt.Puback{ID: 1})
			}
			failed <- err
		}()
		time.AfterFunc(10*time.Millisecond, cl.Close)
		if err := <-failed; !errors.Is(err, mqtt.ErrClosed) {
			t.Error(err)
		}
		if _, err := cl.Read(); !errors.Is(err, mqtt.ErrClosed) {
			t.Error(err)
		}
	})
	t.Run("Offer never waits", func(t *testing.T) {
		cl, _ := mute(t, mqtt.Options{QueuePackets: 2})
		var err error
		for err == nil {
			err = cl.Offer(&mqtt.Puback{ID: 1})
		}
		if !errors.Is(err, mqtt.ErrOverflow) {
			t.Error(err)
		}
		if _, err := cl.Read(); !errors.Is(err, mqtt.ErrOverflow) {
			t.Error(err)
		}
	})
}

// TestClientEnds: what a server may not send ends the connection at the client. The
// numbers are those of MQTT 3.1.1, appendix B.
func TestClientEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		statement, name, bytes string
		want                   error
	}{
		{"2.2.2-2", "flags of CONNACK", "\x21\x02\x00\x00", mqtt.ErrMalformed},
		{"2.2.2-2", "flags of PUBACK", "\x42\x02\x00\x01", mqtt.ErrMalformed},
		{"2.2.2-2", "flags of SUBACK", "\x91\x03\x00\x01\x00", mqtt.ErrMalformed},
		{"2.2.2-2", "flags of PINGRESP", "\xd8\x00", mqtt.ErrMalformed},
		{"1.5.3-1", "a topic that is not UTF-8", "\x30\x03\x00\x01\xff", mqtt.ErrMalformed},
		{"1.5.3-2", "a topic with U+0000", "\x30\x03\x00\x01\x00", mqtt.ErrMalformed},
		{"2.3.1-4", "a message with QoS 1 and identifier 0", "\x32\x05\x00\x01t\x00\x00", mqtt.ErrMalformed},
		{"2.3.1-7", "SUBACK with identifier 0", "\x90\x03\x00\x00\x00", mqtt.ErrMalformed},
		{"2.3.1-7", "UNSUBACK with identifier 0", "\xb0\x02\x00\x00", mqtt.ErrMalformed},
		{"3.3.1-2", "DUP with QoS 0", "\x38\x03\x00\x01t", mqtt.ErrMalformed},
		{"3.3.1-4", "QoS 3", "\x36\x05\x00\x01t\x00\x01", mqtt.ErrMalformed},
		{"3.3.2-2", "a topic with a wildcard", "\x30\x03\x00\x01+", mqtt.ErrMalformed},
		{"3.9.3-2", "SUBACK with code 3", "\x90\x03\x00\x01\x03", mqtt.ErrMalformed},
		{"3.8.4-5", "SUBACK without codes", "\x90\x02\x00\x01", mqtt.ErrMalformed},
		{"4.3.3-1", "PUBREC", "\x50\x02\x00\x01", mqtt.ErrProtocol},
		{"4.8.0-1", "PINGRESP with a body", "\xd0\x01x", mqtt.ErrMalformed},
		{"4.8.0-1", "a packet that is too large", "\x30\xff\xff\xff\x7f", mqtt.ErrTooLarge},
	} {
		t.Run(tc.statement+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			client, server := net.Pipe()
			t.Cleanup(func() { server.Close() })
			go func() {
				_, _ = mqtt.NewReader(server, 0).Read()
				_, _ = io.WriteString(server, "\x20\x02\x00\x00"+tc.bytes)
			}()
			cl, _, err := mqtt.Open(context.Background(), client, &mqtt.Connect{Level: 4, ClientID: "c"}, mqtt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			if p, err := cl.Read(); !errors.Is(err, tc.want) {
				t.Errorf("got %#v, error %v; want %v", p, err, tc.want)
			}
		})
	}
	for statement, answer := range map[string]string{
		"3.2.0-1, another packet comes first": "\x30\x03\x00\x01t",
		"3.2.2-4, bits of CONNACK that are 0": "\x20\x02\x02\x00",
	} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			client, server := net.Pipe()
			t.Cleanup(func() { server.Close() })
			go func() {
				_, _ = mqtt.NewReader(server, 0).Read()
				_, _ = io.WriteString(server, answer)
			}()
			if _, _, err := mqtt.Open(context.Background(), client, &mqtt.Connect{Level: 4, ClientID: "c"}, mqtt.Options{}); err == nil {
				t.Error("it connects")
			}
		})
	}
}
