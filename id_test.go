package fescue_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
)

func TestNewID(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		id := fescue.NewID()
		if !fescue.ValidID(id) || id[14] != '4' || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func TestNewTimedID(t *testing.T) {
	t.Parallel()
	before := ""
	for range 1000 {
		id := fescue.NewTimedID()
		if !fescue.ValidID(id) || id[14] != '7' || id <= before {
			t.Fatalf("id %q after %q", id, before)
		}
		before = id
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	const id = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001"
	hash := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		name    string
		valid   func(string) bool
		yes, no []string
	}{
		{
			"id", fescue.ValidID,
			[]string{id, "00000000-0000-0000-0000-000000000000"},
			[]string{
				"", "5F0C2A7E-1D34-4C55-9A0B-7E21C0A1B001", id[1:], id + "0", id + "\n", "{" + id + "}", strings.ReplaceAll(id, "-", ""),
				"5f0c2a7e-1d34-4c55-9a0b/7e21c0a1b001", "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b00g", "../../../../../../../../../etc/passwd",
				"5f0c2a7e01d34-4c55-9a0b-7e21c0a1b001", "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b0\x00\x00", "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b0é",
			},
		},
		{
			"entity id", fescue.ValidEntityID,
			[]string{"a", "A:b_c-9", "-", strings.Repeat("x", 128)},
			[]string{"", strings.Repeat("x", 129), "a b", "a.b", "a/b", "é", "a\n", "a\x00"},
		},
		{
			"thing name", fescue.ValidThingName,
			[]string{"Mill_Core", "a:b", strings.Repeat("x", 128)},
			[]string{"", strings.Repeat("x", 129), "a/b", "a#", "+", "$aws", "a\n"},
		},
		{
			"hash", fescue.ValidHash,
			[]string{hash, strings.Repeat("0", 64)},
			[]string{"", hash[1:], hash + "0", strings.ToUpper(hash), hash + "\n", hash[:63] + "g", hash[:63] + "/"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range c.yes {
				if !c.valid(s) {
					t.Errorf("%q is refused", s)
				}
			}
			for _, s := range c.no {
				if c.valid(s) {
					t.Errorf("%q is taken", s)
				}
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("x", 2*3600)
	for _, c := range []struct {
		at             time.Time
		millis, second string
	}{
		{time.Date(2019, 6, 18, 16, 21, 21, 457e6, time.UTC), "2019-06-18T16:21:21.457Z", "2019-06-18T16:21:21Z"},
		{time.Date(2019, 6, 18, 16, 21, 21, 0, time.UTC), "2019-06-18T16:21:21.000Z", "2019-06-18T16:21:21Z"},
		{time.Date(2019, 6, 18, 1, 21, 21, 1e6, zone), "2019-06-17T23:21:21.001Z", "2019-06-17T23:21:21Z"},
	} {
		if got := fescue.Timestamp(c.at); got != c.millis {
			t.Errorf("%v: %s", c.at, got)
		}
		if got := fescue.TimestampSeconds(c.at); got != c.second {
			t.Errorf("%v: %s", c.at, got)
		}
	}
}
