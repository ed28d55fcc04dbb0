package policy_test

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue/policy"
	"github.com/fescue-edge/fescue/testkit"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	document := func(action string) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":%q,"Resource":"*"}]}`, action)
	}
	allows := func(t *testing.T, s policy.Set, action string) bool {
		t.Helper()
		return s.Evaluate(policy.Request{Action: action, Resource: "arn:aws:iot:us-east-1:123456789012:topic/t"}) == policy.Allowed
	}
	t.Run("are parsed once, however many ask", func(t *testing.T) {
		t.Parallel()
		var d policy.Documents
		sets := make([]policy.Set, 50)
		var all errgroup.Group
		for i := range sets {
			all.Go(func() (err error) {
				sets[i], err = d.ParseAll([]string{document("iot:Publish"), document("iot:Connect")})
				return err
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, s := range sets {
			if s[0] != sets[0][0] || s[1] != sets[0][1] || !allows(t, s, "iot:Publish") || !allows(t, s, "iot:Connect") || allows(t, s, "iot:Receive") {
				t.Fatalf("%v, the first is %v", s, sets[0])
			}
		}
		if d.Len() != 2 {
			t.Errorf("%d documents are kept", d.Len())
		}
		runtime.KeepAlive(sets)
	})
	t.Run("are forgotten when nobody uses them", func(t *testing.T) {
		t.Parallel()
		var d policy.Documents
		kept, err := d.ParseAll([]string{document("iot:Publish")})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := d.ParseAll([]string{document(fmt.Sprint("iot:Action", i))}); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Eventually(t, "the others are gone", func() error {
			runtime.GC()
			if n := d.Len(); n != 1 {
				return fmt.Errorf("%d are kept", n)
			}
			return nil
		})
		again, err := d.ParseAll([]string{document("iot:Publish")})
		if err != nil || again[0] != kept[0] {
			t.Errorf("%v, %v; it was %v", again, err, kept)
		}
	})
	t.Run("fail as a whole, each time", func(t *testing.T) {
		t.Parallel()
		var d policy.Documents
		for range 2 {
			if s, err := d.ParseAll([]string{document("iot:Publish"), `{"Statement":1}`}); err == nil || s != nil {
				t.Errorf("%v, %v", s, err)
			}
		}
		for range 2 {
			_, want := policy.ParseAll([]string{``})
			if _, err := d.ParseAll([]string{``}); err == nil || err.Error() != want.Error() {
				t.Errorf("%v, want %v", err, want)
			}
		}
		if s, err := d.ParseAll(nil); err != nil || len(s) != 0 {
			t.Errorf("%v, %v", s, err)
		}
	})
}
