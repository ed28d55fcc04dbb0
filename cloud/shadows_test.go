package cloud_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// signed sends a request that is signed for a service, and returns the status,
// the exception and the body.
func (s *server) signed(region, service, method, path, body string) (status int, exception, answer string) {
	s.t.Helper()
	return s.signedWith(cloud.AccessKey{}, region, service, method, path, body)
}

// signedWith is signed with another key than the server's own.
func (s *server) signedWith(key cloud.AccessKey, region, service, method, path, body string) (status int, exception, answer string) {
	s.t.Helper()
	client, base := s.client()
	req, err := http.NewRequestWithContext(s.t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	credentials, err := s.credentials(key).Retrieve(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(s.t.Context(), credentials, req, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	return answered(s.t, client, req)
}

func answered(t *testing.T, client *http.Client, req *http.Request) (status int, exception, answer string) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("x-amzn-ErrorType"), string(data)
}

// mqttClient is a paho client of a device.
type mqttClient struct {
	paho.Client
	t    *testing.T
	got  chan paho.Message
	lost chan error
}

func (s *server) mqttClient(c core) *mqttClient {
	s.t.Helper()
	return s.mqttClientAt(s.MQTTAddr(), c, func(*tls.Config) {})
}

func (s *server) mqttClientAt(address string, c core, set func(*tls.Config)) *mqttClient {
	s.t.Helper()
	cfg := s.trusting()
	cfg.Certificates = []tls.Certificate{c.tls}
	set(cfg)
	m := &mqttClient{t: s.t, got: make(chan paho.Message, 1000), lost: make(chan error, 1)}
	m.Client = paho.NewClient(paho.NewClientOptions().AddBroker("ssl://" + address).SetClientID(c.thing).
		SetTLSConfig(cfg).SetAutoReconnect(false).SetConnectTimeout(patience).
		SetConnectionLostHandler(func(_ paho.Client, err error) { m.lost <- err }).
		SetDefaultPublishHandler(func(_ paho.Client, msg paho.Message) { m.got <- msg }))
	m.wait("CONNECT", m.Connect())
	s.t.Cleanup(func() { m.Disconnect(0) })
	return m
}

func (m *mqttClient) wait(what string, token paho.Token) {
	m.t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		m.t.Fatalf("%s: %v", what, token.Error())
	}
}

func (m *mqttClient) publish(topic, payload string) {
	m.t.Helper()
	m.wait("PUBLISH "+topic, m.Publish(topic, 1, false, payload))
}

// catchUp waits until everything that was published before has been handed to who subscribed
// to it: a message may find filters that come after its acknowledgement.
func (m *mqttClient) catchUp() {
	m.t.Helper()
	const name = "caught/up"
	m.wait("SUBSCRIBE", m.Subscribe(name, 1, nil))
	m.publish(name, "{}")
	if topic, _ := m.next(); topic != name {
		m.t.Fatalf("a message on %s came", topic)
	}
	m.wait("UNSUBSCRIBE", m.Unsubscribe(name))
}

// next is the next message, as JSON.
func (m *mqttClient) next() (topic string, body map[string]any) {
	m.t.Helper()
	select {
	case msg := <-m.got:
		if err := json.Unmarshal(msg.Payload(), &body); err != nil {
			m.t.Fatalf("%s: %v in %s", msg.Topic(), err, msg.Payload())
		}
		return msg.Topic(), body
	case <-time.After(patience):
		m.t.Fatal("no message came")
		return "", nil
	}
}

// expect waits for messages on topics below a prefix, in any order since they are
// subscribed by different filters, and returns the bodies by topic.
func (m *mqttClient) expect(prefix string, rest ...string) map[string]map[string]any {
	m.t.Helper()
	bodies := map[string]map[string]any{}
	for range rest {
		topic, body := m.next()
		bodies[strings.TrimPrefix(topic, prefix)] = body
	}
	for _, r := range rest {
		if bodies[r] == nil {
			m.t.Fatalf("got %v, want %v", bodies, rest)
		}
	}
	return bodies
}

func TestShadows(t *testing.T) {
	t.Parallel()
	s := start(t, options(t.TempDir()))
	lamp := s.provision("us-east-1", "lamp")
	device := s.mqttClient(lamp)
	const p = "$aws/things/lamp/shadow/"
	device.wait("SUBSCRIBE", device.SubscribeMultiple(map[string]byte{
		p + "get/+": 1, p + "update/+": 1, p + "delete/+": 1, p + "name/night/update/accepted": 1,
	}, nil))
	number := func(body map[string]any, member string) float64 { n, _ := body[member].(float64); return n }

	t.Run("over MQTT", func(t *testing.T) {
		device.publish(p+"get", "")
		if got := device.expect(p, "get/rejected")["get/rejected"]; number(got, "code") != 404 {
			t.Errorf("%v", got)
		}
		device.publish(p+"update", `{"state":{"desired":{"on":true},"reported":{"on":false}},"clientToken":"t"}`)
		got := device.expect(p, "update/delta", "update/documents", "update/accepted")
		if number(got["update/accepted"], "version") != 1 || got["update/accepted"]["clientToken"] != "t" {
			t.Errorf("%v", got)
		}
		if state, _ := got["update/delta"]["state"].(map[string]any); state["on"] != true {
			t.Errorf("%v", got)
		}
		device.publish(p+"update", `{"state":{},"version":7}`)
		if got := device.expect(p, "update/rejected")["update/rejected"]; number(got, "code") != 409 {
			t.Errorf("%v", got)
		}
	})
	t.Run("over HTTP, which devices receive", func(t *testing.T) {
		const path = "/things/lamp/shadow"
		if status, _, body := s.signed("us-east-1", "iotdata", "POST", path, `{"state":{"reported":{"on":true}}}`); status != 200 || !strings.Contains(body, `"version":2`) {
			t.Errorf("update: %d %s", status, body)
		}
		device.expect(p, "update/documents", "update/accepted")
		for _, tc := range []struct {
			method, path, body string
			status             int
			exception, want    string
		}{
			{"GET", path, "", 200, "", `"desired":{"on":true}`},
			{"GET", path + "?name=night", "", 404, "ResourceNotFoundException", "No shadow exists with name: 'night'"},
			{"GET", path + "?name=", "", 400, "InvalidRequestException", "Invalid shadow name"},
			{"GET", "/things/a%20b/shadow", "", 400, "InvalidRequestException", "Invalid thing name"},
			{"POST", path, `{"state":{},"version":1}`, 409, "ConflictException", "Version conflict"},
			{"POST", path, ``, 400, "InvalidRequestException", "Missing update payload"},
			{"POST", path, "\xff", 415, "UnsupportedDocumentEncodingException", "UTF-8"},
			{"POST", path, `{"state":{"reported":{"a":"` + strings.Repeat("x", 9000) + `"}}}`, 413, "RequestEntityTooLargeException", "maximum size"},
			{"PUT", path, `{}`, 404, "UnknownOperationException", "PUT"},
			{"DELETE", path + "?name=none", "", 404, "ResourceNotFoundException", "'none'"},
			{"GET", "/api/things/shadow/ListNamedShadowsForThing/lamp?pageSize=0", "", 400, "InvalidRequestException", "pageSize"},
			{"GET", "/api/things/shadow/ListNamedShadowsForThing/lamp?nextToken=x", "", 400, "InvalidRequestException", "nextToken"},
		} {
			status, exception, body := s.signed("us-east-1", "iotdata", tc.method, tc.path, tc.body)
			if status != tc.status || exception != tc.exception || !strings.Contains(body, tc.want) {
				t.Errorf("%s %s: %d %s %s; want %d %s with %s", tc.method, tc.path, status, exception, body, tc.status, tc.exception, tc.want)
			}
		}
	})
	t.Run("named ones, and a publish by HTTP that is a request", func(t *testing.T) {
		if status, _, body := s.signed("us-east-1", "iotdata", "POST", "/topics/%24aws%2Fthings%2Flamp%2Fshadow%2Fname%2Fnight%2Fupdate", `{"state":{"desired":{"dim":1}}}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		device.expect(p, "name/night/update/accepted")
		for i := range 26 {
			if status, _, body := s.signed("us-east-1", "iotdata", "POST", fmt.Sprintf("/things/lamp/shadow?name=n%02d", i), `{"state":{}}`); status != 200 {
				t.Fatalf("%d %s", status, body)
			}
		}
		var names []string
		for token, pages := "", 0; pages == 0 || token != ""; pages++ {
			status, _, body := s.signed("us-east-1", "iotdata", "GET", "/api/things/shadow/ListNamedShadowsForThing/lamp?nextToken="+token, "")
			var page struct {
				Results   []string
				NextToken string
				Timestamp int64
			}
			if err := json.Unmarshal([]byte(body), &page); err != nil || status != 200 || page.Timestamp == 0 || pages > 1 {
				t.Fatalf("%d %s, %v", status, body, err)
			}
			names, token = append(names, page.Results...), page.NextToken
		}
		if len(names) != 27 || !slices.IsSorted(names) || names[26] != "night" {
			t.Errorf("%v", names)
		}
	})
	t.Run("with the device's certificate over HTTPS", func(t *testing.T) {
		cfg := s.trusting()
		cfg.Certificates = []tls.Certificate{lamp.tls}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
		defer client.CloseIdleConnections()
		for _, tc := range []struct {
			method, path, body string
			status             int
			want               string
		}{
			{"GET", "/things/lamp/shadow", "", 200, `"version":2`},
			{"POST", "/things/lamp/shadow?name=night", `{"state":{"reported":{"dim":1}}}`, 200, `"version":2`},
			{"POST", "/things/lamp/shadow", `{"state":{},"version":9}`, 409, `{"code":409,"message":"Version conflict"}`},
			{"DELETE", "/things/lamp/shadow?name=none", "", 404, `{"code":404,"message":"No shadow exists with name: 'none'"}`},
			{"POST", "/things/lamp/shadow", strings.Repeat(" ", 129<<10), 413, `"code":413`},
		} {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "https://"+s.DeviceAddr()+tc.path, bytes.NewReader([]byte(tc.body)))
			if err != nil {
				t.Fatal(err)
			}
			if status, _, body := answered(t, client, req); status != tc.status || !strings.Contains(body, tc.want) {
				t.Errorf("%s %s: %d %s; want %d with %s", tc.method, tc.path, status, body, tc.status, tc.want)
			}
		}
		device.expect(p, "name/night/update/accepted")
	})
	t.Run("as a core keeps them in step", func(t *testing.T) {
		cfg := s.trusting()
		cfg.Certificates = []tls.Certificate{lamp.tls}
		client := corelink.NewClient(s.DeviceAddr(), cfg)
		defer client.Close()
		ctx, of := t.Context(), corelink.Shadows{Client: client, Timeout: patience}
		id := shadow.ID{Thing: "saw", Name: "blade"}
		refused := func(err error, status int, code string) {
			t.Helper()
			var e *corelink.StatusError
			if !errors.As(err, &e) || e.HTTPStatus != status || e.Code != code {
				t.Errorf("%v, want %d with the code %s", err, status, code)
			}
		}
		if d, err := of.Shadow(ctx, id); err != nil || d.Version != 0 || !d.Deleted.IsZero() {
			t.Errorf("one that never was: %+v, %v", d, err)
		}
		u, err := shadow.ParseUpdate([]byte(`{"state":{"desired":{"speed":1e3}},"version":1}`), shadow.CloudLimits)
		if err != nil {
			t.Fatal(err)
		}
		if version, err := of.UpdateShadow(ctx, id, u); err != nil || version != 1 {
			t.Fatalf("%d, %v", version, err)
		}
		if d, err := of.Shadow(ctx, id); err != nil || d.Version != 1 || fmt.Sprint(d.Desired) != "map[speed:1e3]" {
			t.Errorf("%+v, %v", d, err)
		}
		u.Version = 7
		_, err = of.UpdateShadow(ctx, id, u)
		refused(err, 409, "Shadow")
		refused(of.DeleteShadow(ctx, id, 7), 409, "Shadow")
		for i := range 101 {
			if _, err := of.UpdateShadow(ctx, shadow.ID{Thing: "saw", Name: fmt.Sprintf("n%03d", i)}, shadow.Update{}); err != nil {
				t.Fatal(err)
			}
		}
		names, err := of.ShadowNames(ctx, "saw")
		if err != nil || len(names) != 102 || names[0] != "blade" || names[101] != "n100" {
			t.Errorf("%v, %v", names, err)
		}
		of.Core = "lamp"
		marks, err := of.ShadowMarks(ctx, []string{"saw", "none"})
		if err != nil || len(marks) != 2 || len(marks["saw"]) != 102 || len(marks["none"]) != 0 {
			t.Errorf("%v, %v", marks, err)
		}
		if d, err := of.Shadow(ctx, id); err != nil || marks["saw"]["blade"] != d.Mark() {
			t.Errorf("the mark of %+v is %v, %v", d, marks["saw"]["blade"], err)
		}
		_, err = of.ShadowMarks(ctx, make([]string, corelink.MaxShadowThings+1))
		refused(err, 400, "Invalid")
		_, err = of.ShadowMarks(ctx, []string{"a b"})
		refused(err, 400, "Shadow")
		for range 2 { // one that is gone is gone
			if err := of.DeleteShadow(ctx, id, 1); err != nil {
				t.Error(err)
			}
		}
		if d, err := of.Shadow(ctx, id); err != nil || d.Exists() || d.Version != 1 {
			t.Errorf("one that was deleted: %+v, %v", d, err)
		}
		_, err = of.ShadowNames(ctx, "a b")
		refused(err, 400, "Shadow")
	})
	t.Run("a policy that does not allow it", func(t *testing.T) {
		weak := s.provision("us-east-1", "weak")
		doc := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iot:Connect","iot:GetThingShadow"],"Resource":"*"}}`
		s.replacePolicy("us-east-1", "weak", doc)
		cfg := s.trusting()
		cfg.Certificates = []tls.Certificate{weak.tls}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
		defer client.CloseIdleConnections()
		for method, want := range map[string]int{"GET": 200, "POST": 403, "DELETE": 403} {
			req, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.DeviceAddr()+"/things/lamp/shadow", strings.NewReader(`{"state":{}}`))
			if err != nil {
				t.Fatal(err)
			}
			if status, _, body := answered(t, client, req); status != want {
				t.Errorf("%s: %d %s", method, status, body)
			}
		}
		core := corelink.NewClient(s.DeviceAddr(), cfg)
		defer core.Close()
		for _, tc := range []struct {
			title, as, policy string
			want              int
		}{
			{"that does not let it list them", "weak", "", 0},
			{"that lets it read all but one", "weak", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},` +
				`{"Effect":"Deny","Action":"iot:GetThingShadow","Resource":"*/night"}]}`, 0},
			{"that lets it", "weak", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, 1},
			{"of the thing of another certificate", "lamp", "", -1},
		} {
			if tc.policy != "" {
				s.replacePolicy("us-east-1", "weak", tc.policy)
			}
			marks, err := corelink.Shadows{Client: core, Core: tc.as, Timeout: patience}.ShadowMarks(t.Context(), []string{"lamp"})
			if _, refused := corelink.Refused(err); len(marks) != max(tc.want, 0) || refused != (tc.want < 0) {
				t.Errorf("marks, with a policy %s: %v, %v", tc.title, marks, err)
			}
		}
		s.replacePolicy("us-east-1", "weak", doc)
		m := s.mqttClient(weak)
		m.Publish(p+"update", 1, false, `{"state":{"desired":{"on":"stolen"}}}`)
		select {
		case <-m.lost:
		case <-time.After(patience):
			t.Error("the connection goes on")
		}
		if _, _, body := s.signed("us-east-1", "iotdata", "GET", "/things/lamp/shadow", ""); strings.Contains(body, "stolen") {
			t.Error(body)
		}
	})
	t.Run("the answers are the service's alone to publish", func(t *testing.T) {
		m := s.mqttClient(s.provision("us-east-1", "liar"))
		m.Publish(p+"update/accepted", 1, false, `{}`)
		select {
		case <-m.lost:
		case <-time.After(patience):
			t.Error("the connection goes on")
		}
	})
	t.Run("in another Region", func(t *testing.T) {
		twin := s.mqttClient(s.provision("eu-west-1", "lamp"))
		twin.wait("SUBSCRIBE", twin.Subscribe(p+"#", 1, nil))
		if status, _, _ := s.signed("eu-west-1", "iotdata", "GET", "/things/lamp/shadow", ""); status != 404 {
			t.Errorf("status %d", status)
		}
		if status, _, body := s.signed("us-east-1", "iotdata", "POST", "/things/lamp/shadow", `{"state":{"reported":{"where":"us"}}}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		device.expect(p, "update/documents", "update/accepted")
		twin.publish(p+"update", `{"state":{"reported":{"where":"eu"}}}`)
		// The request itself comes too: it is a message like any other.
		for _, rest := range []string{"update/documents", "update/accepted", "update"} {
			if topic, body := twin.next(); topic != p+rest || strings.Contains(fmt.Sprint(body), "where:us") {
				t.Errorf("%s %v, want %s", topic, body, rest)
			}
		}
		if _, _, body := s.signed("eu-west-1", "iotdata", "GET", "/things/lamp/shadow", ""); !strings.Contains(body, `"where":"eu"`) || !strings.Contains(body, `"version":1`) {
			t.Error(body)
		}
	})
	t.Run("a core's wake topic is left alone", func(t *testing.T) {
		device.wait("SUBSCRIBE", device.Subscribe(corelink.WakeTopic("lamp"), 1, nil))
		_, id := s.deployMill(lamp)
		topic, body := device.next()
		state, _ := body["state"].(map[string]any)
		if topic != corelink.WakeTopic("lamp") || state["deploymentId"] != id {
			t.Errorf("%s %v", topic, body)
		}
		if status, _, _ := s.signed("us-east-1", "iotdata", "GET", "/things/lamp-gda/shadow", ""); status != 404 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("delete", func(t *testing.T) {
		device.publish(p+"delete", "")
		if got := device.expect(p, "delete/accepted")["delete/accepted"]; number(got, "version") != 3 {
			t.Errorf("%v", got)
		}
		if status, exception, _ := s.signed("us-east-1", "iotdata", "GET", "/things/lamp/shadow", ""); status != 404 || exception != "ResourceNotFoundException" {
			t.Errorf("%d %s", status, exception)
		}
	})
}

// A shadow is there after a restart.
func TestShadowSurvives(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	first := start(t, o)
	if status, _, body := first.signed("us-east-1", "iotdata", "POST", "/things/lamp/shadow", `{"state":{"reported":{"a":1}}}`); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	first.stop()
	second := start(t, o)
	if status, _, body := second.signed("us-east-1", "iotdata", "POST", "/things/lamp/shadow", `{"state":{"reported":{"b":2}}}`); status != 200 || !strings.Contains(body, `"version":2`) {
		t.Errorf("%d %s", status, body)
	}
}
