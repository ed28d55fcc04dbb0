package awsapi_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/sts"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/query"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/secrets"
	"github.com/fescue-edge/fescue/policy"
)

const (
	keyID   = "AKIDEXAMPLE"
	otherID = "AKIDOTHER"
	// temporaryID is a key that keyID asked for.
	temporaryID = "ASIAEXAMPLE"

	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	account = "123456789012"
	large   = 8 << 20 // the largest body of lambda here
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// observed is what the observer was called with.
type observed struct {
	service, operation string
	status             int
}

// endpoint is a handler with services that remember what reached them.
type endpoint struct {
	*awsapi.Handler
	logs *bytes.Buffer

	// caller is who every key is; groups are tags by partition and id.
	caller                  identity.Caller
	signerFails, groupsFail error
	groups                  map[string]map[string]string
	// operation is what iot does, result its answer.
	operation, result string

	mu       sync.Mutex
	calls    []awsapi.Call
	bodies   []string
	observed []observed
	// serving, if not nil, is asked while lambda holds its body.
	serving func()
}

func (e *endpoint) ObserveRequest(service, operation string, status int, _ time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.observed = append(e.observed, observed{service, operation, status})
}

// Signer implements identity.Signers: there are two keys, one with a temporary one.
func (e *endpoint) Signer(_ context.Context, id string) (identity.Signer, error) {
	if e.signerFails != nil {
		return identity.Signer{}, e.signerFails
	}
	holder, ok := map[string]string{keyID: keyID, temporaryID: keyID, otherID: otherID}[id]
	if !ok {
		return identity.Signer{}, identity.ErrUnknownKey
	}
	signer := identity.Signer{Key: identity.Key{ID: id, Secret: secret, Account: account}, Caller: e.caller}
	signer.Holder = holder
	return signer, nil
}

// DefinitionTags implements identity.Inventory.
func (e *endpoint) DefinitionTags(_ context.Context, p fescue.Partition, _ fescue.Kind, id string) (map[string]string, error) {
	if e.groupsFail != nil {
		return nil, e.groupsFail
	}
	if tags, ok := e.groups[p.Key()+"/"+id]; ok {
		return tags, nil
	}
	return nil, fescue.ErrNotFound
}

// HolderTags implements identity.Inventory: no group holds anything.
func (e *endpoint) HolderTags(context.Context, fescue.Partition, string) ([]map[string]string, error) {
	return nil, nil
}

// Secret implements identity.Inventory.
func (e *endpoint) Secret(context.Context, fescue.Partition, string) (secrets.Secret, error) {
	return secrets.Secret{}, fescue.ErrNotFound
}

// everything is the policies of a caller who may do all.
func everything(t *testing.T) []policy.Set {
	t.Helper()
	return []policy.Set{documents(t, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)}
}

func documents(t *testing.T, texts ...string) policy.Set {
	t.Helper()
	set, err := policy.ParseAll(texts)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func open(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{logs: new(bytes.Buffer)}
	e.caller = identity.Caller{Name: "build server", Identity: "user/build", Access: "admin", Policies: everything(t)}
	logger := slog.New(slog.NewTextHandler(e.logs, nil))
	// api is a REST-JSON service with one operation, which keeps its call.
	api := func(maxBody int64) *restjson.API {
		a := &restjson.API{
			Failing:   awsapi.Failing{Internal: "InternalServerErrorException", Logger: logger},
			ErrorBody: func(e *awsapi.Error) any { return struct{ Message string }{e.Message} },
			Malformed: func(cause string) *awsapi.Error {
				return &awsapi.Error{Status: 400, Code: "BadRequestException", Message: cause}
			},
		}
		a.Target = func(_ *restjson.Operation, r *restjson.Request) awsapi.Target {
			return awsapi.Target{Resource: r.Header.Get("Resource"), RequestTags: func() map[string]string {
				return map[string]string{"site": r.Header.Get("Tag")}
			}}
		}
		a.Register([]restjson.Operation{
			{Name: "Keep", Method: "POST", Path: "/keep", MaxBody: maxBody, Stream: true, Handle: e.keep},
			{Name: "GetKept", Method: "GET", Path: "/kept", Stream: true, Handle: e.keep},
		})
		return a
	}
	form := &query.API{Namespace: "https://iam.amazonaws.com/doc/2010-05-08/", Version: "2010-05-08"}
	form.Register([]query.Operation{{Name: "Forbidden", Handle: func(context.Context, *query.Request) (any, error) { return nil, nil }}})
	e.Handler = awsapi.New(awsapi.Options{
		Verifier: &sigv4.Verifier{Signers: e, Now: func() time.Time { return now }, Regions: []string{"eu-west-1", "us-east-1"}},
		AWS:      "aws", DefaultRegion: "eu-west-1",
		Services: map[string]awsapi.Service{"greengrass": api(0), "lambda": api(large), "sts": sts.New(nil, nil, logger), "iam": form, "iot": named{e}},
		SpoolDir: t.TempDir(), Observer: e, Logger: logger, Inventory: e,
	})
	return e
}

// named is a service that does what its endpoint is set to do.
type named struct{ *endpoint }

func (n named) ServeCall(w http.ResponseWriter, r *http.Request, call *awsapi.Call) {
	for _, resource := range r.Header.Values("Resource") {
		if err := call.Admit(r.Context(), awsapi.Target{Operation: n.operation, Resource: resource}); err != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
	}
	io.WriteString(w, n.result)
}

func (named) MaxBody(*http.Request) int64 { return 0 }

func (named) Foresee(*http.Request, *awsapi.Call) awsapi.Target { return awsapi.Target{} }

func (named) WriteError(w http.ResponseWriter, e *awsapi.Error) { w.WriteHeader(e.Status) }

func (e *endpoint) keep(_ context.Context, r *restjson.Request) (any, error) {
	if e.serving != nil {
		e.serving()
	}
	body, err := io.ReadAll(r.Stream)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, *r.Call)
	e.bodies = append(e.bodies, string(body))
	return nil, nil
}

// kept is how many calls reached a service.
func (e *endpoint) kept() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls)
}

