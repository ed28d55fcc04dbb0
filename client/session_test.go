package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/client"
)

// TestSessions: a profile of somebody who signed in is kept whole, and says whose session it
// was when it ends, whether the clock here or the server notices.
func TestSessions(t *testing.T) {
	t.Parallel()
	expired := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Security-Token") != "token" {
			t.Errorf("%s comes without the token", r.URL)
		}
		w.Header().Set("x-amzn-ErrorType", "AccessDeniedException")
		if expired {
			w.Header().Set("x-amzn-ErrorType", "ExpiredTokenException")
		}
		w.WriteHeader(http.StatusForbidden)
		if r.URL.Path == "/" { // STS
			io.WriteString(w, `<ErrorResponse><Error><Code>ExpiredToken</Code><Message>it is over</Message></Error></ErrorResponse>`)
			return
		}
		io.WriteString(w, `{"Message":"no"}`)
	}))
	t.Cleanup(server.Close)
	whole := client.Profile{
		Endpoint: server.URL, Region: "us-east-1", KeyID: "ASIAEXAMPLE", Secret: secret,
		Session: client.Session{Token: "token", Person: "Anna Müller = x\n", Ends: time.Now().Add(time.Hour).UTC().Truncate(time.Second)},
	}
	kept := client.Profiles{Folder: filepath.Join(t.TempDir(), "profiles")}
	keep := func(t *testing.T, name string, p client.Profile) *client.Client {
		t.Helper()
		if err := kept.Keep(name, p); err != nil {
			t.Fatal(err)
		}
		got, err := kept.Kept(t.Context(), name)
		if err != nil || !cmp.Equal(got, p) {
			t.Errorf("%s, %v", cmp.Diff(p, got), err)
		}
		return connect(t, client.Options{Profile: name, Profiles: &kept})
	}
	calls := func(t *testing.T, c *client.Client, again string) {
		t.Helper()
		_, err := c.Partition(t.Context())
		for name, err := range map[string]error{"Call": c.Call(t.Context(), "greengrass", "X", http.MethodGet, "/x", nil, nil), "Partition": err} {
			var ended *client.EndedError
			if !errors.As(err, &ended) || ended.Person != whole.Session.Person || !strings.HasSuffix(err.Error(), "ended: "+again+" signs in again") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Run("the server says so", func(t *testing.T) {
		calls(t, keep(t, "default", whole), "fescue login")
		calls(t, keep(t, "other", whole).In("eu-west-1"), "fescue login --profile other")
	})
	t.Run("the clock says so", func(t *testing.T) {
		over := whole
		over.Endpoint, over.Session.Ends = "http://127.0.0.1:1", time.Now().Add(-time.Second).UTC().Truncate(time.Second)
		calls(t, keep(t, "default", over), "fescue login")
	})
	t.Run("another refusal is one", func(t *testing.T) {
		c := keep(t, "default", whole)
		expired = false
		if err := c.Call(t.Context(), "greengrass", "X", http.MethodGet, "/x", nil, nil); !client.IsCode(err, "AccessDeniedException") {
			t.Error(err)
		}
	})
	t.Run("nothing of the one before is left", func(t *testing.T) {
		secured := whole
		secured.CA = []byte("-----BEGIN CERTIFICATE-----")
		if err := kept.Keep("default", secured); err != nil {
			t.Fatal(err)
		}
		keep(t, "default", client.Profile{Endpoint: server.URL, Region: "us-east-1", KeyID: keyID, Secret: secret})
		if _, err := os.Stat(kept.File("default") + ".pem"); !os.IsNotExist(err) {
			t.Errorf("the authority: %v", err)
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		for _, name := range []string{"none", "../default", ""} {
			if _, err := kept.Kept(t.Context(), name); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}
