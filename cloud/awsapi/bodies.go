package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/inbound"
)

// Bounds of bodies, in bytes where nothing else is said.
const (
	// smallBody is read before it is known what its sender may do: that costs less
	// than to find it out twice.
	smallBody = 64 << 10
	// memoryBody is how much of a body is kept in memory; what is larger goes to
	// a file.
	memoryBody = DefaultMaxBody
	// memoryStep is how much memory a body takes at a time, as it comes.
	memoryStep = 64 << 10

	// A spool that is not free is waited for, by so many of a holder.
	spoolWaiters = 32
)

// portion is how much of something one holder may have, and all together.
type portion struct{ one, all int64 }

// bodyPool is what the bodies of one kind of holders take of the server: those of
// keys that are proven to have signed, or those of addresses, whose signatures are
// not proven before the body is whole.
type bodyPool struct {
	// inMemory is in bytes; of those that are read before anything is decided as
	// much again. Large bodies are counted.
	inMemory, large portion

	small, memory, spools inbound.Portions
}

// bodies is what all bodies take.
type bodies struct {
	ofKeys, ofAddresses bodyPool
	room                reservation
}

func newBodies() *bodies {
	return &bodies{
		ofKeys:      bodyPool{inMemory: portion{16 << 20, 64 << 20}, large: portion{16, 32}},
		ofAddresses: bodyPool{inMemory: portion{16 << 20, 32 << 20}, large: portion{8, 16}},
	}
}

// content is the body of a request: in memory, or in a file without a name.
type content struct {
	io.ReadSeeker
	sum  [sha256.Size]byte
	free func()
}

// Close gives back what the body took.
func (c *content) Close() error {
	if c.free != nil {
		c.free()
		c.free = nil
	}
	return nil
}

// noContent is no body, as most reads have it.
var noContent = &content{ReadSeeker: nothing{}, sum: sha256.Sum256(nil)}

// nothing has nothing to read.
type nothing struct{}

// Read implements io.Reader.
func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// Seek implements io.Seeker.
func (nothing) Seek(int64, int) (int64, error) { return 0, nil }

// bodyReader reads the body of one request.
type bodyReader struct {
	*Handler
	service string // for refusals
	limit   int64
	length  int64 // what the head says, -1 for nothing
	proven  bool  // the signature is
	// What follows is not set of no body.
	holder string // that of a caller, or an address
	pool   *bodyPool
	src    io.Reader
	digest hash.Hash
}

// openBody looks at what the head says of the body, and fills in b; nothing is read yet.
func (h *Handler) openBody(b *bodyReader, r *http.Request, name string, service Service, pending *sigv4.Pending) error {
	*b = bodyReader{Handler: h, service: name, length: pending.DecodedLength(), proven: !pending.NeedsBody()}
	if r.ContentLength == 0 && !pending.Streaming() {
		return nil
	}
	if b.proven {
		b.holder, b.pool = pending.Signer.Holder, &h.bodies.ofKeys
	} else {
		b.holder, b.pool = inbound.Origin(r.RemoteAddr), &h.bodies.ofAddresses
	}
	b.limit, b.digest = service.MaxBody(r), sha256.New()
	if b.length > b.limit {
		return b.tooLarge()
	}
	if b.length > memoryBody {
		if err := b.bodies.room.check(b.onDisk(), b.Space); err != nil {
			return refuseIn(wire.Full, name, err.Error())
		}
	}
	plain := pending.Body(r)
	if pending.Payload == sigv4.PayloadInBody || pending.Payload == sigv4.PayloadDeclared {
		plain = io.TeeReader(plain, b.digest)
	}
	b.src = io.LimitReader(plain, b.limit+1)
	return nil
}

func (b *bodyReader) tooLarge() error {
	return &Error{
		Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLargeException",
		Message: fmt.Sprintf("The body is larger than the %d bytes that this operation takes.", b.limit),
	}
}

// onDisk is how much of the disk a body takes: it is kept once while it comes, and
// once more where it is to stay.
func (b *bodyReader) onDisk() int64 { return 2 * b.length }

// small reports whether a body is one that may be read before anything is decided.
func (b *bodyReader) small() bool { return b.length >= 0 && b.length <= smallBody }

