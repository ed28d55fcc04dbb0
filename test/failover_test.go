//go:build linux

package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/testkit"
)

// servesAgain is within what time a server works again after its database was promoted.
const servesAgain = 15 * time.Second

// callers call a server all the time.
type callers struct {
	mu      sync.Mutex
	made    []string     // ids of groups that were acknowledged
	wrong   []string     // answers that are no clean refusal
	calls   atomic.Int64 // each with a name of its own for what it makes
	refused atomic.Int64
	gave    atomic.Int64 // calls of who tries again that failed nevertheless
	longest time.Duration
}

// create makes groups until ctx ends. Without try the SDK does not try again.
func (c *callers) create(ctx context.Context, h *site, try bool) {
	var options []func(*greengrass.Options)
	if !try {
		options = append(options, func(o *greengrass.Options) { o.Retryer = aws.NopRetryer{} })
	}
	for ctx.Err() == nil {
		began := time.Now()
		out, err := h.greengrass.CreateGroup(ctx, &greengrass.CreateGroupInput{Name: aws.String(fmt.Sprint("group ", c.calls.Add(1)))}, options...)
		c.note(ctx, time.Since(began), out, err, try)
	}
}

func (c *callers) note(ctx context.Context, took time.Duration, out *greengrass.CreateGroupOutput, err error, try bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return // it may have been cut short
	}
	if !try {
		c.longest = max(c.longest, took)
	}
	if err == nil {
		c.made = append(c.made, *out.Id)
		return
	}
	var answer *smithyhttp.ResponseError
	var api interface{ ErrorCode() string }
	if !errors.As(err, &answer) || !errors.As(err, &api) || answer.HTTPStatusCode() != http.StatusServiceUnavailable ||
		api.ErrorCode() != "ServiceUnavailableException" || answer.Response.Header.Get("Retry-After") == "" {
		c.wrong = append(c.wrong, err.Error())
		return
	}
	if c.refused.Add(1); try {
		c.gave.Add(1)
	}
}

func (c *callers) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.made)
}

// TestDatabaseFailsOver: the primary of a server's database is gone at once, its synchronous
// standby is promoted, and the server goes on by itself.
func TestDatabaseFailsOver(t *testing.T) {
	t.Parallel()
	pair := pgtest.StartPair(t, true)
	h := startServerWith(t, []string{"FESCUE_DATABASE=" + pair.URL()}, t.TempDir()).site(region)
	viewer := h.connect(t, "Viewer")
	g := h.provision(t, "Mill_Core")
	viewer.subscribe(t, g.thing+"/out")
	doomed := h.connect(t, "Doomed")
	g.run(t)
	arn := h.echo(t, "Echo")
	group, version := g.echoes(t, "", arn, "before")
	h.await(t, group, h.deploy(t, group, version), fescue.Success)
	viewer.next(t, "started before")
	_, version = g.echoes(t, group, arn, "meanwhile")

	var calls callers
	var calling sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for _, try := range []bool{true, true, false, false} {
		calling.Go(func() { calls.create(ctx, h, try) })
	}
	// deployments are made one after the other, of a version that ends each time.
	var deployments []string
	calling.Go(func() {
		for ctx.Err() == nil {
			d, err := h.greengrass.CreateDeployment(ctx, &greengrass.CreateDeploymentInput{
				GroupId: &group, GroupVersionId: &version, DeploymentType: types.DeploymentTypeNewDeployment,
			})
			if err != nil {
				continue
			}
			deployments = append(deployments, *d.DeploymentId)
			for ctx.Err() == nil {
				out, err := h.status(ctx, group, *d.DeploymentId)
				if err == nil && fescue.DeploymentStatus(*out.DeploymentStatus).Final() {
					break
				}
				time.Sleep(rand.N(20 * time.Millisecond))
			}
		}
	})
	testkit.Until(t, "groups are made", func() bool { return calls.count() > 100 })

	killed := time.Now()
	pair.Primary.Kill()
	testkit.Until(t, "calls are refused", func() bool { return calls.refused.Load() >= 2 })
	before := calls.count()
	pair.Standby.Promote(t)
	promoted := time.Now()
	testkit.Until(t, "groups are made again", func() bool { return calls.count() > before })
	again := time.Since(promoted)
	testkit.Until(t, "by all", func() bool { return calls.count() > before+100 })
	t.Logf("the primary was away for %v; %v after the promotion calls were served; %d groups made, %d calls refused, %d of them after the SDK's retries; without retries a call took %v at most",
		promoted.Sub(killed), again, calls.count(), calls.refused.Load(), calls.gave.Load(), calls.longest)
	if again > servesAgain {
		t.Errorf("not served within %v", servesAgain)
	}
	stop()
	calling.Wait()
	if len(calls.wrong) > 0 {
		t.Errorf("%d calls were not answered as documented, such as %s", len(calls.wrong), calls.wrong[0])
	}

	t.Run("what was acknowledged is there", func(t *testing.T) {
		there, named := make(map[string]bool), make(map[string]int)
		pages := greengrass.ListGroupsInput{MaxResults: aws.String("100")}
		for {
			out, err := h.greengrass.ListGroups(t.Context(), &pages)
			if err != nil {
				t.Fatal(err)
			}
			for _, each := range out.Groups {
				there[*each.Id] = true
				if named[*each.Name]++; named[*each.Name] == 2 {
					t.Errorf("%s was made twice", *each.Name)
				}
			}
			if pages.NextToken = out.NextToken; pages.NextToken == nil {
				break
			}
		}
		for _, id := range calls.made {
			if !there[id] {
				t.Errorf("group %s is not there", id)
			}
		}
		t.Logf("%d groups were acknowledged, %d are there; %d deployments", len(calls.made), len(there), len(deployments))
		for _, id := range deployments {
			h.await(t, group, id, fescue.Success)
		}
	})
	t.Run("the core goes on", func(t *testing.T) {
		_, version := g.echoes(t, group, arn, "after")
		h.await(t, group, h.deploy(t, group, version), fescue.Success)
		viewer.next(t, "started after")
	})
	t.Run("changes take effect", func(t *testing.T) {
		things, err := h.iot.ListThingPrincipals(t.Context(), &iot.ListThingPrincipalsInput{ThingName: new("Doomed")})
		if err != nil {
			t.Fatal(err)
		}
		id := things.Principals[0][len(things.Principals[0])-64:]
		eventually(t, "connected", func() error {
			if !doomed.IsConnectionOpen() {
				return errors.New("it is not")
			}
			return nil
		})
		if _, err := h.iot.UpdateCertificate(t.Context(), &iot.UpdateCertificateInput{CertificateId: &id, NewStatus: iottypes.CertificateStatusInactive}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "connection ended", func() error {
			if doomed.IsConnectionOpen() {
				return errors.New("it is there")
			}
			return nil
		})
	})
	if err := h.Ended(); err != nil {
		t.Error(err)
	}
}

