package config

import (
	"fmt"
	"strconv"
	"strings"
)

// UIDRange is a range of user numbers, both ends included; the zero value is none.
type UIDRange struct{ First, Last int }

// String is the range as config.json has it.
func (r UIDRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Contains says whether a number lies in the range.
func (r UIDRange) Contains(uid int) bool { return r != UIDRange{} && r.First <= uid && uid <= r.Last }

// firstFunctionUID keeps the range from the numbers that systems give to themselves
// and to people.
const firstFunctionUID = 1000

func parseUIDRange(text string) (UIDRange, error) {
	if text == "" {
		return UIDRange{}, nil
	}
	first, last, _ := strings.Cut(text, "-")
	from, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 31)
	to, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 31)
	if err1 != nil || err2 != nil || from < firstFunctionUID || to < from {
		return UIDRange{}, invalid("runtime.functionUids %q is not a range of user numbers from %d on, such as \"200000-200999\"", text, firstFunctionUID)
	}
	return UIDRange{int(from), int(to)}, nil
}
