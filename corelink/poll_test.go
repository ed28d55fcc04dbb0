package corelink_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

func TestPoll(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("a", 64)
	t.Run("arrives as it was asked", func(t *testing.T) {
		t.Parallel()
		var query url.Values
		address, cfg := serve(t, corelink.GetDeploymentPattern, func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.Query()
			io.WriteString(w, `{}`)
		})
		client := corelink.NewClient(address, cfg)
		defer client.Close()
		for _, want := range []corelink.Poll{
			{}, {After: 7, Wait: 5 * time.Second}, {Formats: []int{1}}, {After: 1, Wait: time.Second, Formats: []int{1, 2, 30}, Info: hash, Telemetry: fescue.TelemetryOff},
		} {
			if _, err := client.GetDeployment(t.Context(), "mill", want); err != nil {
				t.Fatal(err)
			}
			got, err := corelink.ParsePoll(query)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	})
	t.Run("waits as long as is served", func(t *testing.T) {
		t.Parallel()
		p, err := corelink.ParsePoll(url.Values{"after": {"0"}, "wait": {"3600"}})
		if err != nil || p.Wait != corelink.MaxPoll {
			t.Errorf("%v, %v", p.Wait, err)
		}
	})
	for query, text := range map[string]string{
		"":                                 "after must be",
		"after=1":                          "wait must be",
		"after=-1&wait=0":                  "after must be",
		"after=x&wait=0":                   "after must be",
		"after=9223372036854775808&wait=0": "after must be",
		"after=1&wait=-1":                  "wait must be",
		"after=1&wait=0.5":                 "wait must be",
		"after=1&wait=0&formats=":          "",
		"after=1&wait=0&formats=1,":        "formats must be",
		"after=1&wait=0&formats=one":       "formats must be",
		"after=1&wait=0&formats=" + strings.Repeat("1,", 32) + "1": "formats must be",
		"after=1&wait=0&info=x":                        "info must be",
		"after=1&wait=0&telemetry=on":                  "telemetry must be On or Off",
		"after=1&wait=0&info=" + strings.ToUpper(hash): "info must be",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			q, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			_, err = corelink.ParsePoll(q)
			if (text == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%v, want %q", err, text)
			}
		})
	}
}

func TestReportCore(t *testing.T) {
	t.Parallel()
	var thing, body string
	address, cfg := serve(t, corelink.ReportCorePattern, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		thing, body = r.PathValue("ThingName"), string(data)
		io.WriteString(w, `{}`)
	})
	client := corelink.NewClient(address, cfg)
	defer client.Close()
	info := fescue.CoreInfo{Version: "1.9", Formats: []int{1, 2}, Runtimes: []fescue.CoreRuntime{{Name: "Python", Version: "3.11.2", Path: "/usr/bin/python3"}}}
	if err := client.ReportCore(t.Context(), "a:b/c", info); err != nil {
		t.Fatal(err)
	}
	const want = `{"version":"1.9","runtimes":[{"name":"Python","version":"3.11.2","path":"/usr/bin/python3"}],"formats":[1,2]}`
	if thing != "a:b/c" || body != want {
		t.Errorf("%s: %s", thing, body)
	}
}
