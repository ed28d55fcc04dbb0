package cloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fescue-edge/fescue/cloud"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/doctor"
	"github.com/fescue-edge/fescue/testkit/idp"
	"github.com/fescue-edge/fescue/testkit/ports"
)

// signIns is a server at which people sign in by a provider.
type signIns struct {
	*server
	idp  *idp.Provider
	o    cloud.Options
	past *atomic.Int64
	// operators, admins and revoked are what groups of that name are mapped to.
	operators, admins, revoked cloud.AccessKey
}

var anna = idp.Claims{"sub": "4711", "email": "anna@example.com", "email_verified": true, "groups": []string{"all", "operators"}}

// of is Anna, in other groups.
func of(groups ...string) idp.Claims {
	person := idp.Claims{"groups": groups}
	for _, claim := range []string{"sub", "email", "email_verified"} {
		person[claim] = anna[claim]
	}
	return person
}

// serveSignIns starts both, with options that change may change.
func serveSignIns(t *testing.T, change func(*cloud.Options)) *signIns {
	t.Helper()
	s := &signIns{idp: idp.Start(t), o: options(t.TempDir()), past: new(atomic.Int64)}
	s.o.Now = func() time.Time { return time.Now().Add(time.Duration(s.past.Load())) }
	s.idp.Now = s.o.Now
	s.o.APIAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.Take(t)))
	if change != nil {
		change(&s.o)
	}
	s.server = start(t, s.o) // to make keys
	s.operators, s.admins, s.revoked = s.keyWith(identity.Grant{Access: "deployer"}), s.keyWith(identity.Grant{Access: "admin"}), s.keyWith(identity.Grant{Access: "reader"})
	s.revoke(s.revoked)
	s.o.SingleSignOn = cloud.SingleSignOn{
		Issuer: s.idp.URL, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, DeviceClientID: idp.DeviceClientID,
		Keys: []string{"admins=" + s.admins.ID, "operators=" + s.operators.ID, "gone=" + s.revoked.ID},
	}
	s.restart()
	return s
}

// restart has another server go on at the same address and on the same data.
func (s *signIns) restart() {
	s.t.Helper()
	s.stop()
	s.server = start(s.t, s.o)
}

func (s *signIns) pass(d time.Duration) { s.past.Add(int64(d)) }

// records are the calls of an operation in the audit record, and who made them.
func (s *signIns) records(t *testing.T, operation string) []ownapi.AuditRecord {
	t.Helper()
	var answer ownapi.AuditRecords
	_, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/audit?From=2020-01-01T00:00:00Z&Operation="+operation)
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return answer.Records
}

const (
	ssoPath  = "/console/sso"
	backPath = "/console/sso/callback"
)

