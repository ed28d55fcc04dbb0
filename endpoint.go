package fescue

import "strings"

// Endpoints of subscriptions that are not ARNs.
const (
	CloudEndpoint         = "cloud"
	ShadowServiceEndpoint = string(ShadowFunction)
)

// EndpointKind is what an end of a subscription is.
type EndpointKind string

// The kinds of ends.
const (
	EndpointCloud     EndpointKind = "cloud"
	EndpointShadow    EndpointKind = "shadow"
	EndpointFunction  EndpointKind = "function"
	EndpointDevice    EndpointKind = "device"
	EndpointConnector EndpointKind = "connector"
	EndpointUnknown   EndpointKind = "unknown"
)

// EndpointKindOf returns from its text what an end of a subscription is.
func EndpointKindOf(endpoint string) EndpointKind {
	switch endpoint {
	case CloudEndpoint:
		return EndpointCloud
	case ShadowServiceEndpoint:
		return EndpointShadow
	}
	arn, err := ParseARN(endpoint)
	if err != nil {
		return EndpointUnknown
	}
	if _, ok := arn.ThingName(); ok {
		return EndpointDevice
	}
	if _, _, ok := arn.Function(); ok {
		return EndpointFunction
	}
	if arn.Connector() {
		return EndpointConnector
	}
	return EndpointUnknown
}

// Connector reports whether an ARN is that of a connector's version.
func (a ARN) Connector() bool {
	return a.Service == "greengrass" && strings.HasPrefix(a.Resource, "/connectors/")
}
