//go:build linux

package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	signed "github.com/fescue-edge/fescue/client"
)

// taken are the payloads that a target took, by topic.
type taken struct {
	mu sync.Mutex
	by map[string][]string
}

func (t *taken) add(topic, payload string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[string][]string{}
	}
	// What came twice in a row was sent anew, because its acknowledgement was lost.
	if list := t.by[topic]; len(list) == 0 || list[len(list)-1] != payload {
		t.by[topic] = append(list, payload)
	}
}

// wait waits until the payloads 0 to n-1 came to each topic, in this order.
func (t *taken) wait(tb testing.TB, n int, topics ...string) {
	tb.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	for _, topic := range topics {
		eventually(tb, "all messages of "+topic, func() error {
			t.mu.Lock()
			defer t.mu.Unlock()
			if got := t.by[topic]; !slices.Equal(got, want) {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
}

// TestForwardOverKill: what was accepted while the target is away and the server is
// killed arrives, in the order of each topic.
func TestForwardOverKill(t *testing.T) {
	t.Parallel()
	var got taken
	var up atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, _ := io.ReadAll(r.Body)
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got.add(r.Header.Get("Fescue-Topic"), string(payload))
	}))
	defer hook.Close()
	s := startServer(t, "--forward", "mill/#="+hook.URL+"/path-that-is-secret", "--ops", address(t))
	publish := func(n int, topics ...string) {
		t.Helper()
		api := signed.Of("http://"+s.api, aws.Config{Region: region, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, "")})
		for _, topic := range topics {
			answer, err := api.Send(t.Context(), "iotdata", "Publish", http.MethodPost, "/topics/"+url.PathEscape(topic)+"?qos=1", fmt.Append(nil, n))
			if err != nil {
				t.Fatal(err)
			}
			answer.Close()
		}
	}
	metric := func(want string) {
		t.Helper()
		eventually(t, want, func() error {
			answer, err := http.Get("http://" + s.ops + "/metrics")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			for line := range strings.Lines(string(text)) {
				if strings.HasPrefix(line, "fescue_forward_") && strings.HasSuffix(strings.TrimSpace(line), want[strings.IndexByte(want, ' '):]) && strings.HasPrefix(line, want[:strings.IndexByte(want, ' ')]) {
					return err
				}
			}
			return fmt.Errorf("no %s", want)
		})
	}
	for n := range 20 {
		publish(n, "mill/a", "mill/b", "saw")
	}
	metric("fescue_forward_queued 40")
	s.restart(t)
	for n := 20; n < 40; n++ {
		publish(n, "mill/a", "mill/b")
	}
	metric("fescue_forward_queued 80")
	up.Store(true)
	got.wait(t, 40, "mill/a", "mill/b")
	metric("fescue_forward_queued 0")
	metric("fescue_forward_sent_total 80")
	if _, ok := got.by["saw"]; ok {
		t.Error("what no filter finds was forwarded")
	}
	if _, ok := s.out.Find(`(path-that-is-secret)`); ok {
		t.Error("the log has the path of the webhook")
	}
	t.Run("malformed", func(t *testing.T) {
		p := start(t, nil, "server", "--data", t.TempDir(), "--forward", "mill/#/x=https://hooks.example.com/path-that-is-secret")
		<-p.Done
		if _, ok := p.out.Find(`(--forward "mill/#/x=https://hooks.example.com/…": the filter)`); p.Err == nil || !ok {
			t.Errorf("%v: %s", p.Err, p.out)
		}
	})
}

// TestForwardToMosquitto has another broker take messages.
func TestForwardToMosquitto(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("mosquitto (Debian's package of that name) is not installed")
		}
	}
	dir, at := t.TempDir(), address(t)
	_, port, _ := strings.Cut(at, ":")
	passwords := filepath.Join(dir, "passwords")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", passwords, "mill", "grain").CombinedOutput(); err != nil {
		t.Skipf("mosquitto_passwd (of Debian's package mosquitto): %v %s", err, out)
	}
	for name, text := range map[string]string{
		"conf": "user root\nlistener " + port + " 127.0.0.1\nallow_anonymous false\npassword_file " + passwords + "\n", "credentials": "mill:grain\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	broker := exec.CommandContext(ctx, program, "-c", filepath.Join(dir, "conf"))
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); broker.Wait() }()
	var got taken
	eventually(t, "mosquitto", func() error {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + at).SetUsername("mill").SetPassword("grain").SetClientID("reader"))
		token := c.Connect()
		if token.Wait(); token.Error() != nil {
			return token.Error()
		}
		t.Cleanup(func() { c.Disconnect(0) })
		token = c.Subscribe("#", 1, func(_ mqtt.Client, m mqtt.Message) { got.add(m.Topic(), string(m.Payload())) })
		token.Wait()
		return token.Error()
	})
	s := startServer(t, "--forward", "mill/+=mqtt://"+at+"#credentials="+filepath.Join(dir, "credentials"))
	api := signed.Of("http://"+s.api, aws.Config{Region: region, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, "")})
	for n := range 50 {
		answer, err := api.Send(t.Context(), "iotdata", "Publish", http.MethodPost, "/topics/mill%2Fa?qos=1", fmt.Append(nil, n))
		if err != nil {
			t.Fatal(err)
		}
		answer.Close()
	}
	got.wait(t, 50, "mill/a")
}
