// Package client calls the API of a server as an operator's program does: signed with
// an access key, found like the AWS CLI's. It knows how to call, not what is called:
// operations are named by who calls them.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/fescue-edge/fescue"
)

// LocalEndpoint is where `fescue up` serves the API.
const LocalEndpoint = "http://127.0.0.1:9080"

// Options choose a server. Empty ones are found the way the AWS CLI finds them, as
// credentials and trust always are: environment, then profile.
type Options struct {
	// Profile names one of Profiles, whose server and key are taken whatever the
	// environment says. Without a name DefaultProfile is taken, if it is there and the
	// environment says nothing of servers and keys.
	Profile string
	// Profiles are those of this user if nil.
	Profiles *Profiles
	// Endpoint is the URL of the server's API; default AWS_ENDPOINT_URL, then the
	// profile's, then LocalEndpoint.
	Endpoint string
	Region   string
	// FallbackRegion is taken where nothing names one; default us-east-1.
	FallbackRegion string
}

// Client calls a server's API as one access key, in one Region.
type Client struct {
	endpoint string
	cfg      aws.Config
	http     aws.HTTPClient
	signer   *v4.Signer
}

// New makes a client. It does not connect.
func New(ctx context.Context, o Options) (*Client, error) {
	cfg, err := o.load(ctx)
	if err != nil {
		return nil, err
	}
	endpoint := cmp.Or(o.Endpoint, aws.ToString(cfg.BaseEndpoint), LocalEndpoint)
	if err := CheckEndpoint(endpoint); err != nil {
		return nil, err
	}
	cfg.Region = cmp.Or(o.Region, cfg.Region, o.FallbackRegion, "us-east-1")
	return Of(strings.TrimSuffix(endpoint, "/"), cfg), nil
}

// load reads the profile that there is to take, else what the AWS CLI reads.
func (o Options) load(ctx context.Context) (aws.Config, error) {
	noMetadata := config.WithEC2IMDSClientEnableState(imds.ClientDisabled)
	profiles, err := o.profiles()
	if err != nil && o.Profile != "" {
		return aws.Config{}, err
	}
	if err == nil {
		name, err := profiles.chosen(o.Profile)
		if err != nil {
			return aws.Config{}, err
		}
		if name != "" {
			return profiles.load(ctx, name, noMetadata)
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx, noMetadata)
	if err != nil {
		return cfg, fmt.Errorf("read AWS configuration: %w", err)
	}
	if at := os.Getenv("AWS_ENDPOINT_URL"); at != "" {
		cfg.BaseEndpoint = &at
	}
	return cfg, nil
}

func (o Options) profiles() (Profiles, error) {
	if o.Profiles != nil {
		return *o.Profiles, nil
	}
	return OwnProfiles()
}

// Endpoint is the URL of the server's API.
func (c *Client) Endpoint() string { return c.endpoint }

// Of makes a client with a configuration of the AWS SDK.
func Of(endpoint string, cfg aws.Config) *Client {
	c := &Client{endpoint: endpoint, cfg: cfg, http: http.DefaultClient, signer: v4.NewSigner()}
	if cfg.HTTPClient != nil {
		c.http = cfg.HTTPClient // trusts AWS_CA_BUNDLE
	}
	return c
}

// Unsigned makes a client of a server for calls without a signature. Without authorities
// in PEM the machine's are trusted.
func Unsigned(endpoint string, authorities []byte) (*Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if len(authorities) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(authorities) {
			return nil, errors.New("the authorities to trust: there is no certificate in PEM")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return Of(endpoint, aws.Config{HTTPClient: &http.Client{Transport: transport}}), nil
}

// In is the client in another Region.
func (c *Client) In(region string) *Client {
	other := *c
	other.cfg.Region = region
	return &other
}

// S3 is the AWS SDK's client of the same server's buckets, with the same key.
func (c *Client) S3() *s3.Client {
	return s3.NewFromConfig(c.cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &c.endpoint, true })
}

// Error is an error answer of the API.
type Error struct {
	Operation string
	Status    int
	Code      string
	Message   string
}

// Error names the operation, the code and the message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%d %s)", e.Operation, e.Message, e.Status, e.Code)
}

// AsError gives the error answer that err is.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// IsCode reports whether err is an error answer with the code.
func IsCode(err error, code string) bool {
	e, ok := AsError(err)
	return ok && e.Code == code
}

// IsStatus reports whether err is an error answer with the HTTP status.
func IsStatus(err error, status int) bool {
	e, ok := AsError(err)
	return ok && e.Status == status
}

// Timeout bounds a call, and uploadRate, in bytes a second, what more time a
// large body gets.
const (
	Timeout    = 30 * time.Second
	uploadRate = 256 << 10
)

