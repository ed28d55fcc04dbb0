package fescue

// MaxDeviceGroups is how many groups a client device can be in (AWS IoT
// Greengrass V1 quotas).
const MaxDeviceGroups = 10

// ClientDevice is a client device of a group that is offered to a core.
type ClientDevice struct {
	// Thing is the name of the device's thing.
	Thing          string
	CertificateARN string
}

// Membership is a client device's place in a group, as the group's last
// deployment that succeeded has it.
type Membership struct {
	GroupID string
	// CoreThing is the name of the thing of the group's core.
	CoreThing string
	// CertificateARN is what the group has the device present itself with.
	CertificateARN string
}

// ConnectivityInfo is one place where client devices reach a core, with the members that the
// API and discovery share.
type ConnectivityInfo struct {
	// ID is unique within a core's list. The original's detector wrote AUTOIP_{address}_{index}.
	ID string `json:"Id"`
	// HostAddress is an IP address or a DNS name.
	HostAddress string
	// PortNumber is of the core's MQTT server, 1 to 65535.
	PortNumber int
	// Metadata is free text.
	Metadata string
}
