package cloud_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/coder/websocket"
	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/testkit"
)

// signedURL is the URL of a WebSocket, for as whom in which Region it is signed.
type signedURL struct {
	credentials     aws.Credentials
	region, service string // us-east-1, iotdevicegateway
	at              time.Time
	// expires is X-Amz-Expires in seconds, left out when it is empty.
	expires string
	// tokenAfter appends the session token after signing, as the AWS SDKs do.
	tokenAfter bool
}

func (u signedURL) withDefaults() signedURL {
	if u.region == "" {
		u.region = "us-east-1"
	}
	if u.service == "" {
		u.service = "iotdevicegateway"
	}
	if u.at.IsZero() {
		u.at = time.Now()
	}
	return u
}

// webSocket is the address of MQTT over WebSocket, signed in the query.
func (s *server) webSocket(u signedURL) string {
	s.t.Helper()
	u = u.withDefaults()
	_, base := s.client()
	request, err := http.NewRequest(http.MethodGet, base+"/mqtt", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if u.expires != "" {
		request.URL.RawQuery = "X-Amz-Expires=" + u.expires
	}
	token := u.credentials.SessionToken
	if u.tokenAfter {
		u.credentials.SessionToken = ""
	}
	signed, _, err := v4.NewSigner().PresignHTTP(s.t.Context(), u.credentials, request, emptyBody, u.service, u.region, u.at)
	if err != nil {
		s.t.Fatal(err)
	}
	if u.tokenAfter {
		signed += "&X-Amz-Security-Token=" + url.QueryEscape(token)
	}
	return "ws" + strings.TrimPrefix(signed, "http")
}

var emptyBody = hex.EncodeToString(sha256.New().Sum(nil))

func credentialsOf(key cloud.AccessKey) aws.Credentials {
	return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}
}

// backend is a client of MQTT over WebSocket.
type backend struct {
	paho.Client
	t    *testing.T
	got  chan string
	lost chan error
}

// dialBackend connects with a URL; the client is of use when the error is nil.
func (s *server) dialBackend(t *testing.T, address, clientID string, header http.Header) (*backend, error) {
	t.Helper()
	b := &backend{t: t, got: make(chan string, 100), lost: make(chan error, 1)}
	o := paho.NewClientOptions().AddBroker(address).SetClientID(clientID).SetTLSConfig(s.trusting()).SetHTTPHeaders(header).
		SetAutoReconnect(false).SetConnectRetry(false).SetProtocolVersion(4).SetConnectTimeout(patience).
		SetConnectionLostHandler(func(_ paho.Client, err error) { b.lost <- err }).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { b.got <- m.Topic() + " " + string(m.Payload()) })
	b.Client = paho.NewClient(o)
	token := b.Connect()
	if !token.WaitTimeout(patience) {
		t.Fatal("the connection was not answered")
	}
	if token.Error() == nil {
		t.Cleanup(func() { b.Disconnect(0) })
	}
	return b, token.Error()
}

// backend connects as a key.
func (s *server) backend(t *testing.T, u signedURL, clientID string) *backend {
	t.Helper()
	b, err := s.dialBackend(t, s.webSocket(u), clientID, nil)
	if err != nil {
		t.Fatalf("connect %s: %v", clientID, err)
	}
	return b
}

// subscribe gives the granted QoS, or 0x80.
func (b *backend) subscribe(filter string) byte {
	b.t.Helper()
	token := b.Subscribe(filter, 1, nil)
	if !token.WaitTimeout(patience) {
		b.t.Fatalf("SUBSCRIBE %s was not answered", filter)
	}
	return token.(*paho.SubscribeToken).Result()[filter]
}

func (b *backend) publish(topic, payload string) {
	b.t.Helper()
	if token := b.Publish(topic, 1, false, payload); !token.WaitTimeout(patience) || token.Error() != nil {
		b.t.Fatalf("PUBLISH %s: %v", topic, token.Error())
	}
}

func (b *backend) expect(want string) {
	b.t.Helper()
	select {
	case got := <-b.got:
		if got != want {
			b.t.Fatalf("got %q, want %q", got, want)
		}
	case <-time.After(patience):
		b.t.Fatalf("%q did not come", want)
	}
}

// ended waits for the server to close the connection.
func (b *backend) ended() {
	b.t.Helper()
	select {
	case <-b.lost:
	case <-time.After(patience):
		b.t.Fatal("the connection was not closed")
	}
}

