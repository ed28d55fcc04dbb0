package cloud_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/idp"
)

// TestSignInToServers: people sign in to servers of one database behind a load balancer, as
// to one.
func TestSignInToServers(t *testing.T) {
	t.Parallel()
	provider, shared := idp.Start(t), t.TempDir()
	o := options(t.TempDir())
	o.Database = pgtest.Database(t)
	o.MasterKeyFile, o.Artifacts = filepath.Join(shared, "key"), filepath.Join(shared, "artifacts")
	maker := start(t, o)
	maker.stop()
	o.SingleSignOn = cloud.SingleSignOn{Issuer: provider.URL, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, DeviceClientID: idp.DeviceClientID, Keys: []string{"operators=" + maker.key.ID}}
	first := start(t, o)
	o.DataDir, o.AccessKeyID, o.SecretAccessKey = t.TempDir(), maker.key.ID, maker.key.Secret
	second := start(t, o)

	// The balancer leads where it is told to.
	var next atomic.Pointer[server]
	balancer := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: next.Load().APIAddr()})
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(balancer.Close)
	browse := func(t *testing.T) *browser {
		t.Helper()
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &browser{t, &http.Client{Jar: jar, Timeout: patience}, balancer.URL}
	}
	provider.SignIn(anna)
	// begun signs in: what was begun at one server is ended at the other.
	begun := func(t *testing.T) *browser {
		t.Helper()
		b, back := browse(t), 0
		b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Path == backPath {
				if redirect := b.base + backPath; !strings.HasPrefix(r.URL.String(), redirect) {
					t.Errorf("it leads back to %s, not to %s", r.URL, redirect)
				}
				back++
				next.Store(second)
			}
			return nil
		}
		next.Store(first)
		if b.get(ssoPath).is(t, http.StatusOK, firstPage, "anna@example.com"); back != 1 {
			t.Errorf("it came back %d times", back)
		}
		return b
	}

	t.Run("begun at one, ended at the other", func(t *testing.T) {
		b := begun(t)
		for _, at := range []*server{first, second, first} {
			next.Store(at)
			b.get(firstPage+"groups").is(t, http.StatusOK, firstPage+"groups", "anna@example.com")
		}
	})
	t.Run("signed out of one is signed out of all, for copies of the cookie, too", func(t *testing.T) {
		b := begun(t)
		address, err := url.Parse(b.base + "/console/")
		if err != nil {
			t.Fatal(err)
		}
		copied := browse(t)
		copied.client.Jar.SetCookies(address, b.client.Jar.Cookies(address))
		for _, at := range []*server{first, second} {
			next.Store(at)
			copied.get(firstPage).is(t, http.StatusOK, firstPage, "anna@example.com")
		}
		next.Store(second)
		b.post("/console/sign-out").is(t, http.StatusOK, signInPath)
		for _, at := range []*server{first, second} {
			next.Store(at)
			b.get(firstPage).is(t, http.StatusOK, signInPath)
			copied.get(firstPage).is(t, http.StatusOK, signInPath, "Your session has ended.")
		}
	})
	t.Run("one token begins one session, at whichever", func(t *testing.T) {
		s := &signIns{server: first, idp: provider}
		s.o.Now = provider.Now
		token := s.token(anna)
		var began atomic.Int64
		var both sync.WaitGroup
		for _, at := range []*server{first, second, first, second} {
			both.Go(func() {
				switch status, _, text := (&signIns{server: at}).exchange(t, idToken(token)); status {
				case http.StatusOK:
					began.Add(1)
				case http.StatusConflict:
				default:
					t.Errorf("%d %s", status, text)
				}
			})
		}
		if both.Wait(); began.Load() != 1 {
			t.Errorf("it began %d sessions", began.Load())
		}
	})
	t.Run("a terminal's session is good at both, and ended at one it is ended at the other", func(t *testing.T) {
		here, there := &signIns{server: first, idp: provider}, &signIns{server: second, idp: provider}
		here.o.Now, there.o.Now = provider.Now, provider.Now
		_, made, _ := here.exchange(t, idToken(here.token(anna)))
		const anything = "/fescue/v1/console/links" // refused to a temporary key that is good
		for _, at := range []*signIns{here, there} {
			if status, text := at.postAs(t, made, anything); status != http.StatusForbidden || !strings.Contains(text, "temporary credentials") {
				t.Fatalf("%d %s", status, text)
			}
		}
		if status, text := there.postAs(t, made, "/fescue/v1/terminal/sessions/end"); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		if status, text := there.postAs(t, made, anything); !strings.Contains(text, "has ended") {
			t.Errorf("where it was ended: %d %s", status, text)
		}
		testkit.Eventually(t, "ended at the other", func() error {
			if status, text := here.postAs(t, made, anything); !strings.Contains(text, "has ended") {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		})
	})
}
