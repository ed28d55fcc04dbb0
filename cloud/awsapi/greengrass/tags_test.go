package greengrass_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/groupca"
)

func tagsPath(arn string) string { return "/tags/" + url.PathEscape(arn) }

// nothing sends a request and asks for a 204 without a body.
func (a *api) nothing(method, path, body string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.servers[here].URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusNoContent || len(data) != 0 || res.Header.Get("Content-Type") != "" {
		a.t.Errorf("%s %s: status %d, %s %q, %v", method, path, res.StatusCode, res.Header.Get("Content-Type"), data, err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, c := range containers() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			a := a.with(t)
			id, _ := a.made(here, c)
			path := tagsPath(c.arn + id)
			created := decoded(t, a.do("GET", c.path+"/"+id, "").text)
			a.do("GET", path, "").is(200, `{"tags":{}}`)
			a.nothing("POST", path, `{"tags":{"a":"1","b":"","ü k":"v/=+-@:._"}}`)
			a.nothing("POST", path, `{"tags":{"a":"2"}}`)
			a.do("GET", path, "").is(200, `{"tags":{"a":"2","b":"","ü k":"v/=+-@:._"}}`)
			a.nothing("DELETE", path+"?tagKeys=b&tagKeys="+url.QueryEscape("ü k")+"&tagKeys=unknown", "")
			a.do("GET", path, "").is(200, `{"tags":{"a":"2"}}`)

			created["tags"] = map[string]any{"a": "2"}
			if diff := cmp.Diff(created, decoded(t, a.do("GET", c.path+"/"+id, "").text)); diff != "" {
				t.Errorf("Get after tagging:\n%s", diff)
			}
			a.do("DELETE", c.path+"/"+id, "").is(200, `{}`)
			a.do("GET", path, "").refused(404, "IdNotFoundException", missing[c.Name].other)
		})
	}
}

func TestTagsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	a := open(t)
	refused := func(t *testing.T, arn string, check func(*answer)) {
		t.Helper()
		a := a.with(t)
		check(a.do("GET", tagsPath(arn), ""))
		check(a.do("POST", tagsPath(arn), `{"tags":{"a":"b"}}`))
		check(a.do("DELETE", tagsPath(arn)+"?tagKeys=a", ""))
	}
	for _, c := range containers() {
		theirs, _ := a.made(there, c)
		for name, arn := range map[string]string{
			"unknown":                         c.arn + fescue.NewID(),
			"another partition's":             there.DefinitionARN(c.Kind, theirs),
			"another partition's id in ours":  c.arn + theirs,
			"another AWS partition's":         strings.Replace(c.arn, "arn:aws:", "arn:aws-cn:", 1) + theirs,
			"another Region's of our account": strings.Replace(c.arn, "us-east-1", "eu-west-1", 1) + theirs,
		} {
			t.Run(c.Name+", "+name, func(t *testing.T) {
				refused(t, arn, func(g *answer) { g.refused(404, "IdNotFoundException", missing[c.Name].other) })
			})
		}
		if got := a.call(there, "GET", c.path+"/"+theirs, "", "").text; !strings.Contains(got, `"tags":{}`) {
			t.Errorf("%s was changed: %s", c.Name, got)
		}
	}
	id := fescue.NewID()
	for _, arn := range []string{
		"x", "arn:aws:greengrass", arnPrefix, arnPrefix + "/greengrass/groups/", arnPrefix + "/greengrass/groups/x",
		arnPrefix + "greengrass/groups/" + id, arnPrefix + "/greengrass/groups/" + id + "/", arnPrefix + "/greengrass/groups/" + id + "/versions/" + id,
		arnPrefix + "/greengrass/groups/" + id + "/certificateauthorities/" + strings.Repeat("0", 64),
		arnPrefix + "/greengrass/groups/" + id + "/deployments/" + id, arnPrefix + "/greengrass/definition/none/" + id,
		arnPrefix + "/greengrass/groups/../definition/cores/" + id, "arn:aws:iot:us-east-1:123456789012:thing/t", strings.ToUpper(arnPrefix + "/greengrass/groups/" + id),
	} {
		t.Run(arn, func(t *testing.T) {
			refused(t, arn, func(g *answer) {
				g.mentions(400, "BadRequestException", "is not the ARN of a group, a definition or a bulk deployment")
			})
		})
	}
	for _, segment := range []string{"%00", "arn%3Aaws%3A%ff", url.PathEscape(arnPrefix) + "%c0%80"} {
		t.Run(segment, func(t *testing.T) {
			a.with(t).do("GET", "/tags/"+segment, "").mentions(400, "BadRequestException", "malformed")
		})
	}
}

