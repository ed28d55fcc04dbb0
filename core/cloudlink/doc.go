// Package cloudlink is the core's MQTT connection to the cloud. What the core
// publishes waits in a Queue, in order, and goes out with QoS 1, the oldest first and
// as many at once as there may be. Who wants messages subscribes to filters with a
// Handler, and gets each message once, however many of its filters match it and however
// many copies the broker sends. The link connects again for as long as it runs.
//
// MQTT leaves open whether a client whose filters overlap gets one copy of a message
// or one for each of them, and nothing in a copy shows which. So no two filters that
// overlap are ever subscribed to on the same connection: what is covered by another
// filter is left out, and what overlaps in part goes onto a further connection. Of
// the connections that bring a message, the first one counts.
//
// The package knows MQTT and the queue. It must not know who publishes, who listens,
// or what a topic means.
package cloudlink
