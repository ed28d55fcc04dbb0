package fescue

// The codes of warnings: the deployment goes on, and something of its group has
// no effect or deserves a look.
const (
	ClientDevicesUnserved  FailureCode = "CLIENT_DEVICES_UNSERVED"
	ShadowSyncUnserved     FailureCode = "SHADOW_SYNC_UNSERVED"
	LoggerUnserved         FailureCode = "LOGGER_UNSERVED"
	SpoolerSettingUnserved FailureCode = "SPOOLER_SETTING_UNSERVED"
	IPDetectorUnserved     FailureCode = "IP_DETECTOR_UNSERVED"
	GroupRoleUnserved      FailureCode = "GROUP_ROLE_UNSERVED"
	RunAsSystemID          FailureCode = "RUN_AS_SYSTEM_ID"
	MemorySizeSmall        FailureCode = "MEMORY_SIZE_SMALL"
	CoreAddressMissing     FailureCode = "CORE_ADDRESS_MISSING"
	SubscriptionIdle       FailureCode = "SUBSCRIPTION_IDLE"
)

// DeploymentWarnings is the table of what is found in a group that fails nothing.
// The timeline and a check show it, GetDeploymentStatus does not. Warnings have no
// phase.
var DeploymentWarnings = []DeploymentFailure{
	{
		Code: ClientDevicesUnserved, Concerns: "device",
		Text:   "The group has client devices (%s); its core has no MQTT server for them yet",
		Remedy: "They find the core by discovery and cannot connect to it. Bring the core to the version of the control plane.",
	},
	{
		Code: ShadowSyncUnserved, Concerns: "device",
		Text:   "SyncShadow is set for %s; its core has no local shadows to sync yet",
		Remedy: "It has no effect. Bring the core to the version of the control plane.",
	},
	{
		Code: LoggerUnserved, Concerns: "logger",
		Text:   "The logger of %s is of type %s; this version of the core logs to files only",
		Remedy: "It has no effect. Add a logger of type FileSystem to set the level and space of the files.",
	},
	{
		Code: SpoolerSettingUnserved, Concerns: "function",
		Text:   "%s of GGCloudSpooler is %s; in this version of the core %s",
		Remedy: "The setting has no effect.",
	},
	{
		Code: IPDetectorUnserved, Concerns: "function",
		Text:   "The group has GGIPDetector, which has no effect on its core yet",
		Remedy: "Set where client devices reach the core with greengrass update-connectivity-info, or bring the core to the version of the control plane.",
	},
	{
		Code: GroupRoleUnserved, Concerns: "group",
		Text:   "The group has the role %s; this version of the core gives functions no credentials for it",
		Remedy: "Functions that call AWS services need credentials of their own.",
	},
	{
		Code: RunAsSystemID, Concerns: "function",
		Text:   "Function %s runs with the %s %d (%s), which is the system's own",
		Remedy: "It has that account's rights: make sure that this is meant, as for video, dialout or gpio.",
	},
	{
		Code: MemorySizeSmall, Concerns: "function",
		Text:   "Function %s has a MemorySize of %d KB; %s alone needs about %d KB",
		Remedy: "It may be killed for its memory as it starts: raise MemorySize.",
	},
	{
		Code: CoreAddressMissing, Concerns: "device",
		Text:   "The group has client devices (%d), and nobody has said where they reach core %s",
		Remedy: "Discovery gives them no address, and the core's server certificate names none. Set it with greengrass update-connectivity-info, or add GGIPDetector to the group.",
	},
	{
		Code: SubscriptionIdle, Concerns: "subscription",
		Text:   "The subscription '%s' carries nothing: %s",
		Remedy: "Remove it from the group's subscription definition, or give it another target.",
	},
}

// Warns reports whether the code is that of a warning.
func (c FailureCode) Warns() bool { return c.in(DeploymentWarnings) }
