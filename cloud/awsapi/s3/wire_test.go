package s3_test

import (
	"encoding/xml"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/s3"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	for _, q := range []raw{{method: "PUT", target: "/bucket"}, {method: "PUT", target: "/bucket/k", body: "0123456789"}, {method: "PUT", target: "/bucket/empty"}} {
		if a := s.send(t, q); a.StatusCode != 200 {
			t.Fatal(a.body)
		}
	}
	const etag = `"781e5e245d69b566979b86e28d23f2c7"` // of 0123456789
	header := func(pairs ...string) map[string]string {
		h := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = pairs[i+1]
		}
		return h
	}
	past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	long := strings.Repeat("k", 1025)
	for _, c := range []struct {
		request raw
		status  int
		code    string
	}{
		// Places.
		{raw{method: "GET", target: "/nothing/k"}, 404, "NoSuchBucket"},
		{raw{method: "GET", target: "/bucket/none"}, 404, "NoSuchKey"},
		{raw{method: "HEAD", target: "/bucket/none"}, 404, ""},
		{raw{method: "HEAD", target: "/nothing"}, 404, ""},
		{raw{method: "GET", target: "/nothing"}, 404, "NoSuchBucket"},
		{raw{method: "DELETE", target: "/nothing"}, 404, "NoSuchBucket"},
		{raw{method: "DELETE", target: "/bucket"}, 409, "BucketNotEmpty"},
		{raw{method: "DELETE", target: "/bucket/none"}, 204, ""},
		{raw{method: "PUT", target: "/Bad_Name"}, 400, "InvalidBucketName"},
		{raw{method: "GET", target: "/Bad_Name/k"}, 400, "InvalidBucketName"},
		{raw{method: "PUT", target: "//k", body: "x"}, 400, "InvalidBucketName"},
		{raw{method: "PUT", target: "/..%2F..%2Fetc/k", body: "x"}, 400, "InvalidBucketName"},
		{raw{method: "PUT", target: "/bucket/" + long}, 400, "KeyTooLongError"},
		{raw{method: "PUT", target: "/bucket/a%00b"}, 400, "InvalidURI"},
		{raw{method: "PUT", target: "/bucket/%FF"}, 400, "InvalidURI"},
		{raw{method: "GET", target: "/bucket?prefix=%ff"}, 400, "InvalidURI"},
		{raw{method: "GET", target: "/bucket?prefix=%00"}, 400, "InvalidURI"},
		// Buckets.
		{raw{method: "PUT", target: "/bucket"}, 409, "BucketAlreadyOwnedByYou"},
		{raw{method: "PUT", target: "/bucket", region: "us-east-1"}, 200, ""},
		{raw{method: "PUT", target: "/bucket", region: "us-east-1"}, 200, ""},
		{raw{method: "PUT", target: "/other", body: "<CreateBucketConfiguration><LocationConstraint>ap-south-1</LocationConstraint></CreateBucketConfiguration>"}, 400, "IllegalLocationConstraintException"},
		{raw{method: "PUT", target: "/other", body: "<Create"}, 400, "MalformedXML"},
		{raw{method: "PUT", target: "/other", header: header("X-Amz-Bucket-Object-Lock-Enabled", "true")}, 501, "NotImplemented"},
		// What is not there, by name.
		{raw{method: "GET", target: "/bucket?policy"}, 501, "NotImplemented"},
		{raw{method: "PUT", target: "/bucket?versioning", body: "<x/>"}, 501, "NotImplemented"},
		{raw{method: "GET", target: "/bucket?versions"}, 501, "NotImplemented"},
		{raw{method: "PUT", target: "/bucket/k?acl"}, 501, "NotImplemented"},
		{raw{method: "DELETE", target: "/bucket/k?tagging"}, 501, "NotImplemented"},
		{raw{method: "POST", target: "/bucket/k?select&select-type=2"}, 501, "NotImplemented"},
		{raw{method: "POST", target: "/bucket"}, 405, "MethodNotAllowed"},
		{raw{method: "GET", target: "/bucket/k?versionId=abc"}, 404, "NoSuchVersion"},
		{raw{method: "GET", target: "/bucket/k?versionId=null"}, 200, ""},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Server-Side-Encryption", "aws:kms")}, 501, "NotImplemented"},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Acl", "public-read")}, 400, "AccessControlListNotSupported"},
		{raw{method: "GET", target: "/bucket/k", header: header("X-Amz-Expected-Bucket-Owner", "210987654321")}, 403, "AccessDenied"},
		{raw{method: "GET", target: "/bucket/k", header: header("X-Amz-Expected-Bucket-Owner", "123456789012")}, 200, ""},
		// Content.
		{raw{method: "PUT", target: "/bucket/x", body: "x", header: header("Content-Md5", "AAAAAAAAAAAAAAAAAAAAAA==")}, 400, "BadDigest"},
		{raw{method: "PUT", target: "/bucket/x", body: "x", header: header("Content-Md5", "x")}, 400, "InvalidDigest"},
		{raw{method: "PUT", target: "/bucket/x", body: "x", header: header("X-Amz-Checksum-Crc32", "AAAAAA==")}, 400, "BadDigest"},
		{raw{method: "PUT", target: "/bucket/x", body: "x", header: header("X-Amz-Checksum-Crc32", "AAAAAA==", "X-Amz-Checksum-Sha1", "x")}, 400, "InvalidRequest"},
		{raw{method: "PUT", target: "/bucket/x", body: "x", header: header("X-Amz-Meta-A", strings.Repeat("a", 2050))}, 400, "MetadataTooLarge"},
		{raw{method: "PUT", target: "/bucket/x", body: "x", header: header("X-Amz-Meta-A", "\xff")}, 400, "InvalidArgument"},
		{raw{method: "PUT", target: "/bucket/x", body: strings.Repeat("x", 100), header: header("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "6000000000", "X-Amz-Trailer", "x-amz-checksum-crc32")}, 400, "EntityTooLarge"},
		{raw{method: "PUT", target: "/bucket/x", body: "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", header: header("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "3", "X-Amz-Trailer", "x-amz-checksum-crc32")}, 400, "BadDigest"},
		{raw{method: "PUT", target: "/bucket/x", body: "3\r\nabc", header: header("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "3", "X-Amz-Trailer", "x-amz-checksum-crc32")}, 400, "RequestTimeout"},
		{raw{method: "PUT", target: "/bucket/x", body: "abc", header: header("X-Amz-Content-Sha256", strings.Repeat("0", 64))}, 400, "XAmzContentSHA256Mismatch"},
		// Ranges.
		{raw{method: "GET", target: "/bucket/k", header: header("Range", "bytes=10-")}, 416, "InvalidRange"},
		{raw{method: "GET", target: "/bucket/k", header: header("Range", "bytes=-0")}, 416, "InvalidRange"},
		{raw{method: "GET", target: "/bucket/empty", header: header("Range", "bytes=0-")}, 416, "InvalidRange"},
		{raw{method: "HEAD", target: "/bucket/k", header: header("Range", "bytes=10-")}, 416, ""},
		{raw{method: "GET", target: "/bucket/k?partNumber=2"}, 416, "InvalidRange"},
		{raw{method: "GET", target: "/bucket/k?partNumber=0"}, 400, "InvalidArgument"},
		{raw{method: "GET", target: "/bucket/k?partNumber=1", header: header("Range", "bytes=0-1")}, 400, "InvalidRequest"},
		// Conditions.
		{raw{method: "GET", target: "/bucket/k", header: header("If-Match", `"x"`)}, 412, "PreconditionFailed"},
		{raw{method: "GET", target: "/bucket/k", header: header("If-Match", etag)}, 200, ""},
		{raw{method: "GET", target: "/bucket/k", header: header("If-None-Match", etag)}, 304, ""},
		{raw{method: "GET", target: "/bucket/k", header: header("If-None-Match", `W/"a", *`)}, 304, ""},
		{raw{method: "GET", target: "/bucket/k", header: header("If-Modified-Since", future)}, 304, ""},
		{raw{method: "GET", target: "/bucket/k", header: header("If-Modified-Since", past)}, 200, ""},
		{raw{method: "GET", target: "/bucket/k", header: header("If-Unmodified-Since", past)}, 412, "PreconditionFailed"},
		{raw{method: "GET", target: "/bucket/k", header: header("If-Unmodified-Since", past, "If-Match", etag)}, 200, ""},
		{raw{method: "PUT", target: "/bucket/k", header: header("If-None-Match", "*")}, 412, "PreconditionFailed"},
		{raw{method: "PUT", target: "/bucket/k", header: header("If-None-Match", etag)}, 501, "NotImplemented"},
		{raw{method: "PUT", target: "/bucket/k", header: header("If-Match", `"x"`)}, 412, "PreconditionFailed"},
		{raw{method: "PUT", target: "/bucket/none", header: header("If-Match", `"x"`)}, 404, "NoSuchKey"},
		// Copies.
		{raw{method: "PUT", target: "/bucket/k", header: header("X-Amz-Copy-Source", "/bucket/k")}, 400, "InvalidRequest"},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Copy-Source", "bucket")}, 400, "InvalidArgument"},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Copy-Source", "bucket/%zz")}, 400, "InvalidArgument"},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Copy-Source", "bucket/none")}, 404, "NoSuchKey"},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Copy-Source", "bucket/k?versionId=7")}, 404, "NoSuchVersion"},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Copy-Source", "bucket/k", "X-Amz-Copy-Source-If-None-Match", etag)}, 412, "PreconditionFailed"},
		{raw{method: "PUT", target: "/bucket/x", header: header("X-Amz-Copy-Source", "bucket/k", "X-Amz-Metadata-Directive", "MOVE")}, 400, "InvalidArgument"},
		{raw{method: "PUT", target: "/nothing/x", header: header("X-Amz-Copy-Source", "bucket/k")}, 404, "NoSuchBucket"},
		// Lists.
		{raw{method: "GET", target: "/bucket?list-type=3"}, 400, "InvalidArgument"},
		{raw{method: "GET", target: "/bucket?list-type=2&max-keys=-1"}, 400, "InvalidArgument"},
		{raw{method: "GET", target: "/bucket?list-type=2&continuation-token=x"}, 400, "InvalidArgument"},
		{raw{method: "GET", target: "/bucket?list-type=2&continuation-token="}, 400, "InvalidArgument"},
		{raw{method: "GET", target: "/bucket?encoding-type=utf"}, 400, "InvalidArgument"},
		{raw{method: "GET", target: "/bucket?uploads&delimiter=/"}, 501, "NotImplemented"},
		// Deletion.
		{raw{method: "POST", target: "/bucket?delete", body: "<Delete>"}, 400, "MalformedXML"},
		{raw{method: "POST", target: "/bucket?delete", body: "<Delete/>"}, 400, "MalformedXML"},
		{raw{method: "POST", target: "/bucket?delete", body: "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 1001) + "</Delete>"}, 400, "MalformedXML"},
		{raw{method: "POST", target: "/bucket?delete", body: "<Delete><Object><Key>k</Key></Object></Delete>", header: header("Content-Md5", "AAAAAAAAAAAAAAAAAAAAAA==")}, 400, "BadDigest"},
		{raw{method: "POST", target: "/nothing?delete", body: "<Delete><Object><Key>k</Key></Object></Delete>"}, 404, "NoSuchBucket"},
		// Uploads.
		{raw{method: "POST", target: "/nothing/k?uploads"}, 404, "NoSuchBucket"},
		{raw{method: "POST", target: "/bucket/k?uploads", header: header("X-Amz-Checksum-Algorithm", "CRC16")}, 400, "InvalidRequest"},
		{raw{method: "POST", target: "/bucket/k?uploads", header: header("X-Amz-Checksum-Algorithm", "SHA1", "X-Amz-Checksum-Type", "FULL_OBJECT")}, 400, "InvalidRequest"},
		{raw{method: "PUT", target: "/bucket/k?uploadId=x&partNumber=1"}, 404, "NoSuchUpload"},
		{raw{method: "PUT", target: "/bucket/k?uploadId=x&partNumber=10001"}, 400, "InvalidArgument"},
		{raw{method: "PUT", target: "/bucket/k?uploadId=x"}, 400, "InvalidArgument"},
		{raw{method: "GET", target: "/bucket/k?uploadId=x"}, 404, "NoSuchUpload"},
		{raw{method: "DELETE", target: "/bucket/k?uploadId=x"}, 404, "NoSuchUpload"},
		{raw{method: "POST", target: "/bucket/k?uploadId=x", body: "<CompleteMultipartUpload/>"}, 400, "MalformedXML"},
		{raw{method: "POST", target: "/bucket/k?uploadId=x", body: "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber></Part></CompleteMultipartUpload>"}, 400, "MalformedXML"},
		{raw{method: "POST", target: "/bucket/k?uploadId=x", body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"}, 404, "NoSuchUpload"},
		// Signatures, in S3's words.
		{raw{method: "GET", target: "/", key: "AKIDNONE"}, 403, "InvalidAccessKeyId"},
		{raw{method: "GET", target: "/", region: "ap-south-1"}, 400, "AuthorizationHeaderMalformed"},
	} {
		a := s.send(t, c.request)
		if a.StatusCode != c.status || a.code != c.code {
			t.Errorf("%s %.60s %v: %d %s, want %d %s", c.request.method, c.request.target, c.request.header, a.StatusCode, a.code, c.status, c.code)
		}
	}
	if a := s.send(t, raw{method: "GET", target: "/bucket/k"}); a.body != "0123456789" {
		t.Errorf("the object changed: %q", a.body)
	}
	for target, name := range map[string]string{
		"GET /bucket?policy": "GetBucketPolicy", "GET /bucket/k?acl": "GetObjectAcl", "GET /bucket?acl": "GetBucketAcl",
		"PUT /unmade?abac": "PutBucketAbac", "POST /bucket?metadataTable": "CreateBucketMetadataTableConfiguration",
		"POST /bucket/k?select&select-type=2": "SelectObjectContent", "DELETE /bucket/k?policy": "DELETE with ?policy",
	} {
		method, path, _ := strings.Cut(target, " ")
		if a := s.send(t, raw{method: method, target: path}); a.code != "NotImplemented" || !strings.Contains(a.body, " "+name) {
			t.Errorf("%s: %d %s, want it to name %s", target, a.StatusCode, a.body, name)
		}
	}
	for r, want := range map[string]string{
		"bytes=0-0": "0", "bytes=2-4": "234", "bytes=7-": "789", "bytes=-3": "789", "bytes=-30": "0123456789", "bytes=5-100": "56789",
		"bytes=0-1,3-4": "0123456789", "bytes=4-2": "0123456789", "lines=1-2": "0123456789", "bytes=a-b": "0123456789", "bytes=-": "0123456789",
	} {
		a := s.send(t, raw{method: "GET", target: "/bucket/k", header: header("Range", r)})
		if want10 := want == "0123456789" && r != "bytes=-30"; a.body != want || (a.StatusCode == 200) != want10 {
			t.Errorf("%s: %d %q", r, a.StatusCode, a.body)
		}
	}
	if s.logs.Len() > 0 {
		t.Errorf("log: %s", s.logs)
	}
}

func TestVirtualHost(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	s.send(t, raw{method: "PUT", target: "/bucket"})
	for _, host := range []string{"bucket.localhost", "bucket.localhost:9080", "bucket.s3.fescue.example.com", "bucket.s3.localhost:1", "bucket.s3.eu-west-1.amazonaws.com", "bucket.s3-eu-west-1.amazonaws.com"} {
		if a := s.send(t, raw{method: "PUT", target: "/a/b", body: host, host: host}); a.StatusCode != 200 {
			t.Errorf("%s: %s", host, a.body)
		}
		if a := s.send(t, raw{method: "GET", target: "/bucket/a/b"}); a.body != host {
			t.Errorf("%s: %q", host, a.body)
		}
	}
	for _, host := range []string{"localhost", "fescue.example.com", "s3.fescue.example.com", "bucket.fescue.example.com", "s3.eu-west-1.amazonaws.com", "s3-eu-west-1.amazonaws.com"} {
		if a := s.send(t, raw{method: "GET", target: "/bucket/a/b", host: host}); a.StatusCode != 200 {
			t.Errorf("%s: %s", host, a.body)
		}
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	for _, q := range []raw{{method: "PUT", target: "/bucket"}, {method: "PUT", target: "/bucket/a/1", body: "x"}, {method: "PUT", target: "/bucket/b/1", body: "x"}} {
		if a := s.send(t, q); a.StatusCode != 200 {
			t.Fatal(a.body)
		}
	}
	s.policies = []string{`{"Statement":[
		{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket","s3:PutObject","s3:DeleteObject"],"Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/a/*"]},
		{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/a/kept"}]}`}
	for _, c := range []struct {
		method, target string
		source         string
		allowed        bool
	}{
		{"GET", "/bucket/a/1", "", true}, {"HEAD", "/bucket/a/1", "", true}, {"GET", "/bucket/b/1", "", false}, {"HEAD", "/bucket/b/1", "", false},
		{"GET", "/bucket", "", true}, {"HEAD", "/bucket", "", true}, {"GET", "/bucket?list-type=2", "", true}, {"GET", "/", "", false}, {"GET", "/bucket?location", "", false},
		{"PUT", "/bucket/a/2", "", true}, {"PUT", "/bucket/b/2", "", false}, {"POST", "/bucket/b/2?uploads", "", false}, {"POST", "/bucket/a/2?uploads", "", true},
		{"PUT", "/bucket/a/3", "bucket/a/1", true}, {"PUT", "/bucket/a/3", "bucket/b/1", false}, {"PUT", "/bucket/b/3", "bucket/a/1", false},
		{"PUT", "/bucket/a/3?uploadId=x&partNumber=1", "bucket/b/1", false},
		{"DELETE", "/bucket/b/1", "", false}, {"DELETE", "/bucket/a/kept", "", false}, {"DELETE", "/bucket", "", false}, {"PUT", "/other", "", false},
	} {
		q := raw{method: c.method, target: c.target}
		if c.source != "" {
			q.header = map[string]string{"X-Amz-Copy-Source": c.source}
		}
		if a := s.send(t, q); (a.StatusCode == 403) == c.allowed || !c.allowed && a.code != "AccessDenied" && c.method != "HEAD" {
			t.Errorf("%s %s of %q: %d %s", c.method, c.target, c.source, a.StatusCode, a.body)
		}
	}
	a := s.send(t, raw{method: "POST", target: "/bucket?delete", body: "<Delete><Object><Key>a/1</Key></Object><Object><Key>b/1</Key></Object><Object><Key>a/kept</Key></Object></Delete>"})
	if strings.Count(a.body, "<Deleted>") != 1 || strings.Count(a.body, "<Code>AccessDenied</Code>") != 2 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// Random calls in three partitions that have buckets and keys of the same names:
// each sees its own alone, as a map says.
func TestPartitions(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	type place struct {
		*awss3.Client
		model map[string]map[string]string // buckets, keys, contents
	}
	var places []*place
	for _, at := range [][2]string{{"AKIDONE", "eu-west-1"}, {"AKIDONE", "us-east-1"}, {"AKIDTWO", "eu-west-1"}} {
		places = append(places, &place{s.client(at[0], at[1]), map[string]map[string]string{}})
	}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 400 {
		p := places[random.IntN(len(places))]
		bucket, key := fmt.Sprintf("bucket-%d", random.IntN(3)), fmt.Sprintf("k/%d", random.IntN(4))
		objects, there := p.model[bucket]
		content, found := objects[key]
		var err error
		want := "" // the code of a refusal
		if !there {
			want = "NoSuchBucket"
		}
		switch random.IntN(7) {
		case 0:
			if _, err = p.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &bucket}); !there {
				p.model[bucket], want = map[string]string{}, ""
			} else if want = "BucketAlreadyOwnedByYou"; err == nil && p == places[1] {
				want = ""
			}
		case 1:
			_, err = p.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: &bucket})
			if there && len(objects) > 0 {
				want = "BucketNotEmpty"
			} else {
				delete(p.model, bucket)
			}
		case 2, 3:
			body := fmt.Sprint("content ", random.IntN(5)) // the same in several places
			if i%2 == 0 {
				body = fmt.Sprint("content of ", i)
			}
			if _, err = p.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)}); there {
				objects[key] = body
			}
		case 4:
			if _, err = p.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: &key}); there {
				delete(objects, key)
			}
		case 5:
			var out *awss3.GetObjectOutput
			if out, err = p.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key}); there && !found {
				want = "NoSuchKey"
			}
			if err == nil && text(t, out.Body) != content {
				t.Errorf("%d: %s/%s is not %q", i, bucket, key, content)
			}
		case 6:
			var out *awss3.ListObjectsV2Output
			if out, err = p.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: &bucket}); err == nil {
				var keys, wantKeys []string
				for _, o := range out.Contents {
					keys = append(keys, aws.ToString(o.Key))
				}
				for key := range objects {
					wantKeys = append(wantKeys, key)
				}
				if sort.Strings(wantKeys); !slices.Equal(keys, wantKeys) {
					t.Errorf("%d: %s has %q, want %q", i, bucket, keys, wantKeys)
				}
			}
		}
		if want == "" && err != nil {
			t.Errorf("%d: %v", i, err)
		} else if want != "" {
			wantCode(t, fmt.Sprint(i), err, want)
		}
		if i%50 == 0 {
			out := must(p.ListBuckets(t.Context(), &awss3.ListBucketsInput{}))(t)
			if len(out.Buckets) != len(p.model) {
				t.Errorf("%d: %d buckets, want %d", i, len(out.Buckets), len(p.model))
			}
		}
	}
}

