package recovery_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/recovery"
)

// exported is the fixture as an export has it: with its code.
func exported(t testing.TB) *recovery.Group {
	t.Helper()
	root := os.DirFS("testdata/mill")
	deployment, err := fs.Sub(root, "ggc/deployment")
	if err != nil {
		t.Fatal(err)
	}
	g, _, err := recovery.Read(recovery.Folder{Root: root, Deployment: deployment}, operator)
	if err != nil {
		t.Fatal(err)
	}
	for i := range g.Functions {
		code, err := g.Functions[i].Code()
		if err != nil {
			t.Fatal(err)
		}
		f := g.Functions[i]
		g.Functions[i] = recovery.Function{
			FunctionName: f.FunctionName, Version: f.Version, Runtime: f.Runtime, Role: f.Role, Handler: f.Handler, Description: f.Description,
			CodeSha256: recovery.CodeSHA256(code), ZipFile: code,
		}
	}
	return g
}

func TestParse(t *testing.T) {
	t.Parallel()
	text, err := exported(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	g, err := recovery.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := g.Encode()
	if err != nil || string(again) != string(text) {
		t.Errorf("what was read is written otherwise: %v", err)
	}
	for name, c := range map[string]struct{ old, new, text string }{
		"another format":             {recovery.Format, "fescue.group/9", `this program reads "fescue.group/1"`},
		"cut":                        {string(text[len(text)/2:]), "", "unexpected EOF"},
		"something behind":           {string(text), string(text) + "{}", "something follows"},
		"an unknown member":          {`"Format"`, `"Colour": 1, "Format"`, `unknown field "Colour"`},
		"no account":                 {`"Account": "111122223333"`, `"Account": ""`, "not twelve digits"},
		"changed code":               {`"CodeSha256": "`, `"CodeSha256": "A`, "its code has the SHA-256"},
		"no code":                    {`"ZipFile": "`, `"ZipFile": "!`, "illegal base64"},
		"another's certificate":      {`"CertificateId": "` + millCert, `"CertificateId": "` + pumpCert, "has the text of another"},
		"a thing without its name":   {`"ThingName": "Pump7"`, `"ThingName": "../x"`, "is no name of a thing"},
		"a certificate not in it":    {`"Principals": [`, `"Principals": ["` + lostCert + `",`, "is not in the file"},
		"a policy not in it":         {`"Policies": [` + "\n        \"", `"Policies": ["gone", "`, `its policy "gone" is not in the file`},
		"a kind that there is not":   {`"Kind": "cores"`, `"Kind": "boats"`, "is no kind of definition"},
		"a group of another kind":    {`"Kind": "groups"`, `"Kind": "cores"`, `its Group is of kind "cores"`},
		"an id that leads elsewhere": {`"Id": "` + millGroup, `"Id": "../` + millGroup, "is no id"},
		"a version without an id":    {`"Version": "` + millVersion, `"Version": "`, "has no id or no definition"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := strings.Replace(string(text), c.old, c.new, 1)
			if changed == string(text) {
				t.Fatal("nothing was changed")
			}
			if _, err := recovery.Parse([]byte(changed)); !errors.Is(err, recovery.ErrFile) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want one with %q", err, c.text)
			}
		})
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	from := fescue.Partition{AWS: "aws", Account: "111122223333", Region: "eu-west-1"}
	to := fescue.Partition{AWS: "aws-cn", Account: "444455556666", Region: "cn-north-1"}
	g := exported(t)
	g.Policies = []recovery.Policy{{PolicyName: "p", PolicyDocument: `{"Resource":["arn:aws:iot:eu-west-1:111122223333:topic/a/*","arn:aws:iot:*:*:client/x","arn:aws:sns:eu-west-1:111122223333:t"]}`}}
	before, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Rewrite(to); err != nil {
		t.Fatal(err)
	}
	same(t, recovery.Partition(to), g.Partition)
	same(t, `{"Resource":["arn:aws-cn:iot:cn-north-1:444455556666:topic/a/*","arn:aws:iot:*:*:client/x","arn:aws:sns:eu-west-1:111122223333:t"]}`, g.Policies[0].PolicyDocument)
	same(t, "arn:aws-cn:iam::444455556666:role/recovered", g.Functions[0].Role)
	var bodies []string
	for _, c := range append(g.Definitions, g.Group) {
		bodies = append(bodies, string(c.Versions[0].Definition))
	}
	all := strings.Join(bodies, "\n")
	for _, kept := range []string{ // what lies outside of the group's partition
		"arn:aws:sagemaker:eu-west-1:111122223333:training-job/wear", "arn:aws:firehose:eu-west-1:111122223333:deliverystream/mill",
		"arn:aws:lambda:::function:GGIPDetector:1",
	} {
		if !strings.Contains(all, kept) {
			t.Errorf("%s is gone", kept)
		}
		all = strings.ReplaceAll(all, kept, "")
	}
	for _, moved := range []string{
		"arn:aws-cn:iot:cn-north-1:444455556666:thing/Mill_Core", "arn:aws-cn:iot:cn-north-1:444455556666:cert/" + millCert,
		"arn:aws-cn:lambda:cn-north-1:444455556666:function:MillReader:7", "arn:aws-cn:secretsmanager:cn-north-1:444455556666:secret:greengrass-mill-AbCdEf",
		"arn:aws-cn:greengrass:cn-north-1::/connectors/KinesisFirehose/versions/1", "arn:aws-cn:greengrass:cn-north-1:444455556666:/greengrass/definition/cores/",
	} {
		if !strings.Contains(all, moved) {
			t.Errorf("%s is not there", moved)
		}
	}
	if strings.Contains(all, "arn:aws:") || strings.Contains(all, "eu-west-1") || strings.Contains(all, "111122223333") {
		t.Errorf("something still lies in %s:\n%s", from, all)
	}
	if err := g.Rewrite(from); err != nil {
		t.Fatal(err)
	}
	after, err := g.Encode()
	if err != nil || string(after) != string(before) {
		t.Errorf("there and back is not the same: %v", err)
	}
}

func TestSameJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":[2]}`, "{\"b\": [2],\n\"a\": 1}", true},
		{`{"a":1}`, `{"a":1.0}`, false}, // another text of a number is another document
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`, false},
		{`{"a":null}`, `{}`, false},
		{`[1,2]`, `[2,1]`, false},
		{`{`, `{`, false},
		{``, ``, false},
	} {
		if got := recovery.SameJSON([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

// FuzzParse: a file that is taken is written again as it is read.
func FuzzParse(f *testing.F) {
	text, err := exported(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"Format":"fescue.group/1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := recovery.Parse(data)
		if err != nil {
			return
		}
		one, err := g.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := recovery.Parse(one)
		if err != nil {
			t.Fatal(err)
		}
		two, err := again.Encode()
		if err != nil || string(one) != string(two) {
			t.Fatalf("written otherwise the second time: %v", err)
		}
		// It fails where a definition is not what its kind has, and never otherwise
		// than by an error.
		_ = g.Rewrite(fescue.Partition{AWS: "aws", Account: "444455556666", Region: "eu-west-1"})
	})
}
