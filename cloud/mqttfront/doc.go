// Package mqttfront is the part that AWS IoT Core's message broker played: it
// terminates the MQTT of cores and devices over mutual TLS, and of callers with an
// access key on connections that it is handed, and decides on every
// packet by the policies of the certificate or key. Sessions, what waits for them and
// retained messages are the business of package broker, so that nothing is lost with the
// front. What a device publishes below $aws/things/ also goes to the receivers that
// Handle added: requests to the cloud itself.
//
// The package must not know where principals are stored (Directory), what
// shadows, jobs or deployments mean, or how TLS is configured.
//
// Choices where AWS IoT Core leaves or takes one:
//   - A denied CONNECT gets return code 5, the number of MQTT 3.1.1.
//   - A denied or forbidden publish closes the connection. A denied subscription
//     gets code 0x80 in its SUBACK and the connection goes on.
//   - An unknown, inactive or expired certificate is disconnected after the TLS
//     handshake, before any MQTT.
//   - QoS 2, in a publish, a subscription or a will, closes the connection.
//   - Retained messages reach a new subscription only when its filter is the
//     very topic; a retained publish to a topic with $ closes the connection.
package mqttfront
