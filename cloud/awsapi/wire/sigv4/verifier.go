// Package sigv4 verifies requests signed with AWS Signature Version 4, in the
// Authorization header or in the query (presigned URLs), as a server.
//
// Verification has two steps. Begin checks everything that needs no body: that
// the key exists, the date, the Region, what is signed. Only then is it worth
// reading a body, whose hash Verify takes. When the request declares the hash
// of its body in a header, VerifyHeader checks the signature before a byte of
// the body is read.
//
// The package knows signatures and the codes that AWS's services use to refuse
// them. It must not know operations, wire formats or what a key may do.
//
// Facts about the algorithm are from the IAM user guide, "Signature Version 4",
// and for S3 from the Amazon S3 API reference, "Authenticating Requests".
package sigv4

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/cloud/identity"
)

const (
	// MaxSkew is how far a request's date may lie from the server's clock, in
	// either direction.
	MaxSkew = 15 * time.Minute
	// MaxExpiry is the longest validity of a presigned URL.
	MaxExpiry = 7 * 24 * time.Hour
)

// Verifier verifies requests. Its fields are set before the first use; then it
// may be used from many goroutines. It must not be copied.
type Verifier struct {
	// Signers finds who signs with a key.
	Signers identity.Signers
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Regions are those served; a signature for another one is refused. The
	// global services iam and sts are served under any Region's name.
	Regions []string

	signingKeys keyCache
}

// Begin checks what can be checked without the body. The request counts as
// authentic only after VerifyHeader or Verify.
//
// A refusal is an *Error. Any other error means that the server could not
// decide, for example because the key source failed; it is no fault of the
// client.
func (v *Verifier) Begin(r *http.Request) (*Pending, error) {
	t, err := parseTarget(r)
	if err != nil {
		return nil, err
	}
	p := new(Pending)
	if err := p.authorization.read(r, &t); err != nil {
		return nil, err
	}
	if err := v.begin(p, r, &t); err != nil {
		if p.authorization.presigned {
			err = asQuery(err)
		}
		return nil, err
	}
	return p, nil
}

// begin fills in p, whose authorization was read.
func (v *Verifier) begin(p *Pending, r *http.Request, t *target) (err error) {
	a := &p.authorization
	if err := v.checkTime(a); err != nil {
		return err
	}
	if !a.row.Global && !slices.Contains(v.Regions, a.region) {
		return refuse(a.service, wrongScope,
			"Credential should be scoped to a Region served here: %s. The request is signed for %q; set AWS_REGION (or --region) to a Region that is served.",
			strings.Join(v.Regions, ", "), a.region)
	}
	if err := checkSigned(r, a); err != nil {
		return err
	}
	if p.Payload, p.declared, p.payloadLine, err = parsePayload(r, t, a); err != nil {
		return err
	}
	if p.Signer, err = v.signer(r.Context(), a); err != nil {
		return err
	}
	if p.canonical, err = appendCanonical(p.few[:0], r, t, a); err != nil {
		return err
	}
	if p.Payload == PayloadStreamingSigned || p.Payload == PayloadStreamingUnsigned {
		if p.chunks, err = newChunks(r, a, p.payloadLine); err != nil {
			return err
		}
	}
	p.Region, p.Service, p.Time, p.Presigned, p.SignedHeaders = a.region, a.service, a.time, a.presigned, a.signedHeaders
	p.host, p.contentLength, p.signingKeys = r.Host, r.ContentLength, &v.signingKeys
	return nil
}

