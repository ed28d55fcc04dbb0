//go:build linux

package test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// TestS3CLI is what scripts do with `aws s3`, by the unmodified AWS CLI.
func TestS3CLI(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("aws (the AWS CLI, Debian's package awscli) is not installed")
	}
	s := startServer(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte("[default]\ns3 =\n  signature_version = s3v4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try := func(args ...string) (string, error) {
		cmd := exec.Command("aws", append([]string{"--endpoint-url", "http://" + s.api}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(programs.Environment(), "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_DEFAULT_REGION="+region,
			"AWS_CONFIG_FILE="+config, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := try(args...)
		if err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	same := func(a, b string) {
		t.Helper()
		if !bytes.Equal(readFile(t, filepath.Join(dir, a)), readFile(t, filepath.Join(dir, b))) {
			t.Errorf("%s and %s differ", a, b)
		}
	}

	run("s3", "mb", "s3://my-bucket")
	large := make([]byte, 20<<20) // in three parts
	rand.Read(large)
	write("large", large)
	run("s3", "cp", "large", "s3://my-bucket/a b/../large")
	run("s3", "cp", "s3://my-bucket/a b/../large", "back")
	same("large", "back")
	run("s3", "cp", "s3://my-bucket/a b/../large", "s3://my-bucket/copy")
	run("s3", "cp", "s3://my-bucket/copy", "back")
	same("large", "back")
	if out := run("s3", "ls", "s3://my-bucket"); !strings.Contains(out, "PRE a b/") || !strings.Contains(out, "20971520 copy") {
		t.Errorf("ls: %s", out)
	}

	for _, name := range []string{"tree/one", "tree/d/pl+us %2F", "tree/d/e/two"} {
		write(name, []byte(name))
	}
	run("s3", "sync", "tree", "s3://my-bucket/tree")
	run("s3", "sync", "s3://my-bucket/tree", "down")
	for _, name := range []string{"one", "d/pl+us %2F", "d/e/two"} {
		same("tree/"+name, "down/"+name)
	}
	if out := run("s3", "sync", "tree", "s3://my-bucket/tree"); out != "" {
		t.Errorf("a second sync does something: %s", out)
	}
	response, err := http.Get(strings.TrimSpace(run("s3", "presign", "s3://my-bucket/tree/d/pl+us %2F")))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "tree/d/pl+us %2F" {
		t.Errorf("presigned: %q, %v", body, err)
	}

	write("f.zip", zipOf(t, map[string][]byte{"main.py": []byte("def handler(event, context): pass")}))
	run("s3", "cp", "f.zip", "s3://my-bucket/code/f.zip")
	run("lambda", "create-function", "--function-name", "F", "--runtime", "python3.7", "--role", "arn:aws:iam::"+account+":role/x",
		"--handler", "main.handler", "--code", "S3Bucket=my-bucket,S3Key=code/f.zip")
	run("lambda", "update-function-code", "--function-name", "F", "--s3-bucket", "my-bucket", "--s3-key", "code/f.zip")

	var page struct{ Contents []struct{ Key string } }
	if err := json.Unmarshal([]byte(run("s3api", "list-objects-v2", "--bucket", "my-bucket", "--prefix", "tree/", "--page-size", "1", "--output", "json")), &page); err != nil || len(page.Contents) != 3 {
		t.Errorf("%+v, %v", page, err)
	}
	if out, err := try("s3api", "put-bucket-versioning", "--bucket", "my-bucket", "--versioning-configuration", "Status=Enabled"); err == nil || !strings.Contains(out, "NotImplemented") {
		t.Errorf("versioning: %s", out)
	}
	if out, err := try("s3", "rb", "s3://my-bucket"); err == nil || !strings.Contains(out, "BucketNotEmpty") {
		t.Errorf("rb of a full bucket: %s", out)
	}
	run("s3", "rm", "s3://my-bucket/tree", "--recursive")
	if out := run("s3", "ls", "s3://my-bucket", "--recursive"); strings.Contains(out, "tree") {
		t.Errorf("ls after rm: %s", out)
	}
	run("s3", "rb", "s3://my-bucket", "--force")
	if out := run("s3", "ls"); out != "" {
		t.Errorf("ls after rb: %s", out)
	}
}

// TestExternalArtifacts runs a control plane whose artifacts lie in the S3 of
// another one: a core gets its code through both.
func TestExternalArtifacts(t *testing.T) {
	t.Parallel()
	store := startServer(t)
	client := s3.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: aws.String("http://" + store.api), Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
	}, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("artifacts")}); err != nil {
		t.Fatal(err)
	}
	s := startServerWith(t, []string{
		"FESCUE_ARTIFACTS=s3://artifacts/fleet", "AWS_ENDPOINT_URL_S3=http://" + store.api, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret,
	}, t.TempDir())
	h := s.site(region)
	g := h.provision(t, "Far_Core")
	g.run(t)
	arn := h.echo(t, "Far")
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "far")}}, ends(arn, g.thing))
	h.await(t, group, h.deploy(t, group, version), fescue.Success)

	kept, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("artifacts"), Prefix: aws.String("fleet/")})
	if err != nil || len(kept.Contents) != 1 {
		t.Errorf("the store holds %+v, %v; want the code", kept, err)
	}
	if _, err := os.Stat(filepath.Join(s.data, "artifacts")); !os.IsNotExist(err) {
		t.Errorf("artifacts in the data folder: %v", err)
	}
}
