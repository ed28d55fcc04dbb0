package fescue

// The bodies of definition versions, member for member as the Greengrass API
// model (2017-06-07) has them. A nil slice, map or pointer is a member that the
// caller left out; it is left out again when the version is read back.

// CoreDefinitionVersion lists the group's core: exactly one can be deployed.
type CoreDefinitionVersion struct {
	Cores []Core `json:",omitzero"`
}

// Core is the thing that a gateway runs as.
type Core struct {
	CertificateArn string
	Id             string
	SyncShadow     *bool `json:",omitempty"`
	ThingArn       string
}

// DeviceDefinitionVersion lists the client devices that may connect to the
// core.
type DeviceDefinitionVersion struct {
	Devices []Device `json:",omitzero"`
}

// Device is a client device.
type Device struct {
	CertificateArn string
	Id             string
	SyncShadow     *bool `json:",omitempty"`
	ThingArn       string
}

// FunctionDefinitionVersion lists the functions that the core runs.
type FunctionDefinitionVersion struct {
	DefaultConfig *FunctionDefaultConfig `json:",omitempty"`
	Functions     []Function             `json:",omitzero"`
}

// Function is one Lambda function on the core.
type Function struct {
	// FunctionArn is an alias or version ARN. An alias is resolved to its
	// version each time the group is deployed.
	FunctionArn           string                 `json:",omitempty"`
	FunctionConfiguration *FunctionConfiguration `json:",omitempty"`
	Id                    string
}

// FunctionConfiguration is how the core runs a function.
type FunctionConfiguration struct {
	// EncodingType is "json" (also when empty) or "binary".
	EncodingType string               `json:",omitempty"`
	Environment  *FunctionEnvironment `json:",omitempty"`
	// ExecArgs is one string of arguments, split at white space.
	ExecArgs string `json:",omitempty"`
	// Executable replaces the handler that Lambda recorded.
	Executable              string `json:",omitempty"`
	FunctionRuntimeOverride string `json:",omitempty"`
	// MemorySize is in KB: required in a container, forbidden without one.
	MemorySize *int `json:",omitempty"`
	// Pinned makes the function long-lived.
	Pinned *bool `json:",omitempty"`
	// Timeout is in seconds, for each invocation.
	Timeout *int `json:",omitempty"`
}

// FunctionEnvironment is what a function finds around it.
type FunctionEnvironment struct {
	AccessSysfs            *bool                  `json:",omitempty"`
	Execution              *FunctionExecution     `json:",omitempty"`
	ResourceAccessPolicies []ResourceAccessPolicy `json:",omitzero"`
	Variables              map[string]string      `json:",omitzero"`
}

// SubscriptionDefinitionVersion is the routing table of the group.
type SubscriptionDefinitionVersion struct {
	Subscriptions []Subscription `json:",omitzero"`
}

// Subscription is one directed row of the routing table.
type Subscription struct {
	Id      string
	Source  string
	Subject string
	Target  string
}

// ConnectorDefinitionVersion lists connectors.
type ConnectorDefinitionVersion struct {
	Connectors []Connector `json:",omitzero"`
}

// Connector is a prebuilt module with parameters.
type Connector struct {
	ConnectorArn string
	Id           string
	Parameters   map[string]string `json:",omitzero"`
}

// LoggerDefinitionVersion says what is logged where.
type LoggerDefinitionVersion struct {
	Loggers []Logger `json:",omitzero"`
}

// Logger is one logging rule.
type Logger struct {
	// Component is "GreengrassSystem" or "Lambda".
	Component string
	Id        string
	// Level is DEBUG, INFO, WARN, ERROR or FATAL.
	Level string
	// Space is in KB, only for FileSystem.
	Space *int `json:",omitempty"`
	// Type is "FileSystem" or "AWSCloudWatch".
	Type string
}

// DefaultLoggers apply to a group without a logger definition (documented in
// the Greengrass V1 developer guide).
func DefaultLoggers() []Logger {
	space := 128
	return []Logger{
		{Type: "FileSystem", Component: "GreengrassSystem", Level: "INFO", Space: &space},
		{Type: "FileSystem", Component: "Lambda", Level: "INFO", Space: &space},
	}
}
