package fescue

import (
	"fmt"
	"slices"
	"strings"
)

// FailurePhase is where in a deployment's life a failure is found.
type FailurePhase string

// The phases of failures.
const (
	// FailsBuilding: the control plane finds it in the group version.
	FailsBuilding FailurePhase = "Building"
	// FailsOffered: the core has not come for the deployment.
	FailsOffered FailurePhase = "Offered"
	// FailsClaimed: the core finds it before it changes anything.
	FailsClaimed FailurePhase = "Claimed"
	// FailsSwitched: the core finds it when it runs the new version, and goes back.
	FailsSwitched FailurePhase = "Switched"
	// FailsAnywhere: it can come up in several.
	FailsAnywhere FailurePhase = "any"
)

// DeploymentFailure is one row of the table of deployment failures.
type DeploymentFailure struct {
	Code  FailureCode
	Phase FailurePhase
	// Concerns is what the text names: a function, a resource, the core …
	Concerns string
	// Text is the cause, a format for the values that Detail is given, without a
	// full stop.
	Text string
	// Remedy is what to do about it: whole sentences.
	Remedy string
	// Original says that the text is the original's own, as far as it is
	// documented: the AWS IoT Greengrass V1 developer guide ("Troubleshooting",
	// "Access machine learning resources") and what its users saw.
	Original bool
}