// call is a request that the AWS SDK signs.
type call struct {
	service, region string // greengrass, us-east-1
	method, target  string // POST, /keep
	body            string
	key, secret     string
	at              time.Time
	declare         bool // send the body's hash in x-amz-content-sha256
	chunked         bool // without a Content-Length
}

// sign is the request as a server receives it, with the tampering done between
// the signature and the wire.
func (c call) sign(t *testing.T, tamper ...func(*http.Request)) *http.Request {
	t.Helper()
	c.service, c.region = cmp.Or(c.service, "greengrass"), cmp.Or(c.region, "us-east-1")
	c.method, c.target = cmp.Or(c.method, "POST"), cmp.Or(c.target, "/keep")
	c.key, c.secret = cmp.Or(c.key, keyID), cmp.Or(c.secret, secret)
	c.at = cmp.Or(c.at, now)
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader(c.body))
	if c.chunked {
		r.ContentLength = -1
	}
	sum := sha256.Sum256([]byte(c.body))
	hash := hex.EncodeToString(sum[:])
	if c.declare {
		r.Header.Set("X-Amz-Content-Sha256", hash)
	}
	r.URL.Host = r.Host
	credentials := aws.Credentials{AccessKeyID: c.key, SecretAccessKey: c.secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, hash, c.service, c.region, c.at); err != nil {
		t.Fatal(err)
	}
	for _, change := range tamper {
		change(r)
	}
	return r
}

func (e *endpoint) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

// broken is a body that breaks off.
type broken struct{ io.Reader }

var errBroken = errors.New("connection reset")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

// untouchable is a body that must not be read.
type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

var home = fescue.Partition{AWS: "aws", Account: account, Region: "us-east-1"}
