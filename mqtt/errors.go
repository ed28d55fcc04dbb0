package mqtt

import "errors"

var (
	// ErrMalformed is wrapped by the error for bytes that are not an MQTT
	// packet, or a packet that breaks a rule of MQTT 3.1.1.
	ErrMalformed = errors.New("malformed MQTT packet")

	// ErrTooLarge is wrapped by the error for a packet whose announced length
	// is over the limit; it is found before the packet is read.
	ErrTooLarge = errors.New("MQTT packet is too large")

	// ErrVersion is wrapped by the error for a CONNECT of a protocol level
	// that is not spoken, MQTT 5 among them. Serve answers it with CONNACK 1.
	ErrVersion = errors.New("MQTT protocol level is not spoken")

	// ErrProtocol is wrapped by the error for a well-formed packet that has no
	// place where it came: a second CONNECT, a server's packet from a client,
	// a part of QoS 2.
	ErrProtocol = errors.New("MQTT protocol violation")

	// ErrSilent is wrapped by the error for a peer that sent nothing, or not a
	// whole packet, before its deadline.
	ErrSilent = errors.New("MQTT peer was silent past its deadline")

	// ErrStalled is wrapped by the error for a peer that took no bytes for the
	// write timeout.
	ErrStalled = errors.New("MQTT peer stopped reading")

	// ErrOverflow ends a session whose queue is full of packets that may not
	// be dropped.
	ErrOverflow = errors.New("MQTT peer reads too slowly, its queue is full")

	// ErrDropped is returned for a QoS 0 message that found no room in the
	// queue of its receiver. The session goes on.
	ErrDropped = errors.New("MQTT message with QoS 0 dropped, the receiver's queue is full")

	// ErrClosed is returned by sends to a connection that has ended.
	ErrClosed = errors.New("MQTT connection is closed")

	// ErrRefused is wrapped by the error for a CONNECT that was answered with
	// a return code other than Accepted.
	ErrRefused = errors.New("MQTT connection refused")
)
