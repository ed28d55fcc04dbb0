package store_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/store"
)

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newContainer(k fescue.Kind, name string) fescue.Definition {
	return fescue.Definition{Kind: k, ID: fescue.NewID(), Name: name, CreatedAt: madeAt, UpdatedAt: madeAt, Tags: map[string]string{}}
}

func newVersion(k fescue.Kind, definitionID, body string) fescue.DefinitionVersion {
	return fescue.DefinitionVersion{Kind: k, DefinitionID: definitionID, ID: fescue.NewID(), CreatedAt: madeAt, Body: json.RawMessage(body)}
}

// container writes a container without a version.
func container(t *testing.T, s *store.DB, p fescue.Partition, k fescue.Kind) fescue.Definition {
	t.Helper()
	return must(s.Definitions().CreateDefinition(t.Context(), p, newContainer(k, "n"), nil, fescue.Token{}))(t)
}

func everyKind() []fescue.Kind {
	return append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...)
}

func definitionIDs(list []fescue.Definition) []string {
	var ids []string
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func versionIDs(list []fescue.DefinitionVersion) []string {
	var ids []string
	for _, v := range list {
		ids = append(ids, v.ID)
	}
	return ids
}

func testDefinitions(t *testing.T, open opener) {
	t.Parallel()
	for _, k := range everyKind() {
		t.Run("written and read: "+k.Name, func(t *testing.T) {
			t.Parallel()
			s, ctx := open(t), t.Context()
			d := newContainer(k, "naïve \"name\" 'with' ; %")
			d.Tags = map[string]string{"a": "b", "ключ": ""}
			if got := must(s.Definitions().CreateDefinition(ctx, homePartition, d, nil, fescue.Token{}))(t); !gocmp.Equal(got, d) {
				t.Error(gocmp.Diff(d, got))
			}
			if got := must(s.Definitions().Definition(ctx, homePartition, k, d.ID))(t); !gocmp.Equal(got, d) {
				t.Error(gocmp.Diff(d, got))
			}
			v := newVersion(k, d.ID, `{"Cores":[],"X":"é\u0001"}`)
			if got := must(s.Definitions().CreateVersion(ctx, homePartition, v, fescue.Token{}))(t); !gocmp.Equal(got, v) {
				t.Error(gocmp.Diff(v, got))
			}
			if got := must(s.Definitions().Version(ctx, homePartition, k, d.ID, v.ID))(t); !gocmp.Equal(got, v) {
				t.Error(gocmp.Diff(v, got))
			}
			// A new version moves LatestVersion and nothing else.
			d.LatestVersion = v.ID
			if got := must(s.Definitions().Definition(ctx, homePartition, k, d.ID))(t); !gocmp.Equal(got, d) {
				t.Error(gocmp.Diff(d, got))
			}
			if err := s.Definitions().RenameDefinition(ctx, homePartition, k, d.ID, "new"); err != nil {
				t.Fatal(err)
			}
			got := must(s.Definitions().Definition(ctx, homePartition, k, d.ID))(t)
			if got.Name != "new" || got.UpdatedAt.Equal(madeAt) || !got.CreatedAt.Equal(madeAt) || got.LatestVersion != v.ID {
				t.Errorf("renamed to %+v", got)
			}
		})
	}
	t.Run("with a first version", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := newContainer(fescue.CoreKind, "")
		d.Tags = nil
		first := newVersion(d.Kind, d.ID, `{}`)
		made := must(s.Definitions().CreateDefinition(ctx, homePartition, d, &first, fescue.Token{}))(t)
		if made.LatestVersion != first.ID || made.Tags == nil {
			t.Errorf("%+v", made)
		}
		if got := must(s.Definitions().Version(ctx, homePartition, d.Kind, d.ID, first.ID))(t); !gocmp.Equal(got, first) {
			t.Error(gocmp.Diff(first, got))
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := container(t, s, homePartition, fescue.CoreKind)
		none := fescue.NewID()
		for _, k := range everyKind() {
			id := none
			if k != fescue.CoreKind {
				id = d.ID // the same id under another kind
			}
			_, err := s.Definitions().Definition(ctx, homePartition, k, id)
			refused(t, "Definition", err, fescue.ErrNotFound)
			_, err = s.Definitions().Versions(ctx, homePartition, k, id, fescue.Page{Limit: 1})
			refused(t, "Versions", err, fescue.ErrNotFound)
			_, err = s.Definitions().CreateVersion(ctx, homePartition, newVersion(k, id, `{}`), fescue.Token{})
			refused(t, "CreateVersion", err, fescue.ErrNotFound)
			refused(t, "RenameDefinition", s.Definitions().RenameDefinition(ctx, homePartition, k, id, "x"), fescue.ErrNotFound)
			refused(t, "DeleteDefinition", s.Definitions().DeleteDefinition(ctx, homePartition, k, id), fescue.ErrNotFound)
		}
		_, err := s.Definitions().Version(ctx, homePartition, d.Kind, d.ID, none)
		refused(t, "Version", err, fescue.ErrNotFound)
	})
	t.Run("partitions", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := newContainer(fescue.CoreKind, "home")
		v := newVersion(d.Kind, d.ID, `{}`)
		must(s.Definitions().CreateDefinition(ctx, homePartition, d, &v, fescue.Token{}))(t)
		for _, p := range elsewhere {
			_, err := s.Definitions().Definition(ctx, p, d.Kind, d.ID)
			refused(t, "Definition", err, fescue.ErrNotFound)
			_, err = s.Definitions().Version(ctx, p, d.Kind, d.ID, v.ID)
			refused(t, "Version", err, fescue.ErrNotFound)
			_, err = s.Definitions().Versions(ctx, p, d.Kind, d.ID, fescue.Page{Limit: 9})
			refused(t, "Versions", err, fescue.ErrNotFound)
			_, err = s.Definitions().CreateVersion(ctx, p, newVersion(d.Kind, d.ID, `{}`), fescue.Token{})
			refused(t, "CreateVersion", err, fescue.ErrNotFound)
			refused(t, "RenameDefinition", s.Definitions().RenameDefinition(ctx, p, d.Kind, d.ID, "x"), fescue.ErrNotFound)
			refused(t, "DeleteDefinition", s.Definitions().DeleteDefinition(ctx, p, d.Kind, d.ID), fescue.ErrNotFound)
			if list := must(s.Definitions().Definitions(ctx, p, d.Kind, fescue.Page{Limit: 9}))(t); len(list) != 0 {
				t.Errorf("%v lists %v", p, list)
			}
			// The same id may be used there and is another thing.
			other := d
			other.Name = "there"
			must(s.Definitions().CreateDefinition(ctx, p, other, nil, fescue.Token{}))(t)
		}
		if got := must(s.Definitions().Definition(ctx, homePartition, d.Kind, d.ID))(t); got.Name != "home" || got.LatestVersion != v.ID {
			t.Errorf("%+v", got)
		}
	})
	t.Run("containers page by id, over inserts and deletions", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		k := fescue.DeviceKind
		container(t, s, homePartition, fescue.CoreKind)
		var all []string
		for range 7 {
			all = append(all, container(t, s, homePartition, k).ID)
		}
		slices.Sort(all)
		if got := definitionIDs(must(s.Definitions().Definitions(ctx, homePartition, k, fescue.Page{Limit: 100}))(t)); !slices.Equal(got, all) {
			t.Errorf("%v, want %v", got, all)
		}
		var paged []string
		page := fescue.Page{Limit: 2}
		for {
			ids := definitionIDs(must(s.Definitions().Definitions(ctx, homePartition, k, page))(t))
			if len(ids) == 0 {
				break
			}
			paged = append(paged, ids...)
			page.After = ids[len(ids)-1]
			if len(paged) == 4 {
				// The page's key goes away and others come.
				if err := s.Definitions().DeleteDefinition(ctx, homePartition, k, page.After); err != nil {
					t.Fatal(err)
				}
			}
			container(t, s, homePartition, k)
		}
		for _, id := range all {
			if n := count(paged, id); n != 1 {
				t.Errorf("%s stands %d times on the pages", id, n)
			}
		}
		if !slices.IsSorted(paged) {
			t.Errorf("not in order: %v", paged)
		}
	})
	t.Run("versions page newest first, over inserts", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := container(t, s, homePartition, fescue.LoggerKind)
		other := container(t, s, homePartition, fescue.LoggerKind)
		add := func(d fescue.Definition) string {
			return must(s.Definitions().CreateVersion(ctx, homePartition, newVersion(d.Kind, d.ID, `{}`), fescue.Token{}))(t).ID
		}
		var newest []string
		for range 7 {
			newest = append([]string{add(d)}, newest...)
			add(other)
		}
		list := must(s.Definitions().Versions(ctx, homePartition, d.Kind, d.ID, fescue.Page{Limit: 100}))(t)
		if got := versionIDs(list); !slices.Equal(got, newest) {
			t.Errorf("%v, want %v", got, newest)
		}
		if v := list[0]; v.Body != nil || v.DefinitionID != d.ID || v.Kind != d.Kind || !v.CreatedAt.Equal(madeAt) {
			t.Errorf("%+v", v)
		}
		var paged []string
		page := fescue.Page{Limit: 3}
		for {
			ids := versionIDs(must(s.Definitions().Versions(ctx, homePartition, d.Kind, d.ID, page))(t))
			if len(ids) == 0 {
				break
			}
			paged = append(paged, ids...)
			page.After = ids[len(ids)-1]
			add(d)
		}
		if !slices.Equal(paged, newest) {
			t.Errorf("%v, want %v", paged, newest)
		}
		for what, after := range map[string]string{"unknown": fescue.NewID(), "another container's": versionIDs(must(s.Definitions().Versions(ctx, homePartition, d.Kind, other.ID, fescue.Page{Limit: 1}))(t))[0]} {
			if list, err := s.Definitions().Versions(ctx, homePartition, d.Kind, d.ID, fescue.Page{After: after, Limit: 9}); !errors.Is(err, fescue.ErrPage) {
				t.Errorf("%s key: %v, %v", what, list, err)
			}
		}
	})
	t.Run("versions made at once", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := container(t, s, homePartition, fescue.CoreKind)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.Definitions().CreateVersion(ctx, homePartition, newVersion(d.Kind, d.ID, `{}`), fescue.Token{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		list := must(s.Definitions().Versions(ctx, homePartition, d.Kind, d.ID, fescue.Page{Limit: 100}))(t)
		if got := must(s.Definitions().Definition(ctx, homePartition, d.Kind, d.ID))(t); len(list) != 8 || got.LatestVersion != list[0].ID {
			t.Errorf("%d versions, the latest is %s, the newest %s", len(list), got.LatestVersion, list[0].ID)
		}
	})
}

