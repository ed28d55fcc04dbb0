package fescue

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

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

// The staging labels that Secrets Manager moves itself.
const (
	StageCurrent  = "AWSCURRENT"
	StagePrevious = "AWSPREVIOUS"
)

// Labels are the staging labels of which the core gets the versions, AWSCURRENT first,
// each once.
func (d SecretsManagerSecretResourceData) Labels() []string {
	list := []string{StageCurrent}
	for _, label := range d.AdditionalStagingLabelsToDownload {
		if !slices.Contains(list, label) {
			list = append(list, label)
		}
	}
	return list
}

// ResourceAccessPolicy attaches a resource of the group to a function.
type ResourceAccessPolicy struct {
	// Permission is "ro" or "rw".
	Permission string `json:",omitempty"`
	ResourceId string
}

// ResourceType is one of the types of resources, by the names that it has.
type ResourceType struct {
	// Name stands in messages, as the original's: "Local.Device".
	Name string
	// Document and Class are the two in group.json: "LOCAL_DEVICE" and
	// "LocalDeviceResourceData".
	Document, Class string
	Feature         Feature
}

// The types of resources, in the order of their members.
var (
	LocalDeviceType    = ResourceType{"Local.Device", "LOCAL_DEVICE", "LocalDeviceResourceData", FeatureLocalResources}
	LocalVolumeType    = ResourceType{"Local.Volume", "LOCAL_VOLUME", "LocalVolumeResourceData", FeatureLocalResources}
	S3ModelType        = ResourceType{"ML_Model.S3_Object", "ML_MODEL_S3_OBJECT", "S3ObjectResourceData", FeatureModels}
	SageMakerModelType = ResourceType{"ML_Model.SageMaker.Job", "ML_MODEL_SAGEMAKER_JOB", "SageMakerJobResourceData", FeatureModels}
	SecretType         = ResourceType{"Secret", "SECRETS_MANAGER_SECRET", "SecretsManagerSecretResourceData", FeatureSecrets}
)

// Types are those of the members that are set: one, in a resource that makes sense.
func (d ResourceDataContainer) Types() (list []ResourceType) {
	for _, m := range []struct {
		set bool
		is  ResourceType
	}{
		{d.LocalDeviceResourceData != nil, LocalDeviceType},
		{d.LocalVolumeResourceData != nil, LocalVolumeType},
		{d.S3MachineLearningModelResourceData != nil, S3ModelType},
		{d.SageMakerMachineLearningModelResourceData != nil, SageMakerModelType},
		{d.SecretsManagerSecretResourceData != nil, SecretType},
	} {
		if m.set {
			list = append(list, m.is)
		}
	}
	return list
}

// Type is that of the first member that is set.
func (d ResourceDataContainer) Type() (t ResourceType) {
	for _, t = range d.Types() {
		break
	}
	return t
}

// Model is what the two types of machine learning models have in common.
type Model struct {
	Destination string
	// Owner is nil for a model that only functions in a container can be given.
	Owner *OwnerSetting
}

// Model is the resource as a machine learning model, and false for another one.
func (d ResourceDataContainer) Model() (Model, bool) {
	switch {
	case d.S3MachineLearningModelResourceData != nil:
		return Model{d.S3MachineLearningModelResourceData.DestinationPath, d.S3MachineLearningModelResourceData.OwnerSetting}, true
	case d.SageMakerMachineLearningModelResourceData != nil:
		return Model{d.SageMakerMachineLearningModelResourceData.DestinationPath, d.SageMakerMachineLearningModelResourceData.OwnerSetting}, true
	}
	return Model{}, false
}

// Local is what devices and volumes of the core's machine have in common.
type Local struct {
	// Device is false for a volume.
	Device bool
	// Source is the path on the machine, Destination the one in the container.
	Source, Destination string
	// Group is nil for a resource that brings no group to the function's.
	Group *GroupOwnerSetting
}

// Local is the resource as a device or a volume, and false for another one. A volume
// without a destination is seen where it lies.
func (d ResourceDataContainer) Local() (Local, bool) {
	if device := d.LocalDeviceResourceData; device != nil {
		return Local{true, cleaned(device.SourcePath), cleaned(device.SourcePath), device.GroupOwnerSetting}, true
	}
	if volume := d.LocalVolumeResourceData; volume != nil {
		return Local{false, cleaned(volume.SourcePath), cleaned(cmp.Or(volume.DestinationPath, volume.SourcePath)), volume.GroupOwnerSetting}, true
	}
	return Local{}, false
}

