package keyed_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fescue-edge/fescue/cloud/keyed"
)

func TestRecent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r keyed.Recent[string, int]
		takes, read, failure := 10*time.Millisecond, 0, error(nil)
		get := func(key string, want int) {
			t.Helper()
			got, err := r.Get(key, func() (int, error) {
				time.Sleep(takes) // of the bubble
				read++
				return read, failure
			})
			if got != want || !errors.Is(err, failure) {
				t.Errorf("%s: %d, %v; want the reading number %d", key, got, err, want)
			}
		}
		get("a", 1)
		get("b", 2)
		get("a", 1)
		time.Sleep(380 * time.Millisecond) // ten less than the first is good for, with the second's reading
		get("a", 1)
		time.Sleep(10 * time.Millisecond)
		get("a", 3)
		r.Forget("a")
		get("a", 4)
		takes = time.Minute
		get("c", 5)
		time.Sleep(3*time.Second - time.Millisecond)
		get("c", 5)
		time.Sleep(time.Millisecond)
		failure = errors.New("away")
		get("c", 6)
		get("c", 7) // an error is not kept
	})
}
