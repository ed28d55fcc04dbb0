package cloud_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/testkit"
)

// upload is a request whose body does not come by itself.
type upload struct {
	service, method, path string
	key                   cloud.AccessKey
	size                  int
	// declare sends the body's hash in the head.
	declare bool
}

// begin sends the head of an upload.
func (s *server) begin(u upload) net.Conn {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), u.method, "http://"+s.APIAddr()+u.path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.ContentLength = int64(u.size)
	sum := sha256.Sum256(make([]byte, u.size))
	hash := hex.EncodeToString(sum[:])
	if u.declare {
		r.Header.Set("X-Amz-Content-Sha256", hash)
	}
	if err := v4.NewSigner().SignHTTP(s.t.Context(), aws.Credentials{AccessKeyID: u.key.ID, SecretAccessKey: u.key.Secret}, r, hash, u.service, "us-east-1", time.Now()); err != nil {
		s.t.Fatal(err)
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", u.method, u.path, r.Host, u.size)
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256"} {
		if value := r.Header.Get(name); value != "" {
			fmt.Fprintf(&head, "%s: %s\r\n", name, value)
		}
	}
	c, err := net.Dial("tcp", s.APIAddr())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(append(head.Bytes(), "\r\n"...)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// answer reads the answer of a connection.
func (s *server) answer(c net.Conn) (status int, text string) {
	s.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (s *server) s3(key cloud.AccessKey) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://" + s.APIAddr()), UsePathStyle: true, Credentials: s.credentials(key), RetryMaxAttempts: 1,
	})
}

// Who may not send a body, or is not who it says, holds nothing that others need by
// sending it slowly.
func TestTricklingUploads(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	if _, err := s.s3(s.key).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("code")}); err != nil {
		t.Fatal(err)
	}
	reader := s.keyWith(identity.Grant{Access: "reader"})
	forged := cloud.AccessKey{ID: s.key.ID, Secret: strings.Repeat("x", 40)}
	const size = 40 << 20
	t.Run("a reader is answered at once, body or not", func(t *testing.T) {
		s := s.with(t)
		for range 20 {
			if status, text := s.answer(s.begin(upload{"s3", "PUT", "/code/k", reader, size, true})); status != 403 || !strings.Contains(text, "is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::code/k") {
				t.Errorf("%d %s", status, text)
			}
		}
	})
	t.Run("so is a false signature, where the head has the hash", func(t *testing.T) {
		s := s.with(t)
		for _, u := range []upload{{"s3", "PUT", "/code/k", forged, size, true}, {"lambda", "POST", "/2015-03-31/functions", forged, size, true}} {
			if status, text := s.answer(s.begin(u)); status != 403 || !strings.Contains(text, "signature we calculated does not match") {
				t.Errorf("%d %s", status, text)
			}
		}
	})
	// The signature of these is known when the body is whole. Each has brought more
	// than a memory's part, so each has, or waits for, a place on the disk.
	for range 40 {
		for _, key := range []cloud.AccessKey{forged, reader} {
			c := s.begin(upload{"lambda", "POST", "/2015-03-31/functions", key, size, false})
			go c.Write(make([]byte, 2<<20))
		}
	}
	t.Run("others put what they have to put", func(t *testing.T) {
		s := s.with(t)
		for i := range 20 {
			if _, err := s.s3(s.key).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("code"), Key: aws.String(fmt.Sprint(i)), Body: bytes.NewReader(make([]byte, 2<<20))}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.greengrass("us-east-1", s.key).CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("g")}); err != nil {
			t.Error(err)
		}
	})
}

