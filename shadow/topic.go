package shadow

import "strings"

// Operation is what a request asks for; it is the last level of the request's topic.
type Operation string

// The operations.
const (
	OpGet    Operation = "get"
	OpUpdate Operation = "update"
	OpDelete Operation = "delete"
)

// TopicPrefix begins the topics of all shadows (AWS IoT Core developer guide, "Device
// Shadow MQTT topics").
const TopicPrefix = "$aws/things/"

// Topic is a topic of the shadow, by what follows the shadow's own levels: "get",
// "update/delta".
func (id ID) Topic(rest string) string {
	topic := TopicPrefix + id.Thing + "/shadow/"
	if id.Name != "" {
		topic += "name/" + id.Name + "/"
	}
	return topic + rest
}

// ParseTopic reads the topic of a request. ok is false for any other topic. The names
// may still be ones that no shadow can have.
func ParseTopic(topic string) (id ID, op Operation, ok bool) {
	id, rest, ok := splitTopic(topic)
	switch op = Operation(rest); op {
	case OpGet, OpUpdate, OpDelete:
		return id, op, ok
	}
	return ID{}, "", false
}

// ParseAccepted reads the topic of the answer to a request that was carried out.
func ParseAccepted(topic string) (id ID, op Operation, ok bool) {
	if topic, ok = strings.CutSuffix(topic, "/accepted"); !ok {
		return ID{}, "", false
	}
	return ParseTopic(topic)
}

// splitTopic reads $aws/things/<thing>/shadow[/name/<shadow>]/<rest>.
func splitTopic(topic string) (id ID, rest string, ok bool) {
	topic, ok = strings.CutPrefix(topic, TopicPrefix)
	if !ok {
		return ID{}, "", false
	}
	if id.Thing, topic, ok = strings.Cut(topic, "/shadow/"); !ok || id.Thing == "" || strings.Contains(id.Thing, "/") {
		return ID{}, "", false
	}
	if named, is := strings.CutPrefix(topic, "name/"); is {
		if id.Name, topic, ok = strings.Cut(named, "/"); !ok || id.Name == "" {
			return ID{}, "", false
		}
	}
	return id, topic, true
}
