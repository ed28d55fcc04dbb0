package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/definitions"
)

// testTexts: what is looked for by a text is found wherever it is among many, and in pages.
func testTexts(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	const many = 2100 // more than is looked at one by one
	type core struct{ thing, address, group string }
	var all []core
	var seen []cores.Seen
	for i := range many {
		c := core{thing: fmt.Sprintf("mill-%04d", i), address: "10.0.0.7"}
		if i%1000 == 999 {
			c.address = "192.168.1.9"
		}
		all = append(all, c)
	}
	all = append(all, core{thing: "Zw_rare", address: "fe80::1"}, core{thing: "owned"}, core{thing: "zz"})
	for _, c := range all {
		seen = append(seen, cores.Seen{Partition: homePartition, Thing: c.thing, Core: true, LastSeen: cores.LastSeen{SeenAt: madeAt, ConnectedAt: madeAt, Address: c.address}})
	}
	mustDo(t, s.Cores().See(ctx, seen))
	mustDo(t, s.Cores().See(ctx, []cores.Seen{{Partition: elsewhere[0], Thing: "zz-elsewhere", Core: true, LastSeen: cores.LastSeen{SeenAt: madeAt}}}))
	const owner = "Öl M_HLE 7"
	group := must(s.Definitions().CreateDefinition(ctx, homePartition, newContainer(fescue.GroupKind, owner), nil, fescue.Token{}))(t)
	long := strings.Repeat("é", 256)
	must(s.Definitions().CreateDefinition(ctx, homePartition, newContainer(fescue.GroupKind, long+strings.Repeat("x9z", 100_000)), nil, fescue.Token{}))(t)
	must(s.Definitions().CreateDefinition(ctx, elsewhere[0], newContainer(fescue.GroupKind, owner), nil, fescue.Token{}))(t)
	deploying(t, s, group.ID).offer("owned").step(fescue.EventClaimed).step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded)
	deploying(t, s, group.ID).offer("owned").step(fescue.EventClaimed).step(fescue.EventFailed)
	for i := range all {
		if all[i].thing == "owned" {
			all[i].group = owner
		}
	}
	slices.SortFunc(all, func(a, b core) int { return strings.Compare(a.thing, b.thing) })

	for _, text := range []string{"mill", "MILL-14", "999", "4", "2.168", "rare", "zw_", "ZZ", "fe80::", "öl", "Öl M", "m_hle", "mxhle", "nothing", "no%", "l-", "!", "owned", "mill-0", "ill 10"} {
		var want []string
		for _, c := range all {
			has := func(of string) bool { return strings.Contains(ascii(of), ascii(text)) }
			if has(c.thing) || has(c.address) || has(c.group) {
				want = append(want, c.thing)
			}
		}
		for _, size := range []int{51, 1000} {
			var got []string
			for page := (fescue.Page{Limit: size}); ; {
				list := must(s.Cores().Cores(ctx, homePartition, cores.Filter{Text: text}, page))(t)
				if len(list) == 0 {
					break
				}
				for _, c := range list {
					got, page.After = append(got, c.Thing), c.Thing
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q in pages of %d: %d cores, want %d", text, size, len(got), len(want))
			}
		}
	}
	for _, state := range []struct {
		cores.Filter
		want int
	}{
		{cores.Filter{Text: "rare", State: cores.Connected, Now: madeAt.Add(time.Minute)}, 1},
		{cores.Filter{Text: "rare", State: cores.Offline, Now: madeAt.Add(time.Minute)}, 0},
		{cores.Filter{Text: "rare", State: cores.Wrong}, 0},
		{cores.Filter{Text: "m_hle", State: cores.Wrong}, 1},
	} {
		if got := must(s.Cores().Cores(ctx, homePartition, state.Filter, fescue.Page{Limit: 9}))(t); len(got) != state.want {
			t.Errorf("%+v: %+v", state.Filter, got)
		}
	}
	for text, want := range map[string]int{"öl": 0, "ÖL": 1, "hle 7": 1, "e 7": 1, " 7": 1, "x9z": 0, long[:20]: 1, group.ID: 1, "mxhle": 0} {
		if got := must(s.Definitions().Groups(ctx, homePartition, definitions.GroupFilter{Text: text}, fescue.Page{Limit: 9}))(t); len(got) != want {
			t.Errorf("groups with %q: %+v", text, got)
		}
	}
}

