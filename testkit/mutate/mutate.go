// Package mutate spoils bytes in the ways in which files and messages get
// spoiled, by accident and on purpose.
package mutate

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// ways are what can be done to some bytes; none of them is empty.
var ways = []func(r *rand.Rand, b []byte) []byte{
	func(r *rand.Rand, b []byte) []byte { // a bit flips
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	},
	func(r *rand.Rand, b []byte) []byte { // a byte is another one
		b[r.IntN(len(b))] = byte(r.Uint32())
		return b
	},
	func(r *rand.Rand, b []byte) []byte { // two bytes change places
		i, j := r.IntN(len(b)), r.IntN(len(b))
		b[i], b[j] = b[j], b[i]
		return b
	},
	func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }, // the end is missing
	func(r *rand.Rand, b []byte) []byte { return b[r.IntN(len(b)):] }, // the beginning is missing
	func(r *rand.Rand, b []byte) []byte { // a piece is missing
		from, to := span(r, b)
		return slices.Delete(b, from, to)
	},
	func(r *rand.Rand, b []byte) []byte { // a piece is there twice
		from, to := span(r, b)
		return slices.Insert(b, r.IntN(len(b)+1), slices.Clone(b[from:to])...)
	},
	func(r *rand.Rand, b []byte) []byte { // a piece is all zeros
		from, to := span(r, b)
		clear(b[from:to])
		return b
	},
	func(r *rand.Rand, b []byte) []byte { // something is put in
		piece := make([]byte, 1+r.IntN(16))
		for i := range piece {
			piece[i] = byte(r.Uint32())
		}
		return slices.Insert(b, r.IntN(len(b)+1), piece...)
	},
	func(r *rand.Rand, b []byte) []byte { // a number is an extreme one
		extremes := []uint32{0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff}
		var n [4]byte
		binary.LittleEndian.PutUint32(n[:], extremes[r.IntN(len(extremes))])
		copy(b[r.IntN(len(b)):], n[:])
		return b
	},
}

func span(r *rand.Rand, b []byte) (from, to int) {
	from = r.IntN(len(b))
	return from, from + 1 + r.IntN(min(len(b)-from, 32))
}

// Bytes gives b with one to three mutations. b itself stays.
func Bytes(r *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for n := 1 + r.IntN(3); n > 0 && len(b) > 0; n-- {
		b = ways[r.IntN(len(ways))](r, b)
	}
	return b
}

// Count is how many mutations a test tries: FESCUE_MUTATIONS, else standard.
func Count(t testing.TB, standard int) int {
	t.Helper()
	text := os.Getenv("FESCUE_MUTATIONS")
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("FESCUE_MUTATIONS: %v", err)
	}
	return n
}
