package sigv4_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/identity"
)

const (
	streamingSigned   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	checksumLine      = "x-amz-checksum-crc32:3Q3LMQ=="
)

// upload is a PUT of an aws-chunked body.
type upload struct {
	payload string
	length  string
	trailer string // what x-amz-trailer announces
}

func (u upload) header() http.Header {
	h := http.Header{"X-Amz-Content-Sha256": {u.payload}, "Content-Encoding": {"aws-chunked"}}
	if u.length != "" {
		h.Set("X-Amz-Decoded-Content-Length", u.length)
	}
	if u.trailer != "" {
		h.Set("X-Amz-Trailer", u.trailer)
	}
	return h
}

// sign is the signed request with a body that is made from its signature.
func (u upload) sign(t testing.TB, body func(seed string) string) *http.Request {
	t.Helper()
	r := call{service: "s3", method: "PUT", url: "http://127.0.0.1:8080/bucket/key", payload: u.payload, header: u.header()}.sign(t)
	_, seed, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	r.Body = readCloser(body(seed))
	return r
}

// chain signs chunks as a client does.
type chain struct{ previous string }

func (c *chain) sign(kind, content string) string {
	key := []byte("AWS4" + secret)
	for _, part := range []string{"20260304", "us-east-1", "s3", "aws4_request", kind + "\n20260304T050607Z\n20260304/us-east-1/s3/aws4_request\n" + c.previous + "\n" + content} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	c.previous = hex.EncodeToString(key)
	return c.previous
}

func (c *chain) chunk(data string) string {
	head := fmt.Sprintf("%x;chunk-signature=%s\r\n", len(data), c.sign("AWS4-HMAC-SHA256-PAYLOAD", hashOf("")+"\n"+hashOf(data)))
	if data == "" {
		return head
	}
	return head + data + "\r\n"
}

func (c *chain) trailer(line string) string {
	return line + "\r\nx-amz-trailer-signature:" + c.sign("AWS4-HMAC-SHA256-TRAILER", hashOf(line+"\n")) + "\r\n\r\n"
}

// receiveUpload does what a server does with an aws-chunked request.
func receiveUpload(v *sigv4.Verifier, r *http.Request, wrap func(io.Reader) io.Reader) (string, *sigv4.Pending, error) {
	p, err := v.Begin(r)
	if err != nil {
		return "", nil, err
	}
	if err := p.VerifyHeader(); err != nil {
		return "", nil, err
	}
	r.Body = io.NopCloser(wrap(r.Body))
	body, err := io.ReadAll(p.Body(r))
	if err != nil {
		return "", p, err
	}
	return string(body), p, p.Verify([sha256.Size]byte{})
}

func plain(r io.Reader) io.Reader { return r }

func TestChunkedBodies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		upload upload
		body   func(seed string) string
		want   string
	}{
		{"signed", upload{payload: streamingSigned, length: "11"}, func(seed string) string {
			c := &chain{seed}
			return c.chunk("hello ") + c.chunk("world") + c.chunk("") + "\r\n"
		}, "hello world"},
		{"signed, empty", upload{payload: streamingSigned, length: "0"}, func(seed string) string {
			return (&chain{seed}).chunk("") + "\r\n"
		}, ""},
		{"signed, without the last empty line", upload{payload: streamingSigned, length: "1"}, func(seed string) string {
			c := &chain{seed}
			return c.chunk("a") + c.chunk("")
		}, "a"},
		{"signed, with a trailer", upload{payload: streamingTrailer, length: "5", trailer: "x-amz-checksum-crc32"}, func(seed string) string {
			c := &chain{seed}
			return c.chunk("hello") + c.chunk("") + c.trailer(checksumLine)
		}, "hello"},
		{"unsigned", upload{payload: streamingUnsigned, length: "5", trailer: "x-amz-checksum-crc32"}, func(string) string {
			return "5\r\nhello\r\n0\r\n" + checksumLine + "\r\n\r\n"
		}, "hello"},
		{"unsigned, lines without carriage returns", upload{payload: streamingUnsigned, length: "16", trailer: "X-Amz-Checksum-CRC32"}, func(string) string {
			return "10\n0123456789abcdef\r\n0\r\n" + checksumLine + "\n\r\n"
		}, "0123456789abcdef"},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{"whole": plain, "by bytes": iotest.OneByteReader, "with the end": iotest.DataErrReader} {
			t.Run(tc.name+", "+how, func(t *testing.T) {
				t.Parallel()
				got, p, err := receiveUpload(newVerifier(newKeys()), tc.upload.sign(t, tc.body), wrap)
				if err != nil || got != tc.want {
					t.Fatalf("body %q, %v; want %q", got, err, tc.want)
				}
				if sum := p.Trailer().Get("X-Amz-Checksum-Crc32"); (sum == "3Q3LMQ==") != (tc.upload.trailer != "") {
					t.Errorf("trailer %v", p.Trailer())
				}
			})
		}
	}
}