func TestTagRules(t *testing.T) {
	t.Parallel()
	a := open(t)
	c := containers()[0]
	id, _ := a.made(here, c)
	path := tagsPath(c.arn + id)
	fifty := make(map[string]string)
	for i := range 50 {
		fifty[fmt.Sprint("k", i)] = "v"
	}
	object := func(tags map[string]string) string {
		data, err := json.Marshal(tags)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	long := strings.Repeat("ü", 129)
	for _, tc := range []struct{ name, tags, text string }{
		{"no key", `{"":"v"}`, "1 to 128 characters"},
		{"a long key", `{"` + long + `":"v"}`, "1 to 128 characters"},
		{"a long value", `{"k":"` + strings.Repeat("ü", 257) + `"}`, "more than 256 characters"},
		{"a reserved key", `{"aws:k":"v"}`, "reserved"},
		{"a reserved key in capitals", `{"AWS:k":"v"}`, "reserved"},
		{"fifty-one", strings.Replace(object(fifty), "{", `{"one":"more",`, 1), "at most 50 tags"},
		{"null", `{"k":null}`, `member "tags.k" must not be a null`},
		{"a number", `{"k":1}`, "must not be a number"},
		{"a list", `["k"]`, "must not be a array"},
		{"NUL", `{"k":"\u0000"}`, "NUL"},
		{"bad UTF-8", "{\"k\":\"\xff\"}", "UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := a.with(t)
			a.do("POST", path, `{"tags":`+tc.tags+`}`).mentions(400, "BadRequestException", tc.text)
			for _, c := range containers() {
				a.do("POST", c.path, `{"Name":"n","tags":`+tc.tags+`}`).mentions(400, "BadRequestException", tc.text)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		a := a.with(t)
		for _, body := range []string{"", "{}", `{"tags":null}`, `{"tags":{}}`} {
			a.do("POST", path, body).mentions(400, "BadRequestException", "at least one tag")
		}
		for _, query := range []string{"", "?tagKeys=", "?tagkeys=k"} {
			a.do("DELETE", path+query, "").mentions(400, "BadRequestException", "at least one tag key")
		}
	})
	t.Run("nothing was kept or made", func(t *testing.T) {
		a := a.with(t)
		a.do("GET", path, "").is(200, `{"tags":{}}`)
		for _, c := range containers()[1:] {
			a.do("GET", c.path, "").is(200, `{"Definitions":[]}`)
		}
	})
	t.Run("as much as is allowed", func(t *testing.T) {
		a := a.with(t)
		a.do("POST", c.path, `{"Name":"n","tags":{"`+long[2:]+`":"`+strings.Repeat("ü", 256)+`","aws":"","x aws:":""}}`).mustStatus(201)
		a.nothing("POST", path, `{"tags":`+object(fifty)+`}`)
		a.nothing("POST", path, `{"tags":{"k1":"other"}}`)
		a.do("POST", path, `{"tags":{"one":"more"}}`).mentions(400, "BadRequestException", "at most 50 tags")
	})
}

// mustStatus asks for a status, whatever the body.
func (g *answer) mustStatus(status int) {
	g.t.Helper()
	if g.status != status {
		g.t.Errorf("%s: status %d, body %s", g.what, g.status, g.text)
	}
}

// Callers that tag at once do not lose each other's tags.
func TestTagsAtOnce(t *testing.T) {
	t.Parallel()
	a := open(t)
	c := containers()[1]
	id, _ := a.made(here, c)
	want := make(map[string]any)
	var callers sync.WaitGroup
	for n := range 4 {
		want[fmt.Sprint("k", n)] = "v"
		callers.Go(func() { a.nothing("POST", tagsPath(c.arn+id), fmt.Sprintf(`{"tags":{"k%d":"v"}}`, n)) })
	}
	callers.Wait()
	if diff := cmp.Diff(map[string]any{"tags": want}, decoded(t, a.do("GET", tagsPath(c.arn+id), "").text)); diff != "" {
		t.Error(diff)
	}
}

// Whatever a caller names as ARN, the answer is a refusal in the API's form.
func FuzzTagARN(f *testing.F) {
	for _, arn := range []string{
		"", "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/x", "arn:::::/greengrass/groups/", "::::::", "arn:aws:greengrass:::\xff", "%2f..",
		there.DefinitionARN(fescue.CoreKind, "00000000-0000-4000-8000-000000000000"), "arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/\x00",
	} {
		f.Add(arn)
	}
	service := greengrass.New(greengrass.Options{
		Definitions: definitions.New(nil, nil), Cores: cores.New(nil, nil), Authorities: groupca.New(nil, nil, nil),
	})
	nowhere := fescue.Partition{AWS: "none", Account: "none", Region: "none"}
	f.Fuzz(func(t *testing.T, arn string) {
		r, err := http.NewRequest("GET", "http://host/tags/"+url.PathEscape(arn), http.NoBody)
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		service.ServeCall(w, r, &awsapi.Call{Partition: nowhere})
		if (w.Code != 400 && w.Code != 404) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: status %d, body %q", arn, w.Code, w.Body)
		}
	})
}
