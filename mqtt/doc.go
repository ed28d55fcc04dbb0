// Package mqtt speaks MQTT 3.1.1 and 3.1 on one connection: a server's session
// loop (Serve) and a client's end (Open), over the packet codec of mochi-mqtt.
//
// The package knows packets, deadlines and queues. It must not know who may do
// what, where a message goes, or what a client's session remembers: that is its
// Handler's. QoS 2 is not spoken, as AWS IoT Core does not speak it.
//
// What is promised about a peer that misbehaves:
//   - Nothing is allocated for a packet that is larger than the limit, and a
//     packet within it costs memory only as its bytes arrive.
//   - A peer that is silent past its deadline loses its connection.
//   - A peer that stops reading blocks nobody: what is sent to it lies in a
//     bounded queue, and Session.Send never waits.
package mqtt
