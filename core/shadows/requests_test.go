package shadows_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/core/shadows"
)

// TestSharesOfRequests holds the queue to it that no source fills it for the others,
// while nothing of it is carried out.
func TestSharesOfRequests(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 10, "large": 8 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shadows.New(shadows.Options{})
			fill := func(source string) (taken int, places []func(bool)) {
				for {
					m := router.Message{Source: source, Topic: "$aws/things/Lamp/shadow/update", Payload: make([]byte, size)}
					place, err := s.Reserve(t.Context(), "GGShadowService", m)
					if errors.Is(err, shadows.ErrFull) {
						return taken, places
					}
					if err != nil {
						t.Fatal(err)
					}
					taken, places = taken+1, append(places, place)
				}
			}
			all := min(1024, 2<<20/size)
			one, places := fill("lamp")
			if one > all/2+1 || one < all/2-1 {
				t.Errorf("one source has %d of %d", one, all)
			}
			for i := range 5 {
				if more, _ := fill(fmt.Sprint("other ", i)); more == 0 {
					t.Errorf("the source after %d others has nothing", i+1)
				}
			}
			if more, _ := fill("lamp"); more != 0 {
				t.Errorf("%d more when all is taken", more)
			}
			for _, place := range places {
				place(false)
			}
			if again, _ := fill("lamp"); again < one/2-1 {
				t.Errorf("%d places were given back, %d were had again", one, again)
			}
		})
	}
}
