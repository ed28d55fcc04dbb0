package restjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

const restLimit = 1 << 12

func divert(r io.Reader, path ...string) (rest, text string, found bool, err error) {
	var buf strings.Builder
	b, found, err := restjson.Divert(r, restLimit, path, func(text io.Reader) error {
		_, err := io.Copy(&buf, text)
		return err
	})
	return string(b), buf.String(), found, err
}

func TestDivert(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("QUJD", 100_000)
	for _, c := range []struct {
		name, body string
		path       []string
		rest, text string
		found      bool
	}{
		{"at the root", `{"A":1,"Z":"abc","B":"x"}`, []string{"Z"}, `{"A":1,"Z":"","B":"x"}`, "abc", true},
		{"inside", `{"Code": {"Z" : "abc"} }`, []string{"Code", "Z"}, `{"Code": {"Z" : ""} }`, "abc", true},
		{"large", `{"Z":"` + big + `"}`, []string{"Z"}, `{"Z":""}`, big, true},
		{"empty", `{"Z":""}`, []string{"Z"}, `{"Z":""}`, "", true},
		{"escapes", `{"Z":"a\/b\u002B\n\"\\\u00e9\t\b\f\r"}`, []string{"Z"}, `{"Z":""}`, "a/b+\n\"\\é\t\b\f\r", true},
		{"escaped name", `{"\u005a":"abc"}`, []string{"Z"}, `{"\u005a":""}`, "abc", true},
		{"absent", `{"A":"Z"}`, []string{"Z"}, `{"A":"Z"}`, "", false},
		{"null", `{"Z":null}`, []string{"Z"}, `{"Z":null}`, "", false},
		{"a number", `{"Z":7}`, []string{"Z"}, `{"Z":7}`, "", false},
		{"same name deeper", `{"A":{"Z":"x"},"B":["Z",{"Z":"y"}]}`, []string{"Z"}, `{"A":{"Z":"x"},"B":["Z",{"Z":"y"}]}`, "", false},
		{"after nested values", `{"A":{"B":[1,{"C":2},"]}"]},"Z":"abc"}`, []string{"Z"}, `{"A":{"B":[1,{"C":2},"]}"]},"Z":""}`, "abc", true},
		{"strings that look like structure", `{"A":"{\"Z\":\"","Z":"abc"}`, []string{"Z"}, `{"A":"{\"Z\":\"","Z":""}`, "abc", true},
		{"empty body", ``, []string{"Z"}, ``, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for what, r := range map[string]io.Reader{
				"whole": strings.NewReader(c.body), "by halves": iotest.HalfReader(strings.NewReader(c.body)),
				"byte by byte": iotest.OneByteReader(strings.NewReader(c.body)),
			} {
				rest, text, found, err := divert(r, c.path...)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if rest != c.rest || text != c.text || found != c.found {
					t.Errorf("%s: rest %q, text of %d bytes, found %v", what, rest, len(text), found)
				}
			}
		})
	}
}

func TestDivertRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"twice":                 `{"Z":"a","Z":"b"}`,
		"cut in the text":       `{"Z":"abc`,
		"cut in an escape":      `{"Z":"abc\`,
		"cut in a code":         `{"Z":"abc\u00`,
		"cut in another text":   `{"A":"abc`,
		"bad code":              `{"Z":"\uzzzz"}`,
		"unknown escape":        `{"Z":"\q"}`,
		"control character":     "{\"Z\":\"a\nb\"}",
		"too many closings":     `{}}`,
		"name that is no JSON":  `{"\q":1}`,
		"rest over its limit":   `{"A":"` + strings.Repeat("x", restLimit) + `"}`,
		"blank over its limit":  `{` + strings.Repeat(" ", restLimit) + `}`,
		"nested without an end": strings.Repeat("[", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if rest, text, _, err := divert(strings.NewReader(body), "Z"); err == nil {
				t.Errorf("no error; rest %q, text %q", rest, text)
			}
		})
	}
	t.Run("what take returns", func(t *testing.T) {
		t.Parallel()
		full := errors.New("disk full")
		_, _, err := restjson.Divert(strings.NewReader(`{"Z":"abc"}`), restLimit, []string{"Z"}, func(io.Reader) error { return full })
		if !errors.Is(err, full) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a text that take leaves", func(t *testing.T) {
		t.Parallel()
		_, _, err := restjson.Divert(strings.NewReader(`{"Z":"abc"}`), restLimit, []string{"Z"}, func(io.Reader) error { return nil })
		if err == nil {
			t.Error("no error")
		}
	})
	t.Run("a body that breaks off", func(t *testing.T) {
		t.Parallel()
		lost := errors.New("connection lost")
		for _, start := range []string{`{`, `{"A`, `{"Z":"a`, `{"Z":"a\u0`} {
			_, _, _, err := divert(io.MultiReader(strings.NewReader(start), iotest.ErrReader(lost)), "Z")
			if err == nil {
				t.Errorf("after %q: no error", start)
			}
		}
	})
}

// FuzzDivert holds Divert against encoding/json: what is valid decodes to the
// same, with the member's text in its place.
func FuzzDivert(f *testing.F) {
	for _, s := range []string{
		`{"A":1,"Z":"abc"}`, `{"Z":"\u002b\/"}`, `{"Z":null}`, `[{"Z":"a"}]`, `{"A":{"Z":"b"}}`, `{"Z":"a","Z":"b"}`, `{"Z`, `"Z"`, `{"\u0000array":1,"Z":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rest, text, found, err := divert(bytes.NewReader(body), "Z")
		if err != nil || !found || !json.Valid(body) {
			return
		}
		var want, got map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("found a member in %q", body)
		}
		if err := json.Unmarshal([]byte(rest), &got); err != nil {
			t.Fatalf("rest %q of %q: %v", rest, body, err)
		}
		if string(got["Z"]) != `""` || len(got) != len(want) {
			t.Errorf("rest %q of %q", rest, body)
		}
		var plain string
		if err := json.Unmarshal(want["Z"], &plain); err != nil {
			t.Fatal(err)
		}
		// Surrogate pairs and bad UTF-8 do not occur in base64 and are not joined.
		if !strings.Contains(string(want["Z"]), `\u`) && !strings.ContainsRune(plain, '\uFFFD') && plain != text {
			t.Errorf("text %q of %q", text, body)
		}
	})
}