func TestChunkedBodiesRefused(t *testing.T) {
	t.Parallel()
	signed := upload{payload: streamingSigned, length: "5"}
	unsigned := upload{payload: streamingUnsigned, length: "5", trailer: "x-amz-checksum-crc32"}
	fixed := func(body string) func(string) string { return func(string) string { return body } }
	const whole = "5\r\nhello\r\n0\r\n"
	for _, tc := range []struct {
		name   string
		upload upload
		body   func(seed string) string
		code   string // "" means a body that is cut off
	}{
		{"a chunk that was changed", signed, func(seed string) string {
			c := &chain{seed}
			return strings.Replace(c.chunk("hello"), "hello", "jello", 1) + c.chunk("")
		}, "SignatureDoesNotMatch"},
		{"chunks in another order", upload{payload: streamingSigned, length: "2"}, func(seed string) string {
			c := &chain{seed}
			a, b := c.chunk("a"), c.chunk("b")
			return b + a + c.chunk("")
		}, "SignatureDoesNotMatch"},
		{"chunks of another request", signed, func(string) string {
			c := &chain{strings.Repeat("0", 64)}
			return c.chunk("hello") + c.chunk("")
		}, "SignatureDoesNotMatch"},
		{"a last chunk without a signature", signed, func(seed string) string {
			return (&chain{seed}).chunk("hello") + "0\r\n\r\n"
		}, "IncompleteBody"},
		{"a last chunk with a wrong signature", signed, func(seed string) string {
			return (&chain{seed}).chunk("hello") + "0;chunk-signature=" + strings.Repeat("0", 64) + "\r\n\r\n"
		}, "SignatureDoesNotMatch"},
		{"a trailer without a signature", upload{payload: streamingTrailer, length: "5", trailer: "x-amz-checksum-crc32"}, func(seed string) string {
			c := &chain{seed}
			return c.chunk("hello") + c.chunk("") + checksumLine + "\r\n\r\n"
		}, "SignatureDoesNotMatch"},
		{"a trailer that was changed", upload{payload: streamingTrailer, length: "5", trailer: "x-amz-checksum-crc32"}, func(seed string) string {
			c := &chain{seed}
			return c.chunk("hello") + c.chunk("") + strings.Replace(c.trailer(checksumLine), "3Q3", "4Q4", 1)
		}, "SignatureDoesNotMatch"},
		{"a trailer nobody announced", signed, func(seed string) string {
			c := &chain{seed}
			return c.chunk("hello") + c.chunk("") + checksumLine + "\r\n\r\n"
		}, "MalformedTrailerError"},
		{"no trailer", unsigned, fixed(whole + "\r\n"), "MalformedTrailerError"},
		{"another trailer", unsigned, fixed(whole + "x-amz-checksum-sha1:x\r\n\r\n"), "MalformedTrailerError"},
		{"a trailer twice", unsigned, fixed(whole + checksumLine + "\r\n" + checksumLine + "\r\n\r\n"), "MalformedTrailerError"},
		{"more than it says", unsigned, fixed("6\r\nhello!\r\n0\r\n" + checksumLine + "\r\n\r\n"), "IncompleteBody"},
		{"less than it says", unsigned, fixed("4\r\nhell\r\n0\r\n" + checksumLine + "\r\n\r\n"), "IncompleteBody"},
		{"a chunk longer than it says", upload{payload: streamingUnsigned, length: "9", trailer: "x-amz-checksum-crc32"}, fixed("4\r\nhello\r\n0\r\n"), "IncompleteBody"},
		{"not a number", unsigned, fixed("-5\r\nhello\r\n"), "IncompleteBody"},
		{"a number that is too large", unsigned, fixed("fffffffffffffffff\r\nhello\r\n"), "IncompleteBody"},
		{"no framing", unsigned, fixed("hello"), ""},
		{"a line without end", unsigned, fixed(strings.Repeat("0", 2000)), "IncompleteBody"},
		{"data after the end", unsigned, fixed(whole + checksumLine + "\r\n\r\nx"), "IncompleteBody"},
		{"cut in a chunk", unsigned, fixed("5\r\nhel"), ""},
		{"cut after a chunk", unsigned, fixed("5\r\nhello\r\n"), ""},
		{"cut in the trailer", unsigned, fixed(whole + checksumLine), ""},
		{"no length", upload{payload: streamingSigned}, fixed(""), "InvalidRequest"},
		{"a length that is none", upload{payload: streamingSigned, length: "-1"}, fixed(""), "InvalidRequest"},
		{"a trailer that is not announced by the payload", upload{payload: streamingSigned, length: "5", trailer: "x-amz-checksum-crc32"}, fixed(whole), "InvalidRequest"},
		{"a payload whose trailer is not announced", upload{payload: streamingUnsigned, length: "5"}, fixed(whole), "InvalidRequest"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, p, err := receiveUpload(newVerifier(newKeys()), tc.upload.sign(t, tc.body), plain)
			if tc.code == "" {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("error %v, want that the body is cut off", err)
				}
			} else {
				status := http.StatusBadRequest
				if tc.code == "SignatureDoesNotMatch" {
					status = http.StatusForbidden
				}
				wantCode(t, err, tc.code, status)
			}
			if p != nil && p.Verify([sha256.Size]byte{}) == nil {
				t.Error("the body counts as proven")
			}
		})
	}
	t.Run("a body that breaks off", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("connection reset")
		wrap := func(r io.Reader) io.Reader { return io.MultiReader(io.LimitReader(r, 5), iotest.ErrReader(broken)) }
		if _, _, err := receiveUpload(newVerifier(newKeys()), unsigned.sign(t, fixed(whole)), wrap); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	})
}