// A body that has no room is refused before it comes, and everybody else goes on.
func TestLargeBodyOnASmallDisk(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	o := options(t.TempDir())
	var free atomic.Int64
	free.Store(400 * mb)
	o.Free = func(string) (int64, error) { return free.Load(), nil }
	s := start(t, o)
	if _, err := s.s3(s.key).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("code")}); err != nil {
		t.Fatal(err)
	}
	for _, u := range []upload{
		{"s3", "PUT", "/code/k", s.key, 360 * mb, true}, {"s3", "PUT", "/code/k", s.key, 140 * mb, true},
	} {
		if status, text := s.answer(s.begin(u)); status != 503 || !strings.Contains(text, "has no room for this") || !strings.Contains(text, "400 MB are free") {
			t.Errorf("%d %s", status, text)
		}
	}
	// What is on its way counts: this one has a place for 120 MB twice.
	c := s.begin(upload{"s3", "PUT", "/code/k", s.key, 120 * mb, true})
	c.Write(make([]byte, 2*mb))
	// One that would have a place before that is taken would be waited for: this has none.
	testkit.Until(t, "a place is taken", func() bool {
		status, text := s.answer(s.begin(upload{"s3", "PUT", "/code/l", s.key, 140 * mb, true}))
		if status != 503 {
			t.Errorf("%d %s", status, text)
		}
		return strings.Contains(text, fmt.Sprintf("takes up to %d MB", 2*140+2*120-2))
	})
	if _, err := s.greengrass("us-east-1", s.key).CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("g")}); err != nil {
		t.Errorf("what is small: %v", err)
	}
	c.Close()
	free.Store(1 << 40)
	if _, err := s.s3(s.key).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("code"), Key: aws.String("k"), Body: bytes.NewReader(make([]byte, 30*mb))}); err != nil {
		t.Error(err)
	}
}

// A slow line is served: what comes in time is taken, however long it takes.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Pace = inbound.Pace{Grace: 2 * time.Second, Rate: 64 << 10, Linger: time.Second}
	s := start(t, o)
	if _, err := s.s3(s.key).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("code")}); err != nil {
		t.Fatal(err)
	}
	const pieces, size = 50, 32 << 10
	c := s.begin(upload{"s3", "PUT", "/code/k", s.key, pieces * size, true})
	begun := time.Now()
	tick := time.NewTicker(100 * time.Millisecond) // what the line takes for a piece
	defer tick.Stop()
	for range pieces {
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	if status, text := s.answer(c); status != 200 || time.Since(begun) < 2*o.Pace.Grace {
		t.Errorf("%d %s after %s", status, text, time.Since(begun))
	}
}

// The SDK's uploads go on as before: code of the largest size, chunks with
// trailers, and answers that come before the body is sent.
func TestLargeUploadsOfTheSDK(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "f.py", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	f.Write(make([]byte, 30<<20))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	client := awslambda.New(awslambda.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + s.APIAddr()), Credentials: s.credentials(s.key), RetryMaxAttempts: 1})
	create := func(c *awslambda.Client, name string) error {
		_, err := c.CreateFunction(t.Context(), &awslambda.CreateFunctionInput{
			FunctionName: &name, Handler: aws.String("f.h"), Runtime: types.RuntimePython38, Role: aws.String("arn:aws:iam::" + account + ":role/r"),
			Code: &types.FunctionCode{ZipFile: archive.Bytes()},
		})
		return err
	}
	if err := create(client, "large"); err != nil {
		t.Error(err)
	}
	reader := s.keyWith(identity.Grant{Access: "reader"})
	denied := awslambda.New(awslambda.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + s.APIAddr()), Credentials: s.credentials(reader), RetryMaxAttempts: 1})
	if err := create(denied, "denied"); err == nil || !strings.Contains(err.Error(), "not authorized to perform: lambda:CreateFunction") {
		t.Errorf("%v", err)
	}
	if _, err := s.s3(s.key).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("code")}); err != nil {
		t.Fatal(err)
	}
	put := func(key cloud.AccessKey) error {
		_, err := s.s3(key).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("code"), Key: aws.String("k"), Body: bytes.NewReader(archive.Bytes())})
		return err
	}
	if err := put(s.key); err != nil {
		t.Error(err)
	}
	if err := put(reader); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("%v", err)
	}
}
