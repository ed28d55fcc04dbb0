package corelink

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
)

// Client speaks to the control plane's device port as one core.
type Client struct {
	base string
	http *http.Client
	// offset is what ClockOffset returns; nil before the first answer.
	offset atomic.Pointer[time.Duration]
}

// bounds of the client.
const (
	dialTimeout    = 10 * time.Second
	requestTimeout = 30 * time.Second
	maxAnswer      = 8 << 20
)

// Option changes how a Client works.
type Option func(*http.Transport)

// WithDial opens connections by dial, which may lead through a proxy, instead of
// the system's dialer and the proxy that the environment names. TLS to the
// control plane is spoken on what dial returns.
func WithDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return dial(ctx, network, address)
		}
		t.Proxy = nil
	}
}

// NewClient makes a client for "host:port" with the core's certificate in cfg. Its later
// connections resume the TLS session of one before where the control plane allows it.
func NewClient(hostPort string, cfg *tls.Config, options ...Option) *Client {
	cfg = cfg.Clone()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1) // one name, one session
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       cfg,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: MaxPoll + dialTimeout,
		IdleConnTimeout:       2 * time.Minute,
		MaxIdleConnsPerHost:   ShadowsAtATime,
		Proxy:                 http.ProxyFromEnvironment,
	}
	for _, option := range options {
		option(transport)
	}
	return &Client{base: "https://" + hostPort, http: &http.Client{Transport: transport}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is a refusal by the control plane.
type StatusError struct {
	HTTPStatus int
	Code       string
	Message    string
}

// Error says what was refused and how.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%d %s: %s (%s)", e.HTTPStatus, http.StatusText(e.HTTPStatus), e.Message, e.Code)
}

// passing are the statuses of refusals that may be over by themselves: a
// certificate that is inactive, or not valid by a clock that is wrong.
var passing = []int{http.StatusUnauthorized, http.StatusTooManyRequests}

// Refused reports whether err is a refusal by the control plane, which trying
// again does not cure, and returns it.
func Refused(err error) (*StatusError, bool) {
	var e *StatusError
	ok := errors.As(err, &e) && e.HTTPStatus >= 400 && e.HTTPStatus < 500 && !slices.Contains(passing, e.HTTPStatus)
	return e, ok
}

// GetDeployment asks for the deployment that waits for the core, and waits for
// one as long as the poll says.
func (c *Client) GetDeployment(ctx context.Context, thing string, poll Poll) (Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, min(poll.Wait, MaxPoll)+requestTimeout)
	defer cancel()
	var offer Offer
	err := c.call(ctx, http.MethodGet, corePath(thing)+"/deployment?"+poll.query(), nil, &offer)
	if err != nil {
		return Offer{}, fmt.Errorf("GetDeployment for core %s: %w", thing, err)
	}
	return offer, nil
}

// ReportCore reports what the core is. Control planes from before there was this
// operation refuse it with 404.
func (c *Client) ReportCore(ctx context.Context, thing string, info fescue.CoreInfo) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer struct{}
	if err := c.call(ctx, http.MethodPut, corePath(thing), info, &answer); err != nil {
		return fmt.Errorf("ReportCore %s: %w", thing, err)
	}
	return nil
}

// UpdateStatus reports an event of a deployment.
func (c *Client) UpdateStatus(ctx context.Context, groupID, deploymentID, coreARN string, report StatusReport) (StatusAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer StatusAnswer
	err := c.call(ctx, http.MethodPut, statusPath(groupID, deploymentID, coreARN), report, &answer)
	if err != nil {
		return StatusAnswer{}, fmt.Errorf("UpdateCoreDeploymentStatus of deployment %s: %w", deploymentID, err)
	}
	return answer, nil
}

// UpdateProgress reports what the core does for a deployment, and asks whether it is
// to go on.
func (c *Client) UpdateProgress(ctx context.Context, groupID, deploymentID, coreARN string, report ProgressReport) (ProgressAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer ProgressAnswer
	err := c.call(ctx, http.MethodPut, statusPath(groupID, deploymentID, coreARN)+"/progress", report, &answer)
	if err != nil {
		return ProgressAnswer{}, fmt.Errorf("UpdateProgress of deployment %s: %w", deploymentID, err)
	}
	return answer, nil
}

// SealSecrets asks for the secrets of a deployment, sealed for a public key. The
// caller verifies what comes.
func (c *Client) SealSecrets(ctx context.Context, groupID, deploymentID, coreARN string, request SecretsRequest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer json.RawMessage
	if err := c.call(ctx, http.MethodPost, statusPath(groupID, deploymentID, coreARN)+"/secrets", request, &answer); err != nil {
		return nil, fmt.Errorf("SealSecrets of deployment %s: %w", deploymentID, err)
	}
	return answer, nil
}

