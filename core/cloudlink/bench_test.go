package cloudlink

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkQueue is the way of a message of 200 bytes into the queue, until its
// publisher learns of that, in memory and on the disk, while nothing is taken out. A
// publisher has one message on its way. It reports messages in a second, and how long
// half of them and all but one in a hundred took at most.
func BenchmarkQueue(b *testing.B) {
	for _, publishers := range []int{1, 50, 500} {
		for _, onDisk := range []bool{false, true} {
			b.Run(fmt.Sprintf("publishers=%d/disk=%v", publishers, onDisk), func(b *testing.B) {
				q := openQueue(b, filepath.Join(b.TempDir(), "db"), onDisk, 16<<20)
				took := make([]time.Duration, b.N)
				var all sync.WaitGroup
				b.ResetTimer()
				for who := range publishers {
					all.Go(func() {
						done := make(chan struct{}, 1)
						for i := who; i < b.N; i += publishers {
							began := time.Now()
							q.Push(Message{Topic: "t", Payload: make([]byte, 200)}, true, func(err error) {
								if err != nil {
									b.Error(err)
								}
								done <- struct{}{}
							})
							<-done
							took[i] = time.Since(began)
						}
					})
				}
				all.Wait()
				b.StopTimer()
				slices.Sort(took)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			})
		}
	}
}
