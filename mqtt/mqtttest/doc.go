// Package mqtttest holds servers to MQTT 3.1.1: a table of its normative statements, with
// what a client sends and what must come back, over a real connection. The core's server
// for client devices and the cloud's run the same table; where they differ from each other
// or from the standard, the row says why.
//
// Statements are cited by their numbers in appendix B of the OASIS standard, without the
// prefix "MQTT-".
package mqtttest
