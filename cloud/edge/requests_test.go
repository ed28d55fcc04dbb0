package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	made := s.deployment(t, d, "mill")
	base := "/greengrass/groups/" + made.GroupID + "/deployments/" + made.ID
	hash := strings.Repeat("a", 64)
	cores := base + "/cores/"

	for _, tc := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/", 404, "NotFound"},
		{"GET", "/greengrass", 404, "NotFound"},
		{"GET", "/healthz", 404, "NotFound"},
		{"POST", keysPath, 404, "NotFound"},
		{"DELETE", base + "/artifacts/" + hash, 404, "NotFound"},
		{"GET", keysPath + "/", 404, "NotFound"},
		{"GET", "//greengrass/signingkeys", 400, "Invalid"},
		{"GET", "/greengrass//signingkeys", 400, "Invalid"},
		{"GET", "/./greengrass/signingkeys", 400, "Invalid"},
		{"GET", "/x/../greengrass/signingkeys", 400, "Invalid"},
		{"GET", "/x/..%2fgreengrass/signingkeys", 400, "Invalid"},
		{"GET", "/x/%2e%2e/greengrass/signingkeys", 404, "NotFound"},
		{"GET", "/greengrass%2fsigningkeys", 404, "NotFound"},

		{"GET", "/greengrass/cores/mill/deployment", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=0", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?wait=0", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=-1&wait=0", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=0x1&wait=0", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=99999999999999999999&wait=0", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=9007199254740992&wait=0", 409, "EpochJump"},
		{"GET", "/greengrass/cores/mill/deployment?after=9223372036854775807&wait=0", 409, "EpochJump"},
		{"GET", "/greengrass/cores/mill/deployment?after=0&wait=-1", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=0&wait=1e3", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=0&wait=%zz", 400, "Invalid"},
		{"PUT", "/greengrass/cores/mill", 400, "Invalid"},
		{"PUT", "/greengrass/cores/Mill", 403, "Forbidden"},
		{"GET", "/greengrass/cores/mill/deployment?after=0&wait=0&formats=one", 400, "Invalid"},
		{"GET", "/greengrass/cores/mill/deployment?after=0&wait=0&info=x", 400, "Invalid"},
		{"GET", "/greengrass/cores/Mill/deployment?after=0&wait=0", 403, "Forbidden"},
		{"GET", "/greengrass/cores/mi%00ll/deployment?after=0&wait=0", 403, "Forbidden"},
		{"GET", "/greengrass/cores/%ff%fe/deployment?after=0&wait=0", 403, "Forbidden"},
		{"GET", "/greengrass/cores/x%2f..%2fmill/deployment?after=0&wait=0", 403, "Forbidden"},
		{"GET", "/greengrass/cores/" + strings.Repeat("x", 8000) + "/deployment?after=0&wait=0", 403, "Forbidden"},

		{"GET", base + "/artifacts/" + hash, 404, "NotFound"},
		{"GET", base + "/artifacts/" + strings.ToUpper(hash), 400, "Invalid"},
		{"GET", base + "/artifacts/" + hash + "0", 400, "Invalid"},
		{"GET", base + "/artifacts/..%2f..%2ffescue.db", 400, "Invalid"},
		{"GET", base + "/artifacts/%2e%2e", 400, "Invalid"},
		{"GET", base + "/artifacts/%00", 400, "Invalid"},
		{"GET", "/greengrass/groups/x/deployments/" + made.ID + "/artifacts/" + hash, 400, "Invalid"},
		{"GET", "/greengrass/groups/" + strings.ToUpper(made.GroupID) + "/deployments/" + made.ID + "/artifacts/" + hash, 400, "Invalid"},
		{"GET", "/greengrass/groups/" + made.GroupID + "/deployments/%ff/artifacts/" + hash, 400, "Invalid"},

		{"PUT", cores + "mill", 400, "Invalid"},
		{"PUT", cores + "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Acert%2Fmill", 400, "Invalid"},
		{"PUT", cores + "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athing%2F", 400, "Invalid"},
		{"PUT", cores + "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athing%2Fa%2Fb", 400, "Invalid"},
		{"PUT", cores + "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athing%2Fmi%00ll", 400, "Invalid"},
		{"PUT", cores + "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athing%2F%ff", 400, "Invalid"},
		{"PUT", cores + "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athing%2Fother", 403, "Forbidden"},
		{"PUT", cores + "arn%3Aaws%3Aiot%3Aeu-west-1%3A123456789012%3Athing%2Fmill", 404, "NotFound"},
		{"PUT", cores + "arn%3Aaws-cn%3Aiot%3Aus-east-1%3A123456789012%3Athing%2Fmill", 404, "NotFound"},
		{"PUT", "/greengrass/groups/x/deployments/y/cores/z", 400, "Invalid"},
	} {
		t.Run(fmt.Sprintf("%s %.90s", tc.method, tc.path), func(t *testing.T) {
			d.send(t, tc.method, tc.path, "", claim).refused(tc.status, tc.code, "")
		})
	}
	t.Run("an ARN may stand unescaped but for its slash", func(t *testing.T) {
		got := d.send(t, "PUT", cores+"arn:aws:iot:us-east-1:123456789012:thing%2Fmill", "", claim)
		if got.status != http.StatusOK {
			t.Errorf("status %d, %s", got.status, got.body)
		}
	})
	t.Run("a long wait is cut to the longest", func(t *testing.T) {
		// 2^63 nanoseconds are less than this many seconds.
		d.send(t, "PUT", cores+"arn:aws:iot:us-east-1:123456789012:thing%2Fmill", "", strings.Replace(claim, "Claimed", "Succeeded", 1))
		path := fmt.Sprintf("/greengrass/cores/mill/deployment?after=%d&wait=9999999999", made.Epoch)
		answered := make(chan string, 1)
		go func() {
			defer close(answered)
			resp, err := d.plain.Get("https://" + s.address + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Error(err)
			}
			answered <- string(body)
		}()
		<-s.polls
		next := s.deploy(t, made.GroupID, made.GroupVersionID)
		if body := <-answered; !strings.Contains(body, next.ID) {
			t.Errorf("answered %s, want deployment %s", body, next.ID)
		}
	})
}

