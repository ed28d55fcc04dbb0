package cores

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// Limits of connectivity information.
const (
	// maxInfo is how many places a core can have (text seen in the field).
	maxInfo = 10
	// DefaultPort is the port of an entry that names none: MQTT over TLS.
	DefaultPort = 8883
	maxPort     = 65535

	maxInfoID   = 128
	maxMetadata = 1024
	maxHostName = 253
)

// checkInfo checks a list and returns it with its ports.
func checkInfo(info []fescue.ConnectivityInfo) ([]fescue.ConnectivityInfo, error) {
	if len(info) > maxInfo {
		return nil, invalid("Too many items in the Connectivity Information list. You can store a maximum of %d endpoints.", maxInfo)
	}
	checked := append(make([]fescue.ConnectivityInfo, 0, len(info)), info...)
	seen := make(map[string]bool, len(info))
	for i := range checked {
		e := &checked[i]
		if e.PortNumber == 0 {
			e.PortNumber = DefaultPort
		}
		switch {
		case e.ID == "" || utf8.RuneCountInString(e.ID) > maxInfoID:
			return nil, invalid("The Id %.200q of connectivity information must have 1 to %d characters.", e.ID, maxInfoID)
		case seen[e.ID]:
			return nil, invalid("The Id %q stands twice: client devices would see only one of the two.", e.ID)
		case !validHost(e.HostAddress):
			return nil, invalid("The HostAddress %.300q of %q is neither an IP address (without brackets and zone) nor a DNS name.", e.HostAddress, e.ID)
		case e.PortNumber < 1 || e.PortNumber > maxPort:
			return nil, invalid("The PortNumber %d of %q is not between 1 and %d.", e.PortNumber, e.ID, maxPort)
		case utf8.RuneCountInString(e.Metadata) > maxMetadata:
			return nil, invalid("The Metadata of %q has more than %d characters.", e.ID, maxMetadata)
		}
		seen[e.ID] = true
	}
	return checked, nil
}

var (
	hostLabel = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?$`)
	number    = regexp.MustCompile(`^[0-9]+$`)
)

// validHost reports whether the core's server certificate can carry the host: an
// IP address, or a DNS name whose last label is no number.
func validHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == "" && !ip.IsUnspecified()
	}
	labels := strings.Split(host, ".")
	bad := func(label string) bool { return !hostLabel.MatchString(label) }
	return len(host) <= maxHostName && !slices.ContainsFunc(labels, bad) && !number.MatchString(labels[len(labels)-1])
}
