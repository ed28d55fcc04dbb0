package s3_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestMetadataNames: however an object came to be, its metadata's names come back
// in lower case. SDKs that keep the case of headers show it to their callers.
func TestMetadataNames(t *testing.T) {
	t.Parallel()
	s := open(t, false)
	c := s.client("AKIDONE", "eu-west-1")
	ctx, bucket := t.Context(), aws.String("bucket")
	must(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: bucket}))(t)
	metadata := map[string]string{"Who": "Me", "what-It-IS": "A Thing"}

	must(c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("put"), Body: strings.NewReader("x"), Metadata: metadata}))(t)
	must(c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("bucket/put")}))(t)
	must(c.CopyObject(ctx, &awss3.CopyObjectInput{
		Bucket: bucket, Key: aws.String("replaced"), CopySource: aws.String("bucket/put"), MetadataDirective: types.MetadataDirectiveReplace, Metadata: metadata,
	}))(t)
	begun := must(c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("parts"), Metadata: metadata}))(t)
	part := must(c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: bucket, Key: begun.Key, UploadId: begun.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")}))(t)
	must(c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: bucket, Key: begun.Key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{
		Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}},
	}}))(t)

	presign := awss3.NewPresignClient(c)
	want := []string{"x-amz-meta-what-it-is: A Thing", "x-amz-meta-who: Me"}
	for _, key := range []string{"put", "copy", "replaced", "parts"} {
		get := must(presign.PresignGetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: &key}))(t)
		head := must(presign.PresignHeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: &key}))(t)
		for method, target := range map[string]string{http.MethodGet: get.URL, http.MethodHead: head.URL} {
			var got []string
			for _, line := range headOf(t, method, target) {
				if strings.HasPrefix(strings.ToLower(line), "x-amz-meta-") {
					got = append(got, line)
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s %s: %q, want %q", method, key, got, want)
			}
		}
	}
}

// headOf is an answer's head as it goes over the wire, line by line.
func headOf(t *testing.T, method, target string) (lines []string) {
	t.Helper()
	u := must(url.Parse(target))(t)
	conn := must(net.Dial("tcp", u.Host))(t)
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, u.RequestURI(), u.Host); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(conn); in.Scan() && in.Text() != ""; {
		lines = append(lines, in.Text())
	}
	if len(lines) == 0 || !strings.Contains(lines[0], " 200 ") {
		t.Fatalf("%s %s: %q", method, target, lines)
	}
	return lines
}
