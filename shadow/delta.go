package shadow

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Delta is what is desired and not reported, with the metadata of those values;
// nil when nothing is. Members that are only reported never count.
func (d Document) Delta() (state, metadata map[string]any) {
	return delta(d.Desired, d.Reported, d.Metadata.Desired)
}

func delta(desired, reported, meta map[string]any) (state, metadata map[string]any) {
	for key, want := range desired {
		difference, differenceMeta := want, meta[key]
		if have, ok := reported[key]; ok {
			wantObject, objects := want.(map[string]any)
			haveObject, both := have.(map[string]any)
			if objects && both {
				innerMeta, _ := meta[key].(map[string]any)
				inner, innerMeta := delta(wantObject, haveObject, innerMeta)
				if inner == nil {
					continue
				}
				difference, differenceMeta = inner, innerMeta
			} else if equal(want, have) {
				continue
			}
		}
		if state == nil {
			state, metadata = map[string]any{}, map[string]any{}
		}
		state[key] = difference
		if differenceMeta != nil {
			metadata[key] = differenceMeta
		}
	}
	return state, metadata
}

// equal compares values as JSON means them: numbers by value, objects without
// order, arrays whole.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, value := range a {
			other, ok := b[key]
			if !ok || !equal(value, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		return ok && (a == b || decimalOf(a) == decimalOf(b))
	}
	return a == b
}

// decimal is a JSON number in one form for all spellings of its value: digits
// without zeros at either end, and a power of ten.
type decimal struct {
	negative bool
	digits   string
	exponent string
}

// decimalOf costs as much as the number has digits, whatever its exponent: values
// such as 1e999999999 are never written out.
func decimalOf(n json.Number) decimal {
	text, negative := strings.CutPrefix(string(n), "-")
	mantissa, power := text, int64(0)
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		parsed, err := strconv.ParseInt(text[i+1:], 10, 62)
		if err != nil {
			return decimal{negative, mantissa, text[i+1:]} // beyond comparing: as written
		}
		power = parsed
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	power -= int64(len(fraction))
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return decimal{}
	}
	trimmed := strings.TrimRight(digits, "0")
	power += int64(len(digits) - len(trimmed))
	return decimal{negative, trimmed, strconv.FormatInt(power, 10)}
}