func count[T comparable](list []T, v T) int {
	n := 0
	for _, x := range list {
		if x == v {
			n++
		}
	}
	return n
}

func testTokens(t *testing.T, open opener) {
	t.Parallel()
	token := func(operation, value, hash string) fescue.Token {
		return fescue.Token{Operation: operation, Value: value, RequestHash: hash}
	}
	t.Run("containers", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		create := func(p fescue.Partition, name string, token fescue.Token) (fescue.Definition, error) {
			d := newContainer(fescue.CoreKind, name)
			v := newVersion(d.Kind, d.ID, `{}`)
			return s.Definitions().CreateDefinition(ctx, p, d, &v, token)
		}
		first := must(create(homePartition, "a", token("CreateCoreDefinition", "t", "h")))(t)
		if again := must(create(homePartition, "a", token("CreateCoreDefinition", "t", "h")))(t); !gocmp.Equal(again, first) {
			t.Error(gocmp.Diff(first, again))
		}
		_, err := create(homePartition, "b", token("CreateCoreDefinition", "t", "h2"))
		refused(t, "another request", err, fescue.ErrTokenReused)
		others := []struct {
			what  string
			p     fescue.Partition
			token fescue.Token
		}{
			{"no token", homePartition, fescue.Token{}},
			{"another token", homePartition, token("CreateCoreDefinition", "T", "h")},
			{"another operation", homePartition, token("CreateDeviceDefinition", "t", "h2")},
			{"another partition", elsewhere[0], token("CreateCoreDefinition", "t", "h2")},
		}
		for _, c := range others {
			if d := must(create(c.p, "a", c.token))(t); d.ID == first.ID {
				t.Errorf("%s: nothing new was made", c.what)
			}
		}
		list := must(s.Definitions().Definitions(ctx, homePartition, fescue.CoreKind, fescue.Page{Limit: 100}))(t)
		if len(list) != 4 {
			t.Errorf("%d definitions", len(list))
		}
	})
	t.Run("what was made is deleted since", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		create := func(hash string) (fescue.Definition, error) {
			return s.Definitions().CreateDefinition(ctx, homePartition, newContainer(fescue.CoreKind, "n"), nil, token("CreateCoreDefinition", "t", hash))
		}
		first := must(create("h"))(t)
		if err := s.Definitions().DeleteDefinition(ctx, homePartition, fescue.CoreKind, first.ID); err != nil {
			t.Fatal(err)
		}
		second := must(create("h"))(t)
		if second.ID == first.ID {
			t.Error("a deleted definition is returned")
		}
		if again := must(create("h"))(t); again.ID != second.ID {
			t.Error("the token is forgotten")
		}
		_, err := create("h2")
		refused(t, "another request", err, fescue.ErrTokenReused)
	})
	t.Run("a call that fails does not use the token up", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := newContainer(fescue.CoreKind, "n")
		tok := token("CreateCoreDefinitionVersion", "t", "h")
		_, err := s.Definitions().CreateVersion(ctx, homePartition, newVersion(d.Kind, d.ID, `{}`), tok)
		refused(t, "no container", err, fescue.ErrNotFound)
		must(s.Definitions().CreateDefinition(ctx, homePartition, d, nil, fescue.Token{}))(t)
		must(s.Definitions().CreateVersion(ctx, homePartition, newVersion(d.Kind, d.ID, `{}`), tok))(t)
	})
	t.Run("versions", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		d := container(t, s, homePartition, fescue.CoreKind)
		create := func(hash string) (fescue.DefinitionVersion, error) {
			return s.Definitions().CreateVersion(ctx, homePartition, newVersion(d.Kind, d.ID, `{"Cores":[]}`), token("CreateCoreDefinitionVersion", "t", hash))
		}
		first := must(create("h"))(t)
		latest := must(s.Definitions().CreateVersion(ctx, homePartition, newVersion(d.Kind, d.ID, `{}`), fescue.Token{}))(t)
		if again := must(create("h"))(t); !gocmp.Equal(again, first) {
			t.Error(gocmp.Diff(first, again))
		}
		if got := must(s.Definitions().Definition(ctx, homePartition, d.Kind, d.ID))(t); got.LatestVersion != latest.ID {
			t.Error("a replayed call moved LatestVersion")
		}
		_, err := create("h2")
		refused(t, "another request", err, fescue.ErrTokenReused)
	})
	t.Run("the same call eight times at once", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		ids := make([]string, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				d, err := s.Definitions().CreateDefinition(ctx, homePartition, newContainer(fescue.CoreKind, "n"), nil, token("CreateCoreDefinition", "t", "h"))
				if err != nil {
					t.Error(err)
				}
				ids[i] = d.ID
			})
		}
		wg.Wait()
		if slices.Sort(ids); ids[0] != ids[7] || ids[0] == "" {
			t.Errorf("made %v", ids)
		}
	})
}

