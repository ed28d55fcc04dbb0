package mqtt_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/mqtt"
)

// wellFormed are packets with their bytes, for both directions.
var wellFormed = []struct {
	name   string
	packet mqtt.Packet
	bytes  string
}{
	{"CONNECT", &mqtt.Connect{ClientID: "id", Level: 4, CleanSession: true, KeepAlive: time.Minute},
		"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id"},
	{"CONNECT of MQTT 3.1", &mqtt.Connect{ClientID: "id", Level: 3},
		"\x10\x10\x00\x06MQIsdp\x03\x00\x00\x00\x00\x02id"},
	{"CONNECT with everything", &mqtt.Connect{ClientID: "id", Level: 4, KeepAlive: 65535 * time.Second,
		HasUsername: true, Username: "u", HasPassword: true, Password: []byte{0, 1},
		Will: &mqtt.Publish{Topic: "w", Payload: []byte("bye"), QoS: 1, Retain: true}},
		"\x10\x1d\x00\x04MQTT\x04\xec\xff\xff\x00\x02id\x00\x01w\x00\x03bye\x00\x01u\x00\x02\x00\x01"},
	{"CONNECT with a user name alone", &mqtt.Connect{Level: 4, CleanSession: true, HasUsername: true},
		"\x10\x0e\x00\x04MQTT\x04\x82\x00\x00\x00\x00\x00\x00"},
	{"CONNECT with an empty will", &mqtt.Connect{Level: 4, CleanSession: true, Will: &mqtt.Publish{Topic: "w"}},
		"\x10\x11\x00\x04MQTT\x04\x06\x00\x00\x00\x00\x00\x01w\x00\x00"},
	{"CONNACK", &mqtt.Connack{SessionPresent: true}, "\x20\x02\x01\x00"},
	{"CONNACK refused", &mqtt.Connack{Code: mqtt.RefusedNotAuthorized}, "\x20\x02\x00\x05"},
	{"PUBLISH", &mqtt.Publish{Topic: "a/b", Payload: []byte("xy")}, "\x30\x07\x00\x03a/bxy"},
	{"PUBLISH with nothing", &mqtt.Publish{Topic: "a"}, "\x30\x03\x00\x01a"},
	{"PUBLISH with QoS 1", &mqtt.Publish{Topic: "a", QoS: 1, ID: 258, Retain: true, Dup: true, Payload: []byte("x")},
		"\x3b\x06\x00\x01a\x01\x02x"},
	{"PUBACK", &mqtt.Puback{ID: 258}, "\x40\x02\x01\x02"},
	{"SUBSCRIBE", &mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "#"}, {Filter: "a/+", QoS: 1}}},
		"\x82\x0c\x00\x01\x00\x01#\x00\x00\x03a/+\x01"},
	{"SUBACK", &mqtt.Suback{ID: 1, Codes: []byte{0, 1, 0x80}}, "\x90\x05\x00\x01\x00\x01\x80"},
	{"UNSUBSCRIBE", &mqtt.Unsubscribe{ID: 1, Filters: []string{"a", "#"}}, "\xa2\x08\x00\x01\x00\x01a\x00\x01#"},
	{"UNSUBACK", &mqtt.Unsuback{ID: 1}, "\xb0\x02\x00\x01"},
	{"PINGREQ", &mqtt.Pingreq{}, "\xc0\x00"},
	{"PINGRESP", &mqtt.Pingresp{}, "\xd0\x00"},
	{"DISCONNECT", &mqtt.Disconnect{}, "\xe0\x00"},
}

var emptyIsNil = cmp.Transformer("emptyIsNil", func(b []byte) string { return string(b) })

