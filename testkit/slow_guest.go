//go:build guest

package testkit

// slowness is how many times longer things take in a guest, whose processor is emulated.
const slowness = 6
