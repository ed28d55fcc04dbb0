package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func text(t testing.TB, body io.ReadCloser) string {
	t.Helper()
	defer body.Close()
	return string(must(io.ReadAll(body))(t))
}

// TestSDK drives the AWS SDK for Go, over HTTP, where it signs what it sends, and
// over HTTPS, where it sends aws-chunked bodies with a checksum behind them.
func TestSDK(t *testing.T) {
	t.Parallel()
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprint("tls ", tls), func(t *testing.T) {
			t.Parallel()
			s := open(t, tls)
			c := s.client("AKIDONE", "eu-west-1")
			ctx, bucket := t.Context(), aws.String("bucket")
			must(c.CreateBucket(ctx, &awss3.CreateBucketInput{
				Bucket: bucket, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
			}))(t)
			_, err := c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: bucket})
			wantCode(t, "create twice", err, "BucketAlreadyOwnedByYou")
			if list := must(c.ListBuckets(ctx, &awss3.ListBucketsInput{}))(t); len(list.Buckets) != 1 || *list.Buckets[0].Name != "bucket" {
				t.Errorf("%+v", list.Buckets)
			}
			if head := must(c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: bucket}))(t); *head.BucketRegion != "eu-west-1" {
				t.Errorf("%+v", head)
			}
			if at := must(c.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: bucket}))(t); at.LocationConstraint != "eu-west-1" {
				t.Errorf("%+v", at)
			}

			for _, algorithm := range append([]types.ChecksumAlgorithm{""}, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256) {
				put := must(c.PutObject(ctx, &awss3.PutObjectInput{
					Bucket: bucket, Key: aws.String("k" + string(algorithm)), Body: strings.NewReader("hello world"), ChecksumAlgorithm: algorithm,
					ContentType: aws.String("text/plain"), CacheControl: aws.String("no-store"), Metadata: map[string]string{"Case": "Kept Value"},
				}))(t)
				if *put.ETag != `"5eb63bbbe01eeed093cb22bb8f5acdc3"` || put.ChecksumType != types.ChecksumTypeFullObject {
					t.Errorf("%s: %+v", algorithm, put)
				}
				get := must(c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("k" + string(algorithm)), ChecksumMode: types.ChecksumModeEnabled}))(t)
				if got := text(t, get.Body); got != "hello world" || *get.ContentType != "text/plain" || *get.CacheControl != "no-store" || get.Metadata["case"] != "Kept Value" {
					t.Errorf("%s: %q %+v", algorithm, got, get)
				}
			}
			_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("bad"), Body: strings.NewReader("x"), ChecksumCRC32: aws.String("AAAAAA==")})
			wantCode(t, "a wrong checksum", err, "BadDigest")

			// An empty body, and one that does not fit into memory.
			large := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
			for key, content := range map[string][]byte{"empty": nil, "large": large} {
				must(c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(content)}))(t)
				if got := text(t, must(c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: &key}))(t).Body); got != string(content) {
					t.Errorf("%s: %d bytes came back", key, len(got))
				}
				if head := must(c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: &key}))(t); *head.ContentLength != int64(len(content)) || time.Since(*head.LastModified) > time.Hour {
					t.Errorf("%+v", head)
				}
			}

			must(c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("bucket/k")}))(t)
			if got := must(c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("copy")}))(t); text(t, got.Body) != "hello world" || *got.ContentType != "text/plain" {
				t.Errorf("%+v", got)
			}
			deleted := must(c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("copy")}, {Key: aws.String("never there")}}}}))(t)
			if len(deleted.Deleted) != 2 || len(deleted.Errors) != 0 {
				t.Errorf("%+v", deleted)
			}
			_, err = c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: aws.String("copy")})
			wantCode(t, "head of what is deleted", err, "NotFound")
			_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("copy")})
			wantCode(t, "get of what is deleted", err, "NoSuchKey")
			_, err = c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: bucket})
			wantCode(t, "delete of a full bucket", err, "BucketNotEmpty")
			if s.logs.Len() > 0 {
				t.Errorf("log: %s", s.logs)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	c := s.client("AKIDONE", "eu-west-1")
	bucket := aws.String("odd")
	must(c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: bucket}))(t)
	odd := []string{
		"a/b", "a//b", "/a", "a/", "//", "/", ".", "..", "../..", "a/../b", "a/./b", "%2F", "%2f/%", "a b", " ", "a+b", "ключ/温", "a\\b", "a?b", "a#b", "a&b=c;d", "*", "'\"<>",
		"a:b@c", "~x", strings.Repeat("k", 1024), "\U0010FFFF", "metrics", "fescue/v1/endpoints",
	}
	for _, key := range odd {
		must(c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader("content of " + key)}))(t)
	}
	for _, key := range odd {
		if got := text(t, must(c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: bucket, Key: &key}))(t).Body); got != "content of "+key {
			t.Errorf("%q holds %q", key, got)
		}
	}
	var listed []string
	for token := (*string)(nil); ; {
		page := must(c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(7), ContinuationToken: token}))(t)
		for _, o := range page.Contents {
			listed = append(listed, *o.Key)
		}
		if token = page.NextContinuationToken; !*page.IsTruncated {
			break
		}
	}
	if slices.Sort(odd); !slices.Equal(listed, odd) {
		t.Errorf("listed %q\nwant   %q", listed, odd)
	}
	groups := must(c.ListObjects(t.Context(), &awss3.ListObjectsInput{Bucket: bucket, Delimiter: aws.String("/"), Prefix: aws.String("a/"), MaxKeys: aws.Int32(2)}))(t)
	if len(groups.Contents) != 1 || len(groups.CommonPrefixes) != 1 || aws.ToString(groups.NextMarker) != "a/../" {
		t.Errorf("%+v", groups)
	}
	rest := must(c.ListObjects(t.Context(), &awss3.ListObjectsInput{Bucket: bucket, Delimiter: aws.String("/"), Prefix: aws.String("a/"), Marker: groups.NextMarker}))(t)
	if len(rest.Contents) != 1 || len(rest.CommonPrefixes) != 2 || *rest.CommonPrefixes[0].Prefix != "a/./" {
		t.Errorf("the second page begins elsewhere: %+v", rest.CommonPrefixes)
	}
	encoded := must(c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("a b"), EncodingType: types.EncodingTypeUrl}))(t)
	if len(encoded.Contents) != 1 || *encoded.Contents[0].Key != "a%20b" {
		t.Errorf("%+v", encoded.Contents)
	}
	copied := must(c.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copied"), CopySource: aws.String("odd/a%20b")}))(t)
	if copied.CopyObjectResult == nil || text(t, must(c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("copied")}))(t).Body) != "content of a b" {
		t.Errorf("%+v", copied)
	}
}

