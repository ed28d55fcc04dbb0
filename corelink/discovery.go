package corelink

import "github.com/fescue-edge/fescue"

// DiscoverPattern is where client devices ask which cores they may connect to
// (AWS IoT Greengrass V1 developer guide, "Greengrass Discovery RESTful API").
const DiscoverPattern = "GET /greengrass/discover/thing/{ThingName}"

// Discovery answers it. Names and order of the members are those that the
// original's clients parse.
type Discovery struct {
	Groups []DiscoveredGroup `json:"GGGroups"`
}

// DiscoveredGroup is a group that has the device.
type DiscoveredGroup struct {
	ID    string           `json:"GGGroupId"`
	Cores []DiscoveredCore `json:"Cores"`
	// CAs are the group's certificate authorities in PEM, the one that signs
	// first.
	CAs []string `json:"CAs"`
}

// DiscoveredCore is the group's core. A group has one.
type DiscoveredCore struct {
	ThingARN     string                    `json:"thingArn"`
	Connectivity []fescue.ConnectivityInfo `json:"Connectivity"`
}
