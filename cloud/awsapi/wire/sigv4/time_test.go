package sigv4

import (
	"testing"
	"time"
)

// FuzzParseTime holds parseTime against time.Parse, which takes fractions of a second too.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{
		"20261201T115613Z", "00000101T000000Z", "99991231T235959Z", "20240229T000000Z", "20230229T000000Z", "20261301T000000Z", "20260001T000000Z", "20260100T000000Z",
		"20260131T240000Z", "20260131T236000Z", "20260131T235960Z", "20260131T235959.5Z", "20260131T23595Z", "xxxx0131T235959Z", "2026 131T235959Z", "2026-131T235959Z", "20260131t235959Z",
		"20260131T235959z", "20260131T235959+", "20260131T2359590", "\xff\xff\xff\xff0131T235959Z", "", "Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := time.Parse(timeLayout, s)
		got, ok := parseTime(s)
		if ok != (err == nil && len(s) == len(timeLayout)) || ok && !got.Equal(want) {
			t.Errorf("%q: %v, %v; time.Parse has %v, %v", s, got, ok, want, err)
		}
	})
}
