package secrets

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/invoke"
)

// Function is GGSecretManager: the system function that functions invoke to read
// secrets. The zero Function has none.
type Function struct {
	// Logger gets a warning of values that cannot be decrypted; nil for nobody.
	Logger *slog.Logger

	mu  sync.RWMutex
	set *Set
	// given are the ARNs of the secrets that each function may read, by its ARN.
	given map[string][]string
}

// Use has functions read the secrets of a deployment from now on: each those whose
// ARNs it is given.
func (f *Function) Use(set *Set, given map[string][]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set, f.given = set, given
}

// request is what SDKs send.
type request struct {
	SecretID     string `json:"SecretId"`
	VersionID    string `json:"VersionId"`
	VersionStage string `json:"VersionStage"`
}

// answer has exactly the members that SDKs look for.
type answer struct {
	ARN           string
	Name          string
	VersionId     string
	SecretString  *string `json:",omitempty"`
	SecretBinary  []byte  `json:",omitempty"` // base64
	VersionStages []string
	// CreatedDate is in milliseconds since 1970.
	CreatedDate int64
}

// refusal is the body of what is refused: to the caller the call itself succeeded, and
// SDKs look for these members.
type refusal struct {
	Status  int
	Message string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// Invoke implements invoke.Target.
func (f *Function) Invoke(ctx context.Context, i *invoke.Invocation) error {
	return invoke.Func(func(_ context.Context, caller invoke.Worker, call invoke.Call) (invoke.Outcome, error) {
		var body any
		read, refused := f.read(caller.FunctionARN, call.Payload)
		if body = read; refused != nil {
			body = refused
		}
		payload, err := json.Marshal(body)
		return invoke.Outcome{Payload: payload}, err
	}).Invoke(ctx, i)
}

func (f *Function) read(function string, payload []byte) (answer, *refusal) {
	var r request
	if err := json.Unmarshal(payload, &r); err != nil {
		return answer{}, refuse(http.StatusBadRequest, `the request is not {"SecretId": …, "VersionStage": …}: %v`, err)
	}
	switch {
	case r.SecretID == "":
		return answer{}, refuse(http.StatusBadRequest, "SecretId is missing: give the name or the ARN of a secret resource of the group")
	case r.VersionID != "" && r.VersionStage != "":
		return answer{}, refuse(http.StatusBadRequest, "VersionId and VersionStage cannot be given together")
	}
	f.mu.RLock()
	set, given := f.set, f.given[function]
	f.mu.RUnlock()
	if set == nil && len(given) > 0 {
		return answer{}, refuse(http.StatusInternalServerError, "the core cannot open the secrets of the group; its runtime.log says why")
	}
	secret, ok := set.find(r.SecretID)
	if !ok {
		return answer{}, refuse(http.StatusNotFound, "the group that is deployed has no secret %.512q", r.SecretID)
	}
	if !slices.Contains(given, secret.ARN) {
		return answer{}, refuse(http.StatusUnauthorized, "the function %s has no access to the secret %s: list its resource in the function's ResourceAccessPolicies", function, secret.Name)
	}
	v, ok := pick(secret, r)
	if !ok {
		return answer{}, refuse(http.StatusNotFound, "the core has no version of the secret %s for %.256q; labels other than %s stand in the resource's AdditionalStagingLabelsToDownload",
			secret.Name, cmp.Or(r.VersionID, r.VersionStage), fescue.StageCurrent)
	}
	data, err := set.opened.Value(secret, v)
	if err != nil {
		if f.Logger != nil {
			f.Logger.Error("A secret could not be opened.", slog.String("secret", secret.ARN), slog.String("errorString", err.Error()))
		}
		return answer{}, refuse(http.StatusInternalServerError, "the core cannot open the secret %s; its runtime.log says why", secret.Name)
	}
	a := answer{ARN: secret.ARN, Name: secret.Name, VersionId: v.ID, VersionStages: v.Stages, CreatedDate: v.CreatedAt.UnixMilli()}
	if v.Binary {
		a.SecretBinary = data
	} else {
		text := string(data)
		a.SecretString = &text
	}
	return a, nil
}

// pick is the version that is asked for, without a word the current one.
func pick(secret bundle.Secret, r request) (bundle.SecretVersion, bool) {
	if r.VersionID == "" {
		return version(secret, cmp.Or(r.VersionStage, fescue.StageCurrent))
	}
	i := slices.IndexFunc(secret.Versions, func(v bundle.SecretVersion) bool { return v.ID == r.VersionID })
	if i < 0 {
		return bundle.SecretVersion{}, false
	}
	return secret.Versions[i], true
}