// TestSignInToConsole: by a provider, in a browser.
func TestSignInToConsole(t *testing.T) {
	t.Parallel()
	s := serveSignIns(t, func(o *cloud.Options) { o.Refusals = 2 })
	host := strings.TrimPrefix(s.idp.URL, "http://")
	signIn := func(t *testing.T, person idp.Claims, next string) (*browser, shown) {
		t.Helper()
		s.idp.SignIn(person)
		b := s.browser(t)
		return b, b.get(ssoPath + "?next=" + url.QueryEscape(next))
	}

	t.Run("leads back to where one wanted to go, as a person", func(t *testing.T) {
		s.idp.SignIn(anna)
		b := s.browser(t)
		page := b.get(firstPage + "cores?q=x")
		page.is(t, http.StatusOK, signInPath, "Sign in with <bdi>"+host)
		_, link, _ := strings.Cut(page.text, `href="`+ssoPath)
		link, _, _ = strings.Cut(link, `"`)
		page = b.get(ssoPath + link)
		page.is(t, http.StatusOK, firstPage+"cores?q=x", "anna@example.com", s.operators.ID)
		begun := s.records(t, "CreateConsoleSession")
		if len(begun) != 1 || begun[0].Person != "anna@example.com" || begun[0].AccessKeyID != s.operators.ID || begun[0].Status != 200 {
			t.Errorf("%+v", begun)
		}
		b.post(firstPage+"messages", "topic", "mill/hello", "payload", "x").is(t, http.StatusOK, firstPage+"messages")
		if done := s.records(t, "Publish"); len(done) != 1 || done[0].Person != "anna@example.com" {
			t.Errorf("%+v", done)
		}
		b.post("/console/sign-out").is(t, http.StatusOK, signInPath)
		b.get(firstPage).is(t, http.StatusOK, signInPath)
	})
	t.Run("a key's holder is no person", func(t *testing.T) {
		s.browser(t).signIn(s.operators).is(t, http.StatusOK, firstPage)
		begun := s.records(t, "CreateConsoleSession")
		if last := begun[len(begun)-1]; last.Person != "" || last.AccessKeyID != s.operators.ID {
			t.Errorf("%+v", last)
		}
	})
	t.Run("leads nowhere else", func(t *testing.T) {
		for _, next := range []string{"https://evil.example", "//evil.example/console/", "/\\evil.example", "/console/\\evil", "/elsewhere", "javascript:alert(1)", "\x7f", "/console/" + strings.Repeat("x", 2000)} {
			_, page := signIn(t, anna, next)
			page.is(t, http.StatusOK, firstPage)
		}
	})
	t.Run("what a person makes does not outlast the sign-in", func(t *testing.T) {
		b, page := signIn(t, of("admins"), firstPage+"keys")
		page.is(t, http.StatusOK, firstPage+"keys", "anna@example.com")
		b.post(firstPage+"keys", "name", "mine", "access", "admin").is(t, http.StatusForbidden, firstPage+"keys", "what is made would last")
		if denied := s.records(t, "CreateAccessKey"); denied[len(denied)-1].Person != "anna@example.com" || denied[len(denied)-1].Status != 403 {
			t.Errorf("%+v", denied)
		}
		other := s.keyWith(identity.Grant{Access: "reader"})
		b.post(firstPage+"keys/"+other.ID+"/revoke").is(t, http.StatusOK, firstPage+"keys")
		b.get(firstPage+"audit").is(t, http.StatusOK, firstPage+"audit", "<bdi>anna@example.com</bdi> as <bdi>limited</bdi>")
	})
	t.Run("who may nothing", func(t *testing.T) {
		for name, tc := range map[string]struct {
			person idp.Claims
			says   string
		}{
			"of no group":    {of("all", "<b>staff"), `You are anna@example.com, but may do nothing here: your claim "groups" is "all", "<b>staff", and no access key is for that. Ask whoever runs this server`},
			"by a key ended": {of("gone"), "would act as the access key " + s.revoked.ID + ", which is not there or was revoked"},
			"who says no":    {nil, host + " did not sign you in: access_denied the person <b>did not want</b> to"},
		} {
			b, page := signIn(t, tc.person, firstPage)
			page.is(t, http.StatusForbidden, backPath, tc.says, "Secret access key")
			if strings.Contains(page.raw, "<b>") {
				t.Errorf("%s: what comes from elsewhere is taken for markup: %s", name, page.raw)
			}
			b.get(firstPage).is(t, http.StatusOK, signInPath)
		}
	})
	t.Run("what fits nothing that was begun", func(t *testing.T) {
		s.pass(time.Minute)
		s.idp.SignIn(anna)
		b := s.browser(t)
		b.get(backPath).is(t, http.StatusForbidden, backPath, "has not begun to sign in")
		b.get(backPath+"?state=x&code=x").is(t, http.StatusForbidden, backPath, "has not begun to sign in")
		b.get(backPath+"?error=access_denied&error_description=call+555").lacks(t, "call 555")
		var at string
		b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if at = r.URL.String(); strings.Contains(at, backPath) {
				return http.ErrUseLastResponse
			}
			return nil
		}
		b.get(ssoPath)
		answer := strings.TrimPrefix(at, b.base)
		b.client.CheckRedirect = nil
		s.browser(t).get(answer).is(t, http.StatusForbidden, backPath, "has not begun to sign in") // somebody else's
		b.get(strings.Replace(answer, "code=", "code=x", 1)).is(t, http.StatusForbidden, backPath, "does not take the code")
		b.get(answer).is(t, http.StatusForbidden, backPath, "has not begun to sign in") // one attempt, one answer
	})
	t.Run("too many", func(t *testing.T) {
		b := s.browser(t)
		throttled := false
		for range 50 {
			throttled = throttled || b.get(backPath).status == http.StatusTooManyRequests
		}
		if !throttled {
			t.Error("nobody is throttled")
		}
		s.pass(time.Minute)
	})
	t.Run("another server takes who comes back", func(t *testing.T) {
		s.idp.SignIn(anna)
		b := s.browser(t)
		restarted := false
		b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Path == backPath && !restarted {
				restarted = true
				b.client.CloseIdleConnections()
				s.restart()
			}
			return nil
		}
		if b.get(ssoPath).is(t, http.StatusOK, firstPage, "anna@example.com"); !restarted {
			t.Error("nothing was restarted")
		}
	})
	t.Run("ends with its key, within a second", func(t *testing.T) {
		b, page := signIn(t, anna, "")
		page.is(t, http.StatusOK, firstPage)
		s.revoke(s.operators)
		s.pass(time.Second)
		b.get(firstPage).is(t, http.StatusOK, signInPath)
		_, page = signIn(t, anna, "")
		page.is(t, http.StatusForbidden, backPath, "was revoked")
	})
	t.Run("ends with its time", func(t *testing.T) {
		b, page := signIn(t, of("admins"), "")
		page.is(t, http.StatusOK, firstPage)
		s.pass(identity.ConsoleSessionLife + time.Second)
		b.get(firstPage).is(t, http.StatusOK, signInPath, "Your session has ended.")
	})
}

