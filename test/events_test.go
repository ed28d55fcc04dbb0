//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/events"
)

// TestEventsSurviveKills: a server that is killed again and again while it
// deploys informs its webhook of every change of status, in order; what it sends
// twice has the same id.
func TestEventsSurviveKills(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	received := make(map[string][]fescue.DeploymentStatus)
	ids := make(map[string]string)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var change events.StatusChange
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &change) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if before, twice := ids[change.ID]; twice {
			if before != string(body) {
				t.Errorf("one id, two events: %s and %s", before, body)
			}
			return
		}
		if rand.N(3) == 0 { // received, but the answer says otherwise, as a lost one would
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		ids[change.ID] = string(body)
		id := change.Detail.DeploymentID
		received[id] = append(received[id], change.Detail.Status)
	}))
	defer hook.Close()
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("the webhook's own secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "--event-url", hook.URL, "--event-secret-file", secretFile)
	h := s.site(region)
	want := make(map[string][]fescue.DeploymentStatus)
	for range 5 {
		for range 5 {
			group, version := h.unbuildable(t)
			want[h.deploy(t, group, version)] = []fescue.DeploymentStatus{fescue.Building, fescue.Failure}
		}
		time.Sleep(rand.N(30 * time.Millisecond)) // anywhere in its work
		s.restart(t)
	}
	eventually(t, "every change received", func() error {
		mu.Lock()
		defer mu.Unlock()
		for id, statuses := range want {
			if !slices.Equal(received[id], statuses) {
				return fmt.Errorf("deployment %s: received %v, want %v", id, received[id], statuses)
			}
		}
		if len(received) != len(want) {
			return fmt.Errorf("%d deployments received, %d made", len(received), len(want))
		}
		return nil
	})
}

// TestEventsOverMQTT: a device whose policy allows it receives changes, and the
// server reports how its destinations do.
func TestEventsOverMQTT(t *testing.T) {
	t.Parallel()
	h := startServer(t, "--ops", address(t)).site(region)
	viewer := h.connect(t, "Viewer")
	viewer.subscribe(t, events.StatusChangeTopics+"+/+/Failure")
	group, version := h.unbuildable(t)
	deployment := h.deploy(t, group, version)
	select {
	case m := <-viewer.messages:
		var change events.StatusChange
		if err := json.Unmarshal(m.Payload(), &change); err != nil || change.Detail.DeploymentID != deployment ||
			change.Detail.GroupID != group || change.Account != account || change.Region != region || m.Topic() != change.Topic() {
			t.Errorf("%s: %s, %v", m.Topic(), m.Payload(), err)
		}
	case <-time.After(patience):
		t.Fatal("no event")
	}
	eventually(t, "nothing waits", func() error {
		resp, err := http.Get("http://" + h.ops + "/fescue/v1/events")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return matchAll(string(body), `"destination":"mqtt","configured":true,"pending":0,"delivered":2,"failed":0,"dropped":0`)
	})
}

// unbuildable is a group whose core nobody has registered: its deployments fail in
// Building.
func (h *site) unbuildable(t *testing.T) (group, version string) {
	t.Helper()
	core, err := h.greengrass.CreateCoreDefinition(t.Context(), &greengrass.CreateCoreDefinitionInput{
		InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{{
			Id:             aws.String("core"),
			ThingArn:       aws.String("arn:aws:iot:" + h.region + ":" + account + ":thing/Nobody"),
			CertificateArn: aws.String("arn:aws:iot:" + h.region + ":" + account + ":cert/" + strings.Repeat("0", 64)),
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := h.greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{
		Name: aws.String("unbuildable"), InitialVersion: &types.GroupVersion{CoreDefinitionVersionArn: core.LatestVersionArn},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *g.Id, *g.LatestVersion
}
