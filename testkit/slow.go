//go:build !guest

package testkit

// slowness is how many times longer things take here than where nothing is emulated.
const slowness = 1
