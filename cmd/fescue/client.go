package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// localEndpoint is where `fescue up` serves the API.
const localEndpoint = "http://127.0.0.1:9080"

// endpointFlag is on every command that calls a server.
type endpointFlag struct {
	Endpoint string `help:"URL of the server's API. Default: AWS_ENDPOINT_URL, else ${local_endpoint}." placeholder:"URL"`
}

// apiClient calls a server's API as one access key. Credentials, Region and trust
// are found the way the AWS CLI finds them: environment, then profile.
type apiClient struct {
	endpoint string
	cfg      aws.Config
	http     aws.HTTPClient
	signer   *v4.Signer
}

func (f endpointFlag) client(ctx context.Context) (*apiClient, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	if err != nil {
		return nil, fmt.Errorf("read AWS configuration: %w", err)
	}
	endpoint := f.Endpoint
	if endpoint == "" {
		endpoint = os.Getenv("AWS_ENDPOINT_URL")
	}
	if endpoint == "" && cfg.BaseEndpoint != nil {
		endpoint = *cfg.BaseEndpoint
	}
	if endpoint == "" {
		endpoint = localEndpoint
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return newClient(endpoint, cfg), nil
}

func newClient(endpoint string, cfg aws.Config) *apiClient {
	c := &apiClient{endpoint: endpoint, cfg: cfg, http: http.DefaultClient, signer: v4.NewSigner()}
	if cfg.HTTPClient != nil {
		c.http = cfg.HTTPClient // trusts AWS_CA_BUNDLE
	}
	return c
}

// apiError is an error answer of the API.
type apiError struct {
	Operation string
	Status    int
	Code      string
	Message   string
}

// Error names the operation, the code and the message.
func (e *apiError) Error() string {
	return fmt.Sprintf("%s: %s (%d %s)", e.Operation, e.Message, e.Status, e.Code)
}

// isCode reports whether err is an error answer with the code.
func isCode(err error, code string) bool {
	var e *apiError
	return errors.As(err, &e) && e.Code == code
}

const callTimeout = 30 * time.Second

// call sends a signed REST-JSON request. in and out may be nil.
func (c *apiClient) call(ctx context.Context, service, operation, method, path string, in, out any, header ...string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if service != "" {
		credentials, err := c.cfg.Credentials.Retrieve(ctx)
		if err != nil {
			return fmt.Errorf("%s: no credentials; set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: %w", operation, err)
		}
		sum := sha256.Sum256(body)
		if err := c.signer.SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), service, c.cfg.Region, time.Now()); err != nil {
			return fmt.Errorf("%s: sign: %w", operation, err)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: is a server running at %s? %w", operation, c.endpoint, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if resp.StatusCode/100 != 2 {
		e := &apiError{Operation: operation, Status: resp.StatusCode, Code: resp.Header.Get("x-amzn-ErrorType")}
		var text struct{ Message string } // matches "message" too
		json.Unmarshal(answer, &text)
		e.Message = text.Message
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: the answer does not parse: %w", operation, err)
	}
	return nil
}
