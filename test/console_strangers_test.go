//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestConsoleStrangers: in a browser, too, a key that is limited to groups sees those alone, and
// no page of another site does something as whoever has signed in.
func TestConsoleStrangers(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	group := func(name, place string) string {
		t.Helper()
		g, err := h.greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String(name), Tags: map[string]string{"site": place}})
		if err != nil {
			t.Fatal(err)
		}
		return *g.Id
	}
	north, south := group("North mill", "north"), group("South mill", "south")

	// Somebody else's pages: on another port, which to browsers is another origin of the same
	// site, so that the cookie goes along; and, by another name, on another site.
	var page atomic.Pointer[string] // of both
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>A stranger's</title>%s", *page.Load())
	}))
	t.Cleanup(stranger.Close)
	sameSite := strings.TrimPrefix(stranger.URL, "http://")
	otherSite := strings.Replace(sameSite, "127.0.0.1", "localhost", 1)
	b := s.open(t, sameSite, otherSite)

	b.signsIn(t, keyID, secret)
	b.sees(t, "h1", "Overview")
	keys := b.base + "/console/" + region + "/keys"
	made := func(t *testing.T, name string, want bool) { // and whoever signed in is so still
		t.Helper()
		b.visit(t, "/keys")
		b.sees(t, "h1", "Access keys")
		if list := b.says(t, "table"); strings.Contains(list, name) != want {
			t.Errorf("the key %q is among these: %v, want %v\n%s", name, !want, want, list)
		}
	}
	for _, from := range []struct{ name, host string }{{"of the same site", sameSite}, {"of another site", otherSite}, {"of the console", ""}} {
		t.Run("a form "+from.name, func(t *testing.T) {
			form := fmt.Sprintf(`<form method="post" action="%s"><input name="name" value="%s"><input name="access" value="admin"><button>Win a mill</button></form>`, html.EscapeString(keys), from.name)
			if from.host == "" { // so that it is not the form that is refused
				b.visit(t, "/groups")
				b.run(t, chromedp.Evaluate(fmt.Sprintf(`document.querySelector("main").innerHTML = %q`, form), nil))
				b.clicks(t, "Win a mill")
				b.sees(t, ".note.good", "AWS_SECRET_ACCESS_KEY=")
			} else {
				page.Store(&form)
				b.run(t, chromedp.Navigate("http://"+from.host))
				b.clicks(t, "Win a mill")
				b.sees(t, "body", "cross-origin request")
			}
			made(t, from.name, from.host == "")
		})
	}
	for _, host := range []string{sameSite, otherSite} {
		t.Run("a script of "+host, func(t *testing.T) {
			b.run(t, chromedp.Navigate("http://"+host))
			var answer string
			b.run(t, chromedp.Evaluate(fmt.Sprintf(`fetch(%q, {method: "POST", mode: "no-cors", credentials: "include",
				body: new URLSearchParams({name: "scripted", access: "admin"})}).then((r) => r.type, () => "kept from it")`, keys), &answer, awaited))
			if answer != "kept from it" {
				t.Errorf("the script has an answer: %s", answer)
			}
			made(t, "scripted", false)
		})
	}
	t.Run("a limited key sees its groups alone", func(t *testing.T) {
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := runProgram(t, "keys", "create", "--data", s.data, "--name", "north", "--access", "deployer", "--groups", "site=north", "--account", account, "--json")
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		b.run(t, network.ClearBrowserCookies())
		b.signsIn(t, key.AccessKeyID, key.SecretAccessKey)
		for _, path := range []string{"/", "/groups", "/groups?q=mill"} {
			b.visit(t, path)
			b.sees(t, "main", "North mill")
			if shown := b.says(t, "body"); strings.Contains(shown, "South mill") || strings.Contains(shown, south) {
				t.Errorf("%s shows what the key may not see:\n%s", path, shown)
			}
		}
		b.fits(t, "limited")
		for _, link := range []string{"Cores", "Keys", "Audit"} {
			if links := b.says(t, "header nav"); strings.Contains(links, link) {
				t.Errorf("the key is led to %s by %q", link, links)
			}
		}
		b.clicks(t, "North mill")
		b.sees(t, "h1", "North mill")
		b.sees(t, "main", "site=north")
		for _, path := range []string{"/groups/" + south, "/cores", "/cores?" + url.Values{"tag": {"site=north"}}.Encode(), "/keys", "/audit"} {
			b.visit(t, path)
			b.sees(t, "main", "is not authorized to perform")
			if shown := b.says(t, "body"); strings.Contains(shown, "South mill") {
				t.Errorf("%s shows what the key may not see:\n%s", path, shown)
			}
		}
		b.fits(t, "limited-refused")
		b.visit(t, "/groups/"+north)
		b.sees(t, "h1", "North mill") // it is signed in still
	})
}

// says is the text of what a selector finds first, hidden or not.
func (b *tab) says(t *testing.T, selector string) (text string) {
	t.Helper()
	b.run(t, chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q)?.textContent ?? ""`, selector), &text))
	return text
}
