package functions_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/functions"
)

var home = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}

func TestParseReference(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		function, qualifier string
		want                functions.Reference
		err                 error
	}{
		{"f", "", functions.Reference{Name: "f"}, nil},
		{"f:3", "", functions.Reference{Name: "f", Qualifier: "3"}, nil},
		{"f:$LATEST", "", functions.Reference{Name: "f", Qualifier: "$LATEST"}, nil},
		{"f", "PROD", functions.Reference{Name: "f", Qualifier: "PROD"}, nil},
		{"f:PROD", "PROD", functions.Reference{Name: "f", Qualifier: "PROD"}, nil},
		{"function:f", "", functions.Reference{Name: "f"}, nil},
		{"123456789012:function:f", "", functions.Reference{Name: "f"}, nil},
		{"123456789012:function:f:3", "3", functions.Reference{Name: "f", Qualifier: "3"}, nil},
		{arn, "", functions.Reference{Name: "f"}, nil},
		{arn + ":PROD", "", functions.Reference{Name: "f", Qualifier: "PROD"}, nil},
		{long, "", functions.Reference{Name: long}, nil},

		{"f:3", "4", functions.Reference{}, functions.ErrInvalid},
		{arn + ":PROD", "$LATEST", functions.Reference{}, functions.ErrInvalid},
		{"arn:aws:lambda:us-east-1:210987654321:function:f", "", functions.Reference{}, fescue.ErrNotFound},
		{"arn:aws:lambda:eu-west-1:123456789012:function:f", "", functions.Reference{}, fescue.ErrNotFound},
		{"arn:aws-cn:lambda:us-east-1:123456789012:function:f", "", functions.Reference{}, fescue.ErrNotFound},
		{"210987654321:function:f", "", functions.Reference{}, fescue.ErrNotFound},
		{"", "", functions.Reference{}, functions.ErrShape},
		{"a/b", "", functions.Reference{}, functions.ErrShape},
		{"..", "", functions.Reference{}, functions.ErrShape},
		{"..%2fb", "", functions.Reference{}, functions.ErrShape},
		{"a\x00b", "", functions.Reference{}, functions.ErrShape},
		{"a\n", "", functions.Reference{}, functions.ErrShape},
		{"f\xff", "", functions.Reference{}, functions.ErrShape},
		{"f:", "", functions.Reference{}, functions.ErrShape},
		{"f:a:b", "", functions.Reference{}, functions.ErrShape},
		{"f:$latest", "", functions.Reference{}, functions.ErrShape},
		{"f", "a b", functions.Reference{}, functions.ErrShape},
		{"f", "３", functions.Reference{}, functions.ErrShape},
		{"f", strings.Repeat("a", 129), functions.Reference{}, functions.ErrShape},
		{"f:" + strings.Repeat("a", 129), "", functions.Reference{}, functions.ErrShape},
		{long + "a", "", functions.Reference{}, functions.ErrShape},
		{strings.Repeat("a", 100_000), "", functions.Reference{}, functions.ErrShape},
		{"arn:aws:s3:::bucket", "", functions.Reference{}, functions.ErrShape},
		{"arn:aws:lambda:us-east-1:123456789012:layer:f", "", functions.Reference{}, functions.ErrShape},
	} {
		t.Run(shorten(c.function)+" with "+shorten(c.qualifier), func(t *testing.T) {
			t.Parallel()
			got, err := functions.ParseReference(home, c.function, c.qualifier)
			if !errors.Is(err, c.err) || got != c.want {
				t.Errorf("= %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error repeats %d bytes", len(err.Error()))
			}
		})
	}
}

func shorten(s string) string { return s[:min(len(s), 70)] }

// FuzzParseReference looks for references whose parts are not what they stand
// for.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"f", "f:1", "123456789012:function:f:PROD", "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST", "function:function:function"} {
		f.Add(s, "")
	}
	f.Add("f", "$LATEST")
	f.Fuzz(func(t *testing.T, function, qualifier string) {
		ref, err := functions.ParseReference(home, function, qualifier)
		if err != nil {
			return
		}
		again, err := functions.ParseReference(home, home.FunctionARN(ref.Name), ref.Qualifier)
		if err != nil || again != ref {
			t.Errorf("%q and %q: %+v, then %+v, %v", function, qualifier, ref, again, err)
		}
		if !strings.Contains(function, ref.Name) || strings.ContainsAny(ref.Name, "/.%:\x00") {
			t.Errorf("%q: name %q", function, ref.Name)
		}
	})
}
