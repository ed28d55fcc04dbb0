// Package spooler is the core's MQTT link to the cloud. It queues what the core
// publishes, in order and bounded, sends it with QoS 1 one message at a time,
// keeps subscriptions in line with the deployed group, and connects again for as
// long as it runs. It takes the place of the original's GGCloudSpooler.
//
// The package knows MQTT and the queue. It must not know who publishes, who
// listens, or what a topic means.
package spooler
