// Package gateway is the core's MQTT server for client devices: it knows them by
// the certificates that came with the deployment, gives the router what they publish
// and delivers what the router has for them. The subscription table alone decides
// what passes; IoT policies are not evaluated here, as in the original.
//
// A device has one connection at a time, with its thing's name as client id. What it
// has subscribed to, and messages with QoS 1 that it has not acknowledged, outlive its
// connection if it asked for that (CleanSession 0), but not the core.
//
// What is promised about a device that misbehaves: it costs the others nothing.
// What waits for it is bounded, and nobody waits for it.
//
// The package knows MQTT and its devices. It must not know functions, the cloud or
// deployments; where a message goes is the router's.
package gateway
