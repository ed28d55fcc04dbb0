//go:build linux

package test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

// logsKey is the one access key that a test's endpoint knows.
type logsKey struct{}

// Signer implements identity.Signers.
func (logsKey) Signer(_ context.Context, id string) (identity.Signer, error) {
	if id != keyID {
		return identity.Signer{}, identity.ErrUnknownKey
	}
	return identity.Signer{Key: identity.Key{ID: keyID, Secret: secret, Account: account}}, nil
}

// watch is an endpoint that speaks as CloudWatch Logs: it takes what is signed with a
// key that it can find, and allowed by what it finds of the key.
type watch struct {
	*httptest.Server
	mu sync.Mutex
	// signers know the keys, lines are group, stream and message of events, keys whose
	// key signed them, denied the log groups that were refused.
	signers identity.Signers
	lines   []string
	keys    map[string]int
	denied  map[string]int
}

func newWatch(t *testing.T, signers identity.Signers) *watch {
	w := &watch{signers: signers, keys: make(map[string]int), denied: make(map[string]int)}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.take(r); err != nil {
			code := "AccessDeniedException"
			if !errors.Is(err, errDenied) {
				t.Errorf("%s: %v", r.Header.Get("X-Amz-Target"), err)
				code = "UnrecognizedClientException"
			}
			rw.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(rw, `{"__type":%q,"message":%q}`, code, err)
			return
		}
		io.WriteString(rw, "{}")
	}))
	t.Cleanup(w.Close)
	return w
}

var errDenied = errors.New("the role does not allow it")

func (w *watch) take(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	verifier := &sigv4.Verifier{Signers: w.signers, Regions: []string{region}}
	pending, err := verifier.Begin(r)
	if err == nil {
		err = pending.Verify(sha256.Sum256(body))
	}
	var in struct {
		LogGroupName, LogStreamName string
		LogEvents                   []struct{ Message string }
	}
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil {
		return err
	}
	action := "logs:" + strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "Logs_20140328.")
	for _, set := range pending.Signer.Policies {
		if set.Evaluate(policy.Request{Action: action, Resource: "arn:aws:logs:" + region + ":" + account + ":log-group:" + in.LogGroupName}) != policy.Allowed {
			w.denied[in.LogGroupName]++
			return fmt.Errorf("%w: %s on %s", errDenied, action, in.LogGroupName)
		}
	}
	w.keys[pending.Signer.ID]++
	for _, e := range in.LogEvents {
		w.lines = append(w.lines, in.LogGroupName+" "+in.LogStreamName+" "+e.Message)
	}
	return nil
}

// await waits for a line of a function's log.
func (w *watch) await(t *testing.T, g *gateway, group, function, end string) {
	t.Helper()
	eventually(t, "the line "+end, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, line := range w.lines {
			if strings.HasPrefix(line, "/aws/greengrass/Lambda/"+region+"/"+account+"/"+function+" ") && strings.Contains(line, "/"+account+"/"+group+"/"+g.thing+" [") && strings.HasSuffix(line, end) {
				return nil
			}
		}
		return fmt.Errorf("%q; denied %v", w.lines, w.denied)
	})
}

// TestLogsToCloudWatch: with --logs-endpoint a core sends lines to what speaks as
// CloudWatch Logs, signed with the key of its environment, and none to the server.
func TestLogsToCloudWatch(t *testing.T) {
	t.Parallel()
	needPython(t)
	endpoint := newWatch(t, logsKey{})
	h := startServer(t).site(region)
	viewer := h.connect(t, "Viewer")
	g := h.provision(t, "Watched_Core")
	g.loggers = []types.Logger{logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentLambda, types.LoggerLevelInfo)}
	viewer.subscribe(t, g.thing+"/out")
	g.process = startProgram(t, edgeBin, []string{"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret}, "--root", g.root, "--logs-endpoint", endpoint.URL)
	arn := h.python(t, "Watched", talker)
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, variables: out(g.thing, "watched")}}, ends(arn, g.thing))
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	await(t, "publish", viewer.Publish(g.thing+"/in/x", 1, false, `{"say":"hello"}`))
	viewer.next(t, "said hello")
	endpoint.await(t, g, group, "Watched", ",out hello")
	if list := h.printed(t, h.environment(), "--group", group); len(list) != 0 {
		t.Errorf("the server has %+v", list)
	}
}

// TestLogsOfRole: without a key in its environment a core signs with those of its
// group's role: what the role does not allow is refused, and keeps nothing else back.
func TestLogsOfRole(t *testing.T) {
	t.Parallel()
	needPython(t)
	h := startServer(t).site(region)
	keys, closeKeys, err := cloud.OpenKeys(t.Context(), cloud.State{DataDir: h.data}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeKeys() })
	endpoint := newWatch(t, keys)
	viewer := h.connect(t, "Viewer")
	groups := make(map[string]string)
	gates := make(map[string]*gateway)
	for _, thing := range []string{"Role_Core_A", "Role_Core_B"} {
		g := h.provision(t, thing)
		g.loggers = []types.Logger{
			logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentLambda, types.LoggerLevelInfo),
			logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentGreengrassSystem, types.LoggerLevelInfo),
		}
		viewer.subscribe(t, thing+"/out")
		g.process = startProgram(t, edgeBin, nil, "--root", g.root, "--logs-endpoint", endpoint.URL)
		arn := h.python(t, thing+"_Fn", talker)
		group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, variables: out(thing, thing)}}, ends(arn, thing))
		role := h.role(t, thing, "greengrass.amazonaws.com", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
			"Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"],"Resource":"arn:aws:logs:*:*:log-group:/aws/greengrass/Lambda/*/`+thing+`_*"}]}`)
		if thing == "Role_Core_A" {
			h.associate(t, group, role)
		}
		h.await(t, group, g.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started "+thing)
		groups[thing], gates[thing] = group, g
	}
	say := func(thing, text string) {
		t.Helper()
		await(t, "publish", viewer.Publish(thing+"/in/x", 1, false, `{"say":"`+text+`"}`))
		viewer.next(t, "said "+text)
	}
	say("Role_Core_A", "hello")
	endpoint.await(t, gates["Role_Core_A"], groups["Role_Core_A"], "Role_Core_A_Fn", ",out hello")
	eventually(t, "the role does not give the core's own log", func() error {
		endpoint.mu.Lock()
		defer endpoint.mu.Unlock()
		if endpoint.denied["/aws/greengrass/GreengrassSystem/runtime"] == 0 {
			return fmt.Errorf("denied %v", endpoint.denied)
		}
		for id := range endpoint.keys {
			if !identity.IsSession(id) {
				t.Errorf("the key %s is not a temporary one", id)
			}
		}
		return nil
	})
	t.Run("a group without a role", func(t *testing.T) {
		thing := "Role_Core_B"
		say(thing, "hello")
		eventually(t, "the log says why", func() error {
			return matchAll(gates[thing].process.out.String(), "Lines of logs could not be sent; they are sent later", "You need to attach an IAM role to this deployment group.")
		})
		h.associate(t, groups[thing], "arn:aws:iam::"+account+":role/"+thing)
		gates[thing].renew(t, groups[thing], viewer)
		endpoint.await(t, gates[thing], groups[thing], thing+"_Fn", ",out hello")
	})
}
