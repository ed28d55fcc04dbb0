package topic

import "strings"

// Match says whether a message on the topic name reaches a subscription to
// filter. It allocates nothing.
//
// The rules are AWS IoT's: + stands for one level, also an empty one; # for one
// or more levels, so that a/# does not match a (MQTT 3.1.1 says it does; AWS
// IoT Core developer guide, "MQTT topics"); a filter that starts with a
// wildcard does not match a name that starts with $. A wildcard that is not a
// whole level, or a # before the last one, is an ordinary character: such
// filters do not pass ValidFilter.
func Match(filter, name string) bool {
	if strings.HasPrefix(name, "$") && filter != "" && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	for {
		if filter == "#" {
			return true
		}
		fi, ni := strings.IndexByte(filter, '/'), strings.IndexByte(name, '/')
		flevel, nlevel := filter, name
		if fi >= 0 {
			flevel = filter[:fi]
		}
		if ni >= 0 {
			nlevel = name[:ni]
		}
		if flevel != "+" && flevel != nlevel {
			return false
		}
		if fi < 0 || ni < 0 {
			return fi < 0 && ni < 0
		}
		filter, name = filter[fi+1:], name[ni+1:]
	}
}