// Problem is why no function is given the resource with a permission, empty for none.
// The rules are the original's (AWS IoT Greengrass V1 developer guide, "Access local
// resources with Lambda functions and connectors"), which its cores kept; that two
// places in a container are not for volumes is Fescue's own.
func (l Local) Problem(permission string) string {
	if !path.IsAbs(l.Source) || !path.IsAbs(l.Destination) {
		return fmt.Sprintf("the paths '%s' and '%s' must be absolute", l.Source, l.Destination)
	}
	if permission != "" && !ValidPermission(permission) {
		return fmt.Sprintf("the permission '%s' is neither ro nor rw", permission)
	}
	if text := l.sourceProblem(permission); text != "" || l.Device {
		return text
	}
	switch d := l.Destination; {
	case within(d, "/dev/shm"):
	case d == "/", within(d, "/proc"), within(d, "/sys"), within(d, "/dev"), within(d, "/lambda"), within(d, "/runtime"):
		return fmt.Sprintf("a volume cannot be seen at '%s', where a container has something of its own; choose another DestinationPath", d)
	}
	return ""
}

func (l Local) sourceProblem(permission string) string {
	switch s := l.Source; {
	case l.Device:
		if !strings.HasPrefix(s, "/dev/") {
			return "Device resource path should begin with /dev, but got: " + s
		}
		for _, own := range []string{"/dev/pts", "/dev/shm", "/dev/mqueue"} {
			if within(s, own) {
				return fmt.Sprintf("'%s' lies in %s, of which a container has its own", s, own)
			}
		}
	case within(s, "/sys"):
		return "Accessing /sys is prohibited"
	case within(s, "/dev/shm"):
		if permission != "rw" {
			return "/dev/shm can be given with the permission rw only"
		}
	case within(s, "/dev"):
		return fmt.Sprintf("'%s' cannot be a volume; give a device of /dev as LocalDeviceResourceData", s)
	case within(s, "/var"):
		return fmt.Sprintf("'%s' cannot be a volume, as nothing of /var, /var/run and /var/lib can; bind it to another folder first (mount --bind)", s)
	}
	return ""
}

// ReadOnly reports whether nobody may write the resource, whatever the permission.
func (l Local) ReadOnly() bool { return within(l.Source, "/proc") }

// within reports whether a path is a folder or lies in it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// NeedsContainer reports whether only a function in a container can be given the
// resource.
func (d ResourceDataContainer) NeedsContainer() bool {
	model, ok := d.Model()
	return d.LocalDeviceResourceData != nil || d.LocalVolumeResourceData != nil || ok && model.Owner == nil
}

// ValidPermission reports whether a permission for a resource is one that there is.
func ValidPermission(p string) bool { return p == "ro" || p == "rw" }

// AttachmentProblems is what is wrong with the resources that a function is given.
// The texts are the original's (AWS IoT Greengrass V1 developer guide, "Access
// machine learning resources").
func AttachmentProblems(function string, mode IsolationMode, given []ResourceAccessPolicy, resources []Resource) (list []ErrorDetail) {
	var destinations []string
	seen := places{}
	for _, a := range given {
		i := slices.IndexFunc(resources, func(r Resource) bool { return r.Id == a.ResourceId })
		if i < 0 {
			list = append(list, ResourceNotFound.Detail(function, a.ResourceId))
			continue
		}
		d := resources[i].ResourceDataContainer
		if mode == NoContainer && d.NeedsContainer() {
			list = append(list, ResourceUnexpected.Detail(function, d.Type().Name))
			continue
		}
		refuse := func(text string) { list = append(list, ResourceRefused.Detail(a.ResourceId, function, text)) }
		local, ok := d.Local()
		if ok {
			if text := local.Problem(a.Permission); text != "" {
				refuse(text)
			}
		}
		if d.SecretsManagerSecretResourceData != nil && a.Permission != "" && a.Permission != "ro" {
			refuse("functions only read secrets; set Permission to ro")
		}
		model, isModel := d.Model()
		if other, taken := seen.take(cmp.Or(local.Destination, cleaned(model.Destination)), resources[i]); taken && mode == GreengrassContainer {
			refuse(fmt.Sprintf("the resource '%s' is seen at the same path of its container", other.Id))
		}
		if !isModel {
			continue
		}
		switch owner, asked := model.Owner, a.Permission; {
		case owner != nil && (owner.GroupOwner == "" || owner.GroupPermission == ""):
			list = append(list, ModelOwnerInvalid.Detail(a.ResourceId))
		case mode == NoContainer && asked != "":
			list = append(list, ModelPermissionUnexpected.Detail(function, a.ResourceId, asked))
		case owner == nil && asked == "":
			list = append(list, ModelPermissionMissing.Detail(function, a.ResourceId))
		case owner != nil && asked == "rw" && owner.GroupPermission == "ro":
			list = append(list, ModelPermissionWider.Detail(function, a.ResourceId))
		}
		if model.Destination != "" {
			destinations = append(destinations, model.Destination)
		}
	}
	if mode == NoContainer && nested(destinations) {
		list = append(list, ModelPathsNested.Detail(function))
	}
	return list
}

