//go:build linux

package test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/sigv4"
	"github.com/fescue-edge/fescue/cloud/identity"
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

// TestLogsToCloudWatch: with --logs-endpoint a core sends lines to what speaks as
// CloudWatch Logs, signed with the key of its environment, and none to the server.
func TestLogsToCloudWatch(t *testing.T) {
	needPython(t)
	var mu sync.Mutex
	var lines []string
	verifier := &sigv4.Verifier{Signers: logsKey{}, Regions: []string{region}}
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		pending, failed := verifier.Begin(r)
		if err == nil {
			err = failed
		}
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
			t.Errorf("%s: %v", r.Header.Get("X-Amz-Target"), err)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range in.LogEvents {
			lines = append(lines, in.LogGroupName+" "+in.LogStreamName+" "+e.Message)
		}
		io.WriteString(w, "{}")
	}))
	defer endpoint.Close()
	h := startServer(t).house(region)
	viewer := h.connect(t, "Viewer")
	g := h.provision(t, "Watched_Core")
	if _, errs, code := program(t, edgeBin, "--root", g.root, "--logs-endpoint", endpoint.URL); code != 1 || !strings.Contains(errs, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") {
		t.Errorf("without a key: %d %s", code, errs)
	}
	g.loggers = []types.Logger{logger(types.LoggerTypeAWSCloudWatch, types.LoggerComponentLambda, types.LoggerLevelInfo)}
	viewer.subscribe(t, g.thing+"/out")
	g.process = startProgram(t, edgeBin, []string{"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret}, "--root", g.root, "--logs-endpoint", endpoint.URL)
	arn := h.python(t, "Watched", talker)
	group, version := g.groupVersion(t, "", []function{{arn: arn, pinned: true, variables: out(g.thing, "watched")}}, ends(arn, g.thing))
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	await(t, "publish", viewer.Publish(g.thing+"/in/x", 1, false, `{"say":"hello"}`))
	viewer.next(t, "said hello")
	eventually(t, "the line comes", func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, line := range lines {
			if strings.HasPrefix(line, "/aws/greengrass/Lambda/"+region+"/"+account+"/Watched ") && strings.Contains(line, "/"+account+"/"+group+"/"+g.thing+" [") && strings.HasSuffix(line, ",out hello") {
				return nil
			}
		}
		return fmt.Errorf("%q", lines)
	})
	if list := h.printed(t, h.environment(), "--group", group); len(list) != 0 {
		t.Errorf("the server has %+v", list)
	}
}
