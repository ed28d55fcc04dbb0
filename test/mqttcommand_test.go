//go:build linux

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMQTTCommands: messages are read and published with an access key alone.
func TestMQTTCommands(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	h := s.site(region)
	// sub starts a reader, and waits until it reads.
	sub := func(t *testing.T, environment []string, filter string, flags ...string) *process {
		t.Helper()
		p := start(t, environment, append([]string{"mqtt", "sub", filter}, flags...)...)
		eventually(t, "it reads "+filter, func() error {
			if text := p.out.String(); !strings.Contains(text, "subscribed to "+filter) {
				return fmt.Errorf("%s", text)
			}
			return nil
		})
		return p
	}
	ends := func(t *testing.T, p *process, code int, want ...string) {
		t.Helper()
		select {
		case <-p.Done:
		case <-time.After(patience):
			t.Fatalf("it goes on:\n%s", p.out)
		}
		if got := p.ProcessState.ExitCode(); got != code {
			t.Errorf("exit code %d, want %d\n%s", got, code, p.out)
		}
		for _, text := range want {
			if !strings.Contains(p.out.String(), text) {
				t.Errorf("it does not say %q:\n%s", text, p.out)
			}
		}
	}
	pub := func(t *testing.T, args ...string) {
		t.Helper()
		if out, errs, code := h.program(t, append([]string{"mqtt", "pub"}, args...)...); code != 0 || out+errs != "" {
			t.Fatalf("pub %v: exit code %d\n%s%s", args, code, out, errs)
		}
	}

	t.Run("two readers, devices and a filter", func(t *testing.T) {
		device := h.connect(t, "Viewer")
		device.subscribe(t, "mill/+/speed")
		wide, one := sub(t, h.environment(), "mill/#", "--count", "3"), sub(t, h.environment(), "mill/+/speed", "--count", "2", "--json")
		pub(t, "mill/1/speed", "12")
		pub(t, "other/1/speed", "0", "--qos", "0")
		pub(t, "mill/2", "a b")
		file := filepath.Join(t.TempDir(), "payload")
		if err := os.WriteFile(file, []byte("\xff\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		pub(t, "mill/2/speed", "--file", file)
		ends(t, wide, 0, "mill/1/speed 12\n", "mill/2 a b\n", `mill/2/speed "\xff\x00"`)
		ends(t, one, 0, `{"topic":"mill/1/speed","at":"20`, `"payload":"12"}`, `"payloadBase64":"/wA="}`)
		device.next(t, "12")
	})
	t.Run("what is retained comes first", func(t *testing.T) {
		// The broker acknowledges a message before it gives it to later subscribers.
		soon := func(code int, want string) {
			t.Helper()
			eventually(t, want, func() error {
				out, errs, got := h.program(t, "mqtt", "sub", "kept/#", "--count", "1", "--timeout", "300ms", "--json")
				if got != code || !strings.Contains(out+errs, want) {
					return fmt.Errorf("exit code %d\n%s%s", got, out, errs)
				}
				return nil
			})
		}
		pub(t, "kept/config", "v1", "--retain")
		soon(0, `"payload":"v1","retained":true}`)
		pub(t, "kept/config", "--retain")
		soon(3, "fewer messages")
		ends(t, sub(t, h.environment(), "kept/#", "--timeout", "300ms"), 0)
	})
	t.Run("another account's messages stay its own", func(t *testing.T) {
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := runProgram(t, "keys", "create", "--data", s.data, "--name", "other", "--access", "admin", "--account", "210987654321", "--json")
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		foreign := append(h.environment(), "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
		outsider, owner := sub(t, foreign, "#", "--timeout", "2s"), sub(t, h.environment(), "#", "--count", "1")
		pub(t, "secret/topic", "ours")
		ends(t, owner, 0, "secret/topic ours")
		ends(t, outsider, 0)
		if strings.Contains(outsider.out.String(), "ours") {
			t.Errorf("another account reads it:\n%s", outsider.out)
		}
	})
	t.Run("a key that is revoked ends its reader", func(t *testing.T) {
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := runProgram(t, "keys", "create", "--data", s.data, "--name", "reading", "--role", "deployer", "--json")
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		p := sub(t, append(h.environment(), "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey), "mill/#")
		runProgram(t, "keys", "revoke", "--data", s.data, key.AccessKeyID)
		ends(t, p, 1, "the server ended the stream")
	})
	t.Run("what is refused", func(t *testing.T) {
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := runProgram(t, "keys", "create", "--data", s.data, "--name", "looker", "--role", "reader", "--json")
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		looker := append(h.environment(), "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey)
		if _, errs, code := programIn(t, looker, fescueBin, "mqtt", "sub", "mill/#"); code != 1 ||
			!strings.Contains(errs, "fescue:Subscribe on resource: arn:aws:iot:"+region+":"+account+":topicfilter/mill/#") {
			t.Errorf("a reader: exit code %d\n%s", code, errs)
		}
		for _, tc := range []struct {
			code int
			says string
			args []string
		}{
			{1, "filter", []string{"sub", "a/#/b"}},
			{1, "is reserved", []string{"sub", "$SYS/#"}},
			{1, "is reserved", []string{"pub", "$aws/events/x", "1"}},
			{1, "RequestEntityTooLargeException", []string{"pub", "mill/large", "--file", "/proc/self/exe"}},
			{2, "not both", []string{"pub", "mill/1", "x", "--file", "y"}},
			{1, "no such file", []string{"pub", "mill/1", "--file", "/nonexistent"}},
			{2, "--qos must be one of", []string{"pub", "mill/1", "x", "--qos", "2"}},
		} {
			if _, errs, code := h.program(t, append([]string{"mqtt"}, tc.args...)...); code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("mqtt %v: exit code %d\n%s", tc.args, code, errs)
			}
		}
	})
	t.Run("the server stops", func(t *testing.T) {
		p := sub(t, h.environment(), "mill/#")
		s.process.Process.Signal(os.Interrupt)
		ends(t, p, 1, "the server ended the stream")
		<-s.process.Done
	})
}
