package lambda_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/lambda"
)

// location makes a function and finds where its code is.
func (c *cloud) location(t *testing.T) string {
	t.Helper()
	c.do(t, "POST", all, creation(t, "")).want(t, 201, "", "")
	a := c.do(t, "GET", all+"/f", "")
	code, _ := a.body["Code"].(map[string]any)
	location := fmt.Sprint(code["Location"])
	if !strings.HasPrefix(location, c.URL+lambda.CodePath) {
		t.Fatalf("Location %q", location)
	}
	return location
}

func (c *cloud) fetch(t *testing.T, method, link string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestCodeLinks(t *testing.T) {
	t.Parallel()
	want := plainZip(t, "code")

	t.Run("serve the zip", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		link := c.location(t)
		resp, body := c.fetch(t, "GET", link)
		if resp.StatusCode != 200 || !bytes.Equal(body, want) || resp.Header.Get("Content-Type") != "application/zip" {
			t.Errorf("%d %v, %d bytes", resp.StatusCode, resp.Header, len(body))
		}
		if resp, body := c.fetch(t, "HEAD", link); resp.StatusCode != 200 || resp.ContentLength != int64(len(want)) || len(body) != 0 {
			t.Errorf("HEAD: %d, length %d", resp.StatusCode, resp.ContentLength)
		}
	})
	t.Run("resume", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		link := c.location(t)
		resp, body := c.fetch(t, "GET", link, "Range", "bytes=10-")
		if resp.StatusCode != 206 || !bytes.Equal(body, want[10:]) {
			t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
		}
		if resp, _ := c.fetch(t, "GET", link, "Range", "bytes=100000-"); resp.StatusCode != 416 {
			t.Errorf("beyond the end: %d", resp.StatusCode)
		}
	})
	t.Run("end after at least ten minutes", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		link := c.location(t)
		c.now = c.now.Add(11 * time.Minute)
		if resp, _ := c.fetch(t, "GET", link); resp.StatusCode != 200 {
			t.Errorf("after 11 minutes: %d", resp.StatusCode)
		}
		c.now = c.now.Add(5 * time.Minute)
		if resp, body := c.fetch(t, "GET", link); resp.StatusCode != 403 || !strings.Contains(string(body), "GetFunction") {
			t.Errorf("after 16 minutes: %d %s", resp.StatusCode, body)
		}
	})
	t.Run("end with the function", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		link := c.location(t)
		c.do(t, "DELETE", all+"/f", "").want(t, 204, "", "")
		if resp, _ := c.fetch(t, "GET", link); resp.StatusCode != 404 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
	t.Run("only read", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		if resp, _ := c.fetch(t, "PUT", c.location(t)); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
	t.Run("cannot be forged", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		link := c.location(t)
		token := strings.TrimPrefix(link, c.URL+lambda.CodePath)
		payload, sum, _ := strings.Cut(token, ".")
		plain, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		later := bytes.Replace(plain, []byte("us-east-1"), []byte("eu-west-1"), 1)
		encode := base64.RawURLEncoding.EncodeToString
		for name, forged := range map[string]string{
			"empty": "", "no sum": payload, "empty sum": payload + ".", "half a sum": payload + "." + sum[:20],
			"other payload": encode(later) + "." + sum, "no payload": "." + sum, "twice": token + "." + sum,
			"not base64": "%21." + sum, "long": strings.Repeat("A", 5000), "path": "..%2f" + token, "NUL": token + "%00",
			"more bits": token + "A", "other sum": payload + "." + encode(make([]byte, 32)),
		} {
			if resp, _ := c.fetch(t, "GET", c.URL+lambda.CodePath+forged); resp.StatusCode != 403 {
				t.Errorf("%s: status %d", name, resp.StatusCode)
			}
		}
		if resp, _ := c.fetch(t, "GET", link); resp.StatusCode != 200 {
			t.Errorf("the link itself: status %d", resp.StatusCode)
		}
	})
	t.Run("of another key are not taken, and short keys neither", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		c.location(t)
		logger := slog.New(slog.DiscardHandler)
		foreign, err := lambda.NewCodeLinks(bytes.Repeat([]byte{8}, 32), nil, time.Now, logger)
		if err != nil {
			t.Fatal(err)
		}
		path := foreign.Path(fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}, strings.Repeat("a", 64), 1)
		if resp, _ := c.fetch(t, "GET", c.URL+path); resp.StatusCode != 403 {
			t.Errorf("status %d", resp.StatusCode)
		}
		if _, err := lambda.NewCodeLinks(make([]byte, 31), nil, time.Now, logger); err == nil {
			t.Error("a short key was taken")
		}
	})
}

// FuzzCodeLinks looks for tokens that a server takes though it did not make
// them; a nil Code panics if one gets that far.
func FuzzCodeLinks(f *testing.F) {
	links, err := lambda.NewCodeLinks(bytes.Repeat([]byte{7}, 32), nil, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	foreign, err := lambda.NewCodeLinks(bytes.Repeat([]byte{8}, 32), nil, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add("a.b")
	f.Add(strings.TrimPrefix(foreign.Path(home, strings.Repeat("a", 64), 1), lambda.CodePath))
	f.Fuzz(func(t *testing.T, token string) {
		w := httptest.NewRecorder()
		links.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: lambda.CodePath + token}})
		if w.Code != http.StatusForbidden {
			t.Errorf("token %q: status %d", token, w.Code)
		}
	})
}