// testTaggedCores: what is looked for by a tag of the group, and a text, is found wherever it is
// among many, and in pages; and what another server changes of tags counts.
func testTaggedCores(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	const many = 2100 // more than is looked at one by one
	var seen []cores.Seen
	for i := range many {
		seen = append(seen, cores.Seen{Partition: homePartition, Thing: fmt.Sprintf("mill-%04d", i), Core: true, LastSeen: cores.LastSeen{SeenAt: madeAt, ConnectedAt: madeAt}})
	}
	mustDo(t, s.Cores().See(ctx, seen))
	strange := map[string]string{`a"b\`: "<ü>\x00\u2028", "site": "nor", "t": `h","site":"north`, "long": strings.Repeat("\x01", 256), strings.Repeat("\x02", 128): strings.Repeat("<", 256)}
	groups := map[string]fescue.Definition{}
	for thing, tags := range map[string]map[string]string{
		"mill-0007": {"site": "north"}, "mill-1500": {"site": "north", "kind": "mill"}, "mill-2050": {"kind": "mill", "site": "north"},
		"mill-2060": {"site": "south"}, "zz-north": {"a": "1", "site": "north", "z": ""}, "zz-none": {}, "zz-strange": strange,
	} {
		d := newContainer(fescue.GroupKind, "Group of "+thing)
		d.Tags = tags
		groups[thing] = must(s.Definitions().CreateDefinition(ctx, homePartition, d, nil, fescue.Token{}))(t)
		deploying(t, s, d.ID).offer(thing).step(fescue.EventClaimed).step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded)
	}
	abroad := newContainer(fescue.GroupKind, "Group of zz-abroad")
	abroad.Tags = map[string]string{"site": "north"}
	must(s.Definitions().CreateDefinition(ctx, elsewhere[0], abroad, nil, fescue.Token{}))(t)
	deployingIn(t, s, elsewhere[0], abroad.ID).offer("zz-abroad").step(fescue.EventClaimed).step(fescue.EventStaged).step(fescue.EventSwitched).step(fescue.EventSucceeded)

	finds := func(f cores.Filter, want ...string) {
		t.Helper()
		f.Now = madeAt.Add(time.Minute)
		for _, size := range []int{1, 51} {
			var got []string
			for page := (fescue.Page{Limit: size}); ; {
				list := must(s.Cores().Cores(ctx, homePartition, f, page))(t)
				if len(list) == 0 {
					break
				}
				for _, c := range list {
					got, page.After = append(got, c.Thing), c.Thing
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v in pages of %d: %q, want %q", f, size, got, want)
			}
		}
	}
	finds(cores.Filter{Tag: "site", Value: "north"}, "mill-0007", "mill-1500", "mill-2050", "zz-north")
	finds(cores.Filter{Tag: "kind", Value: "mill"}, "mill-1500", "mill-2050")
	finds(cores.Filter{Tag: "z"}, "zz-north")
	finds(cores.Filter{Tag: "site", Value: "nowhere"})
	for _, text := range []string{"north", "zz", "0", "ROUP OF ZZ"} {
		var want []string
		for _, thing := range []string{"mill-0007", "mill-1500", "mill-2050", "zz-north"} {
			if strings.Contains(thing+" group of "+thing, strings.ToLower(text)) {
				want = append(want, thing)
			}
		}
		finds(cores.Filter{Tag: "site", Value: "north", Text: text}, want...)
	}
	finds(cores.Filter{Tag: "site", Value: "north", Text: "no%"})
	finds(cores.Filter{Tag: "site", Value: "north", State: cores.Connected}, "mill-0007", "mill-1500", "mill-2050")
	finds(cores.Filter{Tag: "site", Value: "north", State: cores.Offline}, "zz-north") // it was never seen
	finds(cores.Filter{Tag: "site", Value: "north", State: cores.Offline, Text: "group of"}, "zz-north")
	for key, value := range strange {
		finds(cores.Filter{Tag: key, Value: value}, "zz-strange")
	}
	finds(cores.Filter{Tag: "site", Value: `nor","t":"h`})

	// A tag that more groups have than are looked at one by one, most of them without a core.
	common := map[string]string{"fleet": "one"}
	for _, thing := range []string{"mill-2060", "zz-none"} {
		mustDo(t, s.Definitions().ReplaceTags(ctx, homePartition, fescue.GroupKind, groups[thing].ID, groups[thing].Tags, common))
	}
	for range 2000 {
		d := newContainer(fescue.GroupKind, "zz without a core")
		d.Tags = common
		must(s.Definitions().CreateDefinition(ctx, homePartition, d, nil, fescue.Token{}))(t)
	}
	fleet := cores.Filter{Tag: "fleet", Value: "one"}
	finds(fleet, "mill-2060", "zz-none")
	for text, want := range map[string][]string{"zz-n": {"zz-none"}, "GROUP OF": {"mill-2060", "zz-none"}, "north": nil, "zz": {"zz-none"}, "zz without": nil} {
		fleet.Text = text
		finds(fleet, want...)
	}
	finds(cores.Filter{Tag: "fleet", Value: "one", State: cores.Offline}, "zz-none")
	for _, thing := range []string{"mill-2060", "zz-none"} {
		mustDo(t, s.Definitions().ReplaceTags(ctx, homePartition, fescue.GroupKind, groups[thing].ID, common, groups[thing].Tags))
	}

	mustDo(t, s.Definitions().ReplaceTags(ctx, homePartition, fescue.GroupKind, groups["zz-none"].ID, map[string]string{}, map[string]string{"site": "north"}))
	mustDo(t, s.Definitions().ReplaceTags(ctx, homePartition, fescue.GroupKind, groups["mill-2050"].ID, groups["mill-2050"].Tags, map[string]string{"site": "south"}))
	finds(cores.Filter{Tag: "site", Value: "north"}, "mill-0007", "mill-1500", "zz-none", "zz-north")
	finds(cores.Filter{Tag: "site", Value: "south"}, "mill-2050", "mill-2060")
}

// ascii is a text with its letters from A to Z made small.
func ascii(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
}