// nested reports whether one path is another, or lies in it.
func nested(paths []string) bool {
	for i, p := range paths {
		for j, q := range paths {
			if i != j && strings.HasPrefix(path.Clean(q)+"/", path.Clean(p)+"/") {
				return true
			}
		}
	}
	return false
}

// SharedModels lists the models that a function could read without having been
// given them, as the group that it runs as owns them. What root can read is no
// question. A group called by its name is the core's to look up.
func SharedModels(function string, uid, gid *int, given []ResourceAccessPolicy, resources []Resource) (list []ErrorDetail) {
	if gid == nil || uid != nil && *uid == 0 {
		return nil
	}
	for _, r := range resources {
		model, _ := r.ResourceDataContainer.Model()
		if model.Owner == nil || model.Owner.GroupOwner != fmt.Sprint(*gid) {
			continue
		}
		if !slices.ContainsFunc(given, func(a ResourceAccessPolicy) bool { return a.ResourceId == r.Id }) {
			list = append(list, ModelGroupShared.Detail(function, r.Id))
		}
	}
	return list
}

// Problems is what no resource may be, and what two may not name. The rules are the
// original's, its words for most of them are not known.
func (v ResourceDefinitionVersion) Problems() (list []string) {
	fail := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	devices, volumes, models, secrets := places{}, places{}, places{}, places{}
	once := func(p places, what, place string, r Resource) {
		if other, taken := p.take(place, r); taken {
			fail("Resources '%s' and '%s' have the same %s '%s'", other.Id, r.Id, what, place)
		}
	}
	for _, r := range v.Resources {
		d := r.ResourceDataContainer
		if n := len(d.Types()); n != 1 {
			fail("ResourceDataContainer of '%s' must have exactly one member, but has %d", r.Id, n)
			continue
		}
		if device := d.LocalDeviceResourceData; device != nil {
			p := cleaned(device.SourcePath)
			if !strings.HasPrefix(p, "/dev/") {
				fail("Device resource path should begin with /dev, but got: %s", device.SourcePath)
			}
			once(devices, "device path", p, r)
		}
		if volume := d.LocalVolumeResourceData; volume != nil {
			list = append(list, volumes.volume(volume, r)...)
		}
		if model, ok := d.Model(); ok {
			once(models, "destination path", cleaned(model.Destination), r)
			// That an owner lacks a member is the deployment's to say, with the text
			// that the original has for it.
			if o := model.Owner; o != nil && o.GroupPermission != "" && !ValidPermission(o.GroupPermission) {
				fail("GroupPermission of '%s' must be ro or rw, but is '%s'", r.Id, o.GroupPermission)
			}
		}
		if secret := d.SecretsManagerSecretResourceData; secret != nil {
			once(secrets, "secret", secret.ARN, r)
		}
	}
	return list
}

// places are what resources may name once in a definition version.
type places map[string]Resource

// take is for the resource alone; it returns the other that has the place. No place
// is nobody's.
func (p places) take(place string, r Resource) (other Resource, taken bool) {
	if place == "" {
		return Resource{}, false
	}
	if other, taken = p[place]; !taken {
		p[place] = r
	}
	return other, taken
}

func (p places) volume(v *LocalVolumeResourceData, r Resource) (list []string) {
	fail := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	source, destination := cleaned(v.SourcePath), cleaned(v.DestinationPath)
	if !path.IsAbs(v.SourcePath) {
		fail("SourcePath of '%s' must be an absolute path, but is '%s'", r.Id, v.SourcePath)
	}
	if destination != "" && !path.IsAbs(destination) {
		fail("DestinationPath of '%s' must be an absolute path, but is '%s'", r.Id, v.DestinationPath)
	}
	if source == "/sys" || strings.HasPrefix(source, "/sys/") {
		fail("Accessing /sys is prohibited")
	}
	other, taken := p.take(source, r)
	if taken && cleaned(other.ResourceDataContainer.LocalVolumeResourceData.DestinationPath) != destination {
		fail("Volume '%s' is given two destinations by the resources '%s' and '%s'", source, other.Id, r.Id)
	}
	return list
}

// cleaned is a path in its shortest form; none stays none.
func cleaned(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(p)
}
