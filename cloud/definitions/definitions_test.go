package definitions_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var (
	here = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	now  = time.Date(2026, 11, 23, 12, 0, 0, 457e6, time.FixedZone("x", 3600))
)

func open(t *testing.T) *definitions.Service {
	t.Helper()
	s := storetest.Open(t)
	return definitions.New(s.Definitions(), func() time.Time { return now })
}

// create makes a definition and returns the ARN of its first version.
func create(t *testing.T, s *definitions.Service, p fescue.Partition, k fescue.Kind, body string) string {
	t.Helper()
	d, err := s.Create(t.Context(), p, k, "", json.RawMessage(body), nil, fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	return p.VersionARN(k, d.ID, d.LatestVersion)
}

func TestCreate(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	tags := map[string]string{"a": "b"}
	d, err := s.Create(ctx, here, fescue.CoreKind, "mine", json.RawMessage(` {"Cores" : [ ] , "Later":1}`), tags, fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	if !fescue.ValidID(d.ID) || !fescue.ValidID(d.LatestVersion) || !d.CreatedAt.Equal(now) || d.CreatedAt.Location() != time.UTC || d.Name != "mine" || !cmp.Equal(d.Tags, tags) {
		t.Errorf("%+v", d)
	}
	first, err := s.Version(ctx, here, fescue.CoreKind, d.ID, d.LatestVersion)
	if err != nil {
		t.Fatal(err)
	}
	// What the API model does not know is dropped; an empty list stays one.
	if string(first.Body) != `{"Cores":[]}` || !first.CreatedAt.Equal(d.CreatedAt) {
		t.Errorf("%s, %v", first.Body, first.CreatedAt)
	}
	v, err := s.AddVersion(ctx, here, fescue.CoreKind, d.ID, json.RawMessage(`{}`), fescue.Token{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Definition(ctx, here, fescue.CoreKind, d.ID)
	if err != nil || got.LatestVersion != v.ID || v.DefinitionID != d.ID || string(v.Body) != `{}` {
		t.Errorf("%+v, %+v, %v", got, v, err)
	}
	t.Run("without a first version", func(t *testing.T) {
		t.Parallel()
		d, err := s.Create(ctx, here, fescue.GroupKind, "g", nil, nil, fescue.Token{})
		if err != nil || d.LatestVersion != "" {
			t.Errorf("%+v, %v", d, err)
		}
	})
	t.Run("a version of what is not there", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			p    fescue.Partition
			k    fescue.Kind
			id   string
			body string
		}{
			{here, fescue.CoreKind, fescue.NewID(), `{}`},
			{here, fescue.DeviceKind, d.ID, `{}`},
			{fescue.Partition{AWS: "aws", Account: "210987654321", Region: "us-east-1"}, fescue.CoreKind, d.ID, `{}`},
			{here, fescue.CoreKind, fescue.NewID(), `[`}, // that it is not there comes first
		} {
			if _, err := s.AddVersion(ctx, c.p, c.k, c.id, json.RawMessage(c.body), fescue.Token{}); !errors.Is(err, fescue.ErrNotFound) {
				t.Errorf("%v: %v", c, err)
			}
		}
	})
	t.Run("an invalid first version makes nothing", func(t *testing.T) {
		t.Parallel()
		before, err := s.Definitions(ctx, here, fescue.DeviceKind, fescue.Page{Limit: 9})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(ctx, here, fescue.DeviceKind, "", json.RawMessage(`{"Devices":[{}]}`), nil, fescue.Token{}); err == nil {
			t.Error("no error")
		}
		after, err := s.Definitions(ctx, here, fescue.DeviceKind, fescue.Page{Limit: 9})
		if err != nil || len(before) != len(after) {
			t.Errorf("%d, then %d definitions, %v", len(before), len(after), err)
		}
	})
}

func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	for _, k := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
		bodies := map[string]string{`[]`: "must be a JSON object", `"x"`: "must be a JSON object", `7`: "must be a JSON object", `{`: "", ``: ""}
		if k == fescue.GroupKind {
			bodies[`{"CoreDefinitionVersionArn":7}`] = `"CoreDefinitionVersionArn" must not be a number`
		} else {
			bodies[`{"`+k.Member+`":{}}`] = `"` + k.Member + `" must not be a object`
			bodies[`{"`+k.Member+`":["x"]}`] = `"` + k.Member + `" must not be a string`
			bodies[`{"`+k.Member+`":[{"Id":[]}]}`] = `"` + k.Member + `.Id" must not be a array`
		}
		for body, text := range bodies {
			t.Run(k.Name+" "+body, func(t *testing.T) {
				t.Parallel()
				_, err := s.Create(ctx, here, k, "n", json.RawMessage(body), nil, fescue.Token{})
				if !errors.Is(err, definitions.ErrMalformed) || !strings.Contains(err.Error(), text) {
					t.Errorf("error %v, want %q", err, text)
				}
			})
		}
	}
}

func TestGroupReferences(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	there := fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}
	arns := make(map[string]string)
	members := make(map[string]string)
	for _, k := range fescue.DefinitionKinds {
		arns[k.Name] = create(t, s, here, k, `{}`)
		members[k.Reference] = arns[k.Name]
	}
	group := func(members map[string]string) error {
		body, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Create(ctx, here, fescue.GroupKind, "g", body, nil, fescue.Token{})
		return err
	}
	if err := group(members); err != nil {
		t.Errorf("all kinds: %v", err)
	}
	if err := group(nil); err != nil {
		t.Errorf("no kind: %v", err)
	}
	if err := group(map[string]string{"CoreDefinitionVersionArn": ""}); err != nil {
		t.Errorf("an empty reference: %v", err)
	}
	unknown := here.VersionARN(fescue.CoreKind, fescue.NewID(), fescue.NewID())
	deleted := create(t, s, here, fescue.CoreKind, `{}`)
	id, _, err := here.ParseVersionARN(fescue.CoreKind, deleted)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteDefinition(ctx, here, fescue.CoreKind, id); err != nil {
		t.Fatal(err)
	}
	for name, arn := range map[string]string{
		"unknown":             unknown,
		"deleted":             deleted,
		"another kind's":      arns["Device"],
		"another partition's": create(t, s, there, fescue.CoreKind, `{}`),
		"no version":          strings.Split(arns["Core"], "/versions/")[0],
		"no ARN":              "core",
		"path trick":          strings.Replace(arns["Core"], "/versions/", "/../versions/", 1),
		"NUL":                 arns["Core"] + "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var invalid *definitions.InvalidError
			err := group(map[string]string{"CoreDefinitionVersionArn": arn, "DeviceDefinitionVersionArn": arns["Device"]})
			if !errors.As(err, &invalid) || invalid.Kind != fescue.GroupKind || !cmp.Equal(invalid.Problems, []string{"Cores definition reference does not exist"}) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("all at once, in the original's order", func(t *testing.T) {
		t.Parallel()
		all := make(map[string]string)
		for _, k := range fescue.DefinitionKinds {
			all[k.Reference] = here.VersionARN(k, fescue.NewID(), fescue.NewID())
		}
		var invalid *definitions.InvalidError
		if err := group(all); !errors.As(err, &invalid) {
			t.Fatal(err)
		}
		want := []string{
			"Cores definition reference does not exist", "Lambda definition reference does not exist",
			"Resource definition reference does not exist", "Devices definition reference does not exist",
			"Subscription definition reference does not exist", "Connector definition reference does not exist",
			"Logger definition reference does not exist",
		}
		if diff := cmp.Diff(want, invalid.Problems); diff != "" {
			t.Error(diff)
		}
	})
}
