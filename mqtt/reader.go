package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// DefaultMaxPacket is the largest packet accepted when Options say
	// nothing: 256 KiB after the fixed header, twice the largest payload of
	// AWS IoT Core.
	DefaultMaxPacket = 256 << 10

	// maxFilterPacket limits SUBSCRIBE and UNSUBSCRIBE, whose decoded form
	// takes many times the memory of their bytes.
	maxFilterPacket = 64 << 10

	// readStep is what is allocated for a packet before any of it has come.
	readStep = 4 << 10

	// readAhead is how much is read at once of what has come: an idle connection keeps
	// that much.
	readAhead = 1 << 10
)

// Reader reads packets from a stream. It is used by one goroutine.
type Reader struct {
	r   *bufio.Reader
	max int
	// watched has the end of a watch that still goes on, nil for none.
	watched <-chan error
}

// NewReader makes a reader that refuses packets with more than max bytes after
// the fixed header; 0 stands for DefaultMaxPacket.
func NewReader(r io.Reader, max int) *Reader {
	if max <= 0 {
		max = DefaultMaxPacket
	}
	return &Reader{r: bufio.NewReaderSize(r, readAhead), max: max}
}

// Read returns the next packet. The packet owns its memory. The error is io.EOF
// when the stream ended between packets, and wraps ErrMalformed, ErrTooLarge,
// ErrVersion, ErrProtocol or the stream's own error otherwise; the reader is of
// no use after any of them.
func (r *Reader) Read() (Packet, error) {
	if r.watched != nil {
		err := <-r.watched
		if r.watched = nil; err != nil {
			return nil, err
		}
	}
	first, err := r.r.ReadByte()
	if err != nil {
		return nil, err
	}
	header, err := decodeHeader(first)
	if err != nil {
		return nil, err
	}
	size, err := r.length()
	if err != nil {
		return nil, err
	}
	limit := r.max
	if t := header.Type; t == packets.Subscribe || t == packets.Unsubscribe {
		limit = min(limit, maxFilterPacket)
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrTooLarge, size, limit)
	}
	body, err := r.body(size)
	if err != nil {
		return nil, err
	}
	return decode(header, body)
}

// startsWithConnect reports whether the next packet is a CONNECT, before any of it but its
// first byte is there.
func (r *Reader) startsWithConnect() (bool, error) {
	first, err := r.r.Peek(1)
	if err != nil {
		return false, err
	}
	return first[0] == packets.Connect<<4, nil
}

// watch waits until more of the stream is there, or it has ended.
func (r *Reader) watch() error {
	_, err := r.r.Peek(1)
	return err
}

// length reads the remaining length: at most four bytes (MQTT 3.1.1, 2.2.3).
func (r *Reader) length() (int, error) {
	n := 0
	for i := range 4 {
		b, err := r.r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		n |= int(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: remaining length of more than four bytes", ErrMalformed)
}

// body reads size bytes. Memory grows with what has come, so that announcing a
// large packet and sending none of it costs nothing.
func (r *Reader) body(size int) ([]byte, error) {
	buf := make([]byte, min(size, readStep))
	for have := 0; ; {
		n, err := io.ReadFull(r.r, buf[have:])
		if err != nil {
			return nil, unexpected(err)
		}
		if have += n; have == size {
			return buf, nil
		}
		grown := make([]byte, min(size, 4*have))
		copy(grown, buf)
		buf = grown
	}
}

// unexpected turns the end of a stream inside a packet into an error of its own.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
