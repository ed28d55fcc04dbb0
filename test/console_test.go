//go:build linux

package test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is somebody at the console, in Chromium, and what went wrong there.
type tab struct {
	ctx  context.Context
	base string

	mu    sync.Mutex
	wrong []string
}

// open opens a browser. What it asks of other hosts than the server and those that are named,
// and what its console says of errors, fails the test at its end.
func (s *server) open(t *testing.T, hosts ...string) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium (Debian's package chromium) is not installed")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{ctx: ctx, base: "http://" + s.api}
	wrong := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
	}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(e.Request.URL); err != nil || u.Host != s.api && !slices.Contains(hosts, u.Host) {
				wrong("a request to %s", e.Request.URL)
			}
		case *runtime.EventExceptionThrown:
			wrong("an exception: %v", e.ExceptionDetails)
		case *runtime.EventConsoleAPICalled:
			wrong("the console: %v", e.Args)
		case *cdplog.EventEntryAdded:
			if e.Entry.Source != cdplog.SourceNetwork { // pages that are refused are meant to be
				wrong("%s: %s", e.Entry.Source, e.Entry.Text)
			}
		}
	})
	if err := chromedp.Run(ctx, network.Enable(), runtime.Enable(), cdplog.Enable()); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, w := range b.wrong {
			t.Error(w)
		}
	})
	return b
}

func (b *tab) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// visit leads to a page of the first Region.
func (b *tab) visit(t *testing.T, path string) {
	t.Helper()
	b.run(t, chromedp.Navigate(b.base+"/console/"+region+path))
}

// sees waits until what a selector finds first has each of the texts.
func (b *tab) sees(t *testing.T, selector string, texts ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s with %q", selector, texts), func() error {
		var got string
		if err := chromedp.Run(b.ctx, chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector), &got)); err != nil {
			return err
		}
		if got == "" {
			var page string
			if err := chromedp.Run(b.ctx, chromedp.Evaluate(`location.href + "\n" + document.body.innerText`, &page)); err != nil {
				return err
			}
			return fmt.Errorf("it is not there: %s", page)
		}
		for _, text := range texts {
			if !strings.Contains(got, text) {
				return fmt.Errorf("it has %q", got)
			}
		}
		return nil
	})
}

// awaited has a script's promise kept before the script has ended.
func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// clicks clicks the first button or link with a text.
func (b *tab) clicks(t *testing.T, text string) {
	t.Helper()
	b.run(t, chromedp.Click(fmt.Sprintf(`//*[self::a or self::button or self::summary][contains(., %q)]`, text), chromedp.BySearch))
}

func (b *tab) signsIn(t *testing.T, id, secret string) {
	t.Helper()
	b.visit(t, "/")
	b.run(t, chromedp.SetValue("#key", id), chromedp.SetValue("#secret", secret), chromedp.Click(".gate button"), chromedp.WaitVisible(".who, .gate .note"))
}

// fits checks that a page needs no scrolling sideways on a phone, and that axe finds nothing
// serious in it, light and dark. It takes pictures where FESCUE_TEST_SCREENSHOTS names a
// folder.
func (b *tab) fits(t *testing.T, name string) {
	t.Helper()
	var over int
	b.run(t, chromedp.EmulateViewport(390, 844), chromedp.Evaluate(`document.documentElement.scrollWidth - innerWidth`, &over))
	if over > 0 {
		t.Errorf("%s is %d pixels wider than a phone", name, over)
	}
	folder := os.Getenv("FESCUE_TEST_SCREENSHOTS")
	for _, view := range []struct {
		scheme        string
		width, height int64
	}{{"light", 390, 844}, {"dark", 390, 844}, {"light", 1280, 800}, {"dark", 1280, 800}} {
		asked := view.scheme == "light" == (view.width == 390) // each scheme and each width, once
		if !asked && folder == "" {
			continue
		}
		b.run(t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: view.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}),
			chromedp.EmulateViewport(view.width, view.height))
		if asked {
			b.accessible(t, fmt.Sprintf("%s, %s, %d pixels wide", name, view.scheme, view.width))
		}
		if folder != "" {
			var picture []byte
			b.run(t, chromedp.FullScreenshot(&picture, 100))
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, view.width, view.scheme)), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// axe is the script of npm's axe-core, empty where FESCUE_TEST_AXE does not name it.
var axe = sync.OnceValues(func() (string, error) {
	path := os.Getenv("FESCUE_TEST_AXE")
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	return string(text), err
})