func TestMultipart(t *testing.T) {
	t.Parallel()
	s := open(t, true)
	c := s.client("AKIDONE", "eu-west-1")
	ctx, bucket, key := t.Context(), aws.String("parts"), aws.String("k")
	must(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: bucket}))(t)
	content := make([]byte, 11<<20)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(content)

	for algorithm, kind := range map[types.ChecksumAlgorithm]types.ChecksumType{types.ChecksumAlgorithmCrc32: types.ChecksumTypeComposite, types.ChecksumAlgorithmCrc64nvme: types.ChecksumTypeFullObject} {
		begun := must(c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ChecksumAlgorithm: algorithm, ContentType: aws.String("a/b")}))(t)
		if begun.ChecksumType != kind {
			t.Errorf("%+v", begun)
		}
		var parts []types.CompletedPart
		for i, piece := range [][]byte{content[:5<<20], content[5<<20 : 10<<20], content[10<<20:]} {
			n := aws.Int32(int32(i + 1))
			part := must(c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: bucket, Key: key, UploadId: begun.UploadId, PartNumber: n, Body: bytes.NewReader(piece), ChecksumAlgorithm: algorithm}))(t)
			parts = append(parts, types.CompletedPart{PartNumber: n, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32, ChecksumCRC64NVME: part.ChecksumCRC64NVME})
		}
		list := must(c.ListParts(ctx, &awss3.ListPartsInput{Bucket: bucket, Key: key, UploadId: begun.UploadId, MaxParts: aws.Int32(2)}))(t)
		if len(list.Parts) != 2 || !*list.IsTruncated || *list.NextPartNumberMarker != "2" || *list.Parts[1].Size != 5<<20 {
			t.Errorf("%+v", list)
		}
		list = must(c.ListParts(ctx, &awss3.ListPartsInput{Bucket: bucket, Key: key, UploadId: begun.UploadId, PartNumberMarker: list.NextPartNumberMarker}))(t)
		if len(list.Parts) != 1 || *list.IsTruncated {
			t.Errorf("%+v", list)
		}
		uploads := must(c.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: bucket, Prefix: key}))(t)
		if len(uploads.Uploads) != 1 || *uploads.Uploads[0].UploadId != *begun.UploadId {
			t.Errorf("%+v", uploads)
		}
		done := must(c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}))(t)
		if !strings.HasSuffix(*done.ETag, `-3"`) || done.ChecksumType != kind {
			t.Errorf("%+v", done)
		}
		get := must(c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled}))(t)
		if got := text(t, get.Body); got != string(content) || *get.ContentType != "a/b" {
			t.Errorf("%d bytes came back", len(got))
		}
		ranged := must(c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=5242879-10485760")}))(t)
		if got := text(t, ranged.Body); got != string(content[5242879:10485761]) || *ranged.ContentRange != fmt.Sprintf("bytes 5242879-10485760/%d", len(content)) {
			t.Errorf("%d bytes of a range", len(got))
		}
		third := must(c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, PartNumber: aws.Int32(3)}))(t)
		if got := text(t, third.Body); got != string(content[10<<20:]) || *third.PartsCount != 3 {
			t.Errorf("%d bytes of part 3", len(got))
		}
	}

	begun := must(c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key}))(t)
	copied := must(c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
		Bucket: bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("parts/k"), CopySourceRange: aws.String("bytes=3-8"),
	}))(t)
	_, err := c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
		Bucket: bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("parts/k"), CopySourceRange: aws.String("bytes=3-"),
	})
	wantCode(t, "an open range", err, "InvalidArgument")
	must(c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{
		Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: copied.CopyPartResult.ETag}},
	}}))(t)
	if got := text(t, must(c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key}))(t).Body); got != string(content[3:9]) {
		t.Errorf("%q", got)
	}

	begun = must(c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key}))(t)
	must(c.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: begun.UploadId}))(t)
	_, err = c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	wantCode(t, "a part of what was aborted", err, "NoSuchUpload")
}

