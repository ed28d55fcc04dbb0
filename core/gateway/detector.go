package gateway

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
)

// DetectorOptions are what a Detector is made of. All but Addresses are needed.
type DetectorOptions struct {
	Thing string
	// Port is where client devices find the MQTT server.
	Port   int
	Cloud  Connectivity
	Logger *slog.Logger
	// Addresses lists this machine's; its interfaces' if nil.
	Addresses func() ([]netip.Addr, error)
}

// Connectivity takes where client devices reach the core; corelink.Client does.
type Connectivity interface {
	UpdateConnectivity(ctx context.Context, thing string, places []fescue.ConnectivityInfo) error
}

// Detector is GGIPDetector: while it is on, the control plane gets the machine's
// addresses, and again when they change. They take the place of what was set there
// by hand (AWS IoT Greengrass V1 developer guide, "Configure the core").
type Detector struct {
	o       DetectorOptions
	on      atomic.Bool
	changed chan struct{}
}

// NewDetector makes one that is off.
func NewDetector(o DetectorOptions) *Detector {
	if o.Addresses == nil {
		o.Addresses = interfaceAddresses
	}
	return &Detector{o: o, changed: make(chan struct{}, 1)}
}

// Set switches it on or off.
func (d *Detector) Set(on bool) {
	if d.on.Swap(on) != on {
		select {
		case d.changed <- struct{}{}:
		default:
		}
	}
}

// detectInterval is how often the addresses are looked at.
const detectInterval = 15 * time.Second

var detectRetries = backoff.Policy{First: time.Second, Most: time.Minute}

// Run reports them until ctx ends.
func (d *Detector) Run(ctx context.Context) {
	var reported []fescue.ConnectivityInfo
	failures := 0
	for {
		pause := detectInterval
		if !d.on.Load() {
			reported = nil
		} else if now, err := d.report(ctx, reported); err == nil {
			reported, failures = now, 0
		} else if ctx.Err() == nil {
			if failures++; failures == 1 {
				d.o.Logger.Warn("This core's addresses were not reported to the control plane; it is tried again.", slog.String("errorString", err.Error()))
			}
			pause = detectRetries.Pause(failures)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// report sends the addresses, if they are others than those reported before.
func (d *Detector) report(ctx context.Context, before []fescue.ConnectivityInfo) ([]fescue.ConnectivityInfo, error) {
	addresses, err := d.o.Addresses()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	now := places(addresses, d.o.Port)
	if slices.Equal(now, before) {
		return now, nil
	}
	if err := d.o.Cloud.UpdateConnectivity(ctx, d.o.Thing, now); err != nil {
		return nil, err
	}
	d.o.Logger.Info("Reported to the control plane where client devices reach this core.", slog.Int("addresses", len(now)))
	return now, nil
}

// maxPlaces is how many a core can have.
const maxPlaces = 10

// places names addresses as the original did: by address and place in the order of
// their texts. Of too many those go that no other machine reaches.
func places(addresses []netip.Addr, port int) []fescue.ConnectivityInfo {
	rank := func(a netip.Addr) int {
		switch {
		case a.IsLoopback():
			return 2
		case a.IsLinkLocalUnicast():
			return 3
		case a.Is4():
			return 0
		}
		return 1
	}
	list := make([]netip.Addr, 0, len(addresses))
	for _, a := range addresses {
		if a = a.Unmap().WithZone(""); !a.IsUnspecified() && !a.IsMulticast() {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b netip.Addr) int { return cmp.Or(rank(a)-rank(b), a.Compare(b)) })
	list = slices.Compact(list)
	list = list[:min(len(list), maxPlaces)]
	slices.SortFunc(list, func(a, b netip.Addr) int { return strings.Compare(a.String(), b.String()) })
	found := make([]fescue.ConnectivityInfo, 0, len(list))
	for n, a := range list {
		found = append(found, fescue.ConnectivityInfo{ID: fmt.Sprintf("AUTOIP_%s_%d", a, n), HostAddress: a.String(), PortNumber: port})
	}
	return found
}

func interfaceAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	for _, one := range all {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil {
			list = append(list, prefix.Addr())
		}
	}
	return list, nil
}