// accessible has axe look for what keeps people out who see, hear or move otherwise.
func (b *tab) accessible(t *testing.T, what string) {
	t.Helper()
	script, err := axe()
	if err != nil {
		t.Fatal(err)
	}
	if script == "" {
		return
	}
	var found []string
	b.run(t, chromedp.Evaluate(script+`; true`, nil), chromedp.Evaluate(`axe.run({resultTypes: ["violations"]}).then((result) => result.violations
		.filter((v) => v.impact === "serious" || v.impact === "critical")
		.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`, &found, awaited))
	for _, f := range found {
		t.Errorf("%s: %s", what, f)
	}
}

// TestConsole is an operator's work in a real browser.
func TestConsole(t *testing.T) {
	t.Parallel()
	if os.Getenv("FESCUE_TEST_AXE") == "" {
		t.Log("FESCUE_TEST_AXE names no axe.min.js of npm's axe-core: who sees, hears or moves otherwise is not asked for")
	}
	s := startServer(t)
	b := s.open(t)
	h := s.site(region)
	g := h.provision(t, "Shown_Core")
	g.run(t)
	arn := h.echo(t, "Shown")
	functions := []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: out(g.thing, "shown")}}
	g.loggers = []types.Logger{logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentGreengrassSystem, types.LoggerLevelInfo)}
	group, version := g.groupVersion(t, "", functions, ends(arn, g.thing))

	t.Run("a wrong secret, then a link", func(t *testing.T) {
		b.signsIn(t, keyID, secret+"x")
		b.sees(t, ".gate .note.bad", "No access key has this id and secret")
		b.fits(t, "sign-in")
		link, _, code := h.program(t, "console")
		if code != 0 {
			t.Fatalf("fescue console: %d", code)
		}
		b.run(t, chromedp.Navigate(strings.TrimSpace(link)))
		b.clicks(t, "Sign in as")
		b.sees(t, "h1", "Overview")
	})
	t.Run("find a core", func(t *testing.T) {
		b.visit(t, "/cores")
		// The driver's own key would also be typed, as its character comes apart from it.
		b.run(t, chromedp.Evaluate(`document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true, cancelable: true}))`, nil),
			chromedp.WaitVisible("#q:focus"), chromedp.SendKeys("#q", "shown_\r"))
		b.sees(t, "tbody tr", "Shown_Core", "connected")
		b.fits(t, "cores")
	})
	t.Run("click what is fetched anew meanwhile", func(t *testing.T) {
		b.visit(t, "/cores")
		b.sees(t, "tbody tr", "Shown_Core")
		b.run(t, chromedp.Evaluate(`follow = () => {}; events?.close()`, nil)) // by the clock alone
		// A part that is not what the server sends is replaced; so often that a click is hit.
		b.run(t, chromedp.Evaluate(`document.getElementById("cores").dataset.live = "50"`, nil))
		replaced := func(want bool) {
			t.Helper()
			var fetched int
			const count = `performance.getEntriesByType("resource").filter((e) => e.initiatorType === "fetch").length`
			b.run(t, chromedp.Evaluate(`document.getElementById("cores").dataset.live = "50", document.getElementById("cores").dataset.old = "", `+count, &fetched))
			eventually(t, "the part is fetched anew", func() error {
				var now int
				var old bool
				if err := chromedp.Run(b.ctx, chromedp.Evaluate(count, &now), chromedp.Evaluate(`"old" in document.getElementById("cores").dataset`, &old)); err != nil {
					return err
				}
				if now < fetched+3 || old == want {
					return fmt.Errorf("it was fetched %d times; it is the old one: %v", now-fetched, old)
				}
				return nil
			})
		}
		replaced(true)
		var at struct{ X, Y float64 }
		b.run(t, chromedp.Evaluate(`document.querySelector("#cores tbody a").scrollIntoView({block: "center"}), (({x, y, width, height}) => ({X: x + width / 2, Y: y + height / 2}))(document.querySelector("#cores tbody a").getClientRects()[0])`, &at))
		b.run(t, chromedp.MouseEvent(input.MousePressed, at.X, at.Y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
		replaced(false)
		b.run(t, chromedp.MouseEvent(input.MouseReleased, at.X, at.Y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
		eventually(t, "the click leads on", func() error {
			var path string
			if err := chromedp.Run(b.ctx, chromedp.Evaluate(`location.pathname`, &path)); err != nil || strings.HasSuffix(path, "/cores") {
				return fmt.Errorf("at %s: %v", path, err)
			}
			return nil
		})
	})
	t.Run("deploy, and watch it end", func(t *testing.T) {
		b.visit(t, "/groups/"+group)
		b.sees(t, "main", "Shown_Core/out", "long-lived", "It has never been deployed.")
		b.fits(t, "group")
		b.clicks(t, "Deploy the latest version")
		b.sees(t, "main", "What will change", "added", "Shown:1", "Nothing was found that would make it fail")
		b.fits(t, "deploy")
		b.run(t, chromedp.Click("button.chief"), chromedp.WaitVisible("#state"), chromedp.Evaluate(`window.stayed = true`, nil))
		b.sees(t, "#state", "Success", "Succeeded")
		var stayed bool
		b.run(t, chromedp.Evaluate(`window.stayed === true`, &stayed))
		if !stayed {
			t.Error("the page was loaded again")
		}
		b.fits(t, "deployment")
	})
	t.Run("what the core does now", func(t *testing.T) {
		b.visit(t, "/groups/"+group)
		b.clicks(t, "Devices and processes")
		b.sees(t, "#activity", "Shown_Core", "connected", "Shown:1", "MB", "What the core runs has no client device.")
		b.fits(t, "activity")
	})
	t.Run("find cores by a tag of their group", func(t *testing.T) {
		of := "arn:aws:greengrass:" + region + ":" + account + ":/greengrass/groups/" + group
		if _, err := h.greengrass.TagResource(t.Context(), &greengrass.TagResourceInput{ResourceArn: &of, Tags: map[string]string{"site": "north"}}); err != nil {
			t.Fatal(err)
		}
		b.visit(t, "/cores")
		b.run(t, chromedp.SendKeys("#tag", "site=south\r"))
		b.sees(t, "#cores", "No core matches.")
		b.visit(t, "/groups/"+group)
		b.clicks(t, "site=north")
		b.sees(t, "h1", "Cores")
		b.sees(t, "tbody tr", "Shown_Core", "connected")
		var asked string
		b.run(t, chromedp.Value("#tag", &asked))
		if asked != "site=north" {
			t.Errorf("the page asks for the tag %q", asked)
		}
		b.fits(t, "tagged")
	})
	t.Run("ask a thing for something", func(t *testing.T) {
		b.visit(t, "/things/Shown_Core")
		b.sees(t, "main", "ACTIVE", "There is no such shadow yet.")
		b.clicks(t, "Edit what is desired")
		b.run(t, chromedp.SetValue("#desired", `{"lamp": {"on": true}}`))
		b.clicks(t, "Save")
		b.sees(t, "#shadow", "Asked for, and not yet so", `"on": true`)
		b.clicks(t, "Edit what is desired")
		b.fits(t, "thing")
		b.visit(t, "/things")
		b.sees(t, "tbody tr", "Shown_Core")
		b.fits(t, "things")
		b.visit(t, "/certificates?days=3650")
		b.sees(t, "main", "Of this server", "in ")
		b.fits(t, "certificates")
	})
	t.Run("many at once", func(t *testing.T) {
		b.visit(t, "/bulk")
		b.sees(t, "main", "There is none yet.")
		b.fits(t, "bulk-none")
		id := h.startBulk(t, bulkLine(group, version)+bulkLine(group, strings.Replace(group, group[:1], "f", 1)))
		b.visit(t, "/bulk")
		b.sees(t, "tbody tr", "Completed")
		b.visit(t, "/bulk/"+id)
		b.sees(t, "main", "Success", "Failures by code", "none was made")
		b.fits(t, "bulk")
	})
	t.Run("its function, and what it looks like", func(t *testing.T) {
		b.visit(t, "/groups/"+group)
		b.sees(t, ".graph", "Shown_Core/out", "Shown:1")
		b.fits(t, "graph")
		b.visit(t, "/functions")
		b.sees(t, "tbody tr", "Shown")
		b.fits(t, "functions")
		b.visit(t, "/functions/Shown?qualifier=1")
		b.sees(t, "#code", "Code of version 1", "echo")
		b.run(t, chromedp.Click("#code tbody a"))
		b.sees(t, "#code", "It is not text.")
		b.fits(t, "function")
		b.visit(t, "/groups/"+group+"/logs?component=Lambda")
		b.sees(t, "#logs", "No such lines came.")
		b.fits(t, "logs-none")
	})
	t.Run("logs in the reader's zone", func(t *testing.T) {
		b.run(t, emulation.SetTimezoneOverride("Asia/Kolkata")) // five and a half hours ahead of UTC
		b.visit(t, "/groups/"+group+"/logs")
		b.sees(t, "#logs", "INFO")
		var line struct{ Text, Title, At, Want string }
		b.run(t, chromedp.Evaluate(`(({textContent, title, dateTime}) => ({Text: textContent, Title: title, At: dateTime,
			Want: new Date(Date.parse(dateTime) + 5.5 * 3600e3).toISOString().slice(14, 23)}))(document.querySelector("#logs time"))`, &line))
		if utc := strings.NewReplacer(" UTC", "Z", " ", "T").Replace(line.Title); !strings.Contains(line.Text, line.Want) || utc != line.At {
			t.Errorf("a line of %s is shown at %q, on hovering at %q", line.At, line.Text, line.Title)
		}
		b.fits(t, "logs")
		b.run(t, emulation.SetTimezoneOverride(""))
	})
	t.Run("messages as they come", func(t *testing.T) {
		b.visit(t, "/messages")
		b.run(t, chromedp.SetValue("#filter", "hall/#"), chromedp.Click(".filter .chief"))
		b.sees(t, "#stream-state", "Subscribed to hall/#")
		name := `<img src=x onerror=alert(1)>`
		b.run(t, chromedp.SetValue("#topic", "hall/lamp"), chromedp.SetValue("#payload", name), chromedp.Click(".fields button"))
		b.sees(t, "#sent", "bytes were published")
		b.sees(t, "#messages li", "hall/lamp", name, "28 bytes")
		b.sees(t, "#stream-state", "1 message.")
		b.fits(t, "messages")
		b.clicks(t, "Stop")
		b.sees(t, "#stream-state", "Stopped after 1 message.")
	})
	t.Run("keys and what was done", func(t *testing.T) {
		b.visit(t, "/keys")
		b.run(t, chromedp.SetValue("#name", "<b>made</b>"), chromedp.Click(".fields button"))
		b.sees(t, ".note.good", "AWS_SECRET_ACCESS_KEY=")
		b.fits(t, "keys")
		b.visit(t, "/audit?operation=CreateAccessKey")
		b.sees(t, "#audit", "fescue:CreateAccessKey", "admin")
		id := strings.Repeat("ab", 32) // of no certificate
		if _, err := h.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: iottypes.CertificateStatusInactive}); err == nil {
			t.Error("a certificate that is not there is changed")
		}
		b.visit(t, "/audit")
		b.sees(t, "#audit", "ResourceNotFoundException", "cert/abababab")
		for _, width := range []int64{720, 1280} { // a tablet has no room for all of it
			var broken []string
			var over int
			b.run(t, chromedp.EmulateViewport(width, 800), chromedp.Evaluate(`document.documentElement.scrollWidth - innerWidth`, &over),
				chromedp.Evaluate(`[...document.querySelectorAll("#audit td :is(code, .id span, [data-label=What] bdi)")].filter((e) => e.getClientRects().length > 1 || e.offsetHeight > 30).map((e) => e.textContent)`, &broken))
			if over > 0 || width == 1280 && len(broken) > 0 {
				t.Errorf("of %d pixels the page takes %d more, with these broken: %q", width, over, broken)
			}
		}
		b.fits(t, "audit")
	})
	t.Run("one that fails says why, and what to do", func(t *testing.T) {
		_, broken := g.groupVersion(t, group, append(slices.Clone(functions), function{arn: arn + "7", pinned: true}), ends(arn, g.thing))
		b.visit(t, "/groups/"+group+"/deploy?version="+broken)
		b.sees(t, "main", "Shown:17", "It would fail.", "FUNCTION_NOT_FOUND_ERROR")
		b.run(t, chromedp.Click("button.chief"))
		b.sees(t, "#state", "Failure", "Why it failed", "FUNCTION_NOT_FOUND_ERROR", "does not exist.", "Publish the version")
		b.sees(t, ".remedy", "Publish the version or create the alias")
		b.fits(t, "failure")
		b.visit(t, "/groups/"+group+"/compare?from="+version+"&to="+broken)
		b.sees(t, ".diff", "added", "Shown:17", "FunctionArn")
		b.fits(t, "compare")
		b.visit(t, "/groups/"+group)
		b.sees(t, "#state", "The last deployment failed: ", "FUNCTION_NOT_FOUND_ERROR")
		b.sees(t, "#deployments tbody tr", "Failure", "FUNCTION_NOT_FOUND_ERROR")
		b.sees(t, "#deployments", "Success")
		b.fits(t, "group-failed")
		b.visit(t, "/")
		b.sees(t, "#failed", "FUNCTION_NOT_FOUND_ERROR")
		b.sees(t, "#wrong", "The last deployment of this group failed: "+g.thing)
		b.fits(t, "overview")
	})
	t.Run("how it went", func(t *testing.T) {
		s.sample(t)
		b.visit(t, "/")
		b.sees(t, "#history", "Connected cores", "At the least 700 of 1,000, from", "in Success", "Requests a second", "How long they took")
		b.fits(t, "overview-day")
		b.clicks(t, "Last week")
		b.sees(t, "#history [aria-current]", "Last week")
		b.sees(t, "#history", "7 days ago", "At the least 700 of 1,000, from")
		b.fits(t, "overview-week")
	})
	t.Run("cancel one that waits", func(t *testing.T) {
		g.process.Kill()
		b.visit(t, "/groups/"+group+"/deploy?version="+version)
		b.sees(t, "main", "Nothing: what the core runs has the same content.")
		b.run(t, chromedp.Click("button.chief"))
		b.sees(t, "#state", "InProgress", "Offered")
		eventually(t, "the server tells the page of changes", func() error {
			var open bool
			if err := chromedp.Run(b.ctx, chromedp.Evaluate(`events?.readyState === EventSource.OPEN`, &open)); err != nil || !open {
				return fmt.Errorf("open: %v, %v", open, err)
			}
			return nil
		})
		b.clicks(t, "Cancel…")
		b.clicks(t, "Cancel the deployment")
		b.sees(t, "#state", "Failure", "DEPLOYMENT_CANCELLED")
	})
	t.Run("how a group's deployments stand, as it changes", func(t *testing.T) {
		b.visit(t, "/groups/"+group+"/deploy?version="+version)
		b.run(t, chromedp.Click("button.chief"))
		b.sees(t, "#state", "InProgress", "Offered")
		var at string
		b.run(t, chromedp.Location(&at))
		b.visit(t, "/groups/"+group)
		b.sees(t, "#deployments tbody tr", "InProgress", "Offered")
		b.run(t, chromedp.Evaluate(`window.stayed = true`, nil))
		h.says(t, 0, []string{"cancelled deployment"}, "cancel", "--group", group, at[strings.LastIndex(at, "/")+1:])
		b.sees(t, "#deployments tbody tr", "Failure", "DEPLOYMENT_CANCELLED")
		b.sees(t, "#state", "The last deployment failed: ", "DEPLOYMENT_CANCELLED")
		var stayed bool
		b.run(t, chromedp.Evaluate(`window.stayed === true`, &stayed))
		if !stayed {
			t.Error("the page was loaded again")
		}
	})
	t.Run("a shadow without its thing", func(t *testing.T) {
		h.says(t, 0, []string{"reported"}, "shadow", "update", "--thing", "Gone_Lamp", `{"state":{"reported":{"on":true}}}`)
		b.visit(t, "/things")
		b.run(t, chromedp.SendKeys("#q", "Gone_Lamp\r"))
		b.sees(t, "main", "There is no thing of this name; its shadow is kept.", `"on": true`)
		b.fits(t, "thing-gone")
	})
	t.Run("a refusal leads back to the group", func(t *testing.T) {
		b.visit(t, "/groups/"+group+"/deploy")
		b.sees(t, ".note[role=alert]", "Go back to the group")
		b.fits(t, "refused")
		b.clicks(t, "To the group")
		b.sees(t, "h1", g.thing)
	})
	t.Run("hostile names are text", func(t *testing.T) {
		name := `<img src=x onerror=alert(1)><script>alert(2)</script> ` + "\u202eabc" + strings.Repeat("W", 60)
		made, err := h.greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String(name)})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/groups", "/groups/" + *made.Id} {
			b.visit(t, path)
			b.sees(t, "main", name)
			b.fits(t, "hostile")
			var scripts int
			b.run(t, chromedp.Evaluate(`document.scripts.length`, &scripts))
			if scripts != 1 {
				t.Errorf("%s has %d scripts", path, scripts)
			}
		}
	})
	t.Run("a reader may look, until the key is revoked", func(t *testing.T) {
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := runProgram(t, "keys", "create", "--data", s.data, "--name", "looks", "--access", "reader", "--account", account, "--json")
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		b.run(t, network.ClearBrowserCookies())
		b.signsIn(t, key.AccessKeyID, key.SecretAccessKey)
		b.visit(t, "/groups/"+group)
		b.sees(t, "h1", g.thing)
		var offers int
		b.run(t, chromedp.Evaluate(`document.querySelectorAll(".acts a, a[href*=deploy\\?]").length`, &offers))
		if offers > 0 {
			t.Errorf("a reader is offered %d acts", offers)
		}
		b.visit(t, "/cores")
		b.sees(t, "h1", "Cores")
		runProgram(t, "keys", "revoke", "--data", s.data, key.AccessKeyID)
		b.sees(t, ".gate .note", "Your session has ended.") // by itself
	})
}

