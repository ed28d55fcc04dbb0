package cloud_test

import (
	"archive/zip"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fescue-edge/fescue/cloud"
)

// An endpoint URL with a path, as it is behind a proxy for several services.
func TestBasePath(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.BasePath = "/legacy/greengrass-v1"
	s := start(t, o)
	ctx := t.Context()
	client, root := s.client()
	base := root + o.BasePath
	config := aws.Config{Region: "us-east-1", BaseEndpoint: &base, HTTPClient: client, Credentials: s.credentials(cloud.AccessKey{})}
	read := func(url string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, _, body := answered(t, client, r)
		return status, body
	}

	if _, err := greengrass.NewFromConfig(config).CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String("mill")}); err != nil {
		t.Error(err)
	}
	if got, err := s.greengrass("us-east-1", cloud.AccessKey{}).ListGroups(ctx, &greengrass.ListGroupsInput{}); err != nil || len(got.Groups) != 1 {
		t.Errorf("without the path: %+v, %v", got, err)
	}
	if got, err := iot.NewFromConfig(config).CreateThing(ctx, &iot.CreateThingInput{ThingName: aws.String("a:b")}); err != nil || aws.ToString(got.ThingName) != "a:b" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := sts.NewFromConfig(config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}

	const key = "a//b/../c%2Fd e"
	objects := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := objects.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("legacy")}); err != nil {
		t.Error(err)
	}
	if _, err := objects.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("legacy"), Key: aws.String(key), Body: strings.NewReader("content")}); err != nil {
		t.Error(err)
	}
	link, err := s3.NewPresignClient(objects).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("legacy"), Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	if status, body := read(link.URL); status != http.StatusOK || body != "content" || !strings.HasPrefix(link.URL, base+"/legacy/") {
		t.Errorf("%s: %d %s", link.URL, status, body)
	}

	var code bytes.Buffer
	w := zip.NewWriter(&code)
	if _, err := w.Create("main.py"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	functions := awslambda.NewFromConfig(config)
	_, err = functions.CreateFunction(ctx, &awslambda.CreateFunctionInput{
		FunctionName: aws.String("mill"), Runtime: lambdatypes.RuntimePython37, Handler: aws.String("main.handler"),
		Role: aws.String("arn:aws:iam::123456789012:role/r"), Code: &lambdatypes.FunctionCode{ZipFile: code.Bytes()},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := functions.GetFunction(ctx, &awslambda.GetFunctionInput{FunctionName: aws.String("mill")})
	if err != nil {
		t.Fatal(err)
	}
	if status, body := read(*got.Code.Location); status != http.StatusOK || body != code.String() || !strings.HasPrefix(*got.Code.Location, base) {
		t.Errorf("%s: %d", *got.Code.Location, status)
	}

	for url, want := range map[string]int{
		root + "/healthz": http.StatusOK, base + "/healthz": http.StatusOK, base + "/fescue/v1/endpoints": http.StatusOK,
		base: http.StatusForbidden, base + "/": http.StatusForbidden, base + "x/healthz": http.StatusForbidden, root + "/legacy%2Fgreengrass-v1/healthz": http.StatusForbidden,
	} {
		if status, body := read(url); status != want {
			t.Errorf("%s: %d %s, want %d", url, status, body, want)
		}
	}
}

func TestBasePathRefuses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"legacy", "/", "/legacy/", "//legacy", "/a b", "/a%20b", "/..", "/a?b"} {
		o := options(t.TempDir())
		o.BasePath = path
		if _, err := cloud.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--base-path") {
			t.Errorf("%q: %v", path, err)
		}
	}
}