func TestPresigned(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	c := s.client("AKIDONE", "eu-west-1")
	must(c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("metrics")}))(t)
	signer := awss3.NewPresignClient(c)
	put := must(signer.PresignPutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String("metrics"), Key: aws.String("a b/../c"), Metadata: map[string]string{"x": "y"}, ContentType: aws.String("text/x"),
	}))(t)
	r := must(http.NewRequest(put.Method, put.URL, strings.NewReader("through a URL")))(t)
	for name, values := range put.SignedHeader {
		if name != "Host" {
			r.Header[name] = values
		}
	}
	r.ContentLength = int64(len("through a URL"))
	if a := s.do(t, r); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	get := must(signer.PresignGetObject(t.Context(), &awss3.GetObjectInput{
		Bucket: aws.String("metrics"), Key: aws.String("a b/../c"), ResponseContentType: aws.String("text/html"),
	}))(t)
	if a := s.do(t, must(http.NewRequest("GET", get.URL, nil))(t)); a.body != "through a URL" || a.Header.Get("Content-Type") != "text/html" || a.Header.Get("X-Amz-Meta-X") != "y" {
		t.Errorf("%d %s %v", a.StatusCode, a.body, a.Header)
	}
	for change, code := range map[string]string{"X-Amz-Expires=900": "SignatureDoesNotMatch", "b%2F..": "SignatureDoesNotMatch", "X-Amz-Signature=": "AuthorizationQueryParametersError"} {
		url := strings.Replace(get.URL, change, change+"1", 1)
		if url == get.URL {
			continue
		}
		if a := s.do(t, must(http.NewRequest("GET", url, nil))(t)); a.code != code {
			t.Errorf("%s changed: %s", change, a.body)
		}
	}
	if a := s.do(t, must(http.NewRequest("GET", s.URL+"/metrics/k?AWSAccessKeyId=AKIDONE&Signature=x&Expires=1", nil))(t)); a.code != "AuthorizationHeaderMalformed" || !strings.Contains(a.body, "Signature Version 2") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}
