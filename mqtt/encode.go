package mqtt

import (
	"bytes"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Encode appends a packet to buf. The error says what of the packet cannot be
// said in MQTT; buf may then hold a part of it.
func Encode(buf *bytes.Buffer, p Packet) error {
	pk := packets.Packet{ProtocolVersion: Level311}
	switch p := p.(type) {
	case *Connect:
		return encodeConnect(buf, &pk, p)
	case *Connack:
		pk.FixedHeader.Type = packets.Connack
		pk.SessionPresent, pk.ReasonCode = p.SessionPresent, byte(p.Code)
		return pk.ConnackEncode(buf)
	case *Publish:
		if len(p.Topic) > maxString {
			return fmt.Errorf("topic of %d bytes does not fit into MQTT", len(p.Topic))
		}
		pk.FixedHeader = packets.FixedHeader{Type: packets.Publish, Qos: p.QoS, Dup: p.Dup, Retain: p.Retain}
		pk.TopicName, pk.Payload, pk.PacketID = p.Topic, p.Payload, p.ID
		return pk.PublishEncode(buf)
	case *Puback:
		pk.FixedHeader.Type, pk.PacketID = packets.Puback, p.ID
		return pk.PubackEncode(buf)
	case *Subscribe:
		pk.FixedHeader.Type, pk.FixedHeader.Qos, pk.PacketID = packets.Subscribe, 1, p.ID
		for _, f := range p.Filters {
			if len(f.Filter) > maxString {
				return fmt.Errorf("filter of %d bytes does not fit into MQTT", len(f.Filter))
			}
			pk.Filters = append(pk.Filters, packets.Subscription{Filter: f.Filter, Qos: f.QoS})
		}
		return pk.SubscribeEncode(buf)
	case *Suback:
		pk.FixedHeader.Type, pk.PacketID, pk.ReasonCodes = packets.Suback, p.ID, p.Codes
		return pk.SubackEncode(buf)
	case *Unsubscribe:
		pk.FixedHeader.Type, pk.FixedHeader.Qos, pk.PacketID = packets.Unsubscribe, 1, p.ID
		for _, f := range p.Filters {
			if len(f) > maxString {
				return fmt.Errorf("filter of %d bytes does not fit into MQTT", len(f))
			}
			pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
		}
		return pk.UnsubscribeEncode(buf)
	case *Unsuback:
		pk.FixedHeader.Type, pk.PacketID = packets.Unsuback, p.ID
		return pk.UnsubackEncode(buf)
	case *Pingreq:
		pk.FixedHeader.Type = packets.Pingreq
		return pk.PingreqEncode(buf)
	case *Pingresp:
		pk.FixedHeader.Type = packets.Pingresp
		return pk.PingrespEncode(buf)
	case *Disconnect:
		pk.FixedHeader.Type = packets.Disconnect
		return pk.DisconnectEncode(buf)
	}
	return fmt.Errorf("cannot encode a %T as an MQTT packet", p)
}

// maxString is the longest string that MQTT can carry, in bytes.
const maxString = 65535

func encodeConnect(buf *bytes.Buffer, pk *packets.Packet, p *Connect) error {
	pk.FixedHeader.Type = packets.Connect
	for name, level := range levels {
		if level == p.Level {
			pk.Connect.ProtocolName, pk.ProtocolVersion = []byte(name), level
		}
	}
	if pk.Connect.ProtocolName == nil {
		return fmt.Errorf("%w: level %d", ErrVersion, p.Level)
	}
	seconds := p.KeepAlive / time.Second
	if seconds < 0 || seconds > 65535 {
		return fmt.Errorf("keep-alive of %v does not fit into MQTT", p.KeepAlive)
	}
	for _, s := range []int{len(p.ClientID), len(p.Username), len(p.Password)} {
		if s > maxString {
			return fmt.Errorf("CONNECT with a field of %d bytes does not fit into MQTT", s)
		}
	}
	pk.Connect.ClientIdentifier = p.ClientID
	pk.Connect.Clean = p.CleanSession
	pk.Connect.Keepalive = uint16(seconds)
	pk.Connect.UsernameFlag, pk.Connect.Username = p.HasUsername, []byte(p.Username)
	pk.Connect.PasswordFlag, pk.Connect.Password = p.HasPassword, p.Password
	if w := p.Will; w != nil {
		if len(w.Topic) > maxString || len(w.Payload) > maxString {
			return fmt.Errorf("will of %d bytes does not fit into MQTT", w.weight())
		}
		pk.Connect.WillFlag, pk.Connect.WillQos, pk.Connect.WillRetain = true, w.QoS, w.Retain
		pk.Connect.WillTopic, pk.Connect.WillPayload = w.Topic, w.Payload
	}
	return pk.ConnectEncode(buf)
}