// refusal asks for a WebSocket without opening one, and gives the answer's status and text.
func (s *server) refusal(t *testing.T, address string, change func(*http.Request)) (int, string) {
	t.Helper()
	client, _ := s.client()
	r, err := http.NewRequest(http.MethodGet, "http"+strings.TrimPrefix(address, "ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13",
		"Sec-Websocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-Websocket-Protocol": "mqtt",
	} {
		r.Header.Set(name, value)
	}
	if change != nil {
		change(r)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return answer.StatusCode, ""
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// TestWebSocket: MQTT for backends and browsers that have an access key.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.APIAddr = ":0" // so that it speaks TLS
	s := start(t, o)
	admin := credentialsOf(s.key)

	t.Run("messages", func(t *testing.T) {
		listener := s.backend(t, signedURL{credentials: admin}, "listener")
		elsewhere := s.backend(t, signedURL{credentials: admin, region: "eu-west-1"}, "listener")
		other := s.backend(t, signedURL{credentials: credentialsOf(s.keyOf("210987654321", identity.Grant{Access: "admin"}))}, "listener")
		for _, b := range []*backend{listener, elsewhere, other} {
			if code := b.subscribe("mill/+"); code != 1 {
				t.Fatalf("granted %#x", code)
			}
		}
		sender := s.backend(t, signedURL{credentials: admin, service: "iotdata", expires: "60"}, "sender")
		sender.publish("mill/speed", "12")
		listener.expect("mill/speed 12")
		elsewhere.publish("mill/speed", "of another Region")
		elsewhere.expect("mill/speed of another Region")
		other.publish("mill/speed", "of another account")
		other.expect("mill/speed of another account")
		if status, _, answer := s.signed("us-east-1", "iotdata", "POST", "/topics/mill%2Fspeed?qos=1", "13"); status != http.StatusOK {
			t.Fatal(answer)
		}
		listener.expect("mill/speed 13")
		if n := len(listener.got) + len(elsewhere.got) + len(other.got); n > 0 {
			t.Errorf("%d messages of other partitions", n)
		}
	})
	t.Run("shadow", func(t *testing.T) {
		b := s.backend(t, signedURL{credentials: admin}, "shadow")
		b.subscribe("$aws/things/lamp/shadow/update/accepted")
		b.publish("$aws/things/lamp/shadow/update", `{"state":{"desired":{"on":true}}}`)
		select {
		case got := <-b.got:
			_, text, _ := strings.Cut(got, " ")
			var d struct {
				State struct{ Desired struct{ On bool } }
			}
			if json.Unmarshal([]byte(text), &d) != nil || !d.State.Desired.On {
				t.Error(got)
			}
		case <-time.After(patience):
			t.Fatal("no answer")
		}
	})
	t.Run("signed in headers", func(t *testing.T) {
		_, base := s.client()
		r, err := http.NewRequest(http.MethodGet, base+"/mqtt", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := v4.NewSigner().SignHTTP(t.Context(), admin, r, emptyBody, "iotdevicegateway", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		b, err := s.dialBackend(t, "ws"+strings.TrimPrefix(base, "http")+"/mqtt", "headers", r.Header)
		if err != nil {
			t.Fatal(err)
		}
		b.publish("a", "b")
	})
	t.Run("a URL again", func(t *testing.T) { // as on AWS IoT: it is good for as long as it says
		address := s.webSocket(signedURL{credentials: admin})
		for _, id := range []string{"first", "second"} {
			b, err := s.dialBackend(t, address, id, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.publish("a", id)
		}
	})
	t.Run("a client id again", func(t *testing.T) {
		first, elsewhere := s.backend(t, signedURL{credentials: admin}, "same"), s.backend(t, signedURL{credentials: admin, region: "eu-west-1"}, "same")
		second := s.backend(t, signedURL{credentials: admin}, "same")
		first.ended()
		second.publish("a", "b")
		elsewhere.publish("a", "b")
	})
	t.Run("temporary keys", func(t *testing.T) {
		s.form("CreateRole", "RoleName", "dashboard", "AssumeRolePolicyDocument",
			`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+account+`:root"},"Action":"sts:AssumeRole"}}`)
		s.form("PutRolePolicy", "RoleName", "dashboard", "PolicyName", "p", "PolicyDocument", `{"Statement":[
			{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:`+account+`:client/dashboard-*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}},
			{"Effect":"Allow","Action":["iot:Subscribe"],"Resource":"arn:aws:iot:us-east-1:`+account+`:topicfilter/mill/*"},
			{"Effect":"Allow","Action":["iot:Receive","iot:Publish"],"Resource":"arn:aws:iot:us-east-1:`+account+`:topic/mill/ok"}]}`)
		made, err := s.sts(s.key).AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: aws.String("arn:aws:iam::" + account + ":role/dashboard"), RoleSessionName: aws.String("browser"),
		})
		if err != nil {
			t.Fatal(err)
		}
		temporary := aws.Credentials{AccessKeyID: *made.Credentials.AccessKeyId, SecretAccessKey: *made.Credentials.SecretAccessKey, SessionToken: *made.Credentials.SessionToken}
		b := s.backend(t, signedURL{credentials: temporary, tokenAfter: true}, "dashboard-1")
		signed := s.backend(t, signedURL{credentials: temporary}, "dashboard-2")
		if code := b.subscribe("mill/+"); code != 1 {
			t.Errorf("mill/+: %#x", code)
		}
		if code := b.subscribe("saw/+"); code != 0x80 {
			t.Errorf("saw/+: %#x", code)
		}
		signed.publish("mill/ok", "1")
		b.expect("mill/ok 1")
		all := s.backend(t, signedURL{credentials: admin}, "all")
		all.publish("mill/secret", "2")
		all.publish("mill/ok", "3")
		b.expect("mill/ok 3")
		signed.Publish("mill/secret", 1, false, "4")
		signed.ended()
		if _, err := s.dialBackend(t, s.webSocket(signedURL{credentials: temporary}), "another", nil); err == nil {
			t.Error("a client id that the role does not have")
		}
		s.form("DeleteRolePolicy", "RoleName", "dashboard", "PolicyName", "p")
		testkit.Eventually(t, "the role has no policy", func() error {
			if code := b.subscribe("mill/ok"); code != 0x80 {
				return errors.New("it is still granted")
			}
			return nil
		})
	})
	t.Run("a limited key", func(t *testing.T) {
		limited := signedURL{credentials: credentialsOf(s.keyWith(identity.Grant{Access: "deployer", Limit: identity.Limit{Things: []string{"mill-*"}}}))}
		b := s.backend(t, limited, "mill-dashboard")
		for filter, want := range map[string]byte{
			"$aws/things/mill-1/shadow/#": 1, "$aws/things/saw-1/shadow/#": 0x80, "$aws/things/+/shadow/#": 0x80, "$aws/things/#": 0x80, "mill/#": 0x80, "#": 0x80,
		} {
			if code := b.subscribe(filter); code != want {
				t.Errorf("%s: %#x", filter, code)
			}
		}
		b.publish("$aws/things/mill-1/shadow/get", "")
		b.Publish("$aws/things/saw-1/shadow/get", 1, false, "")
		b.ended()
		if _, err := s.dialBackend(t, s.webSocket(limited), "saw-1", nil); err == nil {
			t.Error("connected with the client id of another's thing")
		}
	})
	t.Run("a revoked key", func(t *testing.T) {
		gone, stays := s.keyWith(identity.Grant{Access: "admin"}), s.keyWith(identity.Grant{Access: "admin"})
		b, c := s.backend(t, signedURL{credentials: credentialsOf(gone)}, "gone"), s.backend(t, signedURL{credentials: credentialsOf(stays)}, "stays")
		keys, closeKeys, err := cloud.OpenKeys(t.Context(), cloud.State{DataDir: s.dir}, options(s.dir).Logger)
		if err != nil {
			t.Fatal(err)
		}
		defer closeKeys()
		if err := keys.Revoke(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		b.ended()
		c.publish("a", "b")
	})
	t.Run("refused", func(t *testing.T) {
		reader := credentialsOf(s.keyWith(identity.Grant{Access: "reader"}))
		header := func(name, value string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set(name, value) }
		}
		for _, tc := range []struct {
			name   string
			url    signedURL
			change func(*http.Request)
			status int
			says   string
		}{
			{"expired", signedURL{credentials: admin, at: time.Now().Add(-20 * time.Minute)}, nil, 403, "expired"},
			{"expired after its time", signedURL{credentials: admin, at: time.Now().Add(-2 * time.Minute), expires: "60"}, nil, 403, "expired"},
			{"of tomorrow", signedURL{credentials: admin, at: time.Now().Add(24 * time.Hour)}, nil, 403, "not yet current"},
			{"another secret", signedURL{credentials: aws.Credentials{AccessKeyID: admin.AccessKeyID, SecretAccessKey: "another"}}, nil, 403, "does not match"},
			{"an unknown key", signedURL{credentials: aws.Credentials{AccessKeyID: "AKIAUNKNOWN", SecretAccessKey: "another"}}, nil, 403, "no active access key"},
			{"a Region that is not served", signedURL{credentials: admin, region: "eu-north-1"}, nil, 403, "eu-north-1"},
			{"another service", signedURL{credentials: admin, service: "greengrass"}, nil, 404, "iotdevicegateway"},
			{"a reader", signedURL{credentials: reader}, nil, 403, "iot:Connect"},
			{"no subprotocol", signedURL{credentials: admin}, func(r *http.Request) { r.Header.Del("Sec-Websocket-Protocol") }, 400, "subprotocol mqtt"},
			{"another subprotocol", signedURL{credentials: admin}, header("Sec-Websocket-Protocol", "graphql-ws"), 400, "graphql-ws"},
			{"another version", signedURL{credentials: admin}, header("Sec-Websocket-Version", "8"), 400, "Sec-WebSocket-Version"},
			{"a signature of another path", signedURL{credentials: admin}, func(r *http.Request) { r.URL.RawQuery += "&x=y" }, 403, "does not match"},
			{"no signature", signedURL{credentials: admin}, func(r *http.Request) { r.URL.RawQuery = "" }, 403, "not signed"},
			{"a body", signedURL{credentials: admin}, func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 }, 400, "no body"},
			{"a body of unknown length", signedURL{credentials: admin}, func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1 }, 400, "no body"},
			{"from any page", signedURL{credentials: admin}, header("Origin", "https://dashboard.example.com"), 101, ""},
		} {
			t.Run(tc.name, func(t *testing.T) {
				status, text := s.refusal(t, s.webSocket(tc.url), tc.change)
				if status != tc.status || !strings.Contains(text, tc.says) || strings.Contains(text, admin.SecretAccessKey) {
					t.Errorf("%d %s", status, text)
				}
			})
		}
	})
	t.Run("text", func(t *testing.T) {
		client, _ := s.client()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, s.webSocket(signedURL{credentials: admin}), &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"mqtt"}})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		if err := ws.Write(ctx, websocket.MessageText, []byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.Read(ctx); ctx.Err() != nil {
			t.Errorf("the WebSocket goes on: %v", err)
		}
	})
	t.Run("packets in pieces", func(t *testing.T) {
		client, _ := s.client()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, s.webSocket(signedURL{credentials: admin}), &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"mqtt"}})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		// CONNECT in two messages, PINGREQ twice in one, with an empty one between.
		for _, piece := range []string{"\x10\x0d\x00\x04MQ", "TT\x04\x02\x00\x3c\x00\x01a", "", "\xc0\x00\xc0\x00"} {
			if err := ws.Write(ctx, websocket.MessageBinary, []byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		var got []byte
		for len(got) < 8 {
			_, part, err := ws.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, part...)
		}
		if string(got) != "\x20\x02\x00\x00\xd0\x00\xd0\x00" {
			t.Errorf("answered % x", got)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		_, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/metrics")
		for _, want := range []string{`fescue_api_requests_total{operation="Connect",service="iotdata",status="101"}`, `fescue_api_requests_total{operation="Connect",service="iotdata",status="400"}`} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s", want)
			}
		}
	})
}

