// Package s3store keeps artifacts in a bucket of any store that speaks the S3 API,
// for several servers or for more than a disk holds. Another Fescue server's own
// S3 is one.
package s3store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/disk"
)

// Scheme is how the URL of such a store begins.
const Scheme = "s3://"

// Store keeps each artifact as an object named by its hash, below a prefix.
type Store struct {
	client         *s3.Client
	bucket, prefix string
	spoolDir       string
}

var _ artifacts.Store = (*Store)(nil)

const (
	// maxAttempts bounds how often a request is sent when the store is down or
	// says that it is busy, with growing pauses in between.
	maxAttempts = 5
	// answerWait bounds the wait for the begin of an answer.
	answerWait = time.Minute
)

// Open opens the store at a URL of the form s3://bucket/prefix. Endpoint, Region
// and credentials come from where AWS SDKs look for them: AWS_ENDPOINT_URL_S3,
// AWS_REGION, AWS_ACCESS_KEY_ID and the rest. The bucket must be there. What is put
// goes through files in spoolDir where it cannot be read twice.
func Open(ctx context.Context, rawURL, spoolDir string, options ...func(*config.LoadOptions) error) (*Store, error) {
	bucket, prefix, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, append([]func(*config.LoadOptions) error{
		config.WithRetryMaxAttempts(maxAttempts),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = answerWait })),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("artifact store %s: %w", rawURL, err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		// A store of one's own has no DNS name for each bucket, and may not know
		// the newer checksums; content is checked by its SHA-256 anyway.
		o.UsePathStyle = o.BaseEndpoint != nil
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	if _, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); err != nil {
		if code(err) == "NotFound" || code(err) == "NoSuchBucket" {
			return nil, fmt.Errorf("artifact store %s: there is no bucket %s: make it with `aws s3 mb s3://%s`, or correct AWS_ENDPOINT_URL_S3 and AWS_REGION", rawURL, bucket, bucket)
		}
		return nil, fmt.Errorf("artifact store %s does not answer: check AWS_ENDPOINT_URL_S3, AWS_REGION and the credentials: %w", rawURL, err)
	}
	return &Store{client, bucket, prefix, spoolDir}, nil
}

// parse splits a URL into bucket and prefix.
func parse(rawURL string) (bucket, prefix string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || !strings.HasPrefix(rawURL, Scheme) || u.Host == "" || u.User != nil || u.Port() != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", fmt.Errorf("artifact store %q: write s3://bucket or s3://bucket/prefix; endpoint, Region and credentials come from the environment", rawURL)
	}
	return u.Host, strings.Trim(path.Clean("/"+u.Path), "/"), nil
}

// Within is the store of artifacts below a further prefix. Its artifacts are not
// those of this one.
func (s *Store) Within(name string) *Store {
	inner := *s
	inner.prefix = path.Join(s.prefix, name)
	return &inner
}

// String is the store's URL.
func (s *Store) String() string { return Scheme + path.Join(s.bucket, s.prefix) }

// key is the object of an artifact. What is no hash is refused.
func (s *Store) key(hash string) (*string, error) {
	if !fescue.ValidHash(hash) {
		return nil, fmt.Errorf("artifact %.80q: %w", hash, artifacts.ErrHash)
	}
	return aws.String(path.Join(s.prefix, hash[:2], hash)), nil
}

// about adds to an error what was being done.
func (s *Store) about(doing, hash string, err error) error {
	if err == nil {
		return nil
	}
	switch code(err) {
	case "NoSuchKey", "NotFound":
		err = fescue.ErrNotFound
	case "NoSuchBucket":
		err = fmt.Errorf("the bucket %s is gone: %w", s.bucket, err)
	}
	return fmt.Errorf("%s artifact %s in %s: %w", doing, hash, s, err)
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Put implements artifacts.Store.
func (s *Store) Put(ctx context.Context, hash string, r io.Reader) error {
	key, err := s.key(hash)
	if err != nil {
		return err
	}
	content, done, err := s.rereadable(r)
	if err != nil {
		return s.about("put", hash, err)
	}
	defer done()
	start, err := content.Seek(0, io.SeekCurrent)
	if err != nil {
		return s.about("put", hash, err)
	}
	sum := sha256.New()
	size, err := io.Copy(sum, disk.Reader(ctx, content))
	if err != nil {
		return s.about("put", hash, err)
	}
	digest := sum.Sum(nil)
	if got := hex.EncodeToString(digest); got != hash {
		return s.about("put", hash, fmt.Errorf("SHA-256 is %s: %w", got, artifacts.ErrContent))
	}
	if _, err := content.Seek(start, io.SeekStart); err != nil {
		return s.about("put", hash, err)
	}
	_, err = s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: key, Body: content, ContentLength: &size,
		// The store compares it with what arrives.
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(digest)),
	})
	return s.about("put", hash, err)
}

// rereadable is r if it can be read again, else a copy of it in a file.
func (s *Store) rereadable(r io.Reader) (content io.ReadSeeker, done func(), err error) {
	if seeker, ok := r.(io.ReadSeeker); ok {
		return seeker, func() {}, nil
	}
	f, err := os.CreateTemp(s.spoolDir, "artifact-*")
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		f.Close()
		os.Remove(f.Name())
	}
	if _, err = io.Copy(f, r); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return f, done, nil
}

// Stat implements artifacts.Store.
func (s *Store) Stat(ctx context.Context, hash string) (artifacts.Info, error) {
	key, err := s.key(hash)
	if err != nil {
		return artifacts.Info{}, err
	}
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: key})
	if err != nil {
		return artifacts.Info{}, s.about("stat", hash, err)
	}
	return artifacts.Info{Size: aws.ToInt64(head.ContentLength), StoredAt: aws.ToTime(head.LastModified).UTC()}, nil
}

// Delete implements artifacts.Store.
func (s *Store) Delete(ctx context.Context, hash string) error {
	key, err := s.key(hash)
	if err != nil {
		return err
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: key})
	return s.about("delete", hash, err)
}