// TestUncertainCalls: nobody knows whether a commit is lasting, and the SDK is left to itself.
func TestUncertainCalls(t *testing.T) {
	t.Parallel()
	pair := pgtest.StartPair(t, true)
	h := startServerWith(t, []string{"FESCUE_DATABASE=" + pair.URL()}, t.TempDir()).site(region)
	if _, err := h.greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("before")}); err != nil {
		t.Fatal(err)
	}
	primary := pair.Primary.Open(t)
	// cut makes a call whose commit is cut short while it waits for the standby.
	cut := func(t *testing.T, table string, call func() error) (rows func() int, answer <-chan error, thaw func()) {
		rows = func() (n int) {
			if err := primary.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := rows()
		thaw = pair.Standby.Freeze()
		t.Cleanup(thaw)
		answered := make(chan error, 1)
		go func() { answered <- call() }()
		testkit.Until(t, "it is on the primary alone", func() bool {
			if rows() > before {
				return true
			}
			_, err := primary.ExecContext(t.Context(), "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			return err != nil
		})
		return rows, answered, thaw
	}
	t.Run("a group is made once", func(t *testing.T) {
		rows, answered, thaw := cut(t, "definition", func() error {
			_, err := h.greengrass.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("once")})
			return err
		})
		testkit.Until(t, "it is tried again, and waits", func() bool {
			var n int
			err := primary.QueryRowContext(t.Context(), "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&n)
			return err == nil
		})
		thaw()
		if err := testkit.Receive(t, "answer", answered); err != nil || rows() != 2 {
			t.Errorf("%v; %d groups", err, rows())
		}
	})
	t.Run("a certificate is not made again without a word", func(t *testing.T) {
		rows, answered, thaw := cut(t, "certificate", func() error {
			_, err := h.iot.CreateKeysAndCertificate(t.Context(), &iot.CreateKeysAndCertificateInput{})
			return err
		})
		thaw() // for the audit record
		err := testkit.Receive(t, "answer", answered)
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "ConflictException" || !strings.Contains(api.ErrorMessage(), "may have been carried out") || rows() != 1 {
			t.Errorf("%v; %d certificates", err, rows())
		}
	})
}
