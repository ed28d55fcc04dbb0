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

// FunctionDefaultConfig holds what functions inherit when they say nothing.
type FunctionDefaultConfig struct {
	Execution *FunctionExecution `json:",omitempty"`
}

// FunctionExecution says how a function is isolated and as whom it runs.
type FunctionExecution struct {
	// IsolationMode is GreengrassContainer (also when empty) or NoContainer.
	IsolationMode IsolationMode `json:",omitempty"`
	RunAs         *RunAs        `json:",omitempty"`
}

// IsolationMode is how far a function is kept from the host.
type IsolationMode string

// The isolation modes.
const (
	GreengrassContainer IsolationMode = "GreengrassContainer"
	NoContainer         IsolationMode = "NoContainer"
)

// RunAs is a numeric identity; a missing half falls back to the group's
// default, and that to ggc_user or ggc_group.
type RunAs struct {
	Gid *int `json:",omitempty"`
	Uid *int `json:",omitempty"`
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

// ResourceAccessPolicy attaches a resource of the group to a function.
type ResourceAccessPolicy struct {
	// Permission is "ro" or "rw".
	Permission string `json:",omitempty"`
	ResourceId string
}

// ResourceDefinitionVersion lists local resources, models and secrets.
type ResourceDefinitionVersion struct {
	Resources []Resource `json:",omitzero"`
}

// Resource is something outside a function that it may be given.
type Resource struct {
	Id                    string
	Name                  string
	ResourceDataContainer ResourceDataContainer
}

// ResourceDataContainer holds exactly one of its members.
type ResourceDataContainer struct {
	LocalDeviceResourceData                   *LocalDeviceResourceData          `json:",omitempty"`
	LocalVolumeResourceData                   *LocalVolumeResourceData          `json:",omitempty"`
	S3MachineLearningModelResourceData        *S3ModelResourceData              `json:",omitempty"`
	SageMakerMachineLearningModelResourceData *SageMakerModelResourceData       `json:",omitempty"`
	SecretsManagerSecretResourceData          *SecretsManagerSecretResourceData `json:",omitempty"`
}

// LocalDeviceResourceData is a character or block device under /dev.
type LocalDeviceResourceData struct {
	GroupOwnerSetting *GroupOwnerSetting `json:",omitempty"`
	SourcePath        string             `json:",omitempty"`
}

// LocalVolumeResourceData is a directory or file of the host.
type LocalVolumeResourceData struct {
	DestinationPath   string             `json:",omitempty"`
	GroupOwnerSetting *GroupOwnerSetting `json:",omitempty"`
	SourcePath        string             `json:",omitempty"`
}

// GroupOwnerSetting adds a Linux group to the processes that use a resource.
type GroupOwnerSetting struct {
	AutoAddGroupOwner *bool  `json:",omitempty"`
	GroupOwner        string `json:",omitempty"`
}

// S3ModelResourceData is a machine learning model archive in S3.
type S3ModelResourceData struct {
	DestinationPath string        `json:",omitempty"`
	OwnerSetting    *OwnerSetting `json:",omitempty"`
	S3Uri           string        `json:",omitempty"`
}

// SageMakerModelResourceData is a model made by a SageMaker training job.
type SageMakerModelResourceData struct {
	DestinationPath string        `json:",omitempty"`
	OwnerSetting    *OwnerSetting `json:",omitempty"`
	SageMakerJobArn string        `json:",omitempty"`
}

// OwnerSetting names the Linux group that owns a downloaded model.
type OwnerSetting struct {
	GroupOwner      string
	GroupPermission string
}

// SecretsManagerSecretResourceData is a secret; its AWSCURRENT value is always
// fetched.
type SecretsManagerSecretResourceData struct {
	ARN                               string   `json:",omitempty"`
	AdditionalStagingLabelsToDownload []string `json:",omitzero"`
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
