package cloud_test

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/testkit"
)

// browser is somebody at the console, as far as HTTP goes.
type browser struct {
	t      *testing.T
	client *http.Client
	base   string // of the server
}

// shown is a page as it came.
type shown struct {
	status int
	at     string // its path and query, after redirects
	text   string // without entities
	raw    string
	header http.Header
}

func (s *server) browser(t *testing.T) *browser {
	t.Helper()
	client, base := s.client()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Transport: client.Transport, Timeout: client.Timeout, Jar: jar}, base}
}

func (b *browser) do(method, path string, form url.Values, header ...string) shown {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return shown{answer.StatusCode, answer.Request.URL.RequestURI(), html.UnescapeString(string(text)), string(text), answer.Header}
}

func (b *browser) get(path string) shown { b.t.Helper(); return b.do(http.MethodGet, path, nil) }

func (b *browser) post(path string, pairs ...string) shown {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

func (b *browser) signIn(key cloud.AccessKey) shown {
	b.t.Helper()
	return b.post("/console/sign-in", "key", key.ID, "secret", key.Secret)
}

// is checks the status of a page, where it is and what it says.
func (s shown) is(t *testing.T, status int, at string, texts ...string) {
	t.Helper()
	if s.status != status || !strings.HasPrefix(s.at, at) {
		t.Errorf("%d at %s, want %d at %s\n%s", s.status, s.at, status, at, s.text)
	}
	for _, text := range texts {
		if !strings.Contains(s.text, text) {
			t.Errorf("%s does not say %q\n%s", s.at, text, s.text)
		}
	}
}

// revoke ends an access key, from outside.
func (s *server) revoke(key cloud.AccessKey) {
	s.t.Helper()
	keys, closeKeys, err := cloud.OpenKeys(s.t.Context(), cloud.State{DataDir: s.dir, Database: s.database}, options(s.dir).Logger)
	if err != nil {
		s.t.Fatal(err)
	}
	defer closeKeys()
	if err := keys.Revoke(s.t.Context(), key.ID); err != nil {
		s.t.Fatal(err)
	}
}

const (
	signInPath = "/console/sign-in"
	firstPage  = "/console/us-east-1/"
	wrongKey   = "No access key has this id and secret"
)

func TestConsoleSessions(t *testing.T) {
	t.Parallel()
	var past atomic.Int64
	pass := func(d time.Duration) { past.Add(int64(d)) }
	o := options(t.TempDir())
	o.Now, o.Refusals = func() time.Time { return time.Now().Add(time.Duration(past.Load())) }, 2
	s := start(t, o)

	t.Run("nobody sees anything", func(t *testing.T) {
		b := s.browser(t)
		for _, path := range []string{"/console", "/console/", firstPage, firstPage + "cores", firstPage + "groups/" + fescue.NewID()} {
			b.get(path).is(t, http.StatusOK, signInPath, "Secret access key")
		}
		if got := b.post(firstPage + "groups/" + fescue.NewID() + "/deploy"); strings.TrimSuffix(got.at, "?") != signInPath {
			t.Errorf("an act leads to %s", got.at)
		}
		b.do(http.MethodGet, "/", nil, "Accept", "text/html").is(t, http.StatusOK, signInPath)
		b.get("/").is(t, http.StatusForbidden, "/", "<Code>")
		b.get("/console/mars-1/").is(t, http.StatusNotFound, "/console/mars-1/", "There is no such page.")
	})
	t.Run("headers", func(t *testing.T) {
		got := s.browser(t).get(signInPath).header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if !strings.HasPrefix(got.Get(name), want) {
				t.Errorf("%s: %q", name, got.Get(name))
			}
		}
	})
	t.Run("wrong ones", func(t *testing.T) {
		b := s.browser(t)
		other := s.keyWith(identity.Grant{Access: "reader"})
		for _, key := range []cloud.AccessKey{{}, {ID: s.key.ID}, {ID: s.key.ID, Secret: other.Secret}, {ID: "AKIAUNKNOWNUNKNOWN00", Secret: s.key.Secret}} {
			b.signIn(key).is(t, http.StatusForbidden, signInPath, wrongKey)
		}
		b.get(firstPage).is(t, http.StatusOK, signInPath)
	})
	t.Run("too many", func(t *testing.T) {
		b := s.browser(t)
		testkit.Eventually(t, "throttled", func() error {
			if got := b.signIn(cloud.AccessKey{ID: "AKIAUNKNOWNUNKNOWN00"}); got.status != http.StatusTooManyRequests {
				return fmt.Errorf("status %d", got.status)
			}
			return nil
		})
		// A key that is good is none of them.
		b.signIn(s.key).is(t, http.StatusOK, firstPage, "Overview")
		pass(time.Minute)
	})
	t.Run("in, and out", func(t *testing.T) {
		b := s.browser(t)
		b.get(firstPage+"cores?q=x").is(t, http.StatusOK, signInPath, `name="next" value="/console/us-east-1/cores?q=x"`)
		b.post(signInPath, "key", s.key.ID, "secret", s.key.Secret, "next", firstPage+"cores?q=x").is(t, http.StatusOK, firstPage+"cores?q=x", "No core matches.")
		b.get("/console/eu-west-1/").is(t, http.StatusOK, "/console/eu-west-1/", "There is nothing here yet.")
		u, err := url.Parse(b.base + firstPage)
		if err != nil {
			t.Fatal(err)
		}
		session := b.client.Jar.Cookies(u)[0]
		b.post("/console/sign-out").is(t, http.StatusOK, signInPath)
		b.client.Jar.SetCookies(u, []*http.Cookie{session}) // who kept it has nothing
		b.get(firstPage).is(t, http.StatusOK, signInPath, "Your session has ended.")
	})
	t.Run("leads nowhere else", func(t *testing.T) {
		for _, next := range []string{"https://evil.example", "//evil.example/console/", "/\\evil.example", "/console/\\evil", "/elsewhere", "javascript:alert(1)", "\x7f"} {
			s.browser(t).post(signInPath, "key", s.key.ID, "secret", s.key.Secret, "next", next).is(t, http.StatusOK, firstPage)
		}
	})
	t.Run("a link, once", func(t *testing.T) {
		var made ownapi.ConsolePass
		_, text, _ := s.sendAs("us-east-1", s.key, http.MethodPost, "/fescue/v1/console/links")
		if err := json.Unmarshal([]byte(text), &made); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		b := s.browser(t)
		b.get(made.Path).is(t, http.StatusOK, made.Path, s.key.ID, "Sign in as")
		link := strings.TrimPrefix(made.Path, ownapi.ConsoleLinkPath)
		b.get(made.Path) // looking uses nothing up
		b.post("/console/link", "pass", link).is(t, http.StatusOK, firstPage, "Overview")
		s.browser(t).post("/console/link", "pass", link).is(t, http.StatusForbidden, "/console/link", "was used already")
		s.browser(t).get(made.Path).is(t, http.StatusForbidden, made.Path, "was used already")
	})
	t.Run("ends with its key, within a second", func(t *testing.T) {
		key := s.keyWith(identity.Grant{Access: "reader"})
		b := s.browser(t)
		b.signIn(key).is(t, http.StatusOK, firstPage)
		s.revoke(key)
		pass(time.Second)
		b.get(firstPage).is(t, http.StatusOK, signInPath)
	})
	t.Run("is in the audit record", func(t *testing.T) {
		_, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/audit?From=2020-01-01T00:00:00Z")
		for _, operation := range []string{"CreateConsoleLink", "CreateConsoleSession", "EndConsoleSession"} {
			if !strings.Contains(text, operation) {
				t.Errorf("no %s in %s", operation, text)
			}
		}
	})
	t.Run("is over after its time", func(t *testing.T) {
		b := s.browser(t)
		b.signIn(s.key).is(t, http.StatusOK, firstPage)
		pass(identity.ConsoleSessionLife + time.Second)
		b.get(firstPage).is(t, http.StatusOK, signInPath)
	})
}

