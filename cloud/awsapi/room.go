package awsapi

import (
	"net/http"
	"strings"
)

// full is for what there is no room for.
var full = wording{
	"":    {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException"},
	"s3":  {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"},
	"sts": {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"},
	"iam": {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"},
}

// frugal begin the names of operations that keep nothing new: they read, or make
// room.
var frugal = []string{"Get", "List", "Describe", "Head", "Search", "Delete", "Abort", "Detach", "Disassociate", "Cancel", "Check"}

// makeRoom refuses what would keep something new on a disk that is nearly full:
// said at once it is better than half written.
func (h *Handler) makeRoom(service, operation string) error {
	if h.Room == nil {
		return nil
	}
	for _, name := range frugal {
		if strings.HasPrefix(operation, name) {
			return nil
		}
	}
	if err := h.Room(); err != nil {
		return full.error(service, err.Error())
	}
	return nil
}