// DeploymentFailures is the table. docs/deployment-errors.md is made from it.
var DeploymentFailures = []DeploymentFailure{
	{
		Code: DefinitionNotFound, Phase: FailsBuilding, Concerns: "definition",
		Text:   "The group version refers to the %s definition version %s, which does not exist any more",
		Remedy: "Create the definition version again and a group version that refers to it, then deploy that.",
	},
	{
		Code: CoreCount, Phase: FailsBuilding, Concerns: "group",
		Text:   "The core definition version must have exactly one core to be deployed, but has %d",
		Remedy: "Create a core definition version with one core and a group version that refers to it.",
	},
	{
		Code: ThingCertNotFound, Phase: FailsBuilding, Concerns: "certificate",
		Text:   "The certificate %s of %s '%s' is not an ACTIVE certificate attached to thing %s",
		Remedy: "Activate it with iot update-certificate, attach it with iot attach-thing-principal, or name the right pair in the definition.",
	},
	{
		Code: CoreInOtherGroup, Phase: FailsBuilding, Concerns: "core",
		Text:   "The core %s is deployed by another group",
		Remedy: "Reset that group's deployments with ResetDeployments, then deploy this group.",
	},
	{
		Code: FunctionNotFound, Phase: FailsBuilding, Concerns: "function",
		Text:   "The function %s does not exist",
		Remedy: "Publish the version or create the alias in Lambda, or name an existing one in the function definition.",
	},
	{
		Code: FunctionUnpublished, Phase: FailsBuilding, Concerns: "function",
		Text:   "The function %s does not name a published version",
		Remedy: "Publish a version with lambda publish-version and refer to it by its number or by an alias that points to it; $LATEST cannot be deployed.",
	},
	{
		Code: FunctionDuplicate, Phase: FailsBuilding, Concerns: "function",
		Text:   "The function version %s stands in the group more than once",
		Remedy: "Keep one entry for each function version in the function definition.",
	},
	{
		Code: EndpointNotFound, Phase: FailsBuilding, Concerns: "subscription",
		Text:   "The %s %s of subscription '%s' is not in the group",
		Remedy: "Use the ARN exactly as it stands in the group's function, device or connector definition, or add it there.",
	},
	{
		Code: ResourceNotFound, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The function %s refers to the resource '%s', which is not in the group",
		Remedy: "Add the resource to the group's resource definition or remove it from the function's ResourceAccessPolicies.",
	},
	{
		Code: ResourceUnexpected, Phase: FailsBuilding, Concerns: "resource", Original: true,
		Text:   "Function %s refers to resource of type '%s' that is not allowed in IsolationMode='NoContainer'",
		Remedy: "Detach the resource from the function or run the function in a container.",
	},
	{
		Code: ResourceRefused, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The resource '%s' cannot be given to function %s: %s",
		Remedy: "Correct the resource in the group's resource definition, or the function's ResourceAccessPolicies, and deploy again.",
	},
	{
		Code: ModelOwnerInvalid, Phase: FailsBuilding, Concerns: "resource", Original: true,
		Text:   "InvalidMLModelOwner - GroupOwnerSetting is provided in ML model resource, but GroupOwner or GroupPermission is not present (resource '%s')",
		Remedy: "Give OwnerSetting of the resource both GroupOwner and GroupPermission.",
	},
	{
		Code: ModelPermissionUnexpected, Phase: FailsBuilding, Concerns: "resource", Original: true,
		Text:   "NoContainer function cannot configure permission when attaching Machine Learning resources. %s refers to Machine Learnin resource %s with permission %s in resource access policy",
		Remedy: "Leave Permission out of the function's ResourceAccessPolicies; GroupPermission of the resource decides.",
	},
	{
		Code: ModelPermissionMissing, Phase: FailsBuilding, Concerns: "resource", Original: true,
		Text:   "Function %s refers to Machine Learning resource %s with missing permission in both ResourceAccessPolicy and resource OwnerSetting",
		Remedy: "Give Permission in the function's ResourceAccessPolicies or OwnerSetting of the resource.",
	},
	{
		Code: ModelPermissionWider, Phase: FailsBuilding, Concerns: "resource", Original: true,
		Text:   "Function %s refers to Machine Learning resource %s with permission \"rw\", while resource owner setting GroupPermission only allows \"ro\"",
		Remedy: "Ask for ro in the function, or give rw in OwnerSetting of the resource.",
	},
	{
		Code: ModelPathsNested, Phase: FailsBuilding, Concerns: "function", Original: true,
		Text:   "NoContainer Function %s refers to resources of nested destination path",
		Remedy: "Give each machine learning resource of the function a destination path that does not lie in another's.",
	},
	{
		Code: ModelGroupShared, Phase: FailsBuilding, Concerns: "resource", Original: true,
		Text:   "Lambda %s gains access to resource %s by sharing the same group owner id",
		Remedy: "Attach the resource to the function, or give one of the two another group: Gid of the function's RunAs, or GroupOwner of the resource.",
	},
	{
		Code: SecretNotFound, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The secret %s of the resource '%s' can't be found in Secrets Manager",
		Remedy: "Create the secret or restore it, name another one in the resource definition, or remove the resource.",
	},
	{
		Code: SecretLabelNotFound, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The secret %s of the resource '%s' has no version with the staging label %s",
		Remedy: "Give the secret a value with secretsmanager put-secret-value, for a label with --version-stages, or leave the label out of AdditionalStagingLabelsToDownload.",
	},
	{
		Code: SecretDuplicate, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The resources '%s' and '%s' are the same secret, %s",
		Remedy: "Keep one resource for each secret and list all of its labels there.",
	},
	{
		Code: ModelObject, Phase: FailsBuilding, Concerns: "resource", Original: true,
		Text:   "The group refers to a resource %s with nonexistent S3 object %s: %v",
		Remedy: "Put the model there (aws s3 cp MODEL.tar.gz s3://BUCKET/KEY), or correct S3Uri of the resource, and deploy again.",
	},
	{
		Code: ModelArchive, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The model of the resource '%s' at %s cannot be deployed: %v",
		Remedy: "Pack the model as .tar.gz or .zip (tar -zcf model.tar.gz ./model), put it there and deploy again.",
	},
	{
		Code: ModelJob, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The resource '%s' names the SageMaker training job %s, and this server does not know where its model lies",
		Remedy: "Copy the job's model.tar.gz into a bucket of this server and start it with --sagemaker-model 'JOBARN=s3://BUCKET/KEY', or name the object in a resource of its own (S3MachineLearningModelResourceData).",
	},
	{
		Code: ConnectorDuplicate, Phase: FailsBuilding, Concerns: "connector",
		Text:   "The connector %s stands in the group more than once",
		Remedy: "Keep one instance and one version of each connector in a group.",
	},
	{
		Code: ConnectorUnsupported, Phase: FailsBuilding, Concerns: "connector",
		Text:   "The connector %s cannot be run by this version",
		Remedy: "Remove it from the group, or put a function in its place.",
	},
	{
		Code: DeviceSubscriptionUnsupported, Phase: FailsBuilding, Concerns: "subscription",
		Text:   "The %s of subscription '%s' is the client device %s; its core has no MQTT server for client devices yet",
		Remedy: "Bring the core to the version of the control plane and deploy again.",
	},
	{
		Code: ShadowSubscriptionUnsupported, Phase: FailsBuilding, Concerns: "subscription",
		Text:   "The %s of subscription '%s' is GGShadowService; its core has no local shadows yet",
		Remedy: "Bring the core to the version of the control plane and deploy again.",
	},
	{
		Code: RuntimeUnsupported, Phase: FailsBuilding, Concerns: "function",
		Text:   "Function %s has the runtime %s; this version of the core runs Python, Node.js, Java and executables",
		Remedy: "Publish the function for Python, Node.js or Java, or as an executable, or remove it from the group.",
	},
	{
		Code: QuotaExceeded, Phase: FailsBuilding, Concerns: "group",
		Text:   "The group has %d %s; at most %d can be deployed (quota %s)",
		Remedy: "Split the group, or start the server with another --quota.",
	},
	{
		Code: ServiceRoleMissing, Phase: FailsBuilding, Concerns: "account", Original: true,
		Text:   "TES service role is not associated with this account",
		Remedy: "Associate one with greengrass associate-service-role-to-account, or start the server without --require-service-role.",
	},
	{
		Code: ServiceRoleRefused, Phase: FailsBuilding, Concerns: "account", Original: true,
		Text:   "GreenGrass is not authorized to assume the Service Role associated with this account",
		Remedy: "Make the role in IAM, with a trust policy that lets greengrass.amazonaws.com take sts:AssumeRole; associate another; or start the server without --require-service-role.",
	},
	{
		Code: NothingToReset, Phase: FailsBuilding, Concerns: "group",
		Text:   "Group id: %s has not been deployed or has already been reset",
		Remedy: "Nothing is to be done.",
	},
	{
		Code: InternalFailure, Phase: FailsBuilding, Concerns: "server",
		Text:   "The server could not build the deployment: %s",
		Remedy: "Deploy again; if it fails again, the server's log has the cause.",
	},
	{
		Code: DeploymentSuperseded, Phase: FailsOffered, Concerns: "deployment",
		Text:   "The core had not claimed this deployment when deployment %s took its place",
		Remedy: "Nothing is to be done: poll the newer deployment.",
	},
	{
		Code: DeploymentExpired, Phase: FailsOffered, Concerns: "core",
		Text:   "The core %s did not come for this deployment within %v; it was last seen: %v",
		Remedy: "Check that the gateway is on, that fescue-core runs and that it reaches this server, then deploy again; --offline-deadline sets how long a deployment waits.",
	},
	{
		Code: DeploymentCancelled, Phase: FailsAnywhere, Concerns: "deployment",
		Text:   "The deployment was cancelled by %s",
		Remedy: "The core runs what it ran before. Deploy the group again when you want to.",
	},
	{
		Code: DeploymentForcedAway, Phase: FailsAnywhere, Concerns: "core",
		Text:   "%s ended this deployment; what the core made of it is not known",
		Remedy: "The core goes back to the last accepted deployment when it learns of that. Deploy the group again when it is back.",
	},
	{
		Code: DeploymentTimedOut, Phase: FailsAnywhere, Concerns: "core",
		Text:   "The core %s claimed this deployment and did not end it: it was longer than %v in the phase %v",
		Remedy: "The core goes back to the last accepted deployment when it learns of that. Its runtime.log says what held it up; then deploy again.",
	},
	{
		Code: DeploymentOutdated, Phase: FailsAnywhere, Concerns: "core",
		Text:   "The core %s has been through a deployment with epoch %d, later than this one's %d, of which this server has lost the end: it was restored from a backup",
		Remedy: "The core runs what it ran before. Deploy the group again.",
	},
	{
		Code: ManifestUnreadable, Phase: FailsAnywhere, Concerns: "core",
		Text:   "The core %s has version %q of the core software, which reads the manifest formats %v; this server cannot write the deployment in any of them",
		Remedy: "Bring fescue-core on the gateway and the server to versions that lie at most one apart, then deploy the group again.",
	},
	{
		Code: ManifestRefused, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v",
		Remedy: "Deploy the group again.",
	},
	{
		Code: ManifestKeyUnknown, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v; the core trusts the keys in %s and %s",
		Remedy: "If the control plane was set up anew, remove these files: the core then takes the key at its next contact. Otherwise find out who signed this.",
	},
	{
		Code: ManifestKeyRevoked, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v; the core trusts the keys in %s and %s",
		Remedy: "Deploy the group again: the newest key then signs it. If the control plane was restored from a backup that is older than the revocation, put its key into the first of these files and remove the second.",
	},
	{
		Code: ManifestSignature, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v",
		Remedy: "It was changed on the way or at the control plane. Deploy the group again.",
	},
	{
		Code: ManifestOtherCore, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v",
		Remedy: "Deploy the group again, from the control plane that this core belongs to.",
	},
	{
		Code: ManifestOtherDeployment, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v",
		Remedy: "Deploy the group again.",
	},
	{
		Code: ManifestReplay, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v",
		Remedy: "Deploy the group again to get a higher one.",
	},
	{
		Code: ManifestEpoch, Phase: FailsClaimed, Concerns: "manifest",
		Text:   "%v",
		Remedy: "Deploy the group again to get a higher one.",
	},
	{
		Code: ManifestIncomplete, Phase: FailsClaimed, Concerns: "function",
		Text:   "The manifest names no package for function %s",
		Remedy: "Deploy the group again.",
	},
	{
		Code: ArtifactDownload, Phase: FailsClaimed, Concerns: "artifact", Original: true,
		Text:   "unable to execute download step in deployment. error while downloading: error while downloading %s: %v",
		Remedy: "Deploy the group again; if it fails again, the server's log says why it does not give the artifact.",
	},
	{
		Code: ArtifactTooLarge, Phase: FailsClaimed, Concerns: "artifact",
		Text:   "%s has %d bytes, at most %d are accepted",
		Remedy: "Make the package or model smaller, publish or upload it and deploy again.",
	},
	{
		Code: ArtifactHash, Phase: FailsClaimed, Concerns: "artifact", Original: true,
		Text:   "unable to execute download step in deployment. error while downloading: error while downloading %s: %s",
		Remedy: "The artifact was damaged on the way or at the control plane. Deploy the group again; if it fails again, restore the server's artifacts from a backup or publish the function anew.",
	},
	{
		Code: ArtifactUnpack, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "unable to download the artifact %s: Error while processing. Error while unpacking the file: %v",
		Remedy: "Make an archive with relative names, and without links that lead out of it, publish or upload it and deploy again.",
	},
	{
		Code: CoreDiskFull, Phase: FailsAnywhere, Concerns: "core",
		Text:   "%s: %v. The core's disk is full",
		Remedy: "Free space in the deployment folder and deploy again.",
	},
	{
		Code: CoreFileSystem, Phase: FailsAnywhere, Concerns: "core",
		Text:   "%s: %v",
		Remedy: "Put the core's file system right, for example its permissions or a read-only mount, and deploy again.",
	},
	{
		Code: PackageMissing, Phase: FailsClaimed, Concerns: "function",
		Text:   "The package of function %s is not in the deployment folder",
		Remedy: "Deploy the group again.",
	},
	{
		Code: SecretKeyUnfit, Phase: FailsClaimed, Concerns: "core",
		Text:   "The private key that the group's secrets are to be sealed for cannot be used: %v",
		Remedy: "Name an RSA key of 2048 bits or more, or an EC key, in crypto.principals.SecretsManager.privateKeyPath of config.json, restart the core and deploy again. Without it the key of the core's certificate is used.",
	},
	{
		Code: SecretsNotFetched, Phase: FailsClaimed, Concerns: "core",
		Text:   "The control plane does not give the secrets of the group: %v",
		Remedy: "The text says what is in the way: a secret that was deleted meanwhile, an IoT policy of the core's certificate, a control plane from before it served secrets. Put it right and deploy again.",
	},
	{
		Code: SecretsRefused, Phase: FailsClaimed, Concerns: "core",
		Text:   "The group's sealed secrets are not taken: %v",
		Remedy: "Deploy again. If it comes back, compare the signing keys that the core trusts (certs/fescue-signing.pub) with those of fescue keys signing list, and look for who stands between the core and its control plane.",
	},
	{
		Code: GroupFile, Phase: FailsClaimed, Concerns: "group", Original: true,
		Text:   "unable to load the group file downloaded: %v",
		Remedy: "Deploy the group again, from a control plane and to a core of the same version.",
	},
	{
		Code: FunctionMisconfigured, Phase: FailsClaimed, Concerns: "function",
		Text:   "The configuration of function %s cannot be used: %s",
		Remedy: "Correct the function definition and deploy a group version with it.",
	},
	{
		Code: ContainerUnsupported, Phase: FailsBuilding, Concerns: "function",
		Text:   "Function %s is configured to run in IsolationMode=GreengrassContainer, which its core cannot do; what is missing: %s",
		Remedy: "Supply what is missing and start the core again, or set DefaultConfig.Execution.IsolationMode of the function definition, or Environment.Execution.IsolationMode of the function, to NoContainer and leave MemorySize out.",
	},
	{
		Code: IsolationModeOfGroup, Phase: FailsClaimed, Concerns: "group", Original: true,
		Text:   "Your 'IsolationMode' configuration for the group is invalid",
		Remedy: "Set DefaultConfig.Execution.IsolationMode to GreengrassContainer or NoContainer.",
	},
	{
		Code: IsolationModeOfFunction, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "Your 'IsolationMode' configuration for function with arn %s is invalid",
		Remedy: "Set Environment.Execution.IsolationMode to GreengrassContainer or NoContainer.",
	},
	{
		Code: MemorySizeUnexpected, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "MemorySize configuration for function with arn %s is not allowed in IsolationMode=NoContainer",
		Remedy: "Leave MemorySize out.",
	},
	{
		Code: AccessSysfsUnexpected, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "Access Sysfs configuration for function with arn %s is not allowed in IsolationMode=NoContainer",
		Remedy: "Set AccessSysfs to false.",
	},
	{
		Code: ExecutionUnexpected, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "Execution configuration for function with arn %s is not allowed",
		Remedy: "Leave Environment.Execution out.",
	},
	{
		Code: RuntimeMissing, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "unable to create worker process for %s. %s",
		Remedy: "Install what is missing on the gateway, or give the function another runtime.",
	},
	{
		Code: FunctionClosed, Phase: FailsClaimed, Concerns: "function",
		Text:   "The user of function %s cannot use what it needs to run: %s",
		Remedy: "Open it to that user on the gateway (chmod o+x a folder, chmod o+rx a program), move the core's folder to where the user may go, or give the function a RunAs that may.",
	},
	{
		Code: ProgramInvalid, Phase: FailsClaimed, Concerns: "function",
		Text:   "Function %s cannot be started: %s",
		Remedy: "Correct the package, publish a version and deploy it, or install on the gateway what the text names.",
	},
	{
		Code: AccountMissing, Phase: FailsClaimed, Concerns: "core", Original: true,
		Text:   "unable to load the group file downloaded: could not find %s based on %s name, %sName: %s: %v",
		Remedy: "Make the accounts on the gateway: " + MakeAccounts + ".",
	},
	{
		Code: FunctionUIDMissing, Phase: FailsClaimed, Concerns: "function",
		Text:   "Function %s gets no user of its own: %v",
		Remedy: "Give runtime.functionUids in config.json a wider range of numbers without accounts and restart the core, or give the function a RunAs.",
	},
	{
		Code: RunAsOtherUser, Phase: FailsClaimed, Concerns: "function",
		Text:   "Function %s is configured to run as another user, and the core runs as UID %d without the right to change it",
		Remedy: "Run the core as root or remove RunAs.",
	},
	{
		Code: RunAsInvalid, Phase: FailsClaimed, Concerns: "function",
		Text:   "RunAs of function %s has the %s %d, which is none",
		Remedy: "Give RunAs the numbers of a user and a group of the gateway, 0 and above.",
	},
	{
		Code: RunAsRoot, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "%s are configured to run as root but Greengrass is not configured to run Lambda functions with root permissions",
		Remedy: "Set runtime.allowFunctionsToRunAsRoot to \"yes\" in config.json and restart the core, or choose another RunAs.",
	},
	{
		Code: RunAsPrivileged, Phase: FailsClaimed, Concerns: "function",
		Text:   "Function %s is configured to run with the %s %d, which is %s on this machine and amounts to root, but Greengrass is not configured to run Lambda functions with root permissions",
		Remedy: "Choose another RunAs, or set runtime.allowFunctionsToRunAsRoot to \"yes\" in config.json and restart the core.",
	},
	{
		Code: HandlerMissing, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "Unable to create server due to: failed to load group: chmod %s: %v",
		Remedy: "The handler of an executable function is the name of a file in its package: correct it, publish and deploy again.",
	},
	{
		Code: ResourceUnsupported, Phase: FailsBuilding, Concerns: "resource",
		Text:   "The resource '%s' is of type '%s', which this version of the core does not serve",
		Remedy: "Remove it from the group's resource definition, or install a version of fescue-core that serves it.",
	},
	{
		Code: ResourceSource, Phase: FailsClaimed, Concerns: "resource",
		Text:   "The resource '%s' cannot be given to function %s: %v",
		Remedy: "Connect or make it on the gateway, or correct SourcePath, and deploy again.",
	},
	{
		Code: ResourceClosed, Phase: FailsClaimed, Concerns: "resource", Original: true,
		Text:   "Error while processing. group config is invalid: %v or %v don't have %s permission on the file: %s",
		Remedy: "Open it on the gateway to that UID or one of these GIDs (chown, chmod), or set AutoAddGroupOwner or GroupOwner of the resource to a group that may.",
	},
	{
		Code: ResourceGroup, Phase: FailsClaimed, Concerns: "resource",
		Text:   "The group '%s' of the resource '%s' cannot be used on this core: %v",
		Remedy: "Make the group on the gateway (groupadd), or name another one in the resource.",
	},
	{
		Code: SystemComponentUnsupported, Phase: FailsBuilding, Concerns: "function",
		Text:   "The system component %s cannot be configured in this version of the core",
		Remedy: "Remove it from the group's function definition.",
	},
	{
		Code: SpoolSize, Phase: FailsClaimed, Concerns: "function", Original: true,
		Text:   "Spool size should be at least %d bytes",
		Remedy: "Raise GG_CONFIG_MAX_SIZE_BYTES of GGCloudSpooler.",
	},
	{
		Code: SpoolSizeInvalid, Phase: FailsClaimed, Concerns: "function",
		Text:   "GG_CONFIG_MAX_SIZE_BYTES of GGCloudSpooler is %q",
		Remedy: "Give a number of bytes.",
	},
	{
		Code: SubscriptionInvalid, Phase: FailsClaimed, Concerns: "subscription",
		Text:   "The subscription '%s' cannot be routed: %v",
		Remedy: "Correct the subscription definition and deploy a group version with it.",
	},
	{
		Code: FunctionsNotStarted, Phase: FailsSwitched, Concerns: "core",
		Text:   "The functions could not be started: %v",
		Remedy: "The core's runtime.log has more; put it right and deploy again.",
	},
	{
		Code: LocalMQTTUnserved, Phase: FailsSwitched, Concerns: "core",
		Text:   "Client devices cannot connect: %s",
		Remedy: "End what has the port, or give the core another one by coreThing.ggMqttPort in config.json, and deploy again.",
	},
	{
		Code: FunctionUnhealthy, Phase: FailsSwitched, Concerns: "function",
		Text:   "Function %s is not healthy: %s",
		Remedy: "The core runs what it ran before. Correct the function, publish and deploy again.",
	},
	{
		Code: DeploymentInterrupted, Phase: FailsSwitched, Concerns: "core",
		Text:   "group.json was emptied on the core before the deployment was healthy",
		Remedy: "Deploy the group again.",
	},
}

