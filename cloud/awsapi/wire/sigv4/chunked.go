package sigv4

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Limits of aws-chunked framing, in bytes: one line, and all lines after the
// last chunk. Real lines have about 100.
const (
	maxChunkLine = 1 << 10
	maxTrailer   = 8 << 10
)

// The headers of an aws-chunked body.
const (
	headerDecodedLength = "X-Amz-Decoded-Content-Length"
	headerTrailer       = "X-Amz-Trailer"
	trailerSignature    = "x-amz-trailer-signature"
)

// Streaming says whether the body is aws-chunked. It is then to be read through
// Body, to its end, before Verify.
func (p *Pending) Streaming() bool { return p.chunks != nil }

// DecodedLength is the length of the body without its framing: what an
// aws-chunked request says, else the Content-Length, which may be -1.
func (p *Pending) DecodedLength() int64 {
	if p.chunks == nil {
		return p.contentLength
	}
	return p.chunks.left
}

// Body is the body of r without framing. For the streaming payloads it decodes
// aws-chunked, checks each chunk's signature where there is one, and the length;
// for any other it is r.Body. Errors that the sender caused are *Error. It is
// asked for once, after VerifyHeader.
func (p *Pending) Body(r *http.Request) io.Reader {
	if p.chunks == nil {
		return r.Body
	}
	p.chunks.src = bufio.NewReaderSize(r.Body, 64<<10)
	p.chunks.signing = p.signing
	return p.chunks
}

// Trailer is what came after the last chunk of an aws-chunked body that was read
// to its end: the headers that x-amz-trailer announced.
func (p *Pending) Trailer() http.Header {
	if p.chunks == nil {
		return nil
	}
	return p.chunks.trailer
}

// newChunks reads what a request says about its aws-chunked body.
func newChunks(r *http.Request, a *authorization, payloadLine string) (*chunkReader, error) {
	malformedLength := func() error {
		return refuse(a.service, badPayload, "An aws-chunked body needs one header x-amz-decoded-content-length with its length in bytes; it is %.100q.", r.Header[headerDecodedLength])
	}
	values := r.Header[headerDecodedLength]
	if len(values) != 1 {
		return nil, malformedLength()
	}
	length, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil {
		return nil, malformedLength()
	}
	c := &chunkReader{
		authorization: a, left: int64(length),
		signed:  strings.HasPrefix(payloadLine, "STREAMING-AWS4"),
		trailed: strings.HasSuffix(payloadLine, "-TRAILER"),
	}
	c.previous = hex.EncodeToString(a.signature[:])
	for _, line := range r.Header[headerTrailer] {
		for name := range strings.SplitSeq(line, ",") {
			c.announced = append(c.announced, strings.ToLower(strings.TrimSpace(name)))
		}
	}
	if c.trailed != (len(c.announced) > 0) {
		return nil, refuse(a.service, badPayload, "x-amz-content-sha256 is %s, and x-amz-trailer names %d headers: a trailer has to be announced by both.", payloadLine, len(c.announced))
	}
	return c, nil
}

// chunkReader decodes an aws-chunked body (Amazon S3 API reference, "Signature
// Calculations for the Authorization Header: Transferring Payload in Multiple
// Chunks"). What it returns of a signed chunk is proven only at the chunk's end:
// nothing may act on the body before io.EOF.
type chunkReader struct {
	authorization *authorization
	src           *bufio.Reader
	signing       *signingKey
	signed        bool // chunks and trailer carry signatures
	trailed       bool
	announced     []string // names of the trailer, in lower case

	previous string // signature before the chunk under way, hexadecimal
	// left is how much of the body is still to come, chunk how much of the
	// chunk under way.
	left, chunk int64
	begun       bool   // within a chunk or at its end
	signature   string // of the chunk under way
	digest      hash.Hash

	trailer http.Header
	err     error
}

func (c *chunkReader) refuse(f fault, format string, args ...any) error {
	return refuse(c.authorization.service, f, format, args...)
}

