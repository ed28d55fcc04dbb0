package fescue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

func TestCoreInfo(t *testing.T) {
	t.Parallel()
	info := fescue.CoreInfo{Version: "1.0", Architecture: "arm64", Kernel: "6.1", Cgroups: "hybrid", Formats: []int{1, 2}, Runtimes: []fescue.CoreRuntime{
		{Name: "Python", Version: "3.11.2", Path: "/usr/bin/python3"},
	}, Findings: []fescue.ErrorDetail{{DetailedErrorCode: "CORE_DISK_FULL", DetailedErrorMessage: "12 kB are free."}}}
	if err := info.Validate(); err != nil || !info.Known() {
		t.Errorf("%v, known %v", err, info.Known())
	}
	if (fescue.CoreInfo{}).Known() {
		t.Error("nothing is known of a core that said nothing")
	}
	hash := info.Hash()
	later := info
	later.Findings = []fescue.ErrorDetail{{DetailedErrorCode: "CORE_DISK_FULL", DetailedErrorMessage: "11 kB are free."}}
	if later.Hash() != hash || info.Findings[0].DetailedErrorMessage == "" {
		t.Error("another number in a finding is news")
	}
	if later.Findings = nil; later.Hash() == hash {
		t.Error("the end of a finding is none")
	}
	long := info
	long.Findings = []fescue.ErrorDetail{{DetailedErrorCode: "X", DetailedErrorMessage: strings.Repeat("x", 2001)}}
	if err := long.Validate(); err == nil || len(err.Error()) > 1000 {
		t.Errorf("a long finding: %v", err)
	}
	for name, change := range map[string]func(c *fescue.CoreInfo){
		"no format":           func(c *fescue.CoreInfo) { c.Formats = nil },
		"very many formats":   func(c *fescue.CoreInfo) { c.Formats = make([]int, 33) },
		"very many runtimes":  func(c *fescue.CoreInfo) { c.Runtimes = make([]fescue.CoreRuntime, 101) },
		"a long version":      func(c *fescue.CoreInfo) { c.Version = strings.Repeat("1", 257) },
		"very many features":  func(c *fescue.CoreInfo) { c.Unserved = make([]fescue.Feature, 201) },
		"a long feature":      func(c *fescue.CoreInfo) { c.Unserved = []fescue.Feature{fescue.Feature(strings.Repeat("x", 257))} },
		"a kernel with a NUL": func(c *fescue.CoreInfo) { c.Kernel = "6\x00" },
		"a path with a line":  func(c *fescue.CoreInfo) { c.Runtimes[0].Path = "/a\nb" },
		"very many findings":  func(c *fescue.CoreInfo) { c.Findings = make([]fescue.ErrorDetail, 21) },
		"a finding's long code": func(c *fescue.CoreInfo) {
			c.Findings = []fescue.ErrorDetail{{DetailedErrorCode: strings.Repeat("x", 257)}}
		},
		"a name that is no text": func(c *fescue.CoreInfo) { c.Runtimes[0].Name = "\xff" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := info
			c.Runtimes = slices.Clone(info.Runtimes)
			change(&c)
			if err := c.Validate(); err == nil {
				t.Errorf("%+v is taken", c)
			}
			if c.Hash() == hash {
				t.Error("the hash is the same")
			}
		})
	}
}
