package bulk_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud/bulk"
)

func TestParseInputURI(t *testing.T) {
	t.Parallel()
	const region = "us-west-2"
	for _, c := range []struct{ uri, bucket, key string }{
		{"s3://my-bucket/key", "my-bucket", "key"},
		{"s3://my.bucket/a/b c%20+?x=y#z", "my.bucket", "a/b c%20+?x=y#z"},
		{"s3://abc//", "abc", "/"},
		{"https://my-bucket.s3-us-west-2.amazonaws.com/a/b.json", "my-bucket", "a/b.json"},
		{"https://my-bucket.s3.us-west-2.amazonaws.com/a%20b%2Fc+d", "my-bucket", "a b/c+d"},
		{"https://my.bucket.s3.amazonaws.com/k", "my.bucket", "k"},
		{"https://my-bucket.s3.dualstack.us-west-2.amazonaws.com/k", "my-bucket", "k"},
		{"https://my-bucket.s3.us-west-2.amazonaws.com.cn/k", "my-bucket", "k"},
		{"https://s3-us-west-2.amazonaws.com/my-bucket/k/l", "my-bucket", "k/l"},
		{"https://s3.us-west-2.amazonaws.com/my-bucket/k", "my-bucket", "k"},
		{"https://s3.amazonaws.com/my-bucket/k", "my-bucket", "k"},
		{"s3://bkt/" + strings.Repeat("k", 1024), "bkt", strings.Repeat("k", 1024)},
	} {
		bucket, key, err := bulk.ParseInputURI(c.uri, region)
		if err != nil || bucket != c.bucket || key != c.key {
			t.Errorf("%s: %q, %q, %v", c.uri, bucket, key, err)
		}
	}
	for _, c := range []struct{ uri, text string }{
		{"", "neither s3://"},
		{"my-bucket/key", "neither s3://"},
		{"S3://my-bucket/key", "neither s3://"},
		{"http://my-bucket.s3.us-west-2.amazonaws.com/k", "neither s3://"},
		{"https://my-bucket.example.com/k", "neither s3://"},
		{"https://s3.amazonaws.com.example.com/my-bucket/k", "neither s3://"},
		{"https://user@my-bucket.s3.amazonaws.com/k", "neither s3://"},
		{"https://my-bucket.s3.amazonaws.com:8443/k", "neither s3://"},
		{"https://169.254.169.254/latest/meta-data", "neither s3://"},
		{"file:///etc/passwd", "neither s3://"},
		{"https://my-bucket.s3.us-west-2.amazonaws.com/%zz", "neither s3://"},
		{"https://my-bucket.s3.amazonaws.com/k?versionId=1", "versions and signed URLs"},
		{"https://my-bucket.s3.amazonaws.com/k?", "versions and signed URLs"},
		{"https://my-bucket.s3.amazonaws.com/k#f", "versions and signed URLs"},
		{"https://my-bucket.s3.eu-west-1.amazonaws.com/k", "Region eu-west-1"},
		{"s3://", "the bucket"},
		{"s3:///key", "the bucket"},
		{"s3://My-Bucket/key", "the bucket"},
		{"s3://ab/key", "the bucket"},
		{"s3://../key", "the bucket"},
		{"https://s3.amazonaws.com/my-bucket", "key of 1 to"},
		{"s3://my-bucket", "key of 1 to"},
		{"s3://my-bucket/", "key of 1 to"},
		{"s3://my-bucket/a\x00b", "key of 1 to"},
		{"s3://my-bucket/\xff", "key of 1 to"},
		{"https://my-bucket.s3.amazonaws.com/%00", "key of 1 to"},
		{"https://my-bucket.s3.amazonaws.com/", "key of 1 to"},
		{"s3://bkt/" + strings.Repeat("k", 1025), "key of 1 to"},
		{"s3://bkt/" + strings.Repeat("k", 3072), "bytes"},
	} {
		var bad *bulk.URIError
		if _, _, err := bulk.ParseInputURI(c.uri, region); !errors.As(err, &bad) || !strings.Contains(bad.Text, c.text) {
			t.Errorf("%.80q: error %v, want one with %q", c.uri, err, c.text)
		}
	}
}

func read(content string) (list []bulk.BulkRecord, err error) {
	err = bulk.ReadInput(strings.NewReader(content), func(r bulk.BulkRecord) error {
		list = append(list, r)
		return nil
	})
	return list, err
}

