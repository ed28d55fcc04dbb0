//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/fescue-edge/fescue/testkit/idp"
)

// serveSignIns starts a provider of OpenID Connect, and a server whose only key is for
// those in the group operators.
func serveSignIns(t *testing.T) (*server, *idp.Provider) {
	t.Helper()
	provider := idp.Start(t)
	proof := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(proof, []byte(idp.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, "--oidc-issuer", provider.URL, "--oidc-client-id", idp.ClientID, "--oidc-client-secret-file", proof,
		"--oidc-device-client-id", idp.DeviceClientID, "--oidc-key", "cn=others,dc=example=AKIAUNKNOWNUNKNOWN00", "--oidc-key", "operators="+keyID), provider
}

var anna = idp.Claims{"sub": "4711", "email": "anna@example.com", "email_verified": true, "groups": []string{"operators"}}

// TestLoginSSO: somebody without a key signs in from a terminal, works, and is told when
// that is over.
func TestLoginSSO(t *testing.T) {
	t.Parallel()
	s, provider := serveSignIns(t)
	home, at := t.TempDir(), "http://"+s.api
	environment := []string{"HOME=" + home, "XDG_CONFIG_HOME=", "AWS_CONFIG_FILE=", "AWS_SHARED_CREDENTIALS_FILE=", "AWS_CA_BUNDLE=", "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}
	type ended struct {
		out, errs string
		code      int
	}
	run := func(t *testing.T, want int, says string, args ...string) ended {
		t.Helper()
		out, errs, code := programIn(t, environment, fescueBin, args...)
		if code != want || !strings.Contains(out+errs, says) {
			t.Errorf("fescue %q: exit code %d, want %d and %q\n%s%s", args, code, want, says, out, errs)
		}
		return ended{out, errs, code}
	}
	// signIn logs in while somebody answers in a browser.
	signIn := func(t *testing.T, person idp.Claims, want int, says string, args ...string) ended {
		t.Helper()
		done := make(chan ended, 1)
		go func() {
			out, errs, code := programIn(t, environment, fescueBin, append([]string{"login"}, args...)...)
			done <- ended{out, errs, code}
		}()
		provider.Approve(t, person)
		got := <-done
		if got.code != want || !strings.Contains(got.out+got.errs, says) {
			t.Errorf("fescue login %q: exit code %d, want %d and %q\n%s%s", args, got.code, want, says, got.out, got.errs)
		}
		return got
	}
	profile := filepath.Join(home, ".config/fescue/profiles/default")
	edit := func(t *testing.T, pattern, by string) {
		t.Helper()
		text, err := os.ReadFile(profile)
		if err != nil {
			t.Fatal(err)
		}
		changed := regexp.MustCompile(pattern).ReplaceAllString(string(text), by)
		if changed == string(text) {
			t.Fatalf("%q is not in %s", pattern, text)
		}
		if err := os.WriteFile(profile, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	signIn(t, nil, 1, "somebody said no there", at, "--sso", "--region", region)
	signIn(t, idp.Claims{"sub": "1", "preferred_username": "bert\x1b[31m", "groups": []string{"staff"}}, 1, `You are bert�[31m, but may do nothing here: your claim "groups" is "staff"`, at, "--sso", "--region", region)
	if left, _ := os.ReadDir(filepath.Join(home, ".config")); len(left) > 0 {
		t.Errorf("what was refused is kept: %v", left)
	}
	got := signIn(t, anna, 0, "as anna@example.com, account "+account+", Region "+region+": profile default.\nThe session ends at ", at, "--sso", "--region", region)
	if !strings.Contains(got.errs, provider.URL+"/device\n") || !strings.Contains(got.errs, provider.URL+"/device?user_code=") || !strings.Contains(got.errs, at) {
		t.Errorf("it does not say where to sign in, and to what: %s", got.errs)
	}
	if info, err := os.Stat(profile); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	run(t, 0, "server       "+at, "status")
	run(t, 1, "open the console, and sign in there", "console")
	var record struct{ Operation, Person, KeyName string }
	list := run(t, 0, "CreateTerminalSession", "audit", "--json", "--operation", "CreateTerminalSession")
	if err := json.Unmarshal([]byte(list.out), &record); err != nil || record.Person != "anna@example.com" {
		t.Errorf("%+v, %v: %s", record, err, list.out)
	}
	run(t, 0, "anna@example.com as ", "audit")

	edit(t, `fescue_session_ends = .*`, "fescue_session_ends = 2020-01-01T00:00:00Z")
	run(t, 1, "the session of anna@example.com ended: fescue login signs in again", "status")
	run(t, 1, "the session of anna@example.com ended: fescue login signs in again", "cores")
	signIn(t, anna, 0, "Logged in to "+at+" as anna@example.com") // what is kept says where
	run(t, 0, "server       "+at, "status")

	// kept copies the profile, for whoever has a copy of it.
	keep := func(t *testing.T, name string) {
		t.Helper()
		text, err := os.ReadFile(profile)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(profile), name), []byte(strings.Replace(string(text), "[default]", "[profile "+name+"]", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	over := func(t *testing.T, name string) {
		t.Helper()
		eventually(t, "the session of the copy "+name+" is over", func() error {
			if out, errs, code := programIn(t, environment, fescueBin, "cores", "--profile", name); code != 1 || !strings.Contains(errs, "the session of anna@example.com ended") {
				return fmt.Errorf("%d %s%s", code, out, errs)
			}
			return nil
		})
	}
	keep(t, "copied")
	run(t, 0, "", "cores", "--profile", "copied")
	signIn(t, anna, 0, "Logged in to "+at+" as anna@example.com") // again: the session before is over
	over(t, "copied")
	keep(t, "copied")
	run(t, 0, "", "cores", "--profile", "copied")
	run(t, 0, "Removed the profile default", "logout")
	over(t, "copied")
	run(t, 0, "Removed the profile copied", "logout", "--profile", "copied")
	run(t, 1, "there is no profile default", "logout")
	signIn(t, anna, 0, "Logged in to "+at+" as anna@example.com", at, "--sso", "--region", region)
	edit(t, `endpoint_url = .*`, "endpoint_url = http://127.0.0.1:1")
	run(t, 1, "is not ended, and its profile stays: fescue logout --local", "logout")
	run(t, 0, "Removed the profile default", "logout", "--local")
	signIn(t, anna, 0, "Logged in to "+at+" as anna@example.com", at, "--sso", "--region", region)
	signIn(t, anna, 0, "profile other.", at+"/", "--region", region, "--profile", "other") // whoever has no key signs in

	run(t, 0, "revoked", "keys", "revoke", "--data", s.data, keyID)
	eventually(t, "the sessions end with their key", func() error {
		out, errs, code := programIn(t, environment, fescueBin, "status")
		if code == 0 || !strings.Contains(errs, "security token") {
			return fmt.Errorf("%d %s%s", code, out, errs)
		}
		return nil
	})
	signIn(t, anna, 1, "was revoked")
	run(t, 0, "Removed the profile default", "logout")
	run(t, 1, "there is no profile default: give the URL", "login")
	run(t, 1, "started without --oidc-issuer", "login", "http://"+startServer(t).api, "--sso")
	run(t, 2, "can't be used together", "login", at, "--sso", "--key", "-")
}

// TestConsoleSSO: in a real browser, under the pages' own policy.
func TestConsoleSSO(t *testing.T) {
	t.Parallel()
	s, provider := serveSignIns(t)
	host := strings.TrimPrefix(provider.URL, "http://")
	b := s.open(t, host)
	provider.SignIn(nil)
	b.visit(t, "/cores?q=x")
	b.sees(t, ".gate", "Sign in with "+host, "Or with an access key")
	b.fits(t, "sign-in-sso")
	b.clicks(t, "Sign in with")
	b.sees(t, ".gate .note.bad", host+" did not sign you in: access_denied")
	b.fits(t, "sign-in-refused")
	provider.SignIn(anna)
	b.clicks(t, "Sign in with")
	b.sees(t, "h1", "Cores") // where one wanted to go
	b.sees(t, ".who summary", "anna@example.com")
	b.clicks(t, "anna@example.com")
	b.sees(t, ".who", "Signed in as", "With the rights of")
	b.run(t, chromedp.Click(".who form button"))
	b.sees(t, "h1", "Sign in")
	provider.Answer(false)
	b.clicks(t, "Sign in with") // what it said before is believed: the browser finds it away
	b.sees(t, "body", "out of order")
}
