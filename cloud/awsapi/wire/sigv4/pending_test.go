package sigv4_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/identity"
)

func readCloser(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

// noBody fails the test when somebody reads it.
type noBody struct{ t *testing.T }

func (b noBody) Read([]byte) (int, error) {
	b.t.Error("the body was read")
	return 0, io.EOF
}
func (b noBody) Close() error { return nil }

func TestPayloads(t *testing.T) {
	t.Parallel()
	const object = "http://127.0.0.1:8080/bucket/key"
	with := func(hash string) http.Header { return http.Header{"X-Amz-Content-Sha256": {hash}} }
	s3 := func(hash string) call {
		header := with(hash)
		if strings.HasPrefix(hash, "STREAMING-") {
			header = upload{payload: hash, length: "1", trailer: strings.TrimPrefix(hash, streamingSigned)}.header()
			if header.Get("X-Amz-Trailer") != "" {
				header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
			}
		}
		return call{service: "s3", method: "PUT", url: object, body: "x", payload: hash, header: header}
	}
	sum := sha256.Sum256([]byte("x"))
	for _, tc := range []struct {
		name      string
		call      call
		want      sigv4.Payload
		headerErr error
		bodyErr   error
	}{
		{"in the body", call{method: "POST", body: "x"}, sigv4.PayloadInBody, sigv4.ErrNeedsBody, nil},
		{"declared", call{method: "POST", body: "x", header: with(hashOf("x"))}, sigv4.PayloadDeclared, nil, nil},
		{"unsigned", s3("UNSIGNED-PAYLOAD"), sigv4.PayloadUnsigned, nil, nil},
		{"streaming with trailer", s3("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), sigv4.PayloadStreamingUnsigned, nil, sigv4.ErrStreaming},
		{"streaming signed", s3("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), sigv4.PayloadStreamingSigned, nil, sigv4.ErrStreaming},
		{"streaming signed with trailer", s3("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"), sigv4.PayloadStreamingSigned, nil, sigv4.ErrStreaming},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := tc.call.sign(t)
			r.Body = noBody{t}
			p, err := newVerifier(newKeys()).Begin(r)
			if err != nil {
				t.Fatal(err)
			}
			if p.Payload != tc.want || p.NeedsBody() != (tc.want == sigv4.PayloadInBody) {
				t.Errorf("payload is %d, NeedsBody %v; want %d", p.Payload, p.NeedsBody(), tc.want)
			}
			if err := p.VerifyHeader(); !errors.Is(err, tc.headerErr) {
				t.Errorf("VerifyHeader = %v, want %v", err, tc.headerErr)
			}
			if err := p.Verify(sum); !errors.Is(err, tc.bodyErr) {
				t.Errorf("Verify = %v, want %v", err, tc.bodyErr)
			}
		})
	}
	for _, hash := range []string{"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"} {
		t.Run(hash+" outside s3", func(t *testing.T) {
			t.Parallel()
			_, err := newVerifier(newKeys()).Begin(call{payload: hash, header: with(hash)}.sign(t))
			wantCode(t, err, "IncompleteSignatureException", http.StatusBadRequest, hash, "only s3")
		})
	}
	t.Run("s3 without the header", func(t *testing.T) {
		t.Parallel()
		_, err := newVerifier(newKeys()).Begin(call{service: "s3"}.sign(t))
		wantCode(t, err, "InvalidRequest", http.StatusBadRequest, "Missing required header")
	})
	t.Run("forged header before the body", func(t *testing.T) {
		t.Parallel()
		r := call{method: "POST", body: "x", header: with(hashOf("x"))}.sign(t)
		r.Header.Set("X-Amz-Content-Sha256", hashOf("y"))
		r.Body = noBody{t}
		p, err := newVerifier(newKeys()).Begin(r)
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, p.VerifyHeader(), "InvalidSignatureException", http.StatusForbidden)
		wantCode(t, p.Verify(sha256.Sum256([]byte("y"))), "InvalidSignatureException", http.StatusForbidden)
	})
}

func TestBeginReadsNoBody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		call call
	}{
		{"unknown key", call{key: "AKIDGONE", method: "POST", body: "x"}},
		{"old", call{at: signingTime.Add(-time.Hour), method: "POST", body: "x"}},
		{"Region", call{region: "mars-north-1", method: "POST", body: "x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := tc.call.sign(t)
			r.Body = noBody{t}
			if _, err := newVerifier(newKeys()).Begin(r); err == nil {
				t.Error("Begin accepts it")
			}
		})
	}
}

