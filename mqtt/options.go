package mqtt

import "time"

// Options are the limits of one connection. Zero fields take the defaults.
type Options struct {
	// ConnectTimeout is how long a connection may exist before its CONNECT
	// (Serve) or CONNACK (Open) has come; default 10 s.
	ConnectTimeout time.Duration
	// WriteTimeout is how long a peer may take no bytes; default 10 s.
	WriteTimeout time.Duration
	// MaxKeepAlive takes the place of a keep-alive of 0 or a longer one;
	// default 1200 s, the most that AWS IoT Core allows. A client is cut off
	// after one and a half times its keep-alive.
	MaxKeepAlive time.Duration
	// MaxPacket is the largest packet accepted, in bytes after the fixed
	// header; default DefaultMaxPacket.
	MaxPacket int
	// QueuePackets bounds what waits to be written to the peer; default 8192.
	// QoS 0 messages may use a quarter of it.
	QueuePackets int
	// QueueBytes bounds the same in bytes; default 16 MiB. QoS 0 messages may
	// use a quarter of it.
	QueueBytes int
}

func (o Options) withDefaults() Options {
	o.ConnectTimeout = orDefault(o.ConnectTimeout, 10*time.Second)
	o.WriteTimeout = orDefault(o.WriteTimeout, 10*time.Second)
	o.MaxKeepAlive = orDefault(o.MaxKeepAlive, 1200*time.Second)
	o.MaxPacket = orDefault(o.MaxPacket, DefaultMaxPacket)
	o.QueuePackets = orDefault(o.QueuePackets, 8192)
	o.QueueBytes = orDefault(o.QueueBytes, 16<<20)
	return o
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
