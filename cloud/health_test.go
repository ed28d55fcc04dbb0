package cloud_test

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"

	"github.com/fescue-edge/fescue/testkit"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(1 << 40)
	o := options(t.TempDir())
	o.Free = func(dir string) (int64, error) {
		if dir != o.DataDir {
			t.Errorf("asked for the room in %s", dir)
		}
		return free.Load(), nil
	}
	s := start(t, o)
	gg := s.greengrass("us-east-1", s.key)
	create := func() (string, error) {
		g, err := gg.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("g")})
		if err != nil {
			return "", err
		}
		return *g.Id, nil
	}
	id, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if status, text, _ := s.send(http.MethodGet, "/readyz"); status != 200 {
		t.Errorf("ready: %d %s", status, text)
	}
	mill := s.mqttClient(s.provision("us-east-1", "mill"))
	mill.wait("SUBSCRIBE", mill.Subscribe("a", 1, nil))
	free.Store(1 << 20)
	testkit.Until(t, "a message that is not taken", func() bool { // the server looks a few times a second
		mill.Publish("a", 1, false, `{"kept": true}`)
		_, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/metrics")
		return !strings.Contains(text, "fescue_mqtt_unkept_total 0")
	})
	mill.Publish("a", 1, false, `{"kept": false}`)
	mill.wait("PUBLISH", mill.Publish("a", 0, false, `{"qos": 0}`))
	for {
		_, body := mill.next()
		if body["kept"] == false {
			t.Error("a message was taken that there is no room for")
		}
		if body["qos"] != nil {
			break
		}
	}
	if _, err := create(); err == nil || !strings.Contains(err.Error(), "nearly full: 1 MB are free") || !strings.Contains(err.Error(), "ServiceUnavailable") {
		t.Errorf("a group on a full disk: %v", err)
	}
	if status, text, _ := s.send(http.MethodGet, "/readyz"); status != 503 || !strings.Contains(text, "nearly full") {
		t.Errorf("ready: %d %s", status, text)
	}
	if _, text, _ := s.sendAs("us-east-1", s.key, http.MethodGet, "/fescue/v1/metrics"); !strings.Contains(text, "fescue_data_free_bytes 1.048576e+06") || strings.Count(text, "fescue_certificate_end_timestamp_seconds{") != 2 {
		t.Errorf("metrics:\n%s", text)
	}
	if _, err := gg.ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
		t.Errorf("reading: %v", err)
	}
	if _, err := gg.DeleteGroup(t.Context(), &greengrass.DeleteGroupInput{GroupId: &id}); err != nil {
		t.Errorf("deleting: %v", err)
	}
	free.Store(1 << 40)
	if _, err := create(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	testkit.Until(t, "the end of the connection, as nothing is acknowledged over what was not", func() bool {
		mill.Publish("a", 1, false, `{"kept": true}`)
		return !mill.IsConnected()
	})
	mill.wait("CONNECT", mill.Connect())
	mill.wait("PUBLISH with room again", mill.Publish("a", 1, false, `{"kept": true}`))
}

func TestHealthIsLogged(t *testing.T) {
	t.Parallel()
	var log testkit.Buffer
	o := options(t.TempDir())
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.Free = func(string) (int64, error) { return 1, nil }
	late := time.Date(2049, 12, 20, 0, 0, 0, 0, time.UTC) // the authority ends with that month
	o.Now = func() time.Time { return late }
	s := start(t, o)
	testkit.Eventually(t, "both in the log", func() error {
		if text := log.String(); !strings.Contains(text, "certificate authority") || !strings.Contains(text, "nearly full") {
			return errors.New(text)
		}
		return nil
	})
	if !strings.Contains(log.String(), "ends at 2049-12-31") {
		t.Errorf("log:\n%s", log.String())
	}
	s.stop()
}