// Credentials asks for a temporary key of the role of the group that deploys the core.
func (c *Client) Credentials(ctx context.Context, groupID, coreARN string) (Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer CredentialsAnswer
	path := "/greengrass/groups/" + groupID + "/cores/" + url.PathEscape(coreARN) + "/credentials"
	if err := c.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return Credentials{}, fmt.Errorf("GetCredentials for group %s: %w", groupID, err)
	}
	return answer.Credentials, nil
}

// AnswerCheck reports what a check found.
func (c *Client) AnswerCheck(ctx context.Context, groupID, checkID, coreARN string, report CheckReport) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer struct{}
	if err := c.call(ctx, http.MethodPut, statusPath(groupID, checkID, coreARN)+"/check", report, &answer); err != nil {
		return fmt.Errorf("AnswerCheck %s: %w", checkID, err)
	}
	return nil
}

// CreateCertificate asks for a certificate of the core's MQTT server.
func (c *Client) CreateCertificate(ctx context.Context, thing string, request CertificateRequest) (ServerCertificate, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer ServerCertificate
	if err := c.call(ctx, http.MethodPut, corePath(thing)+"/certificate", request, &answer); err != nil {
		return ServerCertificate{}, fmt.Errorf("CreateCertificate for core %s: %w", thing, err)
	}
	return answer, nil
}

// UpdateConnectivity reports where client devices reach the core, in place of what was
// reported before.
func (c *Client) UpdateConnectivity(ctx context.Context, thing string, places []fescue.ConnectivityInfo) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var answer struct{}
	path := "/greengrass/things/" + url.PathEscape(thing) + "/connectivityInfo"
	if err := c.call(ctx, http.MethodPut, path, Connectivity{places}, &answer); err != nil {
		return fmt.Errorf("UpdateConnectivityInfo of core %s: %w", thing, err)
	}
	return nil
}

// SigningKeys asks for the keys that manifests are signed with.
func (c *Client) SigningKeys(ctx context.Context) (SigningKeys, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var keys SigningKeys
	if err := c.call(ctx, http.MethodGet, "/greengrass/signingkeys", nil, &keys); err != nil {
		return SigningKeys{}, fmt.Errorf("GetSigningKeys: %w", err)
	}
	return keys, nil
}

// ErrNotContinued means that the control plane does not continue a download at
// the offset that was asked for, which has to begin anew.
var ErrNotContinued = errors.New("the download is not continued at its offset")

// GetArtifact opens an artifact of an offered deployment at an offset in bytes,
// so that a broken download goes on where it stopped. The caller closes it and
// verifies the hash of the whole. For an offset above 0 the error may be
// ErrNotContinued.
func (c *Client) GetArtifact(ctx context.Context, groupID, deploymentID, hash string, offset int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+artifactPath(groupID, deploymentID, hash), nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("GetDeploymentArtifacts %s: %w", hash, withClock(err))
	}
	c.noticeClock(resp)
	want := http.StatusOK
	if offset > 0 {
		want = http.StatusPartialContent
	}
	if resp.StatusCode != want {
		defer resp.Body.Close()
		err := refusal(resp)
		if offset > 0 && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable) {
			err = fmt.Errorf("%w: %w", ErrNotContinued, err)
		}
		return nil, fmt.Errorf("GetDeploymentArtifacts %s: %w", hash, err)
	}
	return resp.Body, nil
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, encoded := in.(json.RawMessage)
		if !encoded {
			var err error
			if data, err = json.Marshal(in); err != nil {
				return err
			}
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	// The control plane may close an idle connection while a request is on its way there: then
	// net/http sends it again over another one, if it may be sent twice. All of these may: what
	// they report is reported again after any failure, and a shadow's update names its version.
	// The key without a value says so, and is not sent.
	req.Header["Idempotency-Key"] = nil
	resp, err := c.http.Do(req)
	if err != nil {
		return withCertificate(withClock(err))
	}
	defer resp.Body.Close()
	c.noticeClock(resp)
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("the answer does not parse: %w", err)
	}
	return nil
}

// withCertificate says what to do where the control plane ends the handshake because
// of this machine's certificate: it has no other way to say so.
func withCertificate(err error) error {
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate") {
		return fmt.Errorf("%w; the control plane does not take this machine's certificate: register it there (fescue recover, or iot register-certificate-without-ca), and see that it is ACTIVE and has not ended", err)
	}
	return err
}

func refusal(resp *http.Response) error {
	if resp.StatusCode < http.StatusBadRequest {
		return fmt.Errorf("unexpected answer %s", resp.Status)
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	e := &StatusError{HTTPStatus: resp.StatusCode}
	var body ErrorBody
	if json.Unmarshal(text, &body) == nil && body.Message != "" {
		e.Code, e.Message = body.Code, body.Message
	} else {
		e.Code, e.Message = "Unknown", strings.TrimSpace(string(text))
	}
	return e
}
