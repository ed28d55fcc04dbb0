package sigv4_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestDeviceGateway: what clients of AWS IoT sign when they open a WebSocket.
func TestDeviceGateway(t *testing.T) {
	t.Parallel()
	const token = "session/token+1="
	after := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Security-Token=" + url.QueryEscape(value) }
	}
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	open := func(address string) call {
		return call{presign: true, service: "iotdevicegateway", url: address + "/mqtt"}
	}
	temporary := func(c call) call { c.key = "TEMP"; return c }
	of := func(c call, service string) call { c.service = service; return c }
	inHeaders := func(c call) call { c.presign = false; return c }
	for _, tc := range []struct {
		name    string
		call    call
		tamper  []func(*http.Request)
		refused string
	}{
		{"as it is sent", open("http://example.com:8443"), nil, ""},
		{"for iotdata", of(open("http://example.com:8443"), "iotdata"), nil, ""},
		{"host without its port", open("http://example.com"), []func(*http.Request){host("example.com:8443")}, ""},
		{"host with the port that is not sent", open("http://example.com:443"), []func(*http.Request){host("example.com")}, ""},
		{"IPv6 host without its port", open("http://[::1]"), []func(*http.Request){host("[::1]:8443")}, ""},
		{"token after signing", temporary(open("http://example.com:8443")), []func(*http.Request){after(token)}, ""},
		{"token after signing, host without its port", temporary(open("http://example.com")), []func(*http.Request){after(token), host("example.com:8443")}, ""},
		{"in headers", inHeaders(open("http://example.com:8443")), nil, ""},

		{"another host", open("http://example.com"), []func(*http.Request){host("example.org")}, "InvalidSignatureException"},
		{"another port", open("http://example.com:8443"), []func(*http.Request){host("example.com:8444")}, "InvalidSignatureException"},
		{"in headers, host without its port", inHeaders(open("http://example.com")), []func(*http.Request){host("example.com:8443")}, "InvalidSignatureException"},
		{"another token", temporary(open("http://example.com")), []func(*http.Request){after("another")}, "UnrecognizedClientException"},
		{"no token", temporary(open("http://example.com")), nil, "UnrecognizedClientException"},
		{"two tokens", temporary(open("http://example.com")), []func(*http.Request){after(token), after(token)}, "IncompleteSignatureException"},
		{"a token for a key that has none", open("http://example.com"), []func(*http.Request){after(token)}, "UnrecognizedClientException"},
		{"another parameter after signing", open("http://example.com"), []func(*http.Request){func(r *http.Request) { r.URL.RawQuery += "&x=1" }}, "InvalidSignatureException"},
		{"another service, token after signing", temporary(of(open("http://example.com"), "greengrass")), []func(*http.Request){after(token)}, "InvalidSignatureException"},
		{"another service, host without its port", of(open("http://example.com"), "greengrass"), []func(*http.Request){host("example.com:8443")}, "InvalidSignatureException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := verify(newVerifier(newKeys()), tc.call.sign(t, tc.tamper...))
			if tc.refused == "" {
				if err != nil || p.PathNormalized {
					t.Errorf("%+v, %v", p, err)
				}
				return
			}
			status := http.StatusForbidden
			if tc.refused == "IncompleteSignatureException" {
				status = http.StatusBadRequest
			}
			wantCode(t, err, tc.refused, status)
		})
	}
}