func testDeletion(t *testing.T, open opener) {
	t.Parallel()
	t.Run("takes the versions along and nothing else", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		id, version := fescue.NewID(), fescue.NewID()
		write := func(p fescue.Partition, k fescue.Kind, id string) {
			d, v := newContainer(k, "n"), newVersion(k, id, `{}`)
			d.ID, v.ID = id, version
			must(s.Definitions().CreateDefinition(ctx, p, d, &v, fescue.Token{}))(t)
		}
		type place struct {
			p  fescue.Partition
			k  fescue.Kind
			id string
		}
		gone := place{homePartition, fescue.CoreKind, id}
		rest := []place{{homePartition, fescue.DeviceKind, id}, {homePartition, fescue.CoreKind, fescue.NewID()}, {elsewhere[0], fescue.CoreKind, id}, {elsewhere[1], fescue.CoreKind, id}}
		for _, x := range append(rest, gone) {
			write(x.p, x.k, x.id)
		}
		if err := s.Definitions().DeleteDefinition(ctx, gone.p, gone.k, gone.id); err != nil {
			t.Fatal(err)
		}
		_, err := s.Definitions().Definition(ctx, gone.p, gone.k, gone.id)
		refused(t, "Definition", err, fescue.ErrNotFound)
		_, err = s.Definitions().Version(ctx, gone.p, gone.k, gone.id, version)
		refused(t, "Version", err, fescue.ErrNotFound)
		refused(t, "DeleteDefinition", s.Definitions().DeleteDefinition(ctx, gone.p, gone.k, gone.id), fescue.ErrNotFound)
		for _, x := range rest {
			must(s.Definitions().Version(ctx, x.p, x.k, x.id, version))(t)
		}
		// Under the same id versions start anew.
		write(gone.p, gone.k, gone.id)
	})
	t.Run("of a group", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		for _, c := range []struct {
			name string
			make func(t *testing.T, group string)
			err  error
		}{
			{"never deployed", func(*testing.T, string) {}, nil},
			{"being built", func(t *testing.T, group string) { deploying(t, s, group) }, fescue.ErrInUse},
			{"offered", func(t *testing.T, group string) { deploying(t, s, group).offer(group) }, fescue.ErrInUse},
			{"claimed", func(t *testing.T, group string) { deploying(t, s, group).offer(group).step(fescue.EventClaimed) }, fescue.ErrInUse},
			{"deployed", func(t *testing.T, group string) {
				deploying(t, s, group).offer(group).step(fescue.EventClaimed).step(fescue.EventSucceeded)
			}, fescue.ErrInUse},
			{"a failed build", func(t *testing.T, group string) { deploying(t, s, group).step(fescue.EventBuildFailed) }, nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				group := container(t, s, homePartition, fescue.GroupKind).ID
				must(s.GroupRoles().AssociateRole(ctx, homePartition, group, "arn:aws:iam::123456789012:role/r"))(t)
				c.make(t, group)
				refused(t, "DeleteDefinition", s.Definitions().DeleteDefinition(ctx, homePartition, fescue.GroupKind, group), c.err)
				_, err := s.Definitions().Definition(ctx, homePartition, fescue.GroupKind, group)
				_, _, roleErr := s.GroupRoles().AssociatedRole(ctx, homePartition, group)
				if want := cmp.Or(c.err, fescue.ErrNotFound) == fescue.ErrInUse; (err == nil) != want || (roleErr == nil) != want {
					t.Errorf("group: %v, role: %v", err, roleErr)
				}
			})
		}
	})
	t.Run("of a group beside another that is deployed", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		group := container(t, s, homePartition, fescue.GroupKind).ID
		busy := container(t, s, homePartition, fescue.GroupKind).ID
		deploying(t, s, busy).offer("core").step(fescue.EventClaimed)
		for _, p := range elsewhere {
			// The same group id, deployed in another partition.
			there := newContainer(fescue.GroupKind, "n")
			there.ID = group
			must(s.Definitions().CreateDefinition(ctx, p, there, nil, fescue.Token{}))(t)
			deployingIn(t, s, p, group).offer("core").step(fescue.EventClaimed)
		}
		if err := s.Definitions().DeleteDefinition(ctx, homePartition, fescue.GroupKind, group); err != nil {
			t.Error(err)
		}
	})
	t.Run("of a definition that has the id of a deployed group", func(t *testing.T) {
		t.Parallel()
		s, ctx := open(t), t.Context()
		group := container(t, s, homePartition, fescue.GroupKind).ID
		deploying(t, s, group)
		d := newContainer(fescue.CoreKind, fmt.Sprint("not ", group))
		d.ID = group
		must(s.Definitions().CreateDefinition(ctx, homePartition, d, nil, fescue.Token{}))(t)
		if err := s.Definitions().DeleteDefinition(ctx, homePartition, fescue.CoreKind, group); err != nil {
			t.Error(err)
		}
	})
}