// signer asks who has the key and checks the session token that belongs to it.
func (v *Verifier) signer(ctx context.Context, a *authorization) (identity.Signer, error) {
	signer, err := v.Signers.Signer(ctx, a.keyID)
	switch {
	case errors.Is(err, identity.ErrUnknownKey):
		return identity.Signer{}, refuse(a.service, unknownKey,
			"The security token included in the request is invalid: this server has no active access key %q. Use an access key that was made on this server.", a.keyID)
	case errors.Is(err, identity.ErrExpiredKey):
		return identity.Signer{}, refuse(a.service, expiredKey,
			"The security token included in the request is expired: the temporary access key %q has ended. Ask sts for another one.", a.keyID)
	case err != nil:
		return identity.Signer{}, fmt.Errorf("look up access key %s: %w", a.keyID, err)
	case signer.Secret == "":
		// Anyone can sign with an empty secret.
		return identity.Signer{}, fmt.Errorf("look up access key %s: it has no secret", a.keyID)
	case subtle.ConstantTimeCompare([]byte(signer.SessionToken), []byte(a.token)) == 1:
		return signer, nil
	case signer.SessionToken == "":
		return identity.Signer{}, refuse(a.service, badToken,
			"The security token included in the request is invalid: access key %q takes no session token. Unset AWS_SESSION_TOKEN.", a.keyID)
	case a.token == "":
		return identity.Signer{}, refuse(a.service, badToken,
			"The security token included in the request is invalid: access key %q is temporary and its session token is missing. Set AWS_SESSION_TOKEN.", a.keyID)
	default:
		return identity.Signer{}, refuse(a.service, badToken,
			"The security token included in the request is invalid: it is not the session token of access key %q.", a.keyID)
	}
}

// Clock is the time now.
func (v *Verifier) Clock() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

// checkTime checks the request's date against the clock and the scope.
func (v *Verifier) checkTime(a *authorization) error {
	at := v.Clock().UTC()
	text := a.timeText
	if text[:len(dateLayout)] != a.date {
		if _, err := time.Parse(dateLayout, a.date); err != nil {
			return refuse(a.service, malformed, "Date in Credential scope %q is not a date; write yyyymmdd.", a.date)
		}
		return refuse(a.service, wrongScope,
			"Date in Credential scope does not match the date of the request: %q != %q. Sign both with the same UTC date.", a.date, text)
	}
	const remedy = " Set the client's clock (or the server's)."
	lifetime, allowance := MaxSkew, "15 min"
	if a.presigned && a.expires > 0 {
		lifetime, allowance = a.expires, a.expires.String()
	}
	earliest, latest := at.Add(-lifetime), at.Add(MaxSkew)
	expired, early := a.time.Before(earliest), a.time.After(latest)
	switch {
	case expired && a.presigned:
		return refuse(a.service, expiredURL,
			"Request has expired. Signature expired: %s is now earlier than %s (%s - %s). Ask for a new URL.",
			text, earliest.Format(timeLayout), at.Format(timeLayout), allowance)
	case (expired || early) && a.s3():
		return refuse(a.service, skewed,
			"The difference between the request time and the current time is too large: the request says %s, the server %s.%s",
			text, at.Format(timeLayout), remedy)
	case expired:
		return refuse(a.service, skewed,
			"Signature expired: %s is now earlier than %s (%s - %s).%s",
			text, earliest.Format(timeLayout), at.Format(timeLayout), allowance, remedy)
	case early:
		return refuse(a.service, skewed,
			"Signature not yet current: %s is still later than %s (%s + 15 min.).%s",
			text, latest.Format(timeLayout), at.Format(timeLayout), remedy)
	}
	return nil
}

// checkSigned says whether the signature covers what it has to: the host and
// every x-amz- header. A header that it names and that did not arrive is reported
// here, since a mere mismatch would not say why.
func checkSigned(r *http.Request, a *authorization) error {
	if !slices.Contains(a.signedHeaders, "host") {
		return refuse(a.service, unsigned, "'Host' must be a 'SignedHeader' in the AWS Authorization. Add host to SignedHeaders.")
	}
	for name := range r.Header {
		if len(name) < len("x-amz-") || !strings.EqualFold(name[:len("x-amz-")], "x-amz-") {
			continue
		}
		if !slices.ContainsFunc(a.signedHeaders, func(signed string) bool { return strings.EqualFold(signed, name) }) {
			return refuse(a.service, unsigned,
				"There were headers present in the request which were not signed: %.100q. Sign every x-amz- header, or do not send it.", strings.ToLower(name))
		}
	}
	for _, name := range a.signedHeaders {
		if len(headerValues(r, name, new([1]string))) == 0 {
			return refuse(a.service, badSignature,
				"The signature covers the header %.100q, which did not arrive. Check that no proxy removes it.", name)
		}
	}
	return nil
}
