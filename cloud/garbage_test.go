package cloud

import (
	"runtime"
	figures "runtime/metrics"
	"testing"

	"github.com/fescue-edge/fescue/testkit"
)

func TestPercentOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		inUse uint64
		want  int
	}{
		{0, 1600}, {1 << 20, 1600}, {8 << 20, 400}, {10 << 20, 300}, {31 << 20, 100}, {32 << 20, 100}, {33 << 20, 100}, {1 << 40, 100},
	} {
		if got := percentOf(tc.inUse); got != tc.want {
			t.Errorf("%d in use: %d, want %d", tc.inUse, got, tc.want)
		}
	}
}

// TestAfterEachCollection: the percentage follows what is in use, up and down.
func TestAfterEachCollection(t *testing.T) {
	percent := func() int {
		sample := []figures.Sample{{Name: "/gc/gogc:percent"}}
		figures.Read(sample)
		return int(sample[0].Value.Uint64())
	}
	follows := func(what string, holds func(percent int) bool) {
		testkit.Until(t, what, func() bool {
			runtime.GC()
			return holds(percent())
		})
	}
	afterEachCollection(percent())
	follows("little in use", func(p int) bool { return p > garbagePercent })
	large := make([]byte, 2*garbageFloor)
	follows("much in use", func(p int) bool { return p == garbagePercent })
	runtime.KeepAlive(large)
	follows("little in use again", func(p int) bool { return p > garbagePercent })
}
