// Package fescue is the vocabulary of AWS IoT Greengrass V1 as Fescue keeps
// it: partitions and ARNs, groups and the seven kinds of definition, functions,
// things and certificates, deployments with their state machine, and the rules
// that a group version must satisfy before it can be deployed.
//
// The package is pure. It knows no wire format but JSON, no database, no clock
// and no network; everything above it (the control plane in cloud, the edge
// runtime in core) speaks in its terms.
package fescue
