package fescue

// Telemetry is whether a core sends figures of its health: the API's
// TelemetryConfiguration (AWS IoT Greengrass V1 developer guide, "Gathering system
// health telemetry data from AWS IoT Greengrass core devices"). It takes effect
// without a deployment. A core whose switch nobody has set has it on.
type Telemetry string

// The values of Telemetry.
const (
	TelemetryOn  Telemetry = "On"
	TelemetryOff Telemetry = "Off"
)

// Valid reports whether it is one of the two.
func (t Telemetry) Valid() bool { return t == TelemetryOn || t == TelemetryOff }
