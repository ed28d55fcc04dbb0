package credentials

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/corelink"
)

// Endpoint is an AWS IoT credentials endpoint with a role alias (AWS IoT Core developer
// guide, "Authorizing direct calls to AWS services using AWS IoT Core credential
// provider"): it gives keys of the alias's role to who has a certificate.
type Endpoint struct {
	url, thing string
	http       *http.Client
}

var aliasPath = regexp.MustCompile(`^/role-aliases/[\w=,@-]{1,128}/credentials$`)

// NewEndpoint makes one for "https://HOST/role-aliases/ALIAS/credentials"; cfg has the
// core's certificate, thing is its name, dial opens connections.
func NewEndpoint(address, thing string, cfg *tls.Config, dial func(ctx context.Context, host string, port int) (net.Conn, error)) (*Endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !aliasPath.MatchString(u.Path) {
		return nil, fmt.Errorf("the credentials endpoint %q is not of the form https://HOST/role-aliases/ALIAS/credentials", address)
	}
	port := 443
	if text := u.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("the port of the credentials endpoint %q: %w", address, err)
		}
	}
	return &Endpoint{u.String(), thing, &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: cfg, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, u.Hostname(), port) },
		},
		// One that leads elsewhere gets no certificate shown.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the endpoint redirects") },
	}}, nil
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 64 << 10

// Credentials implements Source. The endpoint knows no groups.
func (e *Endpoint) Credentials(ctx context.Context, _ string) (corelink.Credentials, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, nil)
	if err != nil {
		return corelink.Credentials{}, err
	}
	req.Header.Set("x-amzn-iot-thingname", e.thing)
	resp, err := e.http.Do(req)
	if err != nil {
		return corelink.Credentials{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return corelink.Credentials{}, err
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Message string }
		if json.Unmarshal(text, &said) != nil || said.Message == "" {
			said.Message = strings.ToValidUTF8(string(text[:min(len(text), 500)]), "?")
		}
		return corelink.Credentials{}, &corelink.StatusError{HTTPStatus: max(resp.StatusCode, http.StatusBadRequest), Code: "CredentialsEndpoint", Message: said.Message}
	}
	var answer corelink.CredentialsAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		return corelink.Credentials{}, fmt.Errorf("the answer of %s does not parse: %w", e.url, err)
	}
	return answer.Credentials, nil
}
