//go:build linux

package main

import (
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		ok   bool
	}{
		"none":                         {nil, true},
		"all of a run":                 {[]string{"--cores=20", "--fail=0.1", "--slow=1", "--cut=0", "--storm", "--bulk", "--deployments"}, true},
		"another's server":             {[]string{"--endpoint=http://localhost:1", "--ops=localhost:2"}, true},
		"no cores":                     {[]string{"--cores=0"}, false},
		"no processes":                 {[]string{"--processes=0"}, false},
		"more than all fail":           {[]string{"--fail=1.1"}, false},
		"fewer than none are cut":      {[]string{"--cut=-0.1"}, false},
		"no patience":                  {[]string{"--patience=0s"}, false},
		"a server without its figures": {[]string{"--endpoint=http://localhost:1"}, false},
		"figures without a server":     {[]string{"--ops=localhost:2"}, false},
		"another's server killed":      {[]string{"--endpoint=http://localhost:1", "--ops=localhost:2", "--storm"}, false},
		"another's server restarted":   {[]string{"--endpoint=http://localhost:1", "--ops=localhost:2", "--restart"}, false},
		"one server of two":            {[]string{"--servers=2", "--breakdown", "--messages"}, true},
		"the only server":              {[]string{"--breakdown"}, false},
		"no servers":                   {[]string{"--servers=0"}, false},
		"a core without a neighbour":   {[]string{"--cores=1", "--messages"}, false},
		"messages without MQTT":        {[]string{"--soak=1m", "--without-mqtt=0.5"}, false},
		"flags for another's server":   {[]string{"--endpoint=http://localhost:1", "--ops=localhost:2", "--server-flag=--bulk-rate=1"}, false},
	} {
		var cli command
		parser, err := kong.New(&cli)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(c.args); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(200-i)*time.Millisecond)
	}
	if diff := cmp.Diff(latency{"x", 200, 101, 199, 200}, measure("x", took)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(latency{"x", 1, 7, 7, 7}, measure("x", []time.Duration{7 * time.Millisecond})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(latency{What: "x"}, measure("x", nil)); diff != "" {
		t.Error(diff)
	}
}

func TestChosen(t *testing.T) {
	t.Parallel()
	for part, want := range map[float64]int{0: 0, 0.1: 10, 0.25: 25, 1: 100} {
		n := 0
		for i := range 100 {
			if chosen(i, part) {
				n++
			}
		}
		if n != want {
			t.Errorf("%d of 100 are chosen for %v", n, part)
		}
	}
}
