package functions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/functions"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	ctx := context.Background()

	t.Run("gives numbers by what changed", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		create(t, s, "f")
		for _, step := range []struct {
			do   string
			want string
		}{
			{"", "1"}, {"", "1"},
			{"same code", "2"}, {"", "2"},
			{"new code", "3"},
			{"same configuration", "3"},
			{"new configuration", "4"},
			{"delete 4", "5"}, // a number is not given twice
			{"", "5"},
			{"delete 3", "5"},
		} {
			switch step.do {
			case "same code":
				upload(t, s, "f", "f")
			case "new code":
				upload(t, s, "f", "other")
			case "same configuration", "new configuration":
				timeout := map[string]int{"same configuration": 3, "new configuration": 60}[step.do]
				if _, err := s.UpdateConfiguration(ctx, home, functions.ConfigurationUpdate{Function: "f", Settings: functions.Settings{Timeout: &timeout}}); err != nil {
					t.Fatal(err)
				}
			case "delete 4", "delete 3":
				if err := s.Delete(ctx, home, functions.Reference{Name: "f", Qualifier: step.do[7:]}); err != nil {
					t.Fatal(err)
				}
			}
			if got := publish(t, s, "f"); got != step.want {
				t.Errorf("after %q: version %s, want %s", step.do, got, step.want)
			}
		}
	})
	t.Run("keeps versions as they were", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		created := create(t, s, "f")
		first, err := s.Publish(ctx, home, functions.Publication{Function: "f", Description: ptr("the first")})
		if err != nil {
			t.Fatal(err)
		}
		upload(t, s, "f", "other")
		got, err := s.Get(ctx, home, functions.Reference{Name: "f", Qualifier: "1"})
		if err != nil {
			t.Fatal(err)
		}
		if got.CodeHash != created.CodeHash || got.Description != "the first" || got.RevisionID != first.RevisionID {
			t.Errorf("version 1 is %+v", got)
		}
		latest, err := s.Get(ctx, home, functions.Reference{Name: "f"})
		if err != nil || latest.Description != "" || latest.CodeHash == created.CodeHash {
			t.Errorf("$LATEST is %+v, %v", latest, err)
		}
	})
	t.Run("checks what the caller expects", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		v := create(t, s, "f")
		_, err := s.Publish(ctx, home, functions.Publication{Function: "f", RevisionID: "stale"})
		wantErr(t, err, functions.ErrPrecondition, "Revision Id")
		_, err = s.Publish(ctx, home, functions.Publication{Function: "f", CodeSHA256: "stale"})
		wantErr(t, err, functions.ErrInvalid, "CodeSHA256 (stale) is different")
		if _, err = s.Publish(ctx, home, functions.Publication{Function: "f", CodeSHA256: functions.CodeSHA256(v), RevisionID: v.RevisionID}); err != nil {
			t.Error(err)
		}
		_, err = s.Publish(ctx, home, functions.Publication{Function: "f:1"})
		wantErr(t, err, functions.ErrInvalid, "qualifier 1")
		_, err = s.Publish(ctx, home, functions.Publication{Function: "none"})
		wantErr(t, err, fescue.ErrNotFound, "Function not found: arn:aws:lambda:us-east-1:123456789012:function:none")
	})
	t.Run("many uploads at once each get a number", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		create(t, s, "f")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var got []string
		for i := range 6 {
			zip := code(t, fmt.Sprint(i))
			wg.Go(func() {
				v, err := s.UpdateCode(ctx, home, functions.CodeUpdate{Function: "f", Archive: zip, Publish: true})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, v.Version)
			})
		}
		wg.Wait()
		slices.Sort(got)
		if want := []string{"1", "2", "3", "4", "5", "6"}; !slices.Equal(got, want) {
			t.Errorf("versions %v", got)
		}
	})
	t.Run("one of many with the same revision wins", func(t *testing.T) {
		t.Parallel()
		s := newService(t)
		v := create(t, s, "f")
		var wg sync.WaitGroup
		errs := make(chan error, 6)
		for i := range cap(errs) {
			wg.Go(func() {
				_, err := s.UpdateConfiguration(ctx, home, functions.ConfigurationUpdate{
					Function: "f", RevisionID: v.RevisionID, Settings: functions.Settings{Timeout: ptr(10 + i)},
				})
				errs <- err
			})
		}
		wg.Wait()
		close(errs)
		won := 0
		for err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, functions.ErrPrecondition) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of them won", won)
		}
	})
}
