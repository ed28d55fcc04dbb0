package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
)

func testDiscovery(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	offered := func(p fescue.Partition, group, core string, devices ...fescue.ClientDevice) *run {
		t.Helper()
		r := deployingIn(t, s, p, group)
		next, replaced, err := s.Offers().Offer(ctx, r.Deployment, core, madeAt, superseding, func(epoch int64) (fescue.Offering, error) {
			offering, err := signed(epoch)
			offering.Devices = devices
			return offering, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return &run{t, s, next, replaced}
	}
	device := func(thing, certificate string) fescue.ClientDevice {
		return fescue.ClientDevice{Thing: thing, CertificateARN: certificate}
	}
	in := func(group, certificate string) fescue.Membership {
		return fescue.Membership{GroupID: group, CoreThing: "core-" + group, CertificateARN: certificate}
	}
	finds := func(when string, p fescue.Partition, thing string, want ...fescue.Membership) {
		t.Helper()
		if diff := gocmp.Diff(want, must(s.Holdings().Memberships(ctx, p, thing, 100))(t)); diff != "" {
			t.Errorf("%s, %s: %s", when, thing, diff)
		}
	}
	succeed := func(r *run) {
		t.Helper()
		if r.Phase == fescue.Offered {
			r = r.step(fescue.EventClaimed)
		}
		r.step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded)
	}

	first := offered(homePartition, "g", "core-g", device("lamp", "c1"), device("lamp", "c1"), device("lamp", "c2"), device("fan", "c3"))
	finds("offered", homePartition, "lamp")
	succeed(first)
	finds("deployed", homePartition, "lamp", in("g", "c1"), in("g", "c2"))
	finds("deployed", homePartition, "fan", in("g", "c3"))
	for _, p := range elsewhere {
		finds("elsewhere", p, "lamp")
	}

	offered(homePartition, "g", "core-g", device("fan", "c4")).step(fescue.EventClaimed).step(fescue.EventFailed)
	finds("a later one failed", homePartition, "lamp", in("g", "c1"), in("g", "c2"))
	finds("a later one failed", homePartition, "fan", in("g", "c3"))

	second := offered(homePartition, "g", "core-g", device("fan", "c5"))
	finds("a later one is offered", homePartition, "fan", in("g", "c3"))
	succeed(second)
	finds("a later one succeeded", homePartition, "lamp")
	finds("a later one succeeded", homePartition, "fan", in("g", "c5"))

	for i := range 3 {
		group := fmt.Sprint("h", i)
		succeed(offered(homePartition, group, "core-"+group, device("fan", "c6")))
	}
	for _, c := range []struct {
		certificates, cores []string
	}{
		{[]string{"c6"}, []string{"core-h0", "core-h1", "core-h2"}},
		{[]string{"c5", "c6", "unknown", "c6"}, []string{"core-g", "core-h0", "core-h1", "core-h2"}},
		{[]string{"unknown"}, nil},
		{nil, nil},
	} {
		if got := must(s.Holdings().CoresOfDevices(ctx, homePartition, c.certificates))(t); !slices.Equal(got, c.cores) {
			t.Errorf("cores of %v: %v, want %v", c.certificates, got, c.cores)
		}
	}
	if got := must(s.Holdings().CoresOfDevices(ctx, elsewhere[0], []string{"c6"}))(t); len(got) > 0 {
		t.Errorf("cores elsewhere: %v", got)
	}
	finds("in several groups", homePartition, "fan", in("g", "c5"), in("h0", "c6"), in("h1", "c6"), in("h2", "c6"))
	if got := must(s.Holdings().Memberships(ctx, homePartition, "fan", 2))(t); len(got) != 2 {
		t.Errorf("two at most: %v", got)
	}

	active, inactive := certificate(71, fescue.CertificateActive), certificate(72, fescue.CertificateInactive)
	for _, c := range []fescue.Certificate{active, inactive} {
		mustDo(t, s.Certificates().CreateCertificate(ctx, homePartition, c))
	}
	gone := strings.Repeat("7", 64)
	offered(homePartition, "r", "core-r", device("one", homePartition.CertificateARN(active.ID)), device("two", homePartition.CertificateARN(active.ID)),
		device("three", homePartition.CertificateARN(inactive.ID)), device("four", homePartition.CertificateARN(gone)))
	want := []string{inactive.ID, gone}
	slices.Sort(want)
	for group, want := range map[string][]string{"r": want, "nothing": nil} {
		n, revoked, err := s.Holdings().RevokedDevices(ctx, homePartition, group)
		slices.Sort(revoked)
		if err != nil || (n != 3) == (len(want) > 0) || !slices.Equal(revoked, want) {
			t.Errorf("group %s: %d certificates, revoked %v, %v; want %v", group, n, revoked, err, want)
		}
	}

	reset := resetting(t, s, "g", fescue.ResetDeployment).offer("core-g")
	finds("a reset is offered", homePartition, "fan", in("g", "c5"), in("h0", "c6"), in("h1", "c6"), in("h2", "c6"))
	succeed(reset)
	finds("reset", homePartition, "fan", in("h0", "c6"), in("h1", "c6"), in("h2", "c6"))
	resetting(t, s, "h0", fescue.ForceResetDeployment).force("core-h0")
	finds("reset by force", homePartition, "fan", in("h1", "c6"), in("h2", "c6"))

	// One that goes on while a later one is offered leaves that one its devices.
	slow := offered(homePartition, "h1", "core-h1", device("fan", "c7")).step(fescue.EventClaimed)
	next := offered(homePartition, "h1", "core-h1", device("fan", "c8"))
	succeed(slow)
	finds("the slow one succeeded", homePartition, "fan", in("h1", "c7"), in("h2", "c6"))
	succeed(next)
	finds("the next one succeeded", homePartition, "fan", in("h1", "c8"), in("h2", "c6"))
}
