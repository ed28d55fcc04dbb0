package mqtt

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// bodyless are the packets that consist of their fixed header alone.
var bodyless = map[byte]Packet{
	packets.Pingreq:    &Pingreq{},
	packets.Pingresp:   &Pingresp{},
	packets.Disconnect: &Disconnect{},
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// decodeHeader reads the first byte of a packet.
func decodeHeader(first byte) (packets.FixedHeader, error) {
	var h packets.FixedHeader
	if err := h.Decode(first); err != nil {
		return h, malformed("fixed header: %v", err)
	}
	if h.Type < packets.Connect || h.Type > packets.Disconnect {
		return h, malformed("packet type %d", h.Type)
	}
	return h, nil
}

// decode makes a packet of its header and what follows it. The codec's strings
// lie in body, which therefore belongs to the packet.
func decode(header packets.FixedHeader, body []byte) (Packet, error) {
	pk := packets.Packet{ProtocolVersion: Level311, FixedHeader: header}
	pk.FixedHeader.Remaining = len(body)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return decodeConnect(&pk, body)
	case packets.Connack:
		return decodeConnack(&pk, body)
	case packets.Publish:
		return decodePublish(&pk, body)
	case packets.Puback, packets.Unsuback:
		return decodeAck(&pk, body)
	case packets.Subscribe:
		return decodeSubscribe(&pk, body)
	case packets.Suback:
		return decodeSuback(&pk, body)
	case packets.Unsubscribe:
		return decodeUnsubscribe(&pk, body)
	case packets.Pingreq, packets.Pingresp, packets.Disconnect:
		if len(body) != 0 {
			return nil, malformed("%s with a body", packets.PacketNames[pk.FixedHeader.Type])
		}
		return bodyless[pk.FixedHeader.Type], nil
	}
	return nil, fmt.Errorf("%w: QoS 2 is not spoken", ErrProtocol)
}

// levels are the protocol names with the level that each is spoken at.
var levels = map[string]byte{"MQTT": Level311, "MQIsdp": Level31}

func decodeConnect(pk *packets.Packet, body []byte) (Packet, error) {
	// The level decides how the rest is to be read, so it is looked at first:
	// what follows it in an MQTT 5 packet is never parsed.
	if len(body) < 2 {
		return nil, malformed("CONNECT without a protocol name")
	}
	n := int(body[0])<<8 | int(body[1])
	if len(body) < 2+n+2 {
		return nil, malformed("CONNECT is cut short")
	}
	level, known := levels[string(body[2:2+n])]
	if !known {
		return nil, malformed("CONNECT with an unknown protocol name")
	}
	if got := body[2+n]; got != level {
		return nil, fmt.Errorf("%w: level %d", ErrVersion, got)
	}
	if body[2+n+1]&1 != 0 {
		return nil, malformed("CONNECT with its reserved flag set")
	}
	if err := pk.ConnectDecode(body); err != nil {
		return nil, malformed("CONNECT: %v", err)
	}
	c := &pk.Connect
	out := &Connect{
		ClientID:     strings.Clone(c.ClientIdentifier),
		Level:        level,
		CleanSession: c.Clean,
		KeepAlive:    time.Duration(c.Keepalive) * time.Second,
		HasUsername:  c.UsernameFlag,
		Username:     string(c.Username),
		HasPassword:  c.PasswordFlag,
		Password:     bytes.Clone(c.Password),
	}
	size := 2 + n + 1 + 1 + 2 + 2 + len(c.ClientIdentifier)
	switch {
	case c.PasswordFlag && !c.UsernameFlag:
		return nil, malformed("CONNECT with a password and no user name")
	case !c.WillFlag && (c.WillQos != 0 || c.WillRetain):
		return nil, malformed("CONNECT with will flags and no will")
	case !utf8.Valid(c.Username) || bytes.IndexByte(c.Username, 0) >= 0:
		return nil, malformed("CONNECT with a user name that is not UTF-8")
	}
	if c.WillFlag {
		if c.WillQos > 2 {
			return nil, malformed("CONNECT with will QoS 3")
		}
		if err := checkTopic(c.WillTopic); err != nil {
			return nil, err
		}
		out.Will = &Publish{
			Topic: strings.Clone(c.WillTopic), Payload: bytes.Clone(c.WillPayload),
			QoS: c.WillQos, Retain: c.WillRetain,
		}
		size += 2 + len(c.WillTopic) + 2 + len(c.WillPayload)
	}
	if c.UsernameFlag {
		size += 2 + len(c.Username)
	}
	if c.PasswordFlag {
		size += 2 + len(c.Password)
	}
	if size != len(body) {
		return nil, malformed("CONNECT with %d bytes too many", len(body)-size)
	}
	return out, nil
}

