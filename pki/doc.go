// Package pki makes and keeps keys: the master key that wraps every other key
// at rest, certificate authorities and the leaves they issue, device
// certificates, and the TLS configurations of Fescue's listeners. It knows
// nothing of partitions, policies or the database.
package pki