func testGroups(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	made := func(p fescue.Partition, k fescue.Kind, name string, tags map[string]string) {
		t.Helper()
		d := newContainer(k, name)
		d.Tags = tags
		must(s.Definitions().CreateDefinition(ctx, p, d, nil, fescue.Token{}))(t)
	}
	north := map[string]string{"site": "north"}
	made(homePartition, fescue.GroupKind, "Mill 1", map[string]string{"a": "b", "site": "north", "z": ""})
	made(homePartition, fescue.GroupKind, "mill_2", north)
	made(homePartition, fescue.GroupKind, "Saw 1", map[string]string{"site": "North"})
	made(homePartition, fescue.GroupKind, "saw 2", map[string]string{"Site": "north", "xsite": "north", "s": `"site":"north"`})
	made(homePartition, fescue.GroupKind, "none", nil)
	made(homePartition, fescue.CoreKind, "Mill core", north)
	made(elsewhere[0], fescue.GroupKind, "Mill there", north)
	for _, tc := range []struct {
		filter definitions.GroupFilter
		want   []string
	}{
		{definitions.GroupFilter{}, []string{"Mill 1", "Saw 1", "mill_2", "none", "saw 2"}},
		{definitions.GroupFilter{Text: "MILL"}, []string{"Mill 1", "mill_2"}},
		{definitions.GroupFilter{Text: "l_"}, []string{"mill_2"}},
		{definitions.GroupFilter{Text: "%"}, nil},
		{definitions.GroupFilter{Tag: "site", Value: "north"}, []string{"Mill 1", "mill_2"}},
		{definitions.GroupFilter{Tag: "z"}, []string{"Mill 1"}},
		{definitions.GroupFilter{Text: "1", Tag: "site", Value: "north"}, []string{"Mill 1"}},
		{definitions.GroupFilter{Tag: "site", Value: "nor"}, nil},
	} {
		for _, size := range []int{1, 9} {
			var got []string
			for page := (fescue.Page{Limit: size}); ; {
				list := must(s.Definitions().Groups(ctx, homePartition, tc.filter, page))(t)
				if len(list) == 0 {
					break
				}
				for _, d := range list {
					got, page.After = append(got, d.Name), d.ID
				}
			}
			if slices.Sort(got); !slices.Equal(got, tc.want) {
				t.Errorf("%+v in pages of %d: %q, want %q", tc.filter, size, got, tc.want)
			}
		}
	}
	all := must(s.Definitions().Groups(ctx, homePartition, definitions.GroupFilter{}, fescue.Page{Limit: 1}))(t)
	if got := must(s.Definitions().Groups(ctx, homePartition, definitions.GroupFilter{Text: all[0].ID}, fescue.Page{Limit: 9}))(t); len(got) != 1 || got[0].ID != all[0].ID {
		t.Errorf("by id: %+v", got)
	}
}