func TestPackets(t *testing.T) {
	t.Parallel()
	for _, tc := range wellFormed {
		t.Run(tc.name, func(t *testing.T) {
			var buf bytes.Buffer
			if err := mqtt.Encode(&buf, tc.packet); err != nil || buf.String() != tc.bytes {
				t.Errorf("encoded %q, error %v; want %q", buf.String(), err, tc.bytes)
			}
			got, err := mqtt.NewReader(strings.NewReader(tc.bytes), 0).Read()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.packet, got, emptyIsNil); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("one after the other", func(t *testing.T) {
		var all strings.Builder
		for _, tc := range wellFormed {
			all.WriteString(tc.bytes)
		}
		r := mqtt.NewReader(iotestOneByte{strings.NewReader(all.String())}, 0)
		for _, tc := range wellFormed {
			if _, err := r.Read(); err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
		}
		if _, err := r.Read(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	})
}

// iotestOneByte gives one byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }

func TestMalformedPackets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, bytes string
		want        error
	}{
		{"cut in the length", "\x30", io.ErrUnexpectedEOF},
		{"cut in the body", "\x30\x07\x00\x03a/b", io.ErrUnexpectedEOF},
		{"length of five bytes", "\x30\x80\x80\x80\x80\x00", mqtt.ErrMalformed},
		{"announced too large", "\x30\x81\x80\x10", mqtt.ErrTooLarge},
		{"largest length", "\x10\xff\xff\xff\x7f", mqtt.ErrTooLarge},
		{"SUBSCRIBE too large", "\x82\x81\x80\x04", mqtt.ErrTooLarge},
		{"type 0", "\x00\x00", mqtt.ErrMalformed},
		{"type 15", "\xf0\x00", mqtt.ErrMalformed},
		{"flags of CONNECT", "\x11\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", mqtt.ErrMalformed},
		{"flags of SUBSCRIBE", "\x80\x06\x00\x01\x00\x01#\x00", mqtt.ErrMalformed},
		{"QoS 3", "\x36\x05\x00\x01a\x00\x01", mqtt.ErrMalformed},
		{"DUP with QoS 0", "\x38\x03\x00\x01a", mqtt.ErrMalformed},
		{"empty CONNECT", "\x10\x00", mqtt.ErrMalformed},
		{"protocol name past the end", "\x10\x06\xff\xffMQTT", mqtt.ErrMalformed},
		{"unknown protocol", "\x10\x0c\x00\x04MQXX\x04\x02\x00\x00\x00\x00", mqtt.ErrMalformed},
		{"MQTT 5", "\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00", mqtt.ErrVersion},
		{"MQTT of level 3", "\x10\x0c\x00\x04MQTT\x03\x02\x00\x00\x00\x00", mqtt.ErrVersion},
		{"MQIsdp of level 4", "\x10\x0e\x00\x06MQIsdp\x04\x02\x00\x00\x00\x00", mqtt.ErrVersion},
		{"reserved flag", "\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", mqtt.ErrMalformed},
		{"CONNECT without client id", "\x10\x0a\x00\x04MQTT\x04\x02\x00\x00", mqtt.ErrMalformed},
		{"client id not UTF-8", "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\xff", mqtt.ErrMalformed},
		{"client id with U+0000", "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\x00", mqtt.ErrMalformed},
		{"bytes after CONNECT", "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x00x", mqtt.ErrMalformed},
		{"password without user name", "\x10\x0e\x00\x04MQTT\x04\x42\x00\x00\x00\x00\x00\x00", mqtt.ErrMalformed},
		{"will QoS without will", "\x10\x0c\x00\x04MQTT\x04\x0a\x00\x00\x00\x00", mqtt.ErrMalformed},
		{"will retain without will", "\x10\x0c\x00\x04MQTT\x04\x22\x00\x00\x00\x00", mqtt.ErrMalformed},
		{"will QoS 3", "\x10\x11\x00\x04MQTT\x04\x1e\x00\x00\x00\x00\x00\x01w\x00\x00", mqtt.ErrMalformed},
		{"will without topic", "\x10\x10\x00\x04MQTT\x04\x06\x00\x00\x00\x00\x00\x00\x00\x00", mqtt.ErrMalformed},
		{"will to a filter", "\x10\x11\x00\x04MQTT\x04\x06\x00\x00\x00\x00\x00\x01#\x00\x00", mqtt.ErrMalformed},
		{"user name missing", "\x10\x0c\x00\x04MQTT\x04\x82\x00\x00\x00\x00", mqtt.ErrMalformed},
		{"user name not UTF-8", "\x10\x0f\x00\x04MQTT\x04\x82\x00\x00\x00\x00\x00\x01\xff", mqtt.ErrMalformed},
		{"CONNACK of one byte", "\x20\x01\x00", mqtt.ErrMalformed},
		{"CONNACK with flags", "\x20\x02\x02\x00", mqtt.ErrMalformed},
		{"topic past the end", "\x30\x03\x00\x05a", mqtt.ErrMalformed},
		{"topic empty", "\x30\x03\x00\x00x", mqtt.ErrMalformed},
		{"topic with +", "\x30\x03\x00\x01+", mqtt.ErrMalformed},
		{"topic with #", "\x30\x05\x00\x03a/#", mqtt.ErrMalformed},
		{"topic not UTF-8", "\x30\x03\x00\x01\xc0", mqtt.ErrMalformed},
		{"topic with U+0000", "\x30\x03\x00\x01\x00", mqtt.ErrMalformed},
		{"no packet identifier", "\x32\x03\x00\x01a", mqtt.ErrMalformed},
		{"packet identifier 0", "\x32\x05\x00\x01a\x00\x00", mqtt.ErrMalformed},
		{"PUBACK of 3 bytes", "\x40\x03\x00\x01\x00", mqtt.ErrMalformed},
		{"PUBACK of nothing", "\x40\x02\x00\x00", mqtt.ErrMalformed},
		{"PUBREC", "\x50\x02\x00\x01", mqtt.ErrProtocol},
		{"PUBREL", "\x62\x02\x00\x01", mqtt.ErrProtocol},
		{"PUBCOMP", "\x70\x02\x00\x01", mqtt.ErrProtocol},
		{"SUBSCRIBE to nothing", "\x82\x02\x00\x01", mqtt.ErrMalformed},
		{"SUBSCRIBE to an empty filter", "\x82\x05\x00\x01\x00\x00\x00", mqtt.ErrMalformed},
		{"SUBSCRIBE with QoS 3", "\x82\x06\x00\x01\x00\x01#\x03", mqtt.ErrMalformed},
		{"SUBSCRIBE without QoS", "\x82\x05\x00\x01\x00\x01#", mqtt.ErrMalformed},
		{"SUBSCRIBE 0", "\x82\x06\x00\x00\x00\x01#\x00", mqtt.ErrMalformed},
		{"SUBACK with code 3", "\x90\x03\x00\x01\x03", mqtt.ErrMalformed},
		{"SUBACK to nothing", "\x90\x02\x00\x01", mqtt.ErrMalformed},
		{"UNSUBSCRIBE from nothing", "\xa2\x02\x00\x01", mqtt.ErrMalformed},
		{"UNSUBSCRIBE 0", "\xa2\x05\x00\x00\x00\x01#", mqtt.ErrMalformed},
		{"PINGREQ with a body", "\xc0\x01x", mqtt.ErrMalformed},
		{"DISCONNECT with a body", "\xe0\x01x", mqtt.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if p, err := mqtt.NewReader(strings.NewReader(tc.bytes), 0).Read(); !errors.Is(err, tc.want) {
				t.Errorf("got %#v, error %v; want %v", p, err, tc.want)
			}
		})
	}
}

