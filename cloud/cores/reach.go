package cores

import "time"

// ConnectivityInfo is one place where client devices reach a core, with the
// members that the API and discovery share.
type ConnectivityInfo struct {
	// HostAddress is an IP address or a DNS name.
	HostAddress string
	// ID is unique within a core's list. The original's detector wrote
	// AUTOIP_{address}_{index}.
	ID string `json:"Id"`
	// Metadata is free text.
	Metadata string
	// PortNumber is of the core's MQTT server, 1 to 65535.
	PortNumber int
}

// Connectivity is the whole list of a core.
type Connectivity struct {
	// Version is a UUID that changes with every update.
	Version   string
	Info      []ConnectivityInfo
	UpdatedAt time.Time
}
