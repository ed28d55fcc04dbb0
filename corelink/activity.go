package corelink

import (
	"errors"
	"time"
)

// Activity is what a core does at a moment, in its own words.
type Activity struct {
	// At is by the core's clock.
	At time.Time `json:"at"`
	// Since is when the core was started.
	Since time.Time `json:"since"`
	// MemoryKB is what the core itself has in memory, without its functions.
	MemoryKB int64 `json:"memoryKB"`
	// Messages and Bytes wait to be sent to the cloud; Dropped were lost since the
	// core was started.
	Messages int    `json:"messages"`
	Bytes    int64  `json:"bytes"`
	Dropped  uint64 `json:"dropped"`
	// Functions are those of the group, by ARN.
	Functions []FunctionActivity `json:"functions"`
	// Devices are the client devices of the group, by thing; nil of a core whose software
	// does not know the question.
	Devices []DeviceActivity `json:"devices,omitempty"`
}

// DeviceActivity is what a client device does, as far as its core knows. It begins
// anew when the core starts.
type DeviceActivity struct {
	Thing     string `json:"thing"`
	Connected bool   `json:"connected"`
	// Since is when the device connected, or went; nil if it has not been here.
	Since *time.Time `json:"since,omitempty"`
	// Address is the one that it connects from or last did, without a port;
	// CertificateEnd is when the certificate that it showed is over.
	Address        string     `json:"address,omitempty"`
	CertificateEnd *time.Time `json:"certificateEnd,omitempty"`
	// In counts the messages that it sent, Out those that it was sent; Waiting are those with
	// QoS 1 that it has not acknowledged.
	In      uint64 `json:"in"`
	Out     uint64 `json:"out"`
	Waiting int    `json:"waiting"`
}

// FunctionActivity is what a function does.
type FunctionActivity struct {
	// ARN is qualified with the version.
	ARN    string `json:"arn"`
	Pinned bool   `json:"pinned,omitempty"`
	// Queued are the calls that wait for a process.
	Queued int `json:"queued"`
	// Counts are since the function's version was started here: how many of its
	// processes ended without being asked to, how many for their memory, and how many
	// calls took too long or failed.
	Restarts    int64 `json:"restarts"`
	OutOfMemory int64 `json:"outOfMemory"`
	Timeouts    int64 `json:"timeouts"`
	Errors      int64 `json:"errors"`
	// Workers are its processes.
	Workers []WorkerActivity `json:"workers"`
}

// WorkerActivity is a process of a function.
type WorkerActivity struct {
	ID  string `json:"id"`
	PID int    `json:"pid"`
	// State is as the health API names it.
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// MemoryKB is what it and its child processes have in memory.
	MemoryKB int64 `json:"memoryKB"`
}

// Bounds of an activity.
const (
	MaxActivityFunctions = 500
	MaxActivityWorkers   = 1000
	MaxActivityDevices   = 2500
)

// Validate refuses what no core says.
func (a Activity) Validate() error {
	workers := 0
	for _, f := range a.Functions {
		workers += len(f.Workers)
		if len(f.ARN) > 512 {
			return errors.New("a function's ARN is too long")
		}
		for _, w := range f.Workers {
			if len(w.ID) > 64 || len(w.State) > 64 {
				return errors.New("a worker's id or state is too long")
			}
		}
	}
	for _, d := range a.Devices {
		if len(d.Thing) > 128 || len(d.Address) > 64 {
			return errors.New("a device's name or address is too long")
		}
	}
	if len(a.Devices) > MaxActivityDevices {
		return errors.New("an activity has too many devices")
	}
	if len(a.Functions) > MaxActivityFunctions || workers > MaxActivityWorkers {
		return errors.New("an activity has too many functions or workers")
	}
	return nil
}
