package edge

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
)

// FuzzHost: the head of a request either stays as it is or is given a Host line
// and nothing else, after which net/http reads it as it was.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{
		"GET /greengrass/discover/thing/lamp HTTP/1.1\r\n\r\n",
		"GET /greengrass/discover/thing/a:b HTTP/1.1\r\nHost: h\r\n\r\nrest",
		"GET /greengrass/discover/thing/lamp HTTP/1.1\r\nhost : h\r\nx-host: y\r\n\r\n",
		"GET /greengrass/discover/thing/lamp HTTP/1.0\r\n\r\n",
		"GET /greengrass/discover/\r\n\r\n",
		"GET /greengrass/discover/ HTTP/1.1\r\n Host: folded\r\n\r\n",
		"GET /greengrass/cores/c/deployment HTTP/1.1\r\n\r\n",
		"GET /greengrass/discover/ HTTP/1.1\r\nt : h\nhost:\r\n\r\n",
		"GET /greengrass/discover/ HTTP/1.1\n\n",
		"GET /greengrass/dis",
	} {
		f.Add([]byte(seed))
	}
	const line = "Host: discovery\r\n"
	f.Fuzz(func(t *testing.T, head []byte) {
		before := bytes.Clone(head)
		got := withHost(head)
		if !bytes.Equal(head, before) {
			t.Errorf("%q was changed to %q", before, head)
		}
		if bytes.Equal(got, head) {
			return
		}
		if without := bytes.Replace(got, []byte(line), nil, 1); !bytes.Equal(without, head) {
			t.Fatalf("%q became %q", head, got)
		}
		old, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return // as bad as before
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(got)))
		if err != nil || r.Host != "discovery" || old.Host != "" || r.RequestURI != old.RequestURI || len(r.Header) != len(old.Header) {
			t.Errorf("%q reads as %+v, %v; was %+v", got, r, err, old)
		}
	})
}