// TestSignedDateHeader signs by hand: the SDK always sends X-Amz-Date.
func TestSignedDateHeader(t *testing.T) {
	t.Parallel()
	date := signingTime.Format(http.TimeFormat)
	canonical := "GET\n/things\n\ndate:" + date + "\nhost:127.0.0.1:8080\n\ndate;host\n" + hashOf("")
	toSign := "AWS4-HMAC-SHA256\n20260304T050607Z\n20260304/us-east-1/iot/aws4_request\n" + hashOf(canonical)
	key := []byte("AWS4" + secret)
	for _, part := range []string{"20260304", "us-east-1", "iot", "aws4_request", toSign} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	r, err := http.NewRequest("GET", "http://127.0.0.1:8080/things", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Date", date)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keyID+"/20260304/us-east-1/iot/aws4_request,SignedHeaders=date;host,Signature="+hex.EncodeToString(key))
	p, err := verify(newVerifier(newKeys()), receive(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Time.Equal(signingTime) {
		t.Errorf("time is %v, want %v", p.Time, signingTime)
	}
}

func TestAbsoluteTarget(t *testing.T) {
	t.Parallel()
	r := call{url: "http://127.0.0.1:8080/a%2Fb?x=1"}.sign(t)
	r.RequestURI = "http://127.0.0.1:8080" + r.RequestURI
	if _, err := verify(newVerifier(newKeys()), r); err != nil {
		t.Error(err)
	}
}

func TestKeysChange(t *testing.T) {
	t.Parallel()
	t.Run("a revoked key fails at once", func(t *testing.T) {
		t.Parallel()
		source := newKeys()
		v := newVerifier(source)
		if _, err := verify(v, call{}.sign(t)); err != nil {
			t.Fatal(err)
		}
		source.remove(keyID)
		_, err := verify(v, call{}.sign(t))
		wantCode(t, err, "UnrecognizedClientException", http.StatusForbidden, keyID)
	})
	t.Run("a changed secret fails at once, and back", func(t *testing.T) {
		t.Parallel()
		source := newKeys()
		v := newVerifier(source)
		for range 2 {
			source.set(identity.Key{ID: keyID, Secret: secret, Account: account})
			if _, err := verify(v, call{}.sign(t)); err != nil {
				t.Fatal(err)
			}
			source.set(identity.Key{ID: keyID, Secret: "changed", Account: account})
			_, err := verify(v, call{}.sign(t))
			wantCode(t, err, "InvalidSignatureException", http.StatusForbidden)
			if _, err := verify(v, call{secret: "changed"}.sign(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("the source is asked each time", func(t *testing.T) {
		t.Parallel()
		source := newKeys()
		v := newVerifier(source)
		for range 3 {
			if _, err := verify(v, call{}.sign(t)); err != nil {
				t.Fatal(err)
			}
		}
		if source.asked != 3 {
			t.Errorf("the source was asked %d times, want 3", source.asked)
		}
	})
	t.Run("more scopes than are remembered", func(t *testing.T) {
		t.Parallel()
		v := newVerifier(newKeys())
		for i := range 1100 {
			if _, err := verify(v, call{service: fmt.Sprintf("service%d", i)}.sign(t)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := verify(v, call{service: "service0"}.sign(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	v := newVerifier(newKeys())
	var requests []*http.Request
	for i := range 64 {
		requests = append(requests, call{service: fmt.Sprintf("service%d", i%5)}.sign(t))
	}
	var wg sync.WaitGroup
	for _, r := range requests {
		wg.Go(func() {
			if _, err := verify(v, r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify(b *testing.B) {
	empty := sha256.Sum256(nil)
	for _, bench := range []struct {
		name string
		call call
	}{
		{"get", call{url: "http://127.0.0.1:8080/greengrass/groups?MaxResults=50"}},
		{"get with a longer path", call{url: "http://127.0.0.1:8080/attached-policies/arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Acert%2F" + strings.Repeat("c0", 32)}},
		{"presigned", call{presign: true, service: "s3", payload: "UNSIGNED-PAYLOAD", url: "http://127.0.0.1:8080/bucket/key?X-Amz-Expires=60"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := bench.call.sign(b)
			v := newVerifier(newKeys())
			b.ReportAllocs()
			for b.Loop() {
				p, err := v.Begin(r)
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Verify(empty); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