// TestPublishedChunks checks the two examples of the Amazon S3 API reference:
// 65 KB of the letter a in two chunks, without and with a trailer.
func TestPublishedChunks(t *testing.T) {
	t.Parallel()
	const head = "PUT /examplebucket/chunkObject.txt HTTP/1.1\r\nHost: s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\n" +
		"x-amz-storage-class: REDUCED_REDUNDANCY\r\nContent-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 66560\r\n"
	const credential = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="
	body := func(first, second, last string) string {
		return "10000;chunk-signature=" + first + "\r\n" + strings.Repeat("a", 65536) + "\r\n" +
			"400;chunk-signature=" + second + "\r\n" + strings.Repeat("a", 1024) + "\r\n0;chunk-signature=" + last + "\r\n"
	}
	for name, tc := range map[string]struct{ header, body string }{
		"signed": {
			"x-amz-content-sha256: " + streamingSigned + "\r\nContent-Length: 66824\r\n" + credential +
				"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class," +
				"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9\r\n",
			body("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
				"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
				"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9") + "\r\n",
		},
		"with a trailer": {
			"x-amz-content-sha256: " + streamingTrailer + "\r\nx-amz-trailer: x-amz-checksum-crc32c\r\nTransfer-Encoding: identity\r\n" + credential +
				"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer," +
				"Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e\r\n",
			body("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
				"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
				"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992") +
				"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := strings.Replace(tc.header, "Transfer-Encoding: identity", "Content-Length: "+strconv.Itoa(len(tc.body)), 1)
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + header + "\r\n" + tc.body)))
			if err != nil {
				t.Fatal(err)
			}
			source := newKeys()
			source.set(identity.Key{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Account: account})
			v := newVerifier(source)
			v.Now = func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }
			got, _, err := receiveUpload(v, r, plain)
			if err != nil || got != strings.Repeat("a", 66560) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// Whatever stands in an aws-chunked body, what is read of it is no longer than
// it says, and only a whole body counts as proven.
func FuzzChunked(f *testing.F) {
	for _, text := range []string{
		"", "0\r\n\r\n", "5\r\nhello\r\n0\r\n" + checksumLine + "\r\n\r\n", "5;x\r\nhello\r\n", "fffffffffffffff\r\n", "0\n", "\r\n", "5\r\nhello\r\n5\r\nhello\r\n",
		"5;chunk-signature=" + strings.Repeat("0", 64) + "\r\nhello\r\n0;chunk-signature=" + strings.Repeat("0", 64) + "\r\n\r\n",
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, signed bool) {
		u := upload{payload: streamingUnsigned, length: "5", trailer: "x-amz-checksum-crc32"}
		if signed {
			u = upload{payload: streamingSigned, length: "5"}
		}
		got, p, err := receiveUpload(newVerifier(newKeys()), u.sign(t, func(string) string { return text }), plain)
		if p == nil {
			t.Fatal(err)
		}
		if err == nil && (len(got) != 5 || signed) {
			t.Errorf("%q counts as a body: %q", text, got)
		}
		if err != nil && p.Verify([sha256.Size]byte{}) == nil {
			t.Error("proven in spite of", err)
		}
	})
}
