package turns_test

import (
	"sync"
	"testing"

	"github.com/fescue-edge/fescue/cloud/turns"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	var all turns.Turns[string]
	counts := map[string]*int{"a": new(int), "b": new(int)} // each guarded by its turn
	var wg sync.WaitGroup
	for key, n := range counts {
		for range 8 {
			wg.Go(func() {
				for range 100 {
					done := all.Take(key)
					*n++
					done()
				}
			})
		}
	}
	wg.Wait()
	for key, n := range counts {
		if *n != 800 {
			t.Errorf("%s: %d", key, *n)
		}
	}
}

func TestOthersDoNotWait(t *testing.T) {
	t.Parallel()
	var all turns.Turns[int]
	defer all.Take(1)()
	all.Take(2)() // would hang
}