// row is the code's row of the tables. It panics for a code that has none.
func (c FailureCode) row() DeploymentFailure {
	for _, table := range [][]DeploymentFailure{DeploymentFailures, DeploymentWarnings} {
		for _, f := range table {
			if f.Code == c {
				return f
			}
		}
	}
	panic("fescue: failure code " + string(c) + " is not in the table")
}

// Known reports whether the code is that of a failure.
func (c FailureCode) Known() bool { return c.in(DeploymentFailures) }

func (c FailureCode) in(table []DeploymentFailure) bool {
	return slices.ContainsFunc(table, func(f DeploymentFailure) bool { return f.Code == c })
}

// Detail is the failure as an ErrorDetail, its text filled in and the remedy
// added. It panics for a code that is not in the table.
func (c FailureCode) Detail(values ...any) ErrorDetail {
	return ErrorDetail{DetailedErrorCode: string(c), DetailedErrorMessage: c.Cause(values...) + " " + c.row().Remedy}
}

// Cause is the failure's text filled in, a sentence without the remedy.
func (c FailureCode) Cause(values ...any) string {
	return strings.TrimSuffix(fmt.Sprintf(c.row().Text, values...), ".") + "."
}

// MostErrorDetails is how many problems the ErrorDetails of a deployment have: a
// definition has up to 10,000 rows, and what is wrong with one often is with all.
const MostErrorDetails = 100

// InvalidGroupMessage is the ErrorMessage of a deployment that failed in
// Building because its group cannot be deployed, with the braces of the
// original (seen by users of greengo and aws-greengrass-provisioner). It names the
// first MostErrorDetails problems, and how many there are besides.
func InvalidGroupMessage(problems []ErrorDetail) string {
	named := problems[:min(len(problems), MostErrorDetails)]
	models := make([]string, len(named))
	for i, d := range named {
		models[i] = fmt.Sprintf("ErrorModel(errorCode=%s, errorMsg=%s)", d.DetailedErrorCode, d.DetailedErrorMessage)
	}
	message := "We cannot deploy because the group definition is invalid or corrupted for the following reasons: {ErrorSet(errorSet=[" +
		strings.Join(models, ", ") + "])}"
	if more := len(problems) - len(named); more > 0 {
		message += fmt.Sprintf(" There are %d more problems.", more)
	}
	return message
}

// FailureMessage is the ErrorMessage of a deployment that failed otherwise.
func FailureMessage(d Deployment, cause string) string {
	return fmt.Sprintf("Deployment %s of type %s for group %s failed error: %s", d.ID, d.Type, d.GroupID, cause)
}
