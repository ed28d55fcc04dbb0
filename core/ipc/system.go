package ipc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/topic"
)

// routerName is the system function through which functions publish.
const routerName = "GGRouter"

// systemName is the name in an ARN of the form arn:aws:lambda:::function:<name>,
// with or without the qualifier 1.
func systemName(arn string) (string, bool) {
	parsed, err := fescue.ParseARN(arn)
	if err != nil || parsed.Region != "" || parsed.Account != "" {
		return "", false
	}
	name, qualifier, ok := parsed.Function()
	return name, ok && (qualifier == "" || qualifier == "1")
}

// invokeSystem runs a system function at once; its outcome waits to be fetched.
func (s *Server) invokeSystem(ctx context.Context, caller Worker, name string, call Call) (string, error) {
	var outcome Outcome
	function, ok := s.system[name]
	switch {
	case name == routerName && s.publisher != nil:
		if err := s.publish(ctx, caller, call); err != nil {
			return "", err
		}
	case ok:
		var err error
		if outcome, err = function.Invoke(ctx, caller, call); err != nil {
			return "", err
		}
	case name == routerName, name == "GGShadowService", name == "GGSecretManager":
		return "", fmt.Errorf("%w: this core does not offer %s", ErrNotFound, name)
	default:
		return "", fmt.Errorf("%w: functions cannot invoke %s", ErrForbidden, call.ARN)
	}
	id := uuid.NewString()
	if call.Type == RequestResponse {
		s.results.keep(caller, name, id, outcome)
	}
	return id, nil
}

// publication is the client context of an invocation of GGRouter.
type publication struct {
	Custom struct {
		Source          string `json:"source"`
		Subject         string `json:"subject"`
		QueueFullPolicy string `json:"queueFullPolicy"`
	} `json:"custom"`
}

func (s *Server) publish(ctx context.Context, caller Worker, call Call) error {
	said, err := parsePublication(call.ClientContext)
	if err != nil {
		return err
	}
	if said.Custom.Source != "" && said.Custom.Source != caller.FunctionARN {
		return fmt.Errorf("%w: a function publishes as itself, not as %s", ErrForbidden, said.Custom.Source)
	}
	all := said.Custom.QueueFullPolicy == "AllOrError"
	return s.publisher.Publish(ctx, caller.FunctionARN, said.Custom.Subject, call.Payload, all)
}

func parsePublication(clientContext string) (publication, error) {
	var said publication
	text, err := base64.StdEncoding.DecodeString(clientContext)
	if err != nil {
		return said, fmt.Errorf("%w: the client context is not base64", ErrInvalid)
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return said, fmt.Errorf(`%w: the client context is not {"custom": {"subject": …}}: %w`, ErrInvalid, err)
	}
	switch said.Custom.QueueFullPolicy {
	case "", "BestEffort", "AllOrError":
	default:
		return said, fmt.Errorf("%w: queueFullPolicy must be BestEffort or AllOrError", ErrInvalid)
	}
	if err := topic.ValidName(said.Custom.Subject); err != nil {
		return said, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return said, nil
}

// How long and how many outcomes of system functions wait to be fetched.
const (
	keepResults = time.Minute
	maxResults  = 1024
)

// results are the outcomes of system functions that nobody has fetched yet.
type results struct {
	now func() time.Time

	mu   sync.Mutex
	kept map[string]kept
	// order holds the ids as they came in, fetched ones included.
	order []string
}

type kept struct {
	caller  string
	name    string
	outcome Outcome
	until   time.Time
}

func (r *results) keep(caller Worker, name, id string, outcome Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for len(r.order) > 0 {
		first, there := r.kept[r.order[0]]
		if there && len(r.order) < maxResults && now.Before(first.until) {
			break
		}
		delete(r.kept, r.order[0])
		r.order = r.order[1:]
	}
	r.kept[id] = kept{caller: caller.ID, name: name, outcome: outcome, until: now.Add(keepResults)}
	r.order = append(r.order, id)
}

func (r *results) take(caller Worker, arn, id string) (Outcome, error) {
	name, _ := systemName(arn)
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.kept[id]
	if !ok || found.caller != caller.ID || found.name != name || !r.now().Before(found.until) {
		return Outcome{}, fmt.Errorf("%w: no invocation %s of %s by this worker", ErrNotFound, strings.ToValidUTF8(id, "?"), name)
	}
	delete(r.kept, id)
	return found.outcome, nil
}
