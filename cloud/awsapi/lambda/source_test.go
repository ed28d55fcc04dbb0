package lambda_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/buckets"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// keep puts content into a bucket, which it makes if it is not there.
func (c *cloud) keep(t *testing.T, p fescue.Partition, key string, content []byte) {
	t.Helper()
	if _, err := c.buckets.Bucket(t.Context(), p, "code"); err != nil {
		if err := c.buckets.CreateBucket(t.Context(), p, "code"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.buckets.Put(t.Context(), p, "code", key, bytes.NewReader(content), buckets.Put{}); err != nil {
		t.Fatal(err)
	}
}

func TestCodeFromBucket(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	zipped := func(text string) []byte { return plainZip(t, text) }
	const create = `{"FunctionName":"f","Runtime":"python3.7","Handler":"main.handler","Role":"` + role + `","Code":{"S3Bucket":"code","S3Key":%q}}`
	c.keep(t, home, "a b/../f.zip", zipped("one"))
	made := c.do(t, "POST", all, fmt.Sprintf(create, "a b/../f.zip"))
	if made.status != 201 || made.body["CodeSize"] != float64(len(zipped("one"))) {
		t.Fatalf("%+v", made)
	}
	c.keep(t, home, "two.zip", zipped("two"))
	updated := c.do(t, "PUT", all+"/f/code", `{"S3Bucket":"code","S3Key":"two.zip","Publish":true}`)
	if updated.status != 200 || updated.body["CodeSha256"] == made.body["CodeSha256"] || updated.body["Version"] != "1" {
		t.Errorf("%+v", updated)
	}
	t.Run("another partition's bucket", func(t *testing.T) {
		a := c.do(t, "POST", all, fmt.Sprintf(create, "two.zip"), "Test-Region", "eu-west-1")
		if a.status != 400 || !strings.Contains(a.text, "The specified bucket does not exist") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("no zip", func(t *testing.T) {
		c.keep(t, home, "no.zip", []byte("no zip"))
		if a := c.do(t, "PUT", all+"/f/code", `{"S3Bucket":"code","S3Key":"no.zip"}`); a.status != 400 || !strings.Contains(a.text, "Could not unzip") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("larger than a request may be", func(t *testing.T) {
		var archive bytes.Buffer
		w := zip.NewWriter(&archive)
		f, err := w.CreateHeader(&zip.FileHeader{Name: "main.py", Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, functions.MaxArchive+1)
		rand.NewChaCha8([32]byte{}).Read(content[:1<<20])
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		c.keep(t, home, "large.zip", archive.Bytes())
		if a := c.do(t, "PUT", all+"/f/code", `{"S3Bucket":"code","S3Key":"large.zip"}`); a.status != 200 || a.body["CodeSize"] != float64(archive.Len()) {
			t.Errorf("%+v", a)
		}
	})
	if left, err := os.ReadDir(c.spool); err != nil || len(left) != 0 {
		t.Errorf("the spool folder holds %v, %v", left, err)
	}
}
