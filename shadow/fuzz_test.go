package shadow_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/shadow"
)

// FuzzUpdate carries out what anybody may send, a request for each line; a line that
// begins with "delete" deletes, one that begins with "wait" lets two days pass. Each is
// refused, and changes nothing, or leads to a document that keeps its limits and survives
// being kept. Versions rise by one with each update, and go on after a deletion for as
// long as that is remembered. The delta is what is desired and not reported, and nothing
// once a device reports it.
func FuzzUpdate(f *testing.F) {
	for _, seed := range []string{
		`{"state":{"desired":{"a":{"b":1.0,"c":null}},"reported":{"a":[1,{}]}},"version":1,"clientToken":"t"}`,
		`{"state":null}`, `{"state":{"desired":null}}`, `{"state":{"reported":{"a":{"b":null}}}}`, `{"state":{"desired":{"a":1e99999999999}}}`, `{`, "\xff",
		`delete`, `delete {"version":1}`, "wait",
		`{"state":{"desired":{"a":{"x":1,"y":{"z":[1,2]}}},"reported":{"a":{"x":1.0,"y":{"z":[1,2.0],"w":1}}}}}`,
	} {
		f.Add([]byte(seed + "\n" + `{"state":{"reported":{"a":1},"desired":{"a":{"b":{}}}}}` + "\ndelete\n" + seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		var d shadow.Document
		now := first
		for line := range bytes.SplitSeq(script, []byte("\n")) {
			if beyond.Match(line) {
				continue
			}
			if bytes.HasPrefix(line, []byte("wait")) {
				now = now.Add(shadow.VersionsKept + time.Second)
				continue
			}
			if payload, ok := bytes.CutPrefix(line, []byte("delete")); ok {
				d = deleted(t, d, payload, now)
				continue
			}
			d = updated(t, d, line, now)
			checkKept(t, d)
			checkDelta(t, d, now)
		}
	})
}

// updated is the document after an update, if it is not refused.
func updated(t *testing.T, d shadow.Document, payload []byte, now time.Time) shadow.Document {
	before := string(d.Encode())
	u, err := shadow.ParseUpdate(payload, shadow.CloudLimits)
	if err != nil {
		return d
	}
	next, err := d.Apply(u, now, shadow.CloudLimits)
	if string(d.Encode()) != before {
		t.Fatalf("%s became %s", before, d.Encode())
	}
	if err != nil {
		return d
	}
	want := d.Version + 1
	if d.Expired(now) {
		want = 1
	}
	if next.Version != want || !next.Exists() {
		t.Fatalf("version %d after %d", next.Version, d.Version)
	}
	for _, answer := range [][]byte{next.Accepted(u, now), next.Got(now, u.ClientToken), shadow.DocumentsMessage(d, next, now, u.ClientToken)} {
		if !json.Valid(answer) {
			t.Fatalf("answer %s", answer)
		}
	}
	return next
}

// deleted is the document after a deletion, if it is not refused.
func deleted(t *testing.T, d shadow.Document, payload []byte, now time.Time) shadow.Document {
	r, err := shadow.ParseRequest(payload)
	if err != nil {
		return d
	}
	next, err := d.Delete(lamp, r, now)
	if err != nil {
		return d
	}
	if next.Exists() || next.Version != d.Version {
		t.Fatalf("after its deletion version %d of %d is there", next.Version, d.Version)
	}
	return next
}

func checkKept(t *testing.T, d shadow.Document) {
	kept, err := shadow.Decode(d.Encode())
	if err != nil || string(kept.Encode()) != string(d.Encode()) {
		t.Fatalf("%s was kept as %s (%v)", d.Encode(), kept.Encode(), err)
	}
}

// checkDelta compares the delta, member by member, with a second opinion.
func checkDelta(t *testing.T, d shadow.Document, now time.Time) {
	state, _ := d.Delta()
	if want := minus(d.Desired, d.Reported); !same(want, state) {
		t.Fatalf("%s: the delta is %v, want %v", d.Encode(), state, want)
	}
	if (d.DeltaMessage(now, "") == nil) != (state == nil) {
		t.Fatalf("%s: a delta is published though there is none, or not though there is", d.Encode())
	}
	if state == nil {
		return
	}
	after, err := d.Apply(shadow.Update{Reported: shadow.Section{Present: true, Values: state}}, now, shadow.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := after.Delta(); left != nil {
		t.Errorf("%s: the delta %v was reported and %v is left", d.Encode(), state, left)
	}
}

// minus is what is desired and not reported, nil for nothing.
func minus(desired, reported map[string]any) map[string]any {
	left := map[string]any{}
	for key, want := range desired {
		have, ok := reported[key]
		wanted, isObject := want.(map[string]any)
		had, wasObject := have.(map[string]any)
		switch {
		case ok && isObject && wasObject:
			if inner := minus(wanted, had); inner != nil {
				left[key] = inner
			}
		case !ok || !same(want, have):
			left[key] = want
		}
	}
	if len(left) == 0 {
		return nil
	}
	return left
}

// same compares values as JSON means them.
func same(a, b any) bool { return cmp.Equal(a, b, cmp.Comparer(sameNumber)) }

// sameNumber compares by value.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	digitsA, powerA := number(string(a))
	digitsB, powerB := number(string(b))
	return digitsA.Cmp(digitsB) == 0 && (digitsA.Sign() == 0 || powerA == powerB)
}

// number is digits that end in no zero, times a power of ten.
func number(text string) (digits *big.Int, power int64) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	power, _ = strconv.ParseInt(exponent, 10, 64) // none is 0
	whole, fraction, _ := strings.Cut(mantissa, ".")
	power -= int64(len(fraction))
	digits, _ = new(big.Int).SetString(whole+fraction, 10)
	ten, rest := big.NewInt(10), new(big.Int)
	for digits.Sign() != 0 {
		less, _ := new(big.Int).QuoRem(digits, ten, rest)
		if rest.Sign() != 0 {
			break
		}
		digits = less
		power++
	}
	return digits, power
}

// beyond are numbers that count as they are written: their exponents are too large.
var beyond = regexp.MustCompile(`[eE][+-]?[0-9]{16}`)
