package keyed_test

import (
	"sync"
	"testing"

	"github.com/fescue-edge/fescue/cloud/keyed"
)

func TestMutex(t *testing.T) {
	t.Parallel()
	var all keyed.Mutex[string]
	counts := map[string]*int{"a": new(int), "b": new(int)} // each guarded by its turn
	var wg sync.WaitGroup
	for key, n := range counts {
		for range 8 {
			wg.Go(func() {
				for range 100 {
					done := all.Lock(key)
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
	var all keyed.Mutex[int]
	defer all.Lock(1)()
	all.Lock(2)() // would hang
}