// TestSignInAddress: where a provider leads back to, and what a browser keeps meanwhile.
func TestSignInAddress(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change       func(*cloud.Options)
		header       []string
		redirect     string // behind the scheme and host
		scheme, path string
		secure       bool
	}{
		"plain":             {redirect: backPath, scheme: "http", path: "Path=" + backPath},
		"over TLS":          {change: func(o *cloud.Options) { o.APIAddr = "0.0.0.0:0" }, redirect: backPath, scheme: "https", path: "Path=" + backPath, secure: true},
		"behind a proxy":    {header: []string{"X-Forwarded-Proto", "https"}, redirect: backPath, scheme: "https", path: "Path=" + backPath, secure: true},
		"below a base path": {change: func(o *cloud.Options) { o.BasePath = "/legacy" }, redirect: "/legacy" + backPath, scheme: "http", path: "Path=/legacy" + backPath},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			provider := idp.Start(t)
			o := options(t.TempDir())
			if tc.change != nil {
				tc.change(&o)
			}
			o.SingleSignOn = cloud.SingleSignOn{Issuer: provider.URL, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, Keys: []string{"operators=AKIAUNKNOWNUNKNOWN00"}}
			s := start(t, o)
			client, base := s.client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			b := &browser{t, client, strings.Replace(base, "0.0.0.0", "127.0.0.1", 1)}
			got := b.do(http.MethodGet, strings.TrimSuffix(tc.redirect, "/callback"), nil, tc.header...)
			to, err := url.Parse(got.header.Get("Location"))
			if err != nil || got.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), provider.URL+"/auth?") {
				t.Fatalf("%d leads to %s, %v", got.status, to, err)
			}
			if want := tc.scheme + "://" + strings.SplitN(b.base, "://", 2)[1] + tc.redirect; to.Query().Get("redirect_uri") != want {
				t.Errorf("leads back to %s, want %s", to.Query().Get("redirect_uri"), want)
			}
			cookie := got.header.Get("Set-Cookie")
			for _, want := range []string{"HttpOnly", "SameSite=Lax", "Max-Age=600", tc.path + ";"} {
				if !strings.Contains(cookie, want) {
					t.Errorf("the cookie %q is not %s", cookie, want)
				}
			}
			if strings.Contains(cookie, "Secure") != tc.secure || strings.Contains(cookie, to.Query().Get("state")) || len(cookie) > 4000 {
				t.Errorf("the cookie %q", cookie)
			}
		})
	}
	t.Run("over plain HTTP from elsewhere", func(t *testing.T) {
		t.Parallel()
		provider := idp.Start(t)
		o := options(t.TempDir())
		o.ProxyProtocol = []string{"127.0.0.2"}
		o.SingleSignOn = cloud.SingleSignOn{Issuer: provider.URL, ClientID: idp.ClientID, Keys: []string{"operators=AKIAUNKNOWNUNKNOWN00"}}
		s := start(t, o)
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return byBalancer(ctx, address, forClient)
		}}}
		t.Cleanup(client.CloseIdleConnections)
		for method, path := range map[string]string{http.MethodGet: ownapi.SignInPath, http.MethodPost: ownapi.SignInPath, http.MethodHead: ssoPath} {
			r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.APIAddr()+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if status, _, text := answered(t, client, r); status != http.StatusForbidden || method != http.MethodHead && !strings.Contains(text, "over plain HTTP everyone on the way") {
				t.Errorf("%s %s: %d %s", method, path, status, text)
			}
		}
		if n := provider.Asked("/.well-known/openid-configuration"); n > 0 {
			t.Errorf("the provider was asked %d times", n)
		}
	})
	t.Run("without a provider", func(t *testing.T) {
		t.Parallel()
		b := start(t, options(t.TempDir())).browser(t)
		b.get(ssoPath).is(t, http.StatusNotFound, ssoPath, "--oidc-issuer")
		b.get(backPath).is(t, http.StatusNotFound, backPath, "--oidc-issuer")
		b.get(signInPath).lacks(t, ssoPath)
	})
	t.Run("options that are wrong", func(t *testing.T) {
		t.Parallel()
		for name, change := range map[string]func(*cloud.SingleSignOn){
			"--oidc-issuer":    func(s *cloud.SingleSignOn) { s.Issuer = "" },
			"HTTPS":            func(s *cloud.SingleSignOn) { s.Issuer = "http://id.example.com" },
			"--oidc-client-id": func(s *cloud.SingleSignOn) { s.ClientID = "" },
			"VALUE=ACCESSKEY":  func(s *cloud.SingleSignOn) { s.Keys = []string{"operators"} },
			"--oidc-key":       func(s *cloud.SingleSignOn) { s.Keys = nil },
			"--oidc-ca":        func(s *cloud.SingleSignOn) { s.CAFile = "/nowhere" },
		} {
			o := options(t.TempDir())
			o.SingleSignOn = cloud.SingleSignOn{Issuer: "https://id.example.com", ClientID: "c", Keys: []string{"a=K"}}
			change(&o.SingleSignOn)
			if why := refused(t, o); !strings.Contains(why, name) {
				t.Errorf("%s: %s", name, why)
			}
		}
	})
}

