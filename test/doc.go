// Package test drives the built program as its users do: real server and core
// processes, the AWS SDK for Go as client, real functions, a real MQTT client.
package test
