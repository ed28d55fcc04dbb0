package core

import (
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Options say where a core lives and what its configuration file does not.
type Options struct {
	// Root is the install root, normally /greengrass, with config and certs.
	Root string
	// IoTHost and GGHost, "host" or "host:port", and CAFile, a plain path,
	// replace what config.json says; empty ones do not.
	IoTHost, GGHost, CAFile string
	// IPCPort replaces ggDaemonPort; 0 takes any free port.
	IPCPort *int
	// DevicesPort replaces ggMqttPort, the port of the MQTT server for client devices; 0
	// does not.
	DevicesPort int
	// DefaultUID and DefaultGID take the place of ggc_user and ggc_group. They
	// count only for a core that runs as root.
	DefaultUID, DefaultGID *uint32
	// Output receives the core's own log as text, besides the log files; nil
	// means the files alone.
	Output io.Writer
	// Crashes has what the process says as it crashes written into the core's crash.log,
	// too. It is for a process that is one core and nothing else.
	Crashes bool
	// HealthTimeout replaces postStartHealthCheckTimeout; zero does not.
	HealthTimeout time.Duration
	// SearchPath are the folders in which interpreters are looked for. Without
	// it these are /usr/bin and /usr/local/bin, then those of PATH.
	SearchPath []string
	// LogsEndpoint is the URL of CloudWatch Logs, or of what speaks as it does, where
	// loggers of type AWSCloudWatch send lines to, signed with LogsCredentials, or, if
	// that is nil, with the keys of the group's role that functions get, too: these only
	// go to https, or to this machine. Without it lines go to the control plane.
	LogsEndpoint    string
	LogsCredentials aws.CredentialsProvider
	// TelemetryInterval is how often telemetry is published; zero is 24 hours.
	TelemetryInterval time.Duration
	// CredentialsEndpoint is the URL of an AWS IoT credentials endpoint with a role
	// alias, https://HOST/role-aliases/ALIAS/credentials, from which functions get
	// credentials. Without it they get those of the group's role, from the control plane.
	CredentialsEndpoint string
	// ContainerInit is a program whose main function calls sandbox.Init first, which
	// is what both commands do: /proc/self/exe. Without it no function runs in a
	// container.
	ContainerInit string
}