// TestProviderAway: a server starts without its provider, says so, and goes on when it is there.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	s := serveSignIns(t, nil)
	s.idp.Answer(false)
	s.restart()
	s.idp.SignIn(anna)
	b := s.browser(t)
	b.get(ssoPath).is(t, http.StatusServiceUnavailable, ssoPath, "cannot be asked who you are just now")
	if status, text, _ := s.send(http.MethodGet, ownapi.SignInPath); status != http.StatusServiceUnavailable || !strings.Contains(text, "cannot be asked") {
		t.Errorf("%d %s", status, text)
	}
	examined := func() (found *doctor.Finding) {
		for _, f := range cloud.Examine(t.Context(), s.o).Findings {
			if f.Subject == "OpenID Connect" {
				return &f
			}
		}
		return nil
	}
	if f := examined(); f == nil || f.Health != doctor.Poor || !strings.Contains(f.Says, "503") {
		t.Errorf("%+v", f)
	}
	b.signIn(s.operators).is(t, http.StatusOK, firstPage) // keys are good all the same

	s.idp.Answer(true)
	s.browser(t).get(ssoPath).is(t, http.StatusOK, firstPage, "anna@example.com")
	if f := examined(); f == nil || f.Health != doctor.Good {
		t.Errorf("%+v", f)
	}
}

// exchange has the server take a token of the provider's.
func (s *signIns) exchange(t *testing.T, body string) (status int, made ownapi.TerminalSession, text string) {
	t.Helper()
	client, base := s.client()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+ownapi.SignInPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	status, _, text = answered(t, client, r)
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return status, made, text
}

func (s *signIns) token(person idp.Claims) string {
	return s.idp.Sign(s.idp.Claims(idp.DeviceClientID, person))
}

func idToken(token string) string {
	var b bytes.Buffer
	json.NewEncoder(&b).Encode(ownapi.SignInRequest{IdToken: token})
	return b.String()
}

