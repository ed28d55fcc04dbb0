package cloud_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/testkit"
)

// Connections whose requests never become whole do not keep others out, whichever
// port they are opened on.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Descriptors = 1024
	o.OpsAddr = loopback
	s := start(t, o)
	shares := inbound.Share(o.Descriptors)
	mill := s.provision("us-east-1", "mill")
	for address, most := range map[string]int{s.APIAddr(): shares.API, s.DeviceAddr(): shares.Device, s.MQTTAddr(): shares.MQTT, s.OpsAddr(): shares.Ops} {
		for i := range most * 3 / 2 {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			io.WriteString(c, []string{"", "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", "\x16\x03\x01"}[i%4])
		}
	}
	if _, err := s.greengrass("us-east-1", s.key).CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("g")}); err != nil {
		t.Errorf("the API: %v", err)
	}
	if _, err := s.link(mill).SigningKeys(t.Context()); err != nil {
		t.Errorf("the device port: %v", err)
	}
	s.mqttClient(mill)
	resp, err := http.Get("http://" + s.OpsAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(metrics), fmt.Sprintf("fescue_connections_max{listener=\"api\"} %d", shares.API)) ||
		!strings.Contains(string(metrics), "fescue_connections_closed_total{listener=\"mqtt\"}") {
		t.Errorf("metrics %s, %v", metrics, err)
	}
}

// A core's connection is idle between its requests, and counts among those that may be.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Descriptors, o.OpsAddr = 1<<20, loopback
	s := start(t, o)
	link := s.link(s.provision("us-east-1", "mill"))
	if _, err := link.SigningKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("fescue_connections_idle_max{listener=\"device\"} %d\n", inbound.Share(o.Descriptors).IdleDevice)
	for _, line := range []string{"fescue_connections_idle{listener=\"device\"} 1\n", want, "fescue_connections_idle_closed_total{listener=\"device\"} 0\n"} {
		testkit.Until(t, line, func() bool {
			resp, err := http.Get("http://" + s.OpsAddr() + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			metrics, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(string(metrics), line)
		})
	}
}

// MQTT is spoken on the port for devices too, with those who negotiate it, and one
// port serves both when it is given for both.
func TestOnePort(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %v", shared), func(t *testing.T) {
			t.Parallel()
			o := options(t.TempDir())
			if shared {
				// An address of this test alone, so that its port is free.
				host := fmt.Sprintf("127.%d.%d.%d", 1+rand.N(250), rand.N(250), 2+rand.N(250))
				o.DeviceAddr = net.JoinHostPort(host, "18443")
				o.MQTTAddr, o.PublicHosts = o.DeviceAddr, []string{host}
			}
			s := start(t, o)
			if (s.MQTTAddr() == s.DeviceAddr()) != shared {
				t.Errorf("MQTT at %s, HTTPS at %s", s.MQTTAddr(), s.DeviceAddr())
			}
			mill, lamp := s.provision("us-east-1", "mill"), s.provision("us-east-1", "lamp")
			asks := func(protocols ...string) func(*tls.Config) {
				return func(cfg *tls.Config) { cfg.NextProtos = protocols }
			}
			first := s.mqttClientAt(s.DeviceAddr(), mill, asks("x-amzn-mqtt-ca"))
			second := s.mqttClientAt(s.DeviceAddr(), lamp, asks("x-amzn-mqtt-ca"))
			first.wait("SUBSCRIBE", first.Subscribe("a/b", 1, nil))
			second.publish("a/b", `{"from":"lamp"}`)
			if topic, body := first.next(); topic != "a/b" || body["from"] != "lamp" {
				t.Errorf("%s %v", topic, body)
			}
			if _, err := s.link(mill).SigningKeys(t.Context()); err != nil {
				t.Errorf("HTTPS beside it: %v", err)
			}
			for what, tc := range map[string]struct {
				address   string
				protocols []string
				want      string // "" for a handshake that is refused
			}{
				"HTTPS by its name":            {s.DeviceAddr(), []string{"x-amzn-http-ca"}, "x-amzn-http-ca"},
				"MQTT by its name":             {s.DeviceAddr(), []string{"x-amzn-mqtt-ca"}, "x-amzn-mqtt-ca"},
				"another protocol":             {s.DeviceAddr(), []string{"h2"}, ""},
				"MQTT on its own port by name": {s.MQTTAddr(), []string{"x-amzn-mqtt-ca"}, "x-amzn-mqtt-ca"},
			} {
				cfg := s.trusting()
				cfg.Certificates, cfg.NextProtos = []tls.Certificate{mill.tls}, tc.protocols
				c, err := tls.Dial("tcp", tc.address, cfg)
				if (err == nil) != (tc.want != "") || err == nil && c.ConnectionState().NegotiatedProtocol != tc.want {
					t.Errorf("%s: %v", what, err)
				}
				if err == nil {
					c.Close()
				}
			}
			if !shared {
				s.mqttClientAt(s.MQTTAddr(), mill, asks("mqtt", "anything"))
			}
		})
	}
}