// unbuildable is a group with a tag whose deployments fail, since nobody knows its core.
func (s *server) unbuildable(t *testing.T, name, site string) *greengrass.CreateGroupOutput {
	t.Helper()
	ctx, admin := t.Context(), s.greengrass("us-east-1", cloud.AccessKey{})
	g, err := admin.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: &name, Tags: map[string]string{"site": site}})
	if err != nil {
		t.Fatal(err)
	}
	core, err := admin.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{{
		Id: aws.String("core"), ThingArn: aws.String("arn:aws:iot:us-east-1:" + account + ":thing/Unknown"), CertificateArn: aws.String("arn:aws:iot:us-east-1:" + account + ":cert/" + strings.Repeat("0", 64)),
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := admin.CreateGroupVersion(ctx, &greengrass.CreateGroupVersionInput{GroupId: g.Id, CoreDefinitionVersionArn: core.LatestVersionArn})
	if err != nil {
		t.Fatal(err)
	}
	g.LatestVersion = v.Version
	return g
}

func TestConsoleActs(t *testing.T) {
	t.Parallel()
	s, ctx := start(t, options(t.TempDir())), t.Context()
	admin := s.greengrass("us-east-1", cloud.AccessKey{})
	north, south := s.unbuildable(t, "North mill", "north"), s.unbuildable(t, "South mill", "south")
	script := `<script>alert("x")</script> ` + "\u202e" + strings.Repeat("w", 60)
	strange := s.unbuildable(t, script, "south")
	path := func(g *greengrass.CreateGroupOutput, rest string) string { return firstPage + "groups/" + *g.Id + rest }
	toGroup := func(g *greengrass.CreateGroupOutput) string {
		return `<a href="` + path(g, "") + `">To the group <bdi>` + *g.Name + `</bdi></a>`
	}

	t.Run("a deployer deploys, once for each form", func(t *testing.T) {
		b := s.signedIn(t, identity.Grant{Access: "deployer"})
		b.get(path(north, "")).is(t, http.StatusOK, path(north, ""), "North mill", "Deploy the latest version", "It has never been deployed.")
		form := b.get(path(north, "/deploy?version="+*north.LatestVersion))
		form.is(t, http.StatusOK, path(north, "/deploy"), "What will change", "It would fail.", "added", "Unknown", `<p class="remedy">`)
		act := []string{"type", "NewDeployment", "version", *north.LatestVersion, "token", fescue.NewID()}
		first, again := b.post(path(north, "/deploy"), act...), b.post(path(north, "/deploy"), act...)
		first.is(t, http.StatusOK, path(north, "/deployments/"), "What happened")
		if again.at != first.at {
			t.Errorf("two deployments, %s and %s", first.at, again.at)
		}
		testkit.Eventually(t, "the failure is shown", func() error {
			if page := b.get(first.at); !strings.Contains(page.text, "Why it failed") || !strings.Contains(page.text, `<p class="remedy">`) {
				return fmt.Errorf("%s", page.text)
			}
			return nil
		})
		b.post(first.at+"/cancel").is(t, http.StatusConflict, first.at, "never changes again")
	})
	t.Run("a reader may look", func(t *testing.T) {
		b := s.signedIn(t, identity.Grant{Access: "reader"})
		page := b.get(path(north, ""))
		page.is(t, http.StatusOK, path(north, ""), "North mill")
		if strings.Contains(page.text, "Deploy…") || strings.Contains(page.text, "Deploy the latest") {
			t.Errorf("a reader is offered to deploy:\n%s", page.text)
		}
		b.get(path(north, "/deploy?version="+*north.LatestVersion)).is(t, http.StatusOK, path(north, "/deploy"), "Your key may not deploy this group")
		for _, query := range []string{"", "?type=Nonsense", "?type=Redeployment"} { // whatever else is wrong
			page := b.get(path(north, "/deploy"+query))
			page.is(t, http.StatusForbidden, path(north, "/deploy"), "Your key may not deploy this group: its access level is reader.", toGroup(north))
			page.lacks(t, "cannot be deployed")
		}
		for _, act := range [][]string{{"type", "NewDeployment", "version", *north.LatestVersion}, {"type", "ResetDeployment"}} {
			b.post(path(north, "/deploy"), act...).is(t, http.StatusForbidden, path(north, "/deploy"), "is not authorized to perform: greengrass:", toGroup(north))
		}
	})
	t.Run("a limited key sees its groups alone", func(t *testing.T) {
		b := s.signedIn(t, identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north"}})
		for _, at := range []string{firstPage, firstPage + "groups", firstPage + "groups?q=mill"} {
			page := b.get(at)
			page.is(t, http.StatusOK, at, "North mill", "limited to")
			if strings.Contains(page.text, "South mill") || strings.Contains(page.text, ">Cores<") {
				t.Errorf("%s shows what the key may not see:\n%s", at, page.text)
			}
		}
		for _, at := range []string{path(south, ""), path(south, "/deploy?version="+*south.LatestVersion), firstPage + "cores"} {
			page := b.get(at)
			page.is(t, http.StatusForbidden, at, "because the limit of the access key does not cover it")
			page.lacks(t, "To the group")
		}
		b.get(path(south, "/deploy")).is(t, http.StatusForbidden, path(south, "/deploy"), "because the limit of the access key does not cover it")
		b.post(path(south, "/deploy"), "type", "NewDeployment", "version", *south.LatestVersion).is(t, http.StatusForbidden, path(south, "/deploy"))
	})
	t.Run("a post from elsewhere is refused", func(t *testing.T) {
		b := s.signedIn(t, identity.Grant{Access: "admin"})
		form := url.Values{"type": {"NewDeployment"}, "version": {*south.LatestVersion}}
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			if got := b.do(http.MethodPost, path(south, "/deploy"), form, header...); got.status != http.StatusForbidden {
				t.Errorf("%v: %d", header, got.status)
			}
		}
		list, err := admin.ListDeployments(ctx, &greengrass.ListDeploymentsInput{GroupId: south.Id})
		if err != nil || len(list.Deployments) > 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
	t.Run("hostile names are text", func(t *testing.T) {
		b := s.signedIn(t, identity.Grant{Access: "admin"})
		for _, at := range []string{firstPage + "groups", path(strange, ""), path(strange, "/deploy?version="+*strange.LatestVersion)} {
			if raw := b.get(at).raw; strings.Contains(raw, "<script>alert") || !strings.Contains(raw, "<bdi>&lt;script&gt;") {
				t.Errorf("%s:\n%s", at, raw)
			}
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		b := s.signedIn(t, identity.Grant{Access: "admin"})
		for at, status := range map[string]int{
			firstPage + "nothing": 404, firstPage + "groups/x": 404, firstPage + "groups/" + fescue.NewID(): 404, path(north, "?version=x"): 404,
			path(north, "?version="+fescue.NewID()): 404, path(north, "/deployments/"+fescue.NewID()): 404, path(north, "/deployments/x"): 404,
			path(north, "/deploy"): 400, path(north, "/deploy?type=Nonsense"): 400, path(north, "/deploy?type=Redeployment&deployment=x"): 400,
			firstPage + "cores?state=gone": 400, firstPage + "cores?after=x": 400, "/console/static/0/console.css": 404,
		} {
			page := b.get(at)
			page.is(t, status, at)
			if strings.HasPrefix(at, path(north, "")) != strings.Contains(page.text, toGroup(north)) || !strings.HasPrefix(at, "/console/static/") && !strings.Contains(page.text, "To the overview") {
				t.Errorf("%s does not lead where it should:\n%s", at, page.text)
			}
		}
		if got := b.post(path(north, "/deploy"), "type", strings.Repeat("x", 100<<10)); got.status != http.StatusBadRequest {
			t.Errorf("a large form: %d", got.status)
		}
	})
}

// TestConsoleAddress: where the console is, and where it is not.
func TestConsoleAddress(t *testing.T) {
	t.Parallel()
	t.Run("over TLS the cookie is for TLS alone", func(t *testing.T) {
		o := options(t.TempDir())
		o.APIAddr = "0.0.0.0:0"
		s := start(t, o)
		client, base := s.client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		b := &browser{t, client, strings.Replace(base, "0.0.0.0", "127.0.0.1", 1)}
		got := b.signIn(s.key)
		cookie := got.header.Get("Set-Cookie")
		for _, want := range []string{"Secure", "HttpOnly", "SameSite=Lax", "Path=/console/", "Max-Age=43200"} {
			if !strings.Contains(cookie, want) {
				t.Errorf("the cookie %q is not %s", cookie, want)
			}
		}
	})
	t.Run("below a base path", func(t *testing.T) {
		o := options(t.TempDir())
		o.BasePath = "/legacy"
		s := start(t, o)
		b := s.browser(t)
		b.post("/legacy"+signInPath, "key", s.key.ID, "secret", s.key.Secret).is(t, http.StatusOK, "/legacy"+firstPage, `href="/legacy/console/us-east-1/groups"`)
	})
	t.Run("switched off", func(t *testing.T) {
		o := options(t.TempDir())
		o.NoConsole = true
		s := start(t, o)
		s.browser(t).get(signInPath).is(t, http.StatusForbidden, signInPath, "<Code>")
		if status, text, _ := s.sendAs("us-east-1", s.key, http.MethodPost, "/fescue/v1/console/links"); status != http.StatusNotFound || !strings.Contains(text, "--no-console") {
			t.Errorf("%d %s", status, text)
		}
	})
	t.Run("a bucket of its name is one", func(t *testing.T) {
		s := start(t, options(t.TempDir()))
		c := s.s3(s.key)
		if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("console")}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("console"), Key: aws.String("sign-in"), Body: strings.NewReader("x")}); err != nil {
			t.Error(err)
		}
	})
}