func decodeConnack(pk *packets.Packet, body []byte) (Packet, error) {
	if len(body) != 2 || body[0] > 1 {
		return nil, malformed("CONNACK")
	}
	if err := pk.ConnackDecode(body); err != nil {
		return nil, malformed("CONNACK: %v", err)
	}
	return &Connack{SessionPresent: pk.SessionPresent, Code: ConnackCode(pk.ReasonCode)}, nil
}

func decodePublish(pk *packets.Packet, body []byte) (Packet, error) {
	if err := pk.PublishDecode(body); err != nil {
		return nil, malformed("PUBLISH: %v", err)
	}
	if err := checkTopic(pk.TopicName); err != nil {
		return nil, err
	}
	if pk.FixedHeader.Qos > 0 && pk.PacketID == 0 {
		return nil, malformed("PUBLISH with packet identifier 0")
	}
	return &Publish{
		Topic: pk.TopicName, Payload: pk.Payload, ID: pk.PacketID,
		QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain, Dup: pk.FixedHeader.Dup,
	}, nil
}

// checkTopic checks what MQTT asks of the topic of a message (4.7); the codec
// has checked the UTF-8.
func checkTopic(topic string) error {
	if topic == "" || strings.ContainsAny(topic, "+#") {
		return malformed("topic %.64q of a message is empty or has a wildcard", topic)
	}
	return nil
}

func decodeAck(pk *packets.Packet, body []byte) (Packet, error) {
	name := packets.PacketNames[pk.FixedHeader.Type]
	if len(body) != 2 {
		return nil, malformed("%s of %d bytes", name, len(body))
	}
	id := uint16(body[0])<<8 | uint16(body[1])
	if id == 0 {
		return nil, malformed("%s with packet identifier 0", name)
	}
	if pk.FixedHeader.Type == packets.Unsuback {
		return &Unsuback{ID: id}, nil
	}
	return &Puback{ID: id}, nil
}

func decodeSubscribe(pk *packets.Packet, body []byte) (Packet, error) {
	if err := pk.SubscribeDecode(body); err != nil {
		return nil, malformed("SUBSCRIBE: %v", err)
	}
	if pk.PacketID == 0 || len(pk.Filters) == 0 {
		return nil, malformed("SUBSCRIBE without packet identifier or filters")
	}
	out := &Subscribe{ID: pk.PacketID, Filters: make([]Subscription, len(pk.Filters))}
	for i, f := range pk.Filters {
		if f.Filter == "" {
			return nil, malformed("SUBSCRIBE with an empty filter")
		}
		out.Filters[i] = Subscription{Filter: strings.Clone(f.Filter), QoS: f.Qos}
	}
	return out, nil
}

func decodeSuback(pk *packets.Packet, body []byte) (Packet, error) {
	if err := pk.SubackDecode(body); err != nil {
		return nil, malformed("SUBACK: %v", err)
	}
	if pk.PacketID == 0 || len(pk.ReasonCodes) == 0 {
		return nil, malformed("SUBACK without packet identifier or codes")
	}
	for _, c := range pk.ReasonCodes {
		if c > 2 && c != SubackFailure {
			return nil, malformed("SUBACK with code %#x", c)
		}
	}
	return &Suback{ID: pk.PacketID, Codes: pk.ReasonCodes}, nil
}

func decodeUnsubscribe(pk *packets.Packet, body []byte) (Packet, error) {
	if err := pk.UnsubscribeDecode(body); err != nil {
		return nil, malformed("UNSUBSCRIBE: %v", err)
	}
	if pk.PacketID == 0 || len(pk.Filters) == 0 {
		return nil, malformed("UNSUBSCRIBE without packet identifier or filters")
	}
	out := &Unsubscribe{ID: pk.PacketID, Filters: make([]string, len(pk.Filters))}
	for i, f := range pk.Filters {
		if f.Filter == "" {
			return nil, malformed("UNSUBSCRIBE with an empty filter")
		}
		out.Filters[i] = strings.Clone(f.Filter)
	}
	return out, nil
}
