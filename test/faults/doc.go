// Package faults deploys random versions onto real built programs while it kills
// them, spoils the line between them and fills the core's disk, and checks after
// each deployment from outside that the control plane reported the truth.
//
// It must not know how the programs keep their promises: it sees what a user sees,
// which is the API, the processes and the files of the core.
package faults