// Read implements io.Reader.
func (c *chunkReader) Read(p []byte) (int, error) {
	for c.err == nil && c.chunk == 0 {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.src.Read(p[:min(int64(len(p)), c.chunk)])
	c.chunk -= int64(n)
	c.left -= int64(n)
	if c.signed {
		c.digest.Write(p[:n])
	}
	if err != nil {
		c.err = cutOff(err)
	}
	return n, c.err
}

// cutOff is the error of a body that ends before its last chunk.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next ends the chunk under way and begins the next one. After the last one the
// error is io.EOF.
func (c *chunkReader) next() error {
	if c.begun {
		if err := c.end(); err != nil {
			return err
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	size, extension, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(size, 16, 63)
	if err != nil || len(size) > 16 {
		return c.refuse(badChunk, "The aws-chunked body has %.100q where the size of a chunk must stand.", line)
	}
	if int64(n) > c.left {
		return c.refuse(badChunk, "The aws-chunked body is longer than x-amz-decoded-content-length says.")
	}
	if c.signed {
		signature, ok := strings.CutPrefix(extension, "chunk-signature=")
		if !ok || len(signature) != hex.EncodedLen(sha256.Size) {
			return c.refuse(badChunk, "A chunk of the body has no chunk-signature.")
		}
		c.signature, c.digest = signature, sha256.New()
	}
	c.begun, c.chunk = true, int64(n)
	if n > 0 {
		return nil
	}
	return c.last()
}

// end checks what stands after a chunk's data, and its signature.
func (c *chunkReader) end() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if line != "" {
		return c.refuse(badChunk, "A chunk of the body is longer than it says.")
	}
	return c.check()
}

// check compares the signature of the chunk under way.
func (c *chunkReader) check() error {
	if !c.signed {
		return nil
	}
	empty := sha256.Sum256(nil)
	return c.verify("AWS4-HMAC-SHA256-PAYLOAD", hex.EncodeToString(empty[:])+"\n"+hex.EncodeToString(c.digest.Sum(nil)), c.signature)
}

// verify compares a signature in the chain that began with the request's.
func (c *chunkReader) verify(kind, content, signature string) error {
	computed := c.signing.sign(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s", kind, c.authorization.time.Format(timeLayout), c.authorization.scope, c.previous, content))
	want := hex.EncodeToString(computed[:])
	if !hmac.Equal([]byte(want), []byte(signature)) {
		return c.refuse(badSignature, "The signature of a chunk of the body does not match what was computed. Check your AWS Secret Access Key, and that no proxy changes the body.")
	}
	c.previous = want
	return nil
}

// last ends the body after the chunk of size 0.
func (c *chunkReader) last() error {
	if c.left > 0 {
		return c.refuse(badChunk, "The aws-chunked body is %d bytes shorter than x-amz-decoded-content-length says.", c.left)
	}
	if err := c.check(); err != nil {
		return err
	}
	if err := c.readTrailer(); err != nil {
		return err
	}
	if _, err := c.src.Peek(1); !errors.Is(err, io.EOF) {
		if err != nil {
			return err
		}
		return c.refuse(badChunk, "The aws-chunked body goes on after its last chunk.")
	}
	return io.EOF
}

// readTrailer reads the lines after the last chunk, up to an empty one.
func (c *chunkReader) readTrailer() error {
	c.trailer = make(http.Header)
	var content strings.Builder
	signature, size := "", 0
	for {
		line, err := c.line()
		if errors.Is(err, io.ErrUnexpectedEOF) && !c.trailed {
			return nil // some clients leave out the last empty line
		}
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		if size += len(line); size > maxTrailer {
			return c.refuse(badChunk, "The trailer of the body has more than %d bytes.", maxTrailer)
		}
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if c.signed && name == trailerSignature && signature == "" {
			signature = value
			continue
		}
		_, twice := c.trailer[http.CanonicalHeaderKey(name)]
		if twice || !slices.Contains(c.announced, name) {
			return c.refuse(badTrailer, "The trailer of the body has %.100q, which x-amz-trailer does not announce, or which is there twice.", name)
		}
		c.trailer.Set(name, value)
		content.WriteString(name + ":" + value + "\n")
	}
	for _, name := range c.announced {
		if c.trailer.Get(name) == "" {
			return c.refuse(badTrailer, "x-amz-trailer announces %.100q, which the trailer of the body does not have.", name)
		}
	}
	if !c.signed || !c.trailed {
		return nil
	}
	sum := sha256.Sum256([]byte(content.String()))
	return c.verify("AWS4-HMAC-SHA256-TRAILER", hex.EncodeToString(sum[:]), signature)
}

// line reads up to a line feed. The carriage return before it may be missing, as
// some clients write trailers.
func (c *chunkReader) line() (string, error) {
	var line []byte
	for {
		b, err := c.src.ReadByte()
		if err != nil {
			return "", cutOff(err)
		}
		if b == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if line = append(line, b); len(line) > maxChunkLine {
			return "", c.refuse(badChunk, "A line between the chunks of the body has more than %d bytes.", maxChunkLine)
		}
	}
}
