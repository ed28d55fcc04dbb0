package topic_test

import (
	"fmt"
	"testing"

	"github.com/fescue-edge/fescue/topic"
)

// BenchmarkTree finds one filter of many.
func BenchmarkTree(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tree topic.Tree[int]
			for i := range n {
				tree.Set(fmt.Sprintf("site/%d/+/state", i), i)
			}
			b.ReportAllocs()
			for b.Loop() {
				tree.Match("site/7/pump/state", func(int) {})
			}
		})
	}
}