func TestReadInput(t *testing.T) {
	t.Parallel()
	const good = `{"GroupId":"g","GroupVersionId":"v","DeploymentType":"NewDeployment"}`
	record := func(n int64) bulk.BulkRecord { return bulk.BulkRecord{Line: n, GroupID: "g", GroupVersionID: "v"} }
	padded := good + strings.Repeat(" ", 255-len(good))
	wide := `{"GroupId":"` + strings.Repeat("é", 255-len(good)+1) + `","GroupVersionId":"v","DeploymentType":"NewDeployment"}`
	for name, c := range map[string]struct {
		content string
		want    []bulk.BulkRecord
	}{
		"nothing":            {"", nil},
		"blank lines":        {"\n \r\n\t", nil},
		"one":                {good, []bulk.BulkRecord{record(1)}},
		"LF and CRLF":        {good + "\n" + good + "\r\n" + good + "\n", []bulk.BulkRecord{record(1), record(2), record(3)}},
		"blank between":      {good + "\n\n" + good, []bulk.BulkRecord{record(1), record(3)}},
		"unknown member":     {`{"GroupId":"g","More":[1],"GroupVersionId":"v","DeploymentType":"NewDeployment"}`, []bulk.BulkRecord{record(1)}},
		"longest":            {padded + "\n" + padded + "\r\n", []bulk.BulkRecord{record(1), record(2)}},
		"longest, two bytes": {wide, []bulk.BulkRecord{{Line: 1, GroupID: strings.Repeat("é", 255-len(good)+1), GroupVersionID: "v"}}},
	} {
		got, err := read(c.content)
		if diff := gocmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	for name, c := range map[string]struct{ line, want string }{
		"not JSON":            {`GroupId: g`, "Failed to parse input file at line number: 2"},
		"half":                {`{"GroupId":"g"`, "Failed to parse input file at line number: 2"},
		"two objects":         {good + good, "Failed to parse input file at line number: 2"},
		"a list":              {`[]`, "Failed to parse input file at line number: 2"},
		"null":                {`null`, "Failed to parse input file at line number: 2"},
		"a number":            {`{"GroupId":7,"GroupVersionId":"v","DeploymentType":"NewDeployment"}`, "Failed to parse input file at line number: 2"},
		"not UTF-8":           {strings.Replace(good, "g\"", "\xff\"", 1), "Failed to parse input file at line number: 2"},
		"NUL":                 {strings.Replace(good, `:"g"`, `:"\u0000"`, 1), "Failed to parse input file at line number: 2"},
		"byte order mark":     {"\uFEFF" + good, "Failed to parse input file at line number: 2"},
		"empty object":        {`{}`, "InvalidInputFile: Missing GroupId at line number: 2"},
		"no group":            {`{"GroupVersionId":"v","DeploymentType":"NewDeployment"}`, "InvalidInputFile: Missing GroupId at line number: 2"},
		"null group":          {`{"GroupId":null,"GroupVersionId":"v","DeploymentType":"NewDeployment"}`, "InvalidInputFile: Missing GroupId at line number: 2"},
		"no version":          {`{"GroupId":"g","GroupVersionId":"","DeploymentType":"NewDeployment"}`, "InvalidInputFile: Missing GroupVersionId at line number: 2"},
		"no type":             {`{"GroupId":"g","GroupVersionId":"v"}`, "InvalidInputFile: Invalid deployment type at line number : 2. Only valid type is 'NewDeployment'."},
		"another type":        {`{"GroupId":"g","GroupVersionId":"v","DeploymentType":"Redeployment"}`, "InvalidInputFile: Invalid deployment type at line number : 2. Only valid type is 'NewDeployment'."},
		"too long":            {padded + " ", "Line 2 is too long in S3 File. Valid line is less than 256 chars."},
		"much too long":       {strings.Repeat("x", 1<<20), "Line 2 is too long in S3 File. Valid line is less than 256 chars."},
		"too long, two bytes": {strings.Replace(wide, "é", "éé", 1), "Line 2 is too long in S3 File. Valid line is less than 256 chars."},
	} {
		for _, end := range []string{"", "\n", "\r\n", "\n" + good} {
			var bad *bulk.InputError
			got, err := read(good + "\n" + c.line + end)
			if !errors.As(err, &bad) || bad.Text != c.want || len(got) != 1 {
				t.Errorf("%s: %d records, error %v, want %q", name, len(got), err, c.want)
			}
		}
	}
	var bad *bulk.InputError
	full := errors.New("full")
	if err := bulk.ReadInput(strings.NewReader(good), func(bulk.BulkRecord) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	if err := bulk.ReadInput(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(good))), func(bulk.BulkRecord) error { return nil }); err == nil || errors.As(err, &bad) {
		t.Errorf("a read that breaks off: %v", err)
	}
}

func FuzzReadInput(f *testing.F) {
	f.Add([]byte(`{"GroupId":"g","GroupVersionId":"v","DeploymentType":"NewDeployment"}` + "\n\r\n{}"))
	f.Add([]byte("\n\n[]\x00\xff"))
	f.Add([]byte(strings.Repeat("é", 255)))
	f.Fuzz(func(t *testing.T, data []byte) {
		last := int64(0)
		err := bulk.ReadInput(strings.NewReader(string(data)), func(r bulk.BulkRecord) error {
			if r.Line <= last || r.GroupID == "" || r.GroupVersionID == "" || !utf8.ValidString(r.GroupID+r.GroupVersionID) ||
				strings.Contains(r.GroupID+r.GroupVersionID, "\x00") || utf8.RuneCountInString(r.GroupID+r.GroupVersionID) >= 256 {
				t.Errorf("%+v", r)
			}
			last = r.Line
			return nil
		})
		var bad *bulk.InputError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("error %v", err)
		}
	})
}

func FuzzParseInputURI(f *testing.F) {
	for _, uri := range []string{"s3://my-bucket/k", "https://my-bucket.s3-us-west-2.amazonaws.com/a%20b", "https://s3.amazonaws.com/b/k", "s3://\x00/", "https://[::1]/"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		bucket, key, err := bulk.ParseInputURI(uri, "us-west-2")
		if err != nil {
			return
		}
		if again, sameKey, err := bulk.ParseInputURI("s3://"+bucket+"/"+key, "us-west-2"); err != nil || again != bucket || sameKey != key {
			t.Errorf("%q: %q, %q; again %q, %q, %v", uri, bucket, key, again, sameKey, err)
		}
		if strings.ContainsAny(bucket, "/\x00%") || len(key) > 1024 || !utf8.ValidString(key) {
			t.Errorf("%q: %q, %q", uri, bucket, key)
		}
	})
}