// TestSignInFromTerminal: a token of the provider's for a temporary key.
func TestSignInFromTerminal(t *testing.T) {
	t.Parallel()
	s := serveSignIns(t, func(o *cloud.Options) { o.Refusals = 5 })
	client, base := s.client()
	config := func(made ownapi.TerminalSession) aws.Config {
		return aws.Config{
			Region: "us-east-1", BaseEndpoint: &base, HTTPClient: client, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
			Credentials: credentials.NewStaticCredentialsProvider(made.AccessKeyId, made.SecretAccessKey, made.SessionToken),
		}
	}
	signIn := func(t *testing.T, person idp.Claims) ownapi.TerminalSession {
		t.Helper()
		status, made, text := s.exchange(t, idToken(s.token(person)))
		if status != http.StatusOK || made.Person != "anna@example.com" || made.KeyName != "limited" {
			t.Fatalf("%d %s", status, text)
		}
		return made
	}

	t.Run("what a terminal has to know", func(t *testing.T) {
		var offer ownapi.SignInOffer
		status, text, header := s.send(http.MethodGet, ownapi.SignInPath)
		if err := json.Unmarshal([]byte(text), &offer); err != nil || status != http.StatusOK || header.Get("x-amzn-RequestId") == "" {
			t.Fatalf("%d %s", status, text)
		}
		if offer.Issuer != s.idp.URL || offer.ClientId != idp.DeviceClientID || offer.DeviceAuthorizationEndpoint != s.idp.URL+"/device/code" || offer.TokenEndpoint != s.idp.URL+"/token" ||
			strings.Join(offer.Scopes, " ") != "openid profile email groups" || strings.Contains(text, "s3cret") {
			t.Errorf("%s", text)
		}
	})
	t.Run("acts with the rights of the key, as a person", func(t *testing.T) {
		made := signIn(t, anna)
		if ends, err := time.Parse(time.RFC3339, made.ExpiresAt); err != nil || ends.Sub(s.o.Now()) > identity.TerminalSessionLife || ends.Sub(s.o.Now()) < identity.TerminalSessionLife-time.Minute {
			t.Errorf("ends at %s, %v", made.ExpiresAt, err)
		}
		api := greengrass.NewFromConfig(config(made))
		if _, err := api.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("mill")}); err != nil {
			t.Error(err)
		}
		if _, err := api.DeleteGroup(t.Context(), &greengrass.DeleteGroupInput{GroupId: aws.String("x")}); err == nil || !strings.Contains(err.Error(), "is not authorized") {
			t.Errorf("a deployer's right: %v", err)
		}
		for operation, status := range map[string]int{"CreateTerminalSession": 200, "CreateGroup": 201, "DeleteGroup": 403} {
			if got := s.records(t, operation); len(got) != 1 || got[0].Person != "anna@example.com" || got[0].KeyName != "limited" || got[0].Status != status {
				t.Errorf("%s: %+v", operation, got)
			}
		}
		if who, err := sts.NewFromConfig(config(made)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil || *who.Arn != "arn:aws:iam::"+account+":user/limited" {
			t.Errorf("%+v, %v", who, err)
		}
	})
	t.Run("makes nothing that lasts", func(t *testing.T) {
		made := signIn(t, of("admins"))
		for call, says := range map[string]string{"access-keys": "temporary credentials", "console/links": "open the console, and sign in there", "console/sessions": "temporary credentials", "terminal/sessions": "temporary credentials"} {
			if status, text := s.postAs(t, made, "/fescue/v1/"+call); status != http.StatusForbidden || !strings.Contains(text, says) {
				t.Errorf("%s: %d %s", call, status, text)
			}
		}
		if _, err := sts.NewFromConfig(config(made)).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Error(err)
		}
	})
	t.Run("is ended, and its token begins no other", func(t *testing.T) {
		token := s.token(of("admins"))
		_, made, _ := s.exchange(t, idToken(token))
		const end, anything = "/fescue/v1/terminal/sessions/end", "/fescue/v1/console/links"
		api := iam.NewFromConfig(config(made))
		_, err := api.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("any"), AssumeRolePolicyDocument: aws.String(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`)})
		if err != nil {
			t.Fatal(err)
		}
		assumed, err := sts.NewFromConfig(config(made)).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/any"), RoleSessionName: aws.String("nightly")})
		if err != nil {
			t.Fatal(err)
		}
		role := ownapi.TerminalSession{AccessKeyId: *assumed.Credentials.AccessKeyId, SecretAccessKey: *assumed.Credentials.SecretAccessKey, SessionToken: *assumed.Credentials.SessionToken}
		if status, text := s.postAs(t, role, anything); status != http.StatusForbidden || !strings.Contains(text, "temporary credentials") {
			t.Errorf("the role: %d %s", status, text)
		}
		if status, text := s.postAs(t, made, end); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		for name, key := range map[string]ownapi.TerminalSession{"the session": made, "its role": role} {
			if status, text := s.postAs(t, key, anything); status != http.StatusForbidden || !strings.Contains(text, "has ended") {
				t.Errorf("%s: %d %s", name, status, text)
			}
		}
		if status, _, text := s.exchange(t, idToken(token)); status != http.StatusConflict {
			t.Errorf("the token again: %d %s", status, text)
		}
		lasting := ownapi.TerminalSession{AccessKeyId: s.operators.ID, SecretAccessKey: s.operators.Secret}
		if status, text := s.postAs(t, lasting, end); status != http.StatusBadRequest || !strings.Contains(text, "fescue keys revoke") {
			t.Errorf("an access key: %d %s", status, text)
		}
		if status, text := s.postAs(t, lasting, anything); status != http.StatusOK {
			t.Errorf("the access key is gone: %d %s", status, text)
		}
		if ended := s.records(t, "EndTerminalSession"); len(ended) == 0 || ended[0].Person != "anna@example.com" || ended[0].Status != 200 {
			t.Errorf("%+v", ended)
		}
	})
	t.Run("a token is good once", func(t *testing.T) {
		token := s.token(anna)
		if status, _, text := s.exchange(t, idToken(token)); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		status, made, text := s.exchange(t, idToken(token))
		if status != http.StatusConflict || made.AccessKeyId != "" || !strings.Contains(text, "used already") {
			t.Errorf("%d %s", status, text)
		}
		s.restart()
		client, base = s.client()
		if status, _, text := s.exchange(t, idToken(token)); status != http.StatusConflict {
			t.Errorf("at another server: %d %s", status, text)
		}
	})
	t.Run("refused", func(t *testing.T) {
		claims := func(change func(idp.Claims)) string {
			c := s.idp.Claims(idp.DeviceClientID, anna)
			change(c)
			return idToken(s.idp.Sign(c))
		}
		for name, tc := range map[string]struct {
			body   string
			status int
			says   string
		}{
			"of no group":    {idToken(s.token(of("all"))), 403, "but may do nothing here"},
			"by a key ended": {idToken(s.token(of("gone"))), 403, "was revoked"},
			"of the console": {claims(func(c idp.Claims) { c["aud"] = idp.ClientID }), 403, "expected audience"},
			"that is over":   {claims(func(c idp.Claims) { c["exp"] = s.o.Now().Add(-time.Minute).Unix() }), 403, "Sign in again"},
			"of no key":      {idToken(idp.Unsigned(s.idp.Claims(idp.DeviceClientID, anna))), 403, "malformed jwt"},
			"none":           {`{}`, 403, "malformed jwt"},
			"no JSON":        {`x`, 400, "malformed"},
			"another form":   {`{"IdToken":7}`, 400, "malformed"},
			"too large":      {idToken(strings.Repeat("x", 100<<10)), 400, "larger than"},
		} {
			if status, made, text := s.exchange(t, tc.body); status != tc.status || made.AccessKeyId != "" || !strings.Contains(text, tc.says) {
				t.Errorf("%s: %d %s", name, status, text)
			}
		}
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			if status, text, _ := s.send(method, ownapi.SignInPath); status != http.StatusForbidden {
				t.Errorf("%s: %d %s", method, status, text)
			}
		}
	})
	t.Run("too many", func(t *testing.T) {
		throttled := false
		for range 100 {
			status, _, _ := s.exchange(t, `{}`)
			throttled = throttled || status == http.StatusTooManyRequests
		}
		if !throttled {
			t.Error("nobody is throttled")
		}
		s.pass(time.Minute)
	})
	t.Run("ends with its key, within a second", func(t *testing.T) {
		made := signIn(t, anna)
		s.revoke(s.operators)
		s.pass(time.Second)
		if status, text := s.postAs(t, made, "/fescue/v1/console/links"); status != http.StatusForbidden || !strings.Contains(text, "security token") {
			t.Errorf("%d %s", status, text)
		}
	})
	t.Run("without a provider", func(t *testing.T) {
		if status, text, _ := start(t, options(t.TempDir())).send(http.MethodGet, ownapi.SignInPath); status != http.StatusNotFound || !strings.Contains(text, "--oidc-issuer") {
			t.Errorf("%d %s", status, text)
		}
	})
}

// postAs calls an operation without a body, with a temporary key.
func (s *signIns) postAs(t *testing.T, made ownapi.TerminalSession, path string) (int, string) {
	t.Helper()
	client, base := s.client()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	key := aws.Credentials{AccessKeyID: made.AccessKeyId, SecretAccessKey: made.SecretAccessKey, SessionToken: made.SessionToken}
	if err := v4.NewSigner().SignHTTP(t.Context(), key, r, empty, "greengrass", "us-east-1", s.o.Now()); err != nil {
		t.Fatal(err)
	}
	status, _, text := answered(t, client, r)
	return status, text
}