func TestAnnouncedBytesCostNothing(t *testing.T) {
	// 256 KiB are announced, within the limit, and nothing is sent.
	r := strings.NewReader("")
	allocated := testing.AllocsPerRun(10, func() {
		r.Reset("\x10\x80\x80\x10")
		if _, err := mqtt.NewReader(r, 0).Read(); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	})
	if allocated > 6 {
		t.Errorf("%v allocations", allocated)
	}
	var before, after uint64
	before = allocatedBytes(func() {})
	after = allocatedBytes(func() {
		r.Reset("\x10\x80\x80\x10")
		_, _ = mqtt.NewReader(r, 0).Read()
	})
	if n := after - before; n > 32<<10 {
		t.Errorf("%d bytes were allocated for a packet of which nothing came", n)
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65536)
	for name, p := range map[string]mqtt.Packet{
		"topic too long":         &mqtt.Publish{Topic: long},
		"filter too long":        &mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: long}}},
		"other filter too long":  &mqtt.Unsubscribe{ID: 1, Filters: []string{long}},
		"client id too long":     &mqtt.Connect{Level: 4, ClientID: long},
		"will too long":          &mqtt.Connect{Level: 4, Will: &mqtt.Publish{Topic: "w", Payload: []byte(long)}},
		"keep-alive too long":    &mqtt.Connect{Level: 4, KeepAlive: 65536 * time.Second},
		"level":                  &mqtt.Connect{Level: 5},
		"QoS 1 without an id":    &mqtt.Publish{Topic: "t", QoS: 1},
		"SUBSCRIBE without id":   &mqtt.Subscribe{Filters: []mqtt.Subscription{{Filter: "t"}}},
		"UNSUBSCRIBE without id": &mqtt.Unsubscribe{Filters: []string{"t"}},
		"nothing":                nil,
	} {
		t.Run(name, func(t *testing.T) {
			if err := mqtt.Encode(new(bytes.Buffer), p); err == nil {
				t.Error("encoded")
			}
		})
	}
}

// FuzzReader feeds what anybody may send. Whatever is read as a packet must
// come out the same after being written.
func FuzzReader(f *testing.F) {
	for _, tc := range wellFormed {
		f.Add([]byte(tc.bytes))
	}
	f.Add([]byte("\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x30\x80\x80\x80\x80\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := mqtt.NewReader(bytes.NewReader(data), 4096)
		for {
			p, err := r.Read()
			if err != nil {
				return
			}
			var buf bytes.Buffer
			if err := mqtt.Encode(&buf, p); err != nil {
				t.Fatalf("%#v was read and cannot be written: %v", p, err)
			}
			again, err := mqtt.NewReader(&buf, 4096).Read()
			if err != nil {
				t.Fatalf("%#v was read, written and not read again: %v", p, err)
			}
			if diff := cmp.Diff(p, again, emptyIsNil); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
