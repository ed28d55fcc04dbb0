// Package broker keeps what MQTT is about when no connection is: sessions with their
// filters and the messages that wait for them, retained messages, and who gets what.
// It stands on nats-server with JetStream, inside this process or elsewhere, and speaks
// NATS to it, with one connection for all clients. Servers that share a nats-server are one
// broker.
//
// A message with QoS 0 goes to the sessions of this server at once. One with QoS 1 goes
// to one stream, and is acknowledged when that has it; each server reads the stream from
// end to end and hands every message to those of its sessions that have a filter for it.
// A session is a record: its filters, up to where of the stream it was served, and what
// was handed out above that and not acknowledged. A client that comes back gets what
// was not acknowledged, and what has come since, read from the stream by its filters.
//
// The package must not know what topics mean, who may use them, or how MQTT is put into
// packets.
package broker

// Form names what streams, subjects and records look like. Servers of another one cannot
// share them: it changes with whatever a server of the version before would misread.
const Form = "1"
