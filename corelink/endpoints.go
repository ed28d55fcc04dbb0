package corelink

// Endpoints answers GET /fescue/v1/endpoints: where devices find this server.
// DescribeEndpoint of AWS IoT can return only a host. Nothing in it is secret, so
// the call needs no signature.
type Endpoints struct {
	// Host is the public host that DescribeEndpoint returns too.
	Host string `json:"host"`
	// DevicePort is the port of HTTPS with mutual TLS, MQTTPort that of MQTT.
	DevicePort int `json:"devicePort"`
	MQTTPort   int `json:"mqttPort"`
	// CA is the authority of the device listeners' certificates, in PEM; empty
	// when they use certificates of the operator's.
	CA string `json:"ca,omitempty"`
}
