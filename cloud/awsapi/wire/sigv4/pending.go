package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/fescue-edge/fescue/cloud/identity"
)

// Payload says what the signature covers of the body.
type Payload int

const (
	// PayloadInBody means that the hash of the body is part of the signature
	// and is not checked beforehand: the whole body has to be read first.
	PayloadInBody Payload = iota
	// PayloadDeclared means that x-amz-content-sha256 has the hash.
	PayloadDeclared
	// PayloadUnsigned means UNSIGNED-PAYLOAD: the body is not covered. S3 only.
	PayloadUnsigned
	// PayloadStreamingUnsigned means an aws-chunked body that is not covered,
	// with a checksum in its trailer. S3 only.
	PayloadStreamingUnsigned
	// PayloadStreamingSigned means an aws-chunked body whose chunks carry
	// signatures of their own, which Body checks. S3 only.
	PayloadStreamingSigned
)

// payloads are the values of x-amz-content-sha256 that are no hash (Amazon S3
// API reference, "Authenticating Requests: Using the Authorization Header").
var payloads = map[string]Payload{
	"UNSIGNED-PAYLOAD":                           PayloadUnsigned,
	"STREAMING-UNSIGNED-PAYLOAD-TRAILER":         PayloadStreamingUnsigned,
	"STREAMING-AWS4-HMAC-SHA256-PAYLOAD":         PayloadStreamingSigned,
	"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": PayloadStreamingSigned,
}

// Errors of using a Pending against its Payload. They are faults of the server.
var (
	// ErrNeedsBody is VerifyHeader's answer for PayloadInBody.
	ErrNeedsBody = errors.New("sigv4: the signature covers the hash of the body, which the header does not tell; read the body and call Verify")
	// ErrStreaming is Verify's answer for a streaming payload whose Body was not
	// read to its end.
	ErrStreaming = errors.New("sigv4: an aws-chunked body is proven only by its last chunk; read Body to its end first")
)

// Pending is a request that Begin found plausible. Until VerifyHeader or Verify
// has returned nil, nothing in it is proven. It is used by one goroutine.
type Pending struct {
	// Signer is who the request claims to be of.
	Signer  identity.Signer
	Region  string // of the credential scope
	Service string // of the credential scope: "greengrass", "s3", …
	// Time is the request's date.
	Time time.Time
	// Presigned is true for the query form.
	Presigned bool
	Payload   Payload
	// SignedHeaders are the headers that the signature covers, in lower case.
	// It covers every x-amz- header; anything else that matters to an
	// operation, such as x-amzn-iot-principal, is the operation's to demand.
	SignedHeaders []string
	// PathNormalized is true of a request whose signature covers its path only
	// without empty segments, "." and "..", once it is verified. Which of them
	// were sent, and where, is not proven.
	PathNormalized bool

	declared      [sha256.Size]byte
	payloadLine   string // "" for PayloadInBody
	canonical     []candidate
	few           [1]candidate // memory of canonical, as most requests have one
	authorization authorization
	host          string
	signingKeys   *keyCache
	signing       *signingKey // once verified
	verified      bool
	contentLength int64
	chunks        *chunkReader // of the streaming payloads
}

// NeedsBody says whether the signature can be checked only with the hash of the
// body.
func (p *Pending) NeedsBody() bool { return p.Payload == PayloadInBody }

// VerifyHeader checks the signature of a request that NeedsBody is false for,
// before its body is read. The body of PayloadDeclared has to be checked with
// Verify later. A refusal is an *Error.
func (p *Pending) VerifyHeader() error {
	if p.NeedsBody() {
		return ErrNeedsBody
	}
	return p.verify([]byte(p.payloadLine))
}