// Call sends a signed REST-JSON request. in and out may be nil.
func (c *Client) Call(ctx context.Context, service, operation, method, path string, in, out any, header ...string) error {
	return c.CallWithin(ctx, Timeout, service, operation, method, path, in, out, header...)
}

// CallWithin is Call for an operation that takes its time.
func (c *Client) CallWithin(ctx context.Context, timeout time.Duration, service, operation, method, path string, in, out any, header ...string) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
		header = append(header, "Content-Type", "application/json")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Duration(len(body)/uploadRate)*time.Second)
	defer cancel()
	stream, err := c.Send(ctx, service, operation, method, path, body, header...)
	if err != nil {
		return err
	}
	defer stream.Close()
	answer, err := io.ReadAll(io.LimitReader(stream, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: the answer does not parse: %w", operation, err)
	}
	return nil
}

// maxAnswer bounds an answer that is read whole, in bytes.
const maxAnswer = 64 << 20

// Send sends a signed request and gives the body of its answer, which the caller
// closes. Without a service it is not signed.
func (c *Client) Send(ctx context.Context, service, operation, method, path string, body []byte, header ...string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if service != "" {
		credentials, err := c.credentials(ctx, operation)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		if err := c.signer.SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), service, c.cfg.Region, time.Now()); err != nil {
			return nil, fmt.Errorf("%s: sign: %w", operation, err)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: is a server running at %s? %w", operation, c.endpoint, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	e := &Error{Operation: operation, Status: resp.StatusCode, Code: resp.Header.Get("x-amzn-ErrorType")}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	var text struct{ Message string } // matches "message" too
	json.Unmarshal(answer, &text)
	e.Message = text.Message
	if ended := c.ended(e); ended != nil {
		return nil, ended
	}
	return nil, e
}

// credentials are what an operation's request is signed with.
func (c *Client) credentials(ctx context.Context, operation string) (aws.Credentials, error) {
	credentials, err := c.cfg.Credentials.Retrieve(ctx)
	if err == nil {
		return credentials, nil
	}
	if ended := c.ended(err); ended != nil {
		return credentials, ended
	}
	const none = "no credentials; use fescue login, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	// The metadata of EC2 is what the SDK comes to where nothing names credentials, and here
	// it is not asked: that it has none is no cause.
	if last := (*smithy.OperationError)(nil); errors.As(err, &last) && last.Service() == imds.ServiceID {
		return credentials, fmt.Errorf("%s: %s", operation, none)
	}
	return credentials, fmt.Errorf("%s: %s: %w", operation, none, err)
}

// Partition is where the client's calls lie: the account of its key, in its
// Region.
func (c *Client) Partition(ctx context.Context) (fescue.Partition, error) {
	if _, err := c.credentials(ctx, "GetCallerIdentity"); err != nil {
		return fescue.Partition{}, err
	}
	identity, err := sts.NewFromConfig(c.cfg, func(o *sts.Options) { o.BaseEndpoint = &c.endpoint }).
		GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if ended := c.ended(err); ended != nil {
		return fescue.Partition{}, ended
	}
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return fescue.Partition{}, fmt.Errorf("GetCallerIdentity: %s (%s)", refused.ErrorMessage(), refused.ErrorCode())
	}
	if err != nil {
		return fescue.Partition{}, fmt.Errorf("GetCallerIdentity: is a server running at %s? %w", c.endpoint, err)
	}
	arn, err := fescue.ParseARN(aws.ToString(identity.Arn))
	if err != nil {
		return fescue.Partition{}, fmt.Errorf("GetCallerIdentity: %w", err)
	}
	return fescue.Partition{AWS: arn.AWS, Account: aws.ToString(identity.Account), Region: c.cfg.Region}, nil
}

// Download reads at most limit bytes of a link that an answer gave.
func (c *Client) Download(ctx context.Context, link string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout+time.Duration(limit/uploadRate)*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("download: %s", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("download: more than %d bytes", limit)
	}
	return data, err
}

// Pages calls a list operation until its pages end. The answer's token, under
// nextToken or nextMarker, goes into the query as parameter.
func (c *Client) Pages(ctx context.Context, service, operation, method, path, parameter string, take func(json.RawMessage) error, header ...string) error {
	query := ""
	for {
		var answer json.RawMessage
		if err := c.Call(ctx, service, operation, method, path+query, nil, &answer, header...); err != nil {
			return err
		}
		if err := take(answer); err != nil {
			return fmt.Errorf("%s: the answer does not parse: %w", operation, err)
		}
		var next struct{ NextToken, NextMarker string } // matches nextToken and nextMarker too
		if err := json.Unmarshal(answer, &next); err != nil {
			return fmt.Errorf("%s: the answer does not parse: %w", operation, err)
		}
		token := next.NextToken + next.NextMarker
		if token == "" {
			return nil
		}
		query = "?" + parameter + "=" + url.QueryEscape(token)
	}
}