// sample writes a day of samples, with a gap, beside the running server.
func (s *server) sample(t *testing.T) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.data, "fescue.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const bucket = 5 * time.Minute
	now := time.Now().Truncate(bucket)
	for i := 287; i >= 0; i-- { // the time that goes on, too: a server that is slow has taken a sample of it
		at := now.Add(-time.Duration(i) * bucket).UnixMilli()
		if i > 100 && i < 130 {
			continue // the server was off
		}
		connected, succeeded, failed, cancelled := 1000-i%7, 40+i%30, i%11/10*9, i%13/12*5
		if i > 40 && i < 50 {
			connected, failed = 700, 60
		}
		if _, err := db.Exec(`
			INSERT INTO fleet_sample (partition, at, cores, connected, succeeded, failed, cancelled) VALUES ($1, $2, 1000, $3, $4, $5, $6)
			ON CONFLICT (partition, at) DO UPDATE SET cores = 1000, connected = excluded.connected`,
			account+"/"+region, at, connected, succeeded, failed, cancelled); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`
			INSERT INTO request_sample (at, took_0, took_1, took_2, took_3, took_4, took_5, took_6, took_7, took_8) VALUES ($1, $2, $3, 400, $4, 9, 5, 3, 2, 1)
			ON CONFLICT (at) DO NOTHING`, at, 1000+5*i, 9000-20*i, 80+i%9*20); err != nil {
			t.Fatal(err)
		}
	}
}