// Whatever a caller sends, the answer is an S3 document and never a server's
// fault.
func FuzzRequests(f *testing.F) {
	logger := slog.New(slog.DiscardHandler)
	api := s3.New(s3.Options{Buckets: service(f, logger), Logger: logger})
	for _, text := range []string{
		"", "k", "a/../b", "%2F", "%", "a%00", "\xff", "?list-type=2", "?uploads&key-marker=x", "?uploadId=x&partNumber=1", "?delete", "?location&acl", "?versionId=x",
		"?list-type=2&continuation-token=eyJGcm9tIjoiYSJ9", "?list-type=2&continuation-token=bnVsbA", "bytes=0-1", "<Delete><Object><Key>a</Key></Object></Delete>",
		"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>", "bucket/k?versionId=null", "?X-Amz-Signature=1&x-amz-copy-source=a/b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"} {
			for _, target := range []string{"/" + text, "/bucket" + text, "/bucket/k" + text} {
				r, err := http.NewRequest(method, "http://host"+target, strings.NewReader(text))
				if err != nil {
					continue
				}
				for _, name := range []string{"Range", "If-Match", "X-Amz-Copy-Source", "X-Amz-Checksum-Crc32", "X-Amz-Meta-X", "X-Amz-Checksum-Type", "Content-Md5"} {
					if len(text)%3 == 0 {
						r.Header.Set(name, text)
					}
				}
				if api.MaxBody(r) <= 0 {
					t.Error("no body fits")
				}
				w := httptest.NewRecorder()
				api.ServeCall(w, r, &awsapi.Call{Partition: fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}})
				if w.Code >= 500 && w.Code != http.StatusNotImplemented {
					t.Errorf("%s %q: %d %s", method, target, w.Code, w.Body)
				}
				if w.Code >= 400 && xml.Unmarshal(w.Body.Bytes(), new(struct {
					XMLName xml.Name `xml:"Error"`
				})) != nil {
					t.Errorf("%s %q: %d %q", method, target, w.Code, w.Body)
				}
			}
		}
	})
}