// Verify checks the signature and the SHA-256 of the body, as far as the
// signature covers the body. A refusal is an *Error.
func (p *Pending) Verify(payload [sha256.Size]byte) error {
	if p.Payload == PayloadInBody {
		var line [2 * sha256.Size]byte
		hex.Encode(line[:], payload[:])
		return p.verify(line[:])
	}
	if err := p.VerifyHeader(); err != nil {
		return err
	}
	if p.chunks != nil && p.chunks.err != io.EOF {
		return ErrStreaming
	}
	if p.Payload == PayloadDeclared && subtle.ConstantTimeCompare(p.declared[:], payload[:]) != 1 {
		return refuse(p.Service, badBody, "The provided 'x-amz-content-sha256' header does not match what was computed: the body that arrived is not the one that was signed. Check that no proxy changes it.")
	}
	return nil
}

func (p *Pending) verify(payloadLine []byte) error {
	if p.verified {
		return nil
	}
	a := &p.authorization
	id := scopedKey{keyID: a.keyID, date: a.date, region: a.region, service: a.service}
	signing := p.signingKeys.get(id, p.Signer.Secret)
	cached := signing != nil
	if !cached {
		signing = newSigningKey(deriveKey(p.Signer.Secret, a.date, a.region, a.service))
	}
	matched := slices.IndexFunc(p.canonical, func(c candidate) bool {
		signature := signing.sign(a.stringToSign(append(c.text, payloadLine...)))
		return hmac.Equal(signature[:], a.signature[:])
	})
	canonical := p.canonical
	p.canonical = nil // its memory is used for signing: it is checked once
	for i := range canonical {
		canonical[i].forget()
	}
	if matched < 0 {
		return refuse(p.Service, badSignature,
			"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method, and that no proxy changes the method, path, query, signed headers or body; the Host that arrived is %.300q.", p.host)
	}
	if !cached {
		// Only proven keys enter the cache: whoever has no key chooses the scope's service.
		p.signingKeys.put(id, p.Signer.Secret, signing)
	}
	p.verified, p.signing, p.PathNormalized = true, signing, canonical[matched].normalized
	return nil
}

// stringToSign is what is signed of a canonical request, whose memory it takes.
func (a *authorization) stringToSign(canonical []byte) []byte {
	request := sha256.Sum256(canonical)
	toSign := append(canonical[:0], algorithm+"\n"...)
	toSign = append(toSign, a.timeText...)
	toSign = append(toSign, '\n')
	toSign = append(toSign, a.scope...)
	toSign = append(toSign, '\n')
	return hex.AppendEncode(toSign, request[:])
}

// parsePayload reads what the request says about its body: the kind, the hash
// and the last line of the canonical request.
func parsePayload(r *http.Request, t *target, a *authorization) (kind Payload, declared [sha256.Size]byte, line string, err error) {
	s3 := a.s3()
	values := r.Header[paramPayload]
	if len(values) == 0 && a.presigned && s3 {
		if value, ok := t.param(paramPayload); ok {
			values = []string{value}
		} else {
			return PayloadUnsigned, declared, "UNSIGNED-PAYLOAD", nil
		}
	}
	switch {
	case len(values) == 0 && s3:
		return 0, declared, "", refuse(a.service, badPayload, "Missing required header for this request: x-amz-content-sha256. Send and sign it.")
	case len(values) == 0:
		return PayloadInBody, declared, "", nil
	case len(values) > 1:
		return 0, declared, "", refuse(a.service, badPayload, "The header x-amz-content-sha256 stands there %d times, send it once.", len(values))
	}
	line = values[0]
	if kind, ok := payloads[line]; ok {
		if !s3 {
			return 0, declared, "", refuse(a.service, badPayload, "x-amz-content-sha256 is %s, which only s3 accepts; %s needs the SHA-256 of the body.", line, a.service)
		}
		return kind, declared, line, nil
	}
	if len(line) == hex.EncodedLen(len(declared)) {
		if _, err := hex.Decode(declared[:], []byte(line)); err == nil {
			return PayloadDeclared, declared, line, nil
		}
	}
	return 0, declared, "", refuse(a.service, badPayload,
		"x-amz-content-sha256 must be the SHA-256 of the body in hexadecimal, or for s3 UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER or STREAMING-AWS4-HMAC-SHA256-PAYLOAD; it is %.100q.", line)
}
