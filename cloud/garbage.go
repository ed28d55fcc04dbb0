package cloud

import (
	"os"
	"runtime"
	"runtime/debug"
	figures "runtime/metrics"
)

const (
	// garbageFloor is how much garbage there may be before it is collected, in bytes,
	// however little is in use.
	garbageFloor = 32 << 20
	// garbageVariable is Go's, which goes before.
	garbageVariable = "GOGC"
	// garbagePercent is Go's default: as much garbage as there is in use.
	garbagePercent = 100
)

// CollectSeldom has garbage wait for its collection until there is some of it. Go waits until
// there is as much as is in use, which a small server that answers thousands of calls a second
// makes dozens of times a second. From garbageFloor in use on nothing is different.
func CollectSeldom() {
	if os.Getenv(garbageVariable) == "" {
		afterEachCollection(garbagePercent)
	}
}

// afterEachCollection sets Go's percentage, which was this one, by what is in use now, and
// does so again when the next collection finds nobody who needs what is made here.
func afterEachCollection(percent int) {
	if now := percentOf(inUse()); now != percent {
		debug.SetGCPercent(now)
		percent = now
	}
	unneeded := new([16]byte) // smaller ones Go puts together with others
	runtime.AddCleanup(unneeded, afterEachCollection, percent)
}

// inUse is what Go's percentage is of: what the last collection left, and what is looked
// through for it.
func inUse() (bytes uint64) {
	samples := []figures.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	figures.Read(samples)
	for _, s := range samples {
		bytes += s.Value.Uint64()
	}
	return bytes
}

// percentOf is the percentage with which there may be garbageFloor of garbage, or as much as is
// in use. It goes in steps, as to set it stops the program for a moment.
func percentOf(inUse uint64) int {
	const step = 25
	percent := garbageFloor * 100 / max(inUse, garbageFloor/16)
	return max(garbagePercent, int(percent)/step*step)
}