// TestWebSocketShares: one key leaves room for others, and all for the API's calls.
func TestWebSocketShares(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Descriptors = 200 // four WebSockets, two for a key
	s := start(t, o)
	admin := credentialsOf(s.key)
	first := s.backend(t, signedURL{credentials: admin}, "1")
	s.backend(t, signedURL{credentials: admin}, "2")
	if status, text := s.refusal(t, s.webSocket(signedURL{credentials: admin}), nil); status != http.StatusTooManyRequests || !strings.Contains(text, "WebSockets") {
		t.Errorf("%d %s", status, text)
	}
	s.backend(t, signedURL{credentials: credentialsOf(s.keyWith(identity.Grant{Access: "admin"}))}, "3")
	if status, _, answer := s.signed("us-east-1", "greengrass", "GET", "/greengrass/groups", ""); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
	// Temporary keys are no way round: they count for the key that they are from.
	made, err := s.sts(s.key).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	temporary := aws.Credentials{AccessKeyID: *made.Credentials.AccessKeyId, SecretAccessKey: *made.Credentials.SecretAccessKey, SessionToken: *made.Credentials.SessionToken}
	if status, text := s.refusal(t, s.webSocket(signedURL{credentials: temporary}), nil); status != http.StatusTooManyRequests {
		t.Errorf("a temporary key: %d %s", status, text)
	}
	first.Disconnect(0)
	testkit.Eventually(t, "the place of the one that left", func() error {
		_, err := s.dialBackend(t, s.webSocket(signedURL{credentials: admin}), "4", nil)
		return err
	})
}