// discard reads the body for its hash alone.
func (b *bodyReader) discard() (*content, error) {
	n, err := io.Copy(io.Discard, b.src)
	if err != nil {
		return nil, brokenBody(err)
	}
	if n > b.limit {
		return nil, b.tooLarge()
	}
	return &content{ReadSeeker: nothing{}, sum: [sha256.Size]byte(b.digest.Sum(nil))}, nil
}

// read reads the body: into memory, or into a file when it is large. One that is
// not to be kept is only read for its hash.
func (b *bodyReader) read(ctx context.Context, keep bool) (_ *content, err error) {
	if b.src == nil {
		return noContent, nil
	}
	if !keep {
		return b.discard()
	}
	c := &content{}
	memory, step := &b.pool.memory, int64(memoryStep)
	if b.small() {
		memory, step = &b.pool.small, b.length+1
	}
	var taken int64
	c.free = func() { memory.Give(b.holder, taken) }
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	var head bytes.Buffer
	for more := true; more && head.Len() <= memoryBody; {
		if !memory.Take(b.holder, step, b.pool.inMemory.one, b.pool.inMemory.all) {
			return nil, b.busy("The bodies that are being read take all the memory that they may")
		}
		taken += step
		n, err := io.CopyN(&head, b.src, step)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, brokenBody(err)
		}
		more = n == step
	}
	size := int64(head.Len())
	c.ReadSeeker = bytes.NewReader(head.Bytes())
	if size > memoryBody && b.limit > memoryBody {
		if size, err = b.spool(ctx, c, &head); err != nil {
			return nil, err
		}
		memory.Give(b.holder, taken)
		taken = 0
	}
	if size > b.limit {
		return nil, b.tooLarge()
	}
	c.sum = [sha256.Size]byte(b.digest.Sum(nil))
	return c, nil
}

// busy refuses a body that others leave no place for: SDKs wait and try again.
func (b *bodyReader) busy(cause string) error {
	return throttled(b.service, cause+". Try again in a moment, with fewer large requests at a time.")
}

// spool puts head and what follows it into a file that has no name any more.
func (b *bodyReader) spool(ctx context.Context, c *content, head io.Reader) (size int64, err error) {
	if b.length < 0 {
		return 0, &Error{
			Status: http.StatusLengthRequired, Code: "MissingContentLength",
			Message: fmt.Sprintf("A body of more than %d bytes needs its length: send the Content-Length HTTP header.", memoryBody),
		}
	}
	if err := b.pool.spools.Wait(ctx, b.holder, 1, b.pool.large.one, b.pool.large.all, spoolWaiters); err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, b.busy("Too many large bodies are being read")
	}
	reserved := b.onDisk()
	if err := b.bodies.room.reserve(reserved, b.Space); err != nil {
		b.pool.spools.Give(b.holder, 1)
		return 0, refuseIn(wire.Full, b.service, err.Error())
	}
	f, err := os.CreateTemp(b.SpoolDir, "body-*")
	inMemory := c.free
	c.free = func() {
		if f != nil {
			f.Close()
		}
		b.bodies.room.release(reserved)
		b.pool.spools.Give(b.holder, 1)
		inMemory()
	}
	if err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return 0, fmt.Errorf("spool request body: %w", err)
	}
	size, err = io.Copy(&reservedWriter{f, &b.bodies.room, &reserved}, io.MultiReader(head, b.src))
	if err != nil {
		var disk *fs.PathError
		if errors.As(err, &disk) {
			return 0, fmt.Errorf("spool request body: %w", err)
		}
		return 0, brokenBody(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("spool request body: %w", err)
	}
	c.ReadSeeker = f
	return size, nil
}

// reservedWriter gives back what was reserved as it is written: the disk knows of it
// then.
type reservedWriter struct {
	w        io.Writer
	room     *reservation
	reserved *int64
}

// Write implements io.Writer.
func (r *reservedWriter) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	back := min(int64(n), *r.reserved)
	*r.reserved -= back
	r.room.release(back)
	return n, err
}

// brokenBody is the refusal for a body that could not be read. What its framing
// refuses says so itself.
func brokenBody(err error) error {
	if refusal := (*sigv4.Error)(nil); errors.As(err, &refusal) {
		return err
	}
	return &Error{Status: http.StatusBadRequest, Code: "RequestTimeout", Message: fmt.Sprintf("The body did not arrive whole: %v.", err)}
}
