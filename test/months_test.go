//go:build linux && guest

package test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/testkit"
)

// remote is a core that serves two devices, at a site whose line will be cut.
type remote struct {
	*localCore
	devices []*gateway
	trusts  map[*gateway]*tls.Config
	joined  map[*gateway]*client
}

// remoteSite makes a site whose server hands out intermediates of some length, with two
// devices that send to each other.
func remoteSite(t *testing.T, life time.Duration) *remote {
	t.Helper()
	h := startServer(t, "--offline-sites", life.String()).site(region)
	r := &remote{localCore: h.serveDevices(t, "Remote_Core"), trusts: make(map[*gateway]*tls.Config), joined: make(map[*gateway]*client)}
	r.run(t)
	r.devices = []*gateway{h.provision(t, "Remote_A"), h.provision(t, "Remote_B")}
	r.deployWith(t, nil, []route{
		{r.devices[0].thingARN, "remote/#", r.devices[1].thingARN}, {r.devices[1].thingARN, "remote/#", r.devices[0].thingARN},
	}, r.devices...)
	for _, d := range r.devices {
		r.trusts[d] = r.tlsFor(t, d)
	}
	r.rejoin(t)
	eventually(t, "an intermediate", func() error {
		_, err := os.Stat(filepath.Join(r.root, "ggc", "var", "state", "server", "intermediate.pem"))
		return err
	})
	return r
}

// rejoin has each device connect anew and hear from the other.
func (r *remote) rejoin(t *testing.T) {
	t.Helper()
	for _, d := range r.devices {
		if c := r.joined[d]; c != nil {
			c.Disconnect(0)
		}
		r.joined[d] = r.joinBy(t, d.thing, func() *tls.Config { return r.trusts[d] })
		r.joined[d].listen(t, "remote/#")
	}
	r.talk(t, "anew")
}

// talk sends from each device to the other, by the connections that there are.
func (r *remote) talk(t *testing.T, what string) {
	t.Helper()
	for i, d := range r.devices {
		text := fmt.Sprintf("%s from %s", what, d.thing)
		await(t, "publish", r.joined[d].Publish("remote/"+d.thing, 1, false, text))
		if m := testkit.Receive(t, text, r.joined[r.devices[1-i]].messages); string(m.Payload()) != text {
			t.Fatalf("got %q on %s, want %q", m.Payload(), m.Topic(), text)
		}
	}
}

// refused reports whether a device cannot connect since the core's certificate is over.
func (r *remote) refused() error {
	d := r.devices[0]
	o := mqtt.NewClientOptions().AddBroker(fmt.Sprintf("ssl://%s:%d", r.at, r.port)).SetClientID("another").SetTLSConfig(r.trusts[d]).SetAutoReconnect(false)
	token := mqtt.NewClient(o).Connect()
	token.WaitTimeout(patience)
	if err := token.Error(); err == nil || !strings.Contains(err.Error(), "expired") {
		return fmt.Errorf("a device that connects anew is told: %v", err)
	}
	return nil
}

func (r *remote) logged(t *testing.T, words string) {
	t.Helper()
	eventually(t, "the log says: "+words, func() error {
		if log := string(readFile(t, filepath.Join(r.root, "ggc", "var", "log", "system", "runtime.log"))); !strings.Contains(log, words) {
			return errors.New("it does not")
		}
		return nil
	})
}

// TestMonths: sites without a line go on for months: as long as their intermediates live,
// devices connect anew; after that those that are connected stay. It changes the clock of
// the machine, and so runs in a guest alone.
func TestMonths(t *testing.T) {
	ahead := func(days int) {
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, new(unix.NsecToTimespec(time.Now().AddDate(0, 0, days).UnixNano()))); err != nil {
			t.Fatal(err)
		}
	}
	quarter, year := remoteSite(t, 90*24*time.Hour), remoteSite(t, 365*24*time.Hour)
	sites := []*remote{quarter, year}
	for _, r := range sites {
		r.server.Kill()
	}

	ahead(40)
	for _, r := range sites {
		r.talk(t, "after 40 days")
		r.rejoin(t)
	}
	ahead(160)
	for _, r := range sites {
		r.talk(t, "after 200 days")
	}
	eventually(t, "a quarter is over", quarter.refused)
	quarter.logged(t, "The certificate of the MQTT server for client devices is over and could not be renewed: no device can connect anew, and those that are connected stay.")
	quarter.talk(t, "with a certificate that is over")
	year.process.Kill()
	year.run(t)
	year.rejoin(t)

	for _, r := range sites {
		r.server.run(t)
	}
	for _, r := range sites {
		r.rejoin(t)
	}
}