// A body that never comes is given up on both HTTP ports, with and without TLS.
func TestBodiesGivenUp(t *testing.T) {
	t.Parallel()
	for _, api := range []string{loopback, "0.0.0.0:0"} {
		o := options(t.TempDir())
		o.APIAddr = api
		o.Pace = inbound.Pace{Grace: time.Second, Rate: 1 << 20, Linger: time.Second}
		s := start(t, o)
		mill := s.provision("us-east-1", "mill")
		for _, request := range []string{
			"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n",
			"PUT /bucket/key HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
			"POST /things/mill/shadow HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
		} {
			for what, address := range map[string]string{"API": s.APIAddr(), "device": s.DeviceAddr()} {
				var c net.Conn
				var err error
				if what == "API" && s.APIScheme() == "http" {
					c, err = net.Dial("tcp", address)
				} else {
					cfg := s.trusting()
					cfg.InsecureSkipVerify, cfg.Certificates = true, []tls.Certificate{mill.tls}
					c, err = tls.Dial("tcp", address, cfg)
				}
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(c, request)
				c.SetReadDeadline(time.Now().Add(patience))
				answer, err := io.ReadAll(c)
				var timeout net.Error
				if !strings.HasPrefix(string(answer), "HTTP/1.1 ") || errors.As(err, &timeout) && timeout.Timeout() {
					t.Errorf("%s port, %.30q: answer %q, %v", what, request, answer, err)
				}
				c.Close()
			}
		}
	}
}

// Plain HTTP to a port of TLS is answered with words that the client shows.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.APIAddr = "0.0.0.0:0"
	s := start(t, o)
	const authorization = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDX/20261129/us-east-1/%s/aws4_request, SignedHeaders=host, Signature=00\r\n"
	api := strings.Replace(s.APIAddr(), "[::]", "127.0.0.1", 1)
	for _, tc := range []struct{ what, address, request, want string }{
		{"greengrass", api, "GET /greengrass/groups HTTP/1.1\r\nHost: h:1\r\n" + fmt.Sprintf(authorization, "greengrass"), `"Message":"This port speaks HTTPS, and the request came as HTTP: have the endpoint URL begin with https://, for example AWS_ENDPOINT_URL=https://h:1"`},
		{"sts", api, "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n" + fmt.Sprintf(authorization, "sts"), "<Message>This port speaks HTTPS"},
		{"s3", api, "GET /bucket/key HTTP/1.1\r\nHost: h\r\n" + fmt.Sprintf(authorization, "s3"), "<Message>This port speaks HTTPS"},
		{"secretsmanager", api, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: secretsmanager.ListSecrets\r\n" + fmt.Sprintf(authorization, "secretsmanager"), `"Message":"This port speaks HTTPS`},
		{"no service", api, "POST /healthz HTTP/1.1\r\nHost: h\r\n", "This port speaks HTTPS"},
		{"device", s.DeviceAddr(), "GET /greengrass/discover/thing/lamp HTTP/1.1\r\nHost: h\r\n", "This port speaks HTTPS with a client certificate"},
		{"MQTT", s.MQTTAddr(), "GET / HTTP/1.1\r\nHost: h\r\n", "This port speaks MQTT over TLS"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			c, err := net.Dial("tcp", tc.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			io.WriteString(c, tc.request+"\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 400 || !strings.Contains(string(text), tc.want) {
				t.Errorf("%d %s, %v", resp.StatusCode, text, err)
			}
		})
	}
	t.Run("the AWS SDK shows it", func(t *testing.T) {
		client := greengrass.New(greengrass.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + api), Credentials: s.credentials(s.key)})
		if _, err := client.ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err == nil || !strings.Contains(err.Error(), "This port speaks HTTPS") {
			t.Errorf("%v", err)
		}
	})
}

// What concerns the whole server is returned to its own account, or on the operators'
// address.
func TestOperatorsAddress(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.OpsAddr = loopback
	s := start(t, o)
	for path, want := range map[string]string{"/metrics": "fescue_mqtt_connections 0", "/fescue/v1/events": `{"destinations":[{"destination":"mqtt"`, "/healthz": "ok", "/readyz": "ok"} {
		resp, err := http.Get("http://" + s.OpsAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %.300s, %v", path, resp.StatusCode, text, err)
		}
	}
	for _, path := range []string{"/", "//metrics", "/greengrass/groups", "/fescue/v1/endpoints"} {
		resp, err := http.Get("http://" + s.OpsAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	outsider := s.keyOf("999999999999", identity.Grant{Access: identity.Admin})
	for _, path := range []string{"/fescue/v1/metrics", "/fescue/v1/events"} {
		if status, text, _ := s.sendAs("us-east-1", s.key, "GET", path); status != 200 || text == "" {
			t.Errorf("%s: %d %.300s", path, status, text)
		}
		if status, text, _ := s.sendAs("us-east-1", outsider, "GET", path); status != 403 || !strings.Contains(text, "for its own account alone, "+account) {
			t.Errorf("%s for another account: %d %.300s", path, status, text)
		}
	}
	_, text, header := s.sendAs("us-east-1", s.key, "GET", "/fescue/v1/events")
	var answer struct {
		Destinations []struct{ Destination string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Destinations) != 1 || header.Get("Content-Type") != "application/json" {
		t.Errorf("%s, %v", text, err)
	}
}
