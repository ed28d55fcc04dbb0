package edge_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/groupca"
	"github.com/fescue-edge/fescue/corelink"
)

const mayDiscover = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"greengrass:Discover","Resource":"*"}]}`

// deployed makes a group with a core and client devices whose deployment has
// succeeded.
func (s *site) deployed(t *testing.T, core *device, thing string, devices ...fescue.Device) fescue.Deployment {
	t.Helper()
	coreID, coreVersion := s.definition(t, fescue.CoreKind, fescue.CoreDefinitionVersion{Cores: []fescue.Core{
		{Id: "c", ThingArn: home.ThingARN(thing), CertificateArn: home.CertificateARN(core.id)},
	}})
	deviceID, deviceVersion := s.definition(t, fescue.DeviceKind, fescue.DeviceDefinitionVersion{Devices: devices})
	group, version := s.definition(t, fescue.GroupKind, fescue.GroupVersion{
		CoreDefinitionVersionArn:   home.VersionARN(fescue.CoreKind, coreID, coreVersion),
		DeviceDefinitionVersionArn: home.VersionARN(fescue.DeviceKind, deviceID, deviceVersion),
	})
	d := s.deploy(t, group, version)
	for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded} {
		var err error
		if d, err = s.engine.Report(t.Context(), home, thing, group, d.ID, corelink.StatusReport{Event: event, Epoch: d.Epoch}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (s *site) reachable(t *testing.T, thing string, info ...fescue.ConnectivityInfo) {
	t.Helper()
	if _, err := s.cores.UpdateConnectivity(t.Context(), home, thing, info); err != nil {
		t.Fatal(err)
	}
}

func (d *device) as(id, thing string) fescue.Device {
	return fescue.Device{Id: id, ThingArn: home.ThingARN(thing), CertificateArn: home.CertificateARN(d.id)}
}

// talk sends bytes, one Write for each, over a connection of its own, and reads to
// its end.
func (d *device) talk(t *testing.T, change func(*tls.Config), parts ...string) string {
	t.Helper()
	cfg := &tls.Config{RootCAs: d.site.trust, Certificates: []tls.Certificate{d.tls}, ServerName: "127.0.0.1"} // an IP address: no SNI
	if change != nil {
		change(cfg)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", d.site.address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if want := cfg.NextProtos; len(want) > 0 && conn.ConnectionState().NegotiatedProtocol != want[0] {
		t.Errorf("negotiated %q, want %q", conn.ConnectionState().NegotiatedProtocol, want)
	}
	for _, part := range parts {
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%v after %q", err, got)
	}
	return string(got)
}

var discoveryHead = regexp.MustCompile(`^HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n` +
	`content-type: application/json\r\ncontent-length: (\d+)\r\ndate: [^\r\n]+ GMT\r\nx-amzn-RequestId: [0-9a-f-]{36}\r\nconnection: close\r\n\r\n`)

// discovered is the status and the body of an answer, whose head has to be as
// clients want it.
func discovered(t *testing.T, answer string) (status, body string) {
	t.Helper()
	m := discoveryHead.FindStringSubmatch(answer)
	if m == nil {
		t.Fatalf("the head is not as clients want it: %q", answer)
	}
	if body = answer[len(m[0]):]; m[2] != fmt.Sprint(len(body)) {
		t.Errorf("content-length %s of %d bytes", m[2], len(body))
	}
	return m[1], body
}

func discoverThing(thing string) string {
	return "GET /greengrass/discover/thing/" + thing + " HTTP/1.1\r\nHost: fescue:8443\r\n\r\n"
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	s := open(t)
	lamp := s.core(t, home, "hall:lamp-1", mayDiscover)
	core := s.core(t, home, "mill", allowAll)
	d := s.deployed(t, core, "mill", lamp.as("l", "hall:lamp-1"))
	s.reachable(t, "mill",
		fescue.ConnectivityInfo{ID: "dns", HostAddress: "mill.example", PortNumber: 8883},
		fescue.ConnectivityInfo{ID: "AUTOIP_127.0.0.1_0", HostAddress: "127.0.0.1", PortNumber: 8883},
		fescue.ConnectivityInfo{ID: "AUTOIP_192.168.1.4_1", HostAddress: "192.168.1.4", PortNumber: 8884, Metadata: `"hall"`},
		fescue.ConnectivityInfo{ID: "six", HostAddress: "2001:db8::4", PortNumber: 8883},
		fescue.ConnectivityInfo{ID: "AUTOIP_10.0.0.4_2", HostAddress: "10.0.0.4", PortNumber: 8883},
	)
	old, err := s.authorities.Authorities(t.Context(), home, d.GroupID)
	if err != nil {
		t.Fatal(err)
	}
	ca := strings.ReplaceAll(old[0].PEM, "\n", `\n`)
	place := func(id, host string, port int, metadata string) string {
		return fmt.Sprintf(`{"Id":%q,"HostAddress":%q,"PortNumber":%d,"Metadata":%q}`, id, host, port, metadata)
	}
	want := `{"GGGroups":[{"GGGroupId":"` + d.GroupID + `","Cores":[{"thingArn":"` + home.ThingARN("mill") + `","Connectivity":[` +
		strings.Join([]string{
			place("AUTOIP_192.168.1.4_1", "192.168.1.4", 8884, `"hall"`), place("AUTOIP_10.0.0.4_2", "10.0.0.4", 8883, ""),
			place("dns", "mill.example", 8883, ""), place("AUTOIP_127.0.0.1_0", "127.0.0.1", 8883, ""), place("six", "2001:db8::4", 8883, ""),
		}, ",") + `]}],"CAs":["` + ca + `"]}]}`

	alpn := func(protocols ...string) func(*tls.Config) {
		return func(cfg *tls.Config) { cfg.NextProtos = protocols }
	}
	const path = "GET /greengrass/discover/thing/hall:lamp-1 HTTP/1.1\r\n"
	for name, tc := range map[string]struct {
		change func(*tls.Config)
		parts  []string
	}{
		"as the Python SDK asks":         {nil, []string{path + "Host: fescue:8443\r\n\r\n"}},
		"at 443":                         {alpn("x-amzn-http-ca"), []string{path + "Host: fescue:443\r\n\r\n"}},
		"with an ordinary protocol":      {alpn("http/1.1"), []string{path + "Host: fescue\r\nAccept: */*\r\nUser-Agent: curl\r\n\r\n"}},
		"with a name":                    {func(cfg *tls.Config) { cfg.ServerName = "localhost" }, []string{path + "Host: fescue\r\n\r\n"}},
		"over TLS 1.2":                   {func(cfg *tls.Config) { cfg.MaxVersion = tls.VersionTLS12 }, []string{path + "Host: fescue\r\n\r\n"}},
		"without Host":                   {nil, []string{path + "\r\n"}},
		"without Host, with other lines": {nil, []string{path + "User-Agent: freertos\r\nx-host: h\r\n\r\n"}},
		"with bare line ends":            {nil, []string{strings.TrimSuffix(path, "\r\n") + "\nx: y\n\n"}},
		"a byte at a time":               {nil, strings.Split(path+"\r\n", "")},
		"with a long line":               {nil, []string{path + "x: " + strings.Repeat("y", 4000), "\r\nhost: fescue\r\n\r\n"}},
		"with more than it looks at":     {nil, []string{path + "Host: fescue\r\nx: " + strings.Repeat("y", 20_000) + "\r\n\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := discovered(t, lamp.talk(t, tc.change, tc.parts...))
			if status != "200" || body != want {
				t.Errorf("%s %s", status, cmp.Diff(want, body))
			}
		})
	}

	t.Run("the authority that signs stands first", func(t *testing.T) {
		if err := s.store.GroupAuthorities().RecordHolder(t.Context(), home, d.GroupID, old[0].ID, groupca.Holder{Thing: "mill", CertificateID: core.id, Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.authorities.Create(t.Context(), home, d.GroupID, fescue.Token{}); err != nil {
			t.Fatal(err)
		}
		_, body := discovered(t, lamp.talk(t, nil, discoverThing("hall:lamp-1")))
		var got corelink.Discovery
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if cas := got.Groups[0].CAs; len(cas) != 2 || cas[0] == old[0].PEM || cas[1] != old[0].PEM {
			t.Errorf("%q", cas)
		}
	})
	t.Run("a core that is reached nowhere yet", func(t *testing.T) {
		s.deployed(t, s.core(t, home, "new", allowAll), "new", s.core(t, home, "fan").as("f", "fan"))
		// Its certificate has no policy; another that is attached to the thing has.
		other := s.core(t, home, "", mayDiscover)
		if err := s.registry.AttachThing(t.Context(), home, "fan", other.id); err != nil {
			t.Fatal(err)
		}
		if status, body := discovered(t, other.talk(t, nil, discoverThing("fan"))); status != "200" || !strings.Contains(body, `"Connectivity":[]`) {
			t.Errorf("%s %s", status, body)
		}
	})
	t.Run("over an ordinary client", func(t *testing.T) {
		got := lamp.send(t, "HEAD", "/greengrass/discover/thing/hall:lamp-1", "", "")
		if got.status != http.StatusOK || len(got.body) > 0 {
			t.Errorf("%+v", got)
		}
		lamp.send(t, "POST", "/greengrass/discover/thing/hall:lamp-1", "", "").refused(404, "NotFound", "no operation")
		lamp.send(t, "GET", "/greengrass/discover/thing/", "", "").refused(404, "NotFound", "no operation")
	})
}

func TestDiscoverRefuses(t *testing.T) {
	t.Parallel()
	s := open(t)
	core := s.core(t, home, "mill", allowAll)
	lamp := s.core(t, home, "lamp", mayDiscover)
	detached := s.core(t, home, "fan", mayDiscover)
	mute := s.core(t, home, "mute", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:*","greengrass:GetDeployment"],"Resource":"*"},
		{"Effect":"Allow","Action":"greengrass:Discover","Resource":"`+home.ThingARN("other")+`"}]}`)
	outsider := s.core(t, elsewhere, "lamp", mayDiscover)
	s.core(t, home, "idle", mayDiscover)
	s.deployed(t, core, "mill", lamp.as("l", "lamp"), detached.as("f", "fan"), mute.as("m", "mute"))
	if err := s.registry.DetachThing(t.Context(), home, "fan", detached.id); err != nil {
		t.Fatal(err)
	}
	// A device of more groups than it may be in.
	many := s.core(t, home, "many", mayDiscover)
	for i := range fescue.MaxDeviceGroups + 1 {
		thing := fmt.Sprint("core-", i)
		s.deployed(t, s.core(t, home, thing, allowAll), thing, many.as("m", "many"))
		if status, body := discovered(t, many.talk(t, nil, discoverThing("many"))); i < fescue.MaxDeviceGroups && status != "200" {
			t.Errorf("in %d groups: %s %s", i+1, status, body)
		}
	}

	if status, body := discovered(t, detached.talk(t, nil, discoverThing("fan"))); status != "200" {
		t.Errorf("with the certificate of the definition: %s %s", status, body)
	}
	for name, tc := range map[string]struct {
		device          *device
		thing           string
		status, message string
	}{
		"no group":                  {s.core(t, home, "new", mayDiscover), "new", "404", "put it into the group's device definition"},
		"no policy that allows it":  {mute, "mute", "403", "no IoT policy of certificate " + mute.id + " allows greengrass:Discover on " + home.ThingARN("mute")},
		"another's thing":           {lamp, "mute", "403", "attach it with iot attach-thing-principal"},
		"the group's core":          {lamp, "mill", "403", "attach it with iot attach-thing-principal"},
		"a thing in no group":       {lamp, "idle", "403", "attach it with iot attach-thing-principal"},
		"no such thing":             {lamp, "nothing", "403", "attach it with iot attach-thing-principal"},
		"another partition":         {outsider, "lamp", "404", "put it into the group's device definition"},
		"another partition's thing": {outsider, "many", "403", "attach it with iot attach-thing-principal"},
		"no name":                   {lamp, "a%20b", "400", `"a b" is not the name of a thing`},
		"a name too long":           {lamp, strings.Repeat("x", 129), "400", "is not the name of a thing"},
		"too many groups":           {many, "many", "400", "Device is a member of too many groups, devices may not be in more than 10 groups"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := discovered(t, tc.device.talk(t, nil, "GET /greengrass/discover/thing/"+tc.thing+" HTTP/1.1\r\n\r\n"))
			var got struct{ Message string }
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if status != tc.status || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s %s, want %s, %q", status, body, tc.status, tc.message)
			}
		})
	}
	t.Run("a certificate that is not active", func(t *testing.T) {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: s.trust, Certificates: []tls.Certificate{lamp.tls}, ServerName: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "GET "+keysPath+" HTTP/1.1\r\nHost: fescue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", resp, err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		lamp.setStatus(fescue.CertificateInactive)
		if _, err := io.WriteString(conn, discoverThing("lamp")); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := discovered(t, string(answer)); status != "401" || !strings.Contains(body, "INACTIVE") {
			t.Errorf("%s %s", status, body)
		}
	})
}
