package cloud_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue/testkit"
)

// byBalancer connects as the load balancer at 127.0.0.2 does for a client at 198.51.100.7,
// or with another way to begin.
func byBalancer(ctx context.Context, address, begin string) (net.Conn, error) {
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext(ctx, "tcp", address)
	if err == nil {
		_, err = io.WriteString(c, begin)
	}
	return c, err
}

const forClient = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc6\x33\x64\x07\x7f\x00\x00\x01\x12\x67\x01\xbb"

// TestBehindALoadBalancer: audit and policies see the client's address, on each port, as the
// load balancer says it, and nobody else's word is taken.
func TestBehindALoadBalancer(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.ProxyProtocol = []string{"127.0.0.2"}
	var log testkit.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := start(t, o)

	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return byBalancer(ctx, address, forClient)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	api := s.greengrass("us-east-1", s.key)
	for _, by := range []func(*greengrass.Options){func(o *greengrass.Options) { o.HTTPClient = client }, func(*greengrass.Options) {}} {
		if _, err := api.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("g")}, by); err != nil {
			t.Fatal(err)
		}
	}
	_, body, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/audit?Operation=CreateGroup")
	var records struct{ Records []struct{ SourceIp string } }
	if err := json.Unmarshal([]byte(body), &records); err != nil || len(records.Records) != 2 || records.Records[0].SourceIp != "198.51.100.7" || records.Records[1].SourceIp != "127.0.0.1" {
		t.Errorf("%s, %v", body, err)
	}

	lamp := s.provision("us-east-1", "lamp")
	s.replacePolicy("us-east-1", "lamp", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"198.51.100.0/24"}}}}`)
	for _, port := range []struct{ address, protocol string }{{s.MQTTAddr(), ""}, {s.DeviceAddr(), "x-amzn-mqtt-ca"}} {
		for begin, welcome := range map[string]bool{forClient: true, strings.Replace(forClient, "\xc6", "\xc5", 1): false} {
			connected := paho.NewClient(paho.NewClientOptions().AddBroker("ssl://" + port.address).SetClientID("lamp").SetAutoReconnect(false).SetConnectTimeout(patience).
				SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
					raw, err := byBalancer(t.Context(), port.address, begin)
					if err != nil {
						return nil, err
					}
					cfg := s.trusting()
					cfg.ServerName, cfg.Certificates = "127.0.0.1", []tls.Certificate{lamp.tls}
					if port.protocol != "" {
						cfg.NextProtos = []string{port.protocol}
					}
					return tls.Client(raw, cfg), nil
				}))
			token := connected.Connect()
			if !token.WaitTimeout(patience) || (token.Error() == nil) != welcome {
				t.Errorf("%s: MQTT of a client that begins with %q: %v", port.address, begin, token.Error())
			}
			connected.Disconnect(0)
		}
	}

	// The load balancer without a word, and a word of somebody else's.
	for _, address := range []string{s.APIAddr(), s.DeviceAddr(), s.MQTTAddr()} {
		silent, err := byBalancer(t.Context(), address, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		stranger, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if _, err := io.WriteString(stranger, forClient+"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{silent, stranger} {
			if got, _ := io.ReadAll(c); len(got) > 0 {
				t.Errorf("%s answers %q", address, got)
			}
		}
	}
	for _, want := range []string{"it is from a load balancer and does not begin with a header", "is from no load balancer whose address is known"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}

	o.ProxyProtocol = []string{"lb.example.com"}
	o.DataDir = t.TempDir()
	if got := refused(t, o); !strings.Contains(got, `--proxy-protocol: "lb.example.com" is neither an IP address nor a network`) {
		t.Error(got)
	}
}

// TestRefusalsBehindALoadBalancer: who is refused too often is asked to come slower, and
// nobody else whom the load balancer brings.
func TestRefusalsBehindALoadBalancer(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.ProxyProtocol, o.Refusals = []string{"127.0.0.2"}, 0.01 // a tenth at once, and at least one
	s := start(t, o)
	refusal := func(begin string) int {
		t.Helper()
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return byBalancer(ctx, address, begin)
		}}}
		resp, err := client.Get("http://" + s.APIAddr() + "/greengrass/groups")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	testkit.Until(t, "the client's address is throttled", func() bool { return refusal(forClient) == http.StatusTooManyRequests })
	other := strings.Replace(forClient, "\xc6", "\xc5", 1)
	if first, again := refusal(other), refusal(forClient); first != http.StatusForbidden || again != http.StatusTooManyRequests {
		t.Errorf("another address is answered %d, the first one %d then", first, again)
	}
}
