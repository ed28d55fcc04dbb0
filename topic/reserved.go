package topic

import "strings"

// AnsweredBy names the service that alone publishes to a topic below
// $aws/things/: "shadow" or "jobs", empty for topics that others may publish to
// (AWS IoT Core developer guide, "Reserved topics").
func AnsweredBy(name string) string {
	levels := strings.Split(name, "/")
	if len(levels) < 5 || levels[0] != "$aws" || levels[1] != "things" {
		return ""
	}
	last := levels[len(levels)-1]
	switch service := levels[3]; {
	case service == "shadow" && (last == "delta" || last == "documents"),
		service == "jobs" && len(levels) == 5 && (last == "notify" || last == "notify-next"),
		(service == "shadow" || service == "jobs") && (last == "accepted" || last == "rejected"):
		return service
	}
	return ""
}
