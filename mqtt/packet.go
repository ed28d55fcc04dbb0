package mqtt

import "time"

// Protocol levels of CONNECT that are spoken.
const (
	Level31  byte = 3 // MQTT 3.1, protocol name "MQIsdp"
	Level311 byte = 4 // MQTT 3.1.1, protocol name "MQTT"
)

// ConnackCode is the return code of a CONNACK (MQTT 3.1.1, 3.2.2.3).
type ConnackCode byte

// The return codes that MQTT 3.1.1 defines.
const (
	Accepted             ConnackCode = 0
	RefusedVersion       ConnackCode = 1
	RefusedIdentifier    ConnackCode = 2
	RefusedUnavailable   ConnackCode = 3
	RefusedCredentials   ConnackCode = 4
	RefusedNotAuthorized ConnackCode = 5
)

// SubackFailure is the SUBACK code of a filter that was refused.
const SubackFailure byte = 0x80

// Packet is one of the packet types of this file, always as a pointer.
type Packet interface {
	// weight is about how many bytes the packet keeps in memory while it
	// waits in a queue.
	weight() int
}

// Connect asks for a session.
type Connect struct {
	ClientID string
	// Level is Level31 or Level311.
	Level        byte
	CleanSession bool
	// KeepAlive is the longest silence that the client promises, in whole
	// seconds up to 65535; 0 promises nothing.
	KeepAlive time.Duration
	// HasUsername distinguishes an absent user name from an empty one. A user name
	// without a password is legal.
	HasUsername bool
	Username    string
	HasPassword bool
	Password    []byte
	// Will is the message to publish when the connection ends without a
	// DISCONNECT; nil when there is none.
	Will *Publish
}

// Connack answers a Connect.
type Connack struct {
	// SessionPresent must be false unless Code is Accepted.
	SessionPresent bool
	Code           ConnackCode
}

// Publish carries a message. It is shared between queues and never changed once
// it was sent.
type Publish struct {
	Topic   string
	Payload []byte
	// QoS is 0 or 1; a Reader also lets 2 through, for the handler to refuse.
	QoS    byte
	Retain bool
	Dup    bool
	// ID is the packet identifier; 0 when QoS is 0.
	ID uint16
}

// Puback acknowledges a Publish with QoS 1.
type Puback struct{ ID uint16 }

// Subscription is one filter of a Subscribe.
type Subscription struct {
	Filter string
	QoS    byte
}

// Subscribe asks for messages. It has at least one filter.
type Subscribe struct {
	ID      uint16
	Filters []Subscription
}

// Suback answers a Subscribe with one code for each filter: the granted QoS or
// SubackFailure.
type Suback struct {
	ID    uint16
	Codes []byte
}

// Unsubscribe gives filters up. It has at least one.
type Unsubscribe struct {
	ID      uint16
	Filters []string
}

// Unsuback answers an Unsubscribe.
type Unsuback struct{ ID uint16 }

// Pingreq asks for a sign of life.
type Pingreq struct{}

// Pingresp answers a Pingreq.
type Pingresp struct{}

// Disconnect ends a session in peace: no will is published.
type Disconnect struct{}

// packetOverhead is about what a queued packet costs beside its contents.
const packetOverhead = 64

func (*Connect) weight() int    { return packetOverhead }
func (*Connack) weight() int    { return packetOverhead }
func (p *Publish) weight() int  { return packetOverhead + len(p.Topic) + len(p.Payload) }
func (*Puback) weight() int     { return packetOverhead }
func (p *Suback) weight() int   { return packetOverhead + len(p.Codes) }
func (*Unsuback) weight() int   { return packetOverhead }
func (*Pingreq) weight() int    { return packetOverhead }
func (*Pingresp) weight() int   { return packetOverhead }
func (*Disconnect) weight() int { return packetOverhead }

func (p *Subscribe) weight() int {
	n := packetOverhead
	for _, f := range p.Filters {
		n += packetOverhead + len(f.Filter)
	}
	return n
}

func (p *Unsubscribe) weight() int {
	n := packetOverhead
	for _, f := range p.Filters {
		n += packetOverhead + len(f)
	}
	return n
}