func TestReports(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	made := s.deployment(t, d, "mill")
	path := statusPath(made, home.ThingARN("mill"))
	report := func(event fescue.DeploymentEvent, more string) string {
		return fmt.Sprintf(`{"event":%q,"epoch":%d%s}`, event, made.Epoch, more)
	}

	for _, tc := range []struct {
		name, body string
		status     int
		code, text string
	}{
		{"nothing", "", 400, "Invalid", "does not parse"},
		{"no JSON", "Claimed", 400, "Invalid", "does not parse"},
		{"half a report", `{"event":"Claimed","epoch":1`, 400, "Invalid", "does not parse"},
		{"a list", `[]`, 400, "Invalid", "does not parse"},
		{"null", `null`, 400, "Invalid", "epoch 0"},
		{"an epoch in quotes", `{"event":"Claimed","epoch":"1"}`, 400, "Invalid", "does not parse"},
		{"half an epoch", `{"event":"Claimed","epoch":1.5}`, 400, "Invalid", "does not parse"},
		{"two reports", claim + claim, 400, "Invalid", "something stands after it"},
		{"a report and more", claim + "}", 400, "Invalid", "something stands after it"},
		{"more than a megabyte", report("Failed", `,"message":"`+strings.Repeat("x", 1<<20)+`"`), 400, "Invalid", "too large"},
		{"a long message", report("Failed", `,"message":"`+strings.Repeat("x", 10_000)+`"`), 400, "Invalid", "a text of 10000 bytes"},
		{"deep nesting", `{"event":` + strings.Repeat(`[`, 20_000), 400, "Invalid", "does not parse"},
		{"an event of the cloud", report("Built", ""), 400, "Invalid", `event \"Built\"`},
		{"an epoch to come", `{"event":"Claimed","epoch":2}`, 409, "WrongEpoch", "epoch 2, the deployment has 1"},
		{"success before the claim", report("Succeeded", ""), 409, "Conflict", "Succeeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d.send(t, "PUT", path, "", tc.body).refused(tc.status, tc.code, strings.ReplaceAll(tc.text, `\"`, `"`))
		})
	}
	t.Run("from claim to success", func(t *testing.T) {
		arn := home.ThingARN("mill")
		for _, step := range []struct {
			event fescue.DeploymentEvent
			want  corelink.StatusAnswer
		}{
			{fescue.EventClaimed, corelink.StatusAnswer{Status: fescue.InProgress, Phase: fescue.Claimed, Epoch: 1}},
			{fescue.EventStaged, corelink.StatusAnswer{Status: fescue.InProgress, Phase: fescue.Staged, Epoch: 1}},
			{fescue.EventStaged, corelink.StatusAnswer{Status: fescue.InProgress, Phase: fescue.Staged, Epoch: 1}},
			{fescue.EventSwitched, corelink.StatusAnswer{Status: fescue.InProgress, Phase: fescue.Switched, Epoch: 1}},
			{fescue.EventClaimed, corelink.StatusAnswer{Status: fescue.InProgress, Phase: fescue.Switched, Epoch: 1}},
			{fescue.EventSucceeded, corelink.StatusAnswer{Status: fescue.Success, Epoch: 1}},
			{fescue.EventSucceeded, corelink.StatusAnswer{Status: fescue.Success, Epoch: 1}},
		} {
			got, err := d.UpdateStatus(t.Context(), made.GroupID, made.ID, arn, corelink.StatusReport{Event: step.event, Epoch: 1})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.want, got); diff != "" {
				t.Errorf("%s: %s", step.event, diff)
			}
		}
		d.send(t, "PUT", path, "", report("Failed", `,"message":"x"`)).refused(http.StatusConflict, "Ended", "status is Success")
	})
	t.Run("unknown members are passed over", func(t *testing.T) {
		if got := d.send(t, "PUT", path, "", report("Succeeded", `,"later":{"x":[1]}`)); got.status != http.StatusOK {
			t.Errorf("status %d, %s", got.status, got.body)
		}
	})
}

func TestOfferOnTheWire(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	t.Run("nothing yet", func(t *testing.T) {
		if got := d.send(t, "GET", pollPath("mill"), "", ""); got.status != 200 || string(got.body) != `{"epoch":0}`+"\n" {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
	t.Run("a deployment that comes while waiting", func(t *testing.T) {
		type end struct {
			offer corelink.Offer
			err   error
		}
		for len(s.polls) > 0 {
			<-s.polls
		}
		ended := make(chan end, 1)
		go func() {
			offer, err := d.GetDeployment(t.Context(), "mill", corelink.Poll{Wait: corelink.MaxPoll})
			ended <- end{offer, err}
		}()
		<-s.polls
		made := s.deployment(t, d, "mill")
		got := <-ended
		if got.err != nil || got.offer.DeploymentID != made.ID || got.offer.GroupID != made.GroupID || got.offer.Epoch != 1 || got.offer.Phase != fescue.Offered {
			t.Errorf("answered %+v, %v", got.offer, got.err)
		}
	})
}

// A core is there for as long as any of its connections is.
func TestPollsThatBreak(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	poll := func() (abort func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.GetDeployment(ctx, "mill", corelink.Poll{Wait: corelink.MaxPoll})
		}()
		<-s.polls
		return func() {
			cancel()
			<-ended
			<-s.broken
		}
	}
	online := func(want bool) {
		t.Helper()
		seen, err := s.presence.LastSeen(t.Context(), home, "mill")
		if err != nil || seen.Online(time.Now()) != want {
			t.Errorf("%+v, %v; online is to be %v", seen, err, want)
		}
	}
	// Written down, so that the store knows the core.
	ctx, cancel := context.WithCancel(t.Context())
	s.presence.Saw(home, "mill")
	cancel()
	s.presence.Run(ctx)
	first, second := poll(), poll()
	online(true)
	first()
	online(true)
	second()
	online(false)
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill", allowAll)
	made := s.deployment(t, d, "mill")
	m := d.manifest(t, "mill")
	code := m.Artifacts[1]
	path := artifactPath(made, code.SHA256)
	reader, err := s.blobs.Open(t.Context(), code.SHA256, 0)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(reader)
	reader.Close()
	if err != nil {
		t.Fatal(err)
	}

	t.Run("whole", func(t *testing.T) {
		got := d.send(t, "GET", path, "", "")
		if got.status != http.StatusOK || !bytes.Equal(got.body, want) || got.header.Get("ETag") != `"`+code.SHA256+`"` {
			t.Errorf("status %d, %d bytes, %v", got.status, len(got.body), got.header)
		}
		if got := d.send(t, "HEAD", path, "", ""); got.status != http.StatusOK || got.header.Get("Content-Length") != fmt.Sprint(len(want)) || len(got.body) != 0 {
			t.Errorf("HEAD: status %d, %v", got.status, got.header)
		}
	})
	t.Run("resumed where it broke off", func(t *testing.T) {
		half := len(want) / 2
		first, err := d.GetArtifact(t.Context(), made.GroupID, made.ID, code.SHA256, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, half)
		if _, err := io.ReadFull(first, got); err != nil {
			t.Fatal(err)
		}
		first.Close()
		rest, err := d.GetArtifact(t.Context(), made.GroupID, made.ID, code.SHA256, int64(half))
		if err != nil {
			t.Fatal(err)
		}
		defer rest.Close()
		more, err := io.ReadAll(rest)
		if err != nil || !bytes.Equal(append(got, more...), want) {
			t.Errorf("%d and %d bytes, %v", len(got), len(more), err)
		}
	})
	n := len(want)
	for _, tc := range []struct {
		name, header string
		status       int
		body         []byte
	}{
		{"the last byte", fmt.Sprintf("Range: bytes=%d-", n-1), 206, want[n-1:]},
		{"a piece", "Range: bytes=10-19", 206, want[10:20]},
		{"from the end", "Range: bytes=-5", 206, want[n-5:]},
		{"a range that goes too far", fmt.Sprintf("Range: bytes=%d-%d", n-3, n+100), 206, want[n-3:]},
		{"nothing", fmt.Sprintf("Range: bytes=%d-", n), 416, nil},
		{"beyond the end", "Range: bytes=99999999-", 416, nil},
		{"no range", "Range: bytes=x-y", 416, nil},
		{"other units", "Range: lines=1-2", 416, nil},
		{"backwards", "Range: bytes=20-10", 416, nil},
		{"what it has already", `If-None-Match: "` + code.SHA256 + `"`, 304, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := d.send(t, "GET", path, tc.header, "")
			if got.status != tc.status || tc.body != nil && !bytes.Equal(got.body, tc.body) {
				t.Errorf("status %d, %d bytes; want %d, %d", got.status, len(got.body), tc.status, len(tc.body))
			}
		})
	}
	t.Run("group.json", func(t *testing.T) {
		got := d.send(t, "GET", artifactPath(made, m.Artifacts[0].SHA256), "", "")
		if got.status != http.StatusOK || !json.Valid(got.body) || int64(len(got.body)) != m.Artifacts[0].Size {
			t.Errorf("status %d, %s", got.status, got.body)
		}
	})
	t.Run("not through another deployment", func(t *testing.T) {
		other := s.core(t, home, "other", allowAll)
		theirs := s.deployment(t, other, "other")
		for _, from := range []*device{d, other} {
			from.send(t, "GET", artifactPath(theirs, code.SHA256), "", "").refused(http.StatusNotFound, "NotFound", "not found")
		}
	})
	t.Run("not once the deployment has ended", func(t *testing.T) {
		for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventSucceeded} {
			if _, err := d.UpdateStatus(t.Context(), made.GroupID, made.ID, home.ThingARN("mill"), corelink.StatusReport{Event: event, Epoch: 1}); err != nil {
				t.Fatal(err)
			}
		}
		d.send(t, "GET", path, "", "").refused(http.StatusNotFound, "NotFound", "not found")
	})
}

// Parameters are the query's alone: a form is never read, whatever its size.
func TestFormsAreNotRead(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.core(t, home, "mill")
	for _, form := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=b"} {
		body := "after=0&wait=0"
		if strings.HasPrefix(form, "multipart") {
			body = "--b\r\nContent-Disposition: form-data; name=after\r\n\r\n0\r\n--b\r\nContent-Disposition: form-data; name=wait\r\n\r\n0\r\n--b--\r\n"
		}
		request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.address+"/greengrass/cores/mill/deployment", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", form)
		answer, err := d.plain.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != 400 || !strings.Contains(string(text), "after must be an epoch") {
			t.Errorf("%s: %d %s, %v", form, answer.StatusCode, text, err)
		}
	}
}

// One certificate's long polls do not take the port from others.
func TestRequestsUnderWay(t *testing.T) {
	t.Parallel()
	s := open(t)
	greedy, other := s.core(t, home, "greedy"), s.core(t, home, "other")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan error, 100)
	for range 80 {
		go func() {
			_, err := greedy.GetDeployment(ctx, "greedy", corelink.Poll{Wait: time.Minute})
			answers <- err
		}()
	}
	for range 80 - 64 {
		select {
		case err := <-answers:
			if err == nil || !strings.Contains(err.Error(), "64 requests of the certificate") {
				t.Errorf("%v", err)
			}
		case <-time.After(patience):
			t.Fatal("more than 64 requests wait")
		}
	}
	if _, err := other.SigningKeys(t.Context()); err != nil {
		t.Errorf("another certificate: %v", err)
	}
}
