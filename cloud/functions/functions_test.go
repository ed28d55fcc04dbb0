package functions_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/functions"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

var elsewhere = fescue.Partition{AWS: "aws", Account: "123456789012", Region: "eu-west-1"}

const role = "arn:aws:iam::123456789012:role/lambda"

func newService(t *testing.T) *functions.Service {
	t.Helper()
	dir := t.TempDir()
	db := storetest.Open(t)
	blobs, err := artifacts.OpenFolder(filepath.Join(dir, "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	return functions.New(functions.Options{Store: db.Functions(), Code: blobs, Now: time.Now})
}

func ptr[T any](v T) *T { return &v }

func code(t testing.TB, body string) *functions.Archive {
	return archive(zipOf(t, entry{name: "app.py", body: body}))
}

func creation(t testing.TB, name string) functions.Creation {
	return functions.Creation{
		Function: name, Archive: code(t, name),
		Settings: functions.Settings{Runtime: ptr("python3.7"), Role: ptr(role), Handler: ptr("app.handler")},
	}
}

func create(t *testing.T, s *functions.Service, name string) fescue.FunctionVersion {
	t.Helper()
	v, err := s.Create(context.Background(), home, creation(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func publish(t *testing.T, s *functions.Service, name string) string {
	t.Helper()
	v, err := s.Publish(context.Background(), home, functions.Publication{Function: name})
	if err != nil {
		t.Fatal(err)
	}
	return v.Version
}

func upload(t *testing.T, s *functions.Service, name, body string) {
	t.Helper()
	if _, err := s.UpdateCode(context.Background(), home, functions.CodeUpdate{Function: name, Archive: code(t, body)}); err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("error %v, want %v with %q", err, kind, text)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()

	t.Run("fills in what is left out", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		v := create(t, s, "f")
		if v.Timeout != 3 || v.MemorySize != 128 || v.Version != "$LATEST" || !slices.Equal(v.Architectures, []string{"x86_64"}) || v.Description != "" {
			t.Errorf("created %+v", v)
		}
		got, err := s.Get(ctx, home, functions.Reference{Name: "f"})
		if err != nil {
			t.Fatal(err)
		}
		v.UpdatedAt = v.UpdatedAt.Truncate(time.Millisecond)
		if diff := cmp.Diff(v, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("takes runtimes that AWS retired, and Greengrass's own", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		for i, runtime := range []string{"python2.7", "python3.8", "nodejs6.10", "nodejs12.x", "java8", "arn:aws:greengrass:::runtime/function/executable", "provided.al2023"} {
			c := creation(t, fmt.Sprint("f", i))
			c.Runtime = &runtime
			if _, err := s.Create(ctx, home, c); err != nil {
				t.Errorf("%s: %v", runtime, err)
			}
		}
	})
	t.Run("publishes at once when asked", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		c := creation(t, "f")
		c.Publish = true
		v, err := s.Create(ctx, home, c)
		if err != nil || v.Version != "1" {
			t.Fatalf("version %q, %v", v.Version, err)
		}
		if again := publish(t, s, "f"); again != "1" {
			t.Errorf("nothing changed, but version %s was published", again)
		}
	})
	t.Run("refuses a name that is taken, in its partition only", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		create(t, s, "f")
		_, err := s.Create(ctx, home, creation(t, "arn:aws:lambda:us-east-1:123456789012:function:f"))
		wantErr(t, err, fescue.ErrExists, "Function already exist: f")
		if _, err := s.Create(ctx, elsewhere, creation(t, "f")); err != nil {
			t.Errorf("in another partition: %v", err)
		}
	})
	t.Run("one of many at once wins", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for range cap(errs) {
			c := creation(t, "f")
			wg.Go(func() {
				_, err := s.Create(ctx, home, c)
				errs <- err
			})
		}
		wg.Wait()
		close(errs)
		won := 0
		for err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, fescue.ErrExists) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of them were created", won)
		}
	})

	for _, c := range []struct {
		name   string
		change func(*functions.Creation)
		kind   error
		text   string
	}{
		{"no name", func(c *functions.Creation) { c.Function = "" }, functions.ErrShape, "'functionName'"},
		{"a name with a qualifier", func(c *functions.Creation) { c.Function = "f:1" }, functions.ErrInvalid, "qualifier 1"},
		{"no runtime", func(c *functions.Creation) { c.Runtime = nil }, functions.ErrInvalid, "Runtime and Handler are mandatory"},
		{"no handler", func(c *functions.Creation) { c.Handler = nil }, functions.ErrInvalid, "Runtime and Handler are mandatory"},
		{"no role", func(c *functions.Creation) { c.Role = nil }, functions.ErrShape, "'role'"},
		{"no code", func(c *functions.Creation) { c.Archive = nil }, functions.ErrInvalid, "source for function code"},
		{"a bad zip", func(c *functions.Creation) { c.Archive = archive([]byte("no zip")) }, functions.ErrInvalid, "Could not unzip"},
		{"a role that is none", func(c *functions.Creation) { c.Role = ptr("admin") }, functions.ErrShape, "Value 'admin' at 'role'"},
		{"a blank in the handler", func(c *functions.Creation) { c.Handler = ptr("a b") }, functions.ErrShape, "'handler'"},
		{"a long handler", func(c *functions.Creation) { c.Handler = ptr(strings.Repeat("a", 129)) }, functions.ErrShape, "'handler'"},
		{"an empty runtime", func(c *functions.Creation) { c.Runtime = ptr("") }, functions.ErrShape, "'runtime'"},
		{"a runtime with a newline", func(c *functions.Creation) { c.Runtime = ptr("python3.7\n") }, functions.ErrShape, "'runtime'"},
		{"timeout 0", func(c *functions.Creation) { c.Timeout = ptr(0) }, functions.ErrShape, "greater than or equal to 1"},
		{"timeout 901", func(c *functions.Creation) { c.Timeout = ptr(901) }, functions.ErrShape, "less than or equal to 900"},
		{"memory 127", func(c *functions.Creation) { c.MemorySize = ptr(127) }, functions.ErrShape, "'memorySize'"},
		{"two at once", func(c *functions.Creation) { c.MemorySize, c.Timeout = ptr(1), ptr(0) }, functions.ErrShape, "2 validation errors detected"},
		{"a long description", func(c *functions.Creation) { c.Description = ptr(strings.Repeat("ü", 257)) }, functions.ErrShape, "'description'"},
		{"a variable's name", func(c *functions.Creation) { c.Environment = map[string]string{"1A": ""} }, functions.ErrShape, "'1A'"},
		{"too much environment", func(c *functions.Creation) { c.Environment = map[string]string{"AB": strings.Repeat("x", 4095)} }, functions.ErrInvalid, "4KB"},
		{"two architectures", func(c *functions.Creation) { c.Architectures = []string{"x86_64", "arm64"} }, functions.ErrShape, "'architectures'"},
		{"an empty list of architectures", func(c *functions.Creation) { c.Architectures = []string{} }, functions.ErrShape, "'architectures'"},
		{"a reserved tag", func(c *functions.Creation) { c.Tags = map[string]string{"AWS:x": ""} }, functions.ErrInvalid, "reserved"},
		{"an empty tag key", func(c *functions.Creation) { c.Tags = map[string]string{"": ""} }, functions.ErrInvalid, "tag key"},
		{"a long tag", func(c *functions.Creation) { c.Tags = map[string]string{"k": strings.Repeat("x", 257)} }, functions.ErrInvalid, "longer than"},
	} {
		t.Run("refuses "+c.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			in := creation(t, "f")
			c.change(&in)
			_, err := s.Create(ctx, home, in)
			wantErr(t, err, c.kind, c.text)
			if list, _, err := s.List(ctx, home, functions.Page{}); err != nil || len(list) != 0 {
				t.Errorf("there is a function after all: %v, %v", list, err)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()

	t.Run("a dry run changes nothing", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		before := create(t, s, "f")
		v, err := s.UpdateCode(ctx, home, functions.CodeUpdate{Function: "f", Archive: code(t, "other"), DryRun: true, Publish: true})
		if err != nil || v.CodeHash == before.CodeHash {
			t.Errorf("answer %+v, %v", v, err)
		}
		after, err := s.Get(ctx, home, functions.Reference{Name: "f"})
		if err != nil || after.CodeHash != before.CodeHash || after.RevisionID != before.RevisionID {
			t.Errorf("$LATEST is %+v, %v", after, err)
		}
	})
	t.Run("changes what is given and leaves the rest", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		c := creation(t, "f")
		c.Environment, c.Description = map[string]string{"STAGE": "test"}, ptr("mine")
		if _, err := s.Create(ctx, home, c); err != nil {
			t.Fatal(err)
		}
		v, err := s.UpdateConfiguration(ctx, home, functions.ConfigurationUpdate{Function: "f:$LATEST", Settings: functions.Settings{Timeout: ptr(60), Description: ptr("")}})
		if err != nil || v.Timeout != 60 || v.Description != "" || v.Environment["STAGE"] != "test" || v.Handler != "app.handler" {
			t.Errorf("%+v, %v", v, err)
		}
		v, err = s.UpdateConfiguration(ctx, home, functions.ConfigurationUpdate{Function: "f", Settings: functions.Settings{Environment: map[string]string{}}})
		if err != nil || v.Environment != nil || v.Timeout != 60 {
			t.Errorf("%+v, %v", v, err)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		create(t, s, "f")
		publish(t, s, "f")
		_, err := s.UpdateCode(ctx, home, functions.CodeUpdate{Function: "f"})
		wantErr(t, err, functions.ErrInvalid, "source for function code")
		_, err = s.UpdateCode(ctx, home, functions.CodeUpdate{Function: "f:1", Archive: code(t, "x")})
		wantErr(t, err, functions.ErrInvalid, "published version")
		_, err = s.UpdateCode(ctx, home, functions.CodeUpdate{Function: "f", Archive: code(t, "x"), RevisionID: "stale"})
		wantErr(t, err, functions.ErrPrecondition, "Revision Id")
		_, err = s.UpdateCode(ctx, elsewhere, functions.CodeUpdate{Function: "f", Archive: code(t, "x")})
		wantErr(t, err, fescue.ErrNotFound, "eu-west-1")
		_, err = s.UpdateConfiguration(ctx, home, functions.ConfigurationUpdate{Function: "none"})
		wantErr(t, err, fescue.ErrNotFound, "function:none")
		_, err = s.UpdateConfiguration(ctx, home, functions.ConfigurationUpdate{Function: "f", Settings: functions.Settings{Timeout: ptr(0)}})
		wantErr(t, err, functions.ErrShape, "'timeout'")
	})
}
