package fescue

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Partition is the wall between tenants: one account in one Region. Every row,
// topic, bucket and artifact lies inside exactly one. Two partitions never see
// each other.
type Partition struct {
	// AWS is the first part of every ARN: "aws", "aws-cn" or "aws-us-gov".
	AWS string
	// Account is the twelve-digit account number.
	Account string
	// Region is the Region's name, for example "us-east-1".
	Region string
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`)
)

// Validate says what is wrong with a partition that an operator configured.
func (p Partition) Validate() error {
	switch p.AWS {
	case "aws", "aws-cn", "aws-us-gov":
	default:
		return fmt.Errorf("partition %q is not one of aws, aws-cn, aws-us-gov", p.AWS)
	}
	if !accountPattern.MatchString(p.Account) {
		return fmt.Errorf("account %q is not twelve digits", p.Account)
	}
	if !regionPattern.MatchString(p.Region) {
		return fmt.Errorf("region %q does not look like a Region name such as us-east-1", p.Region)
	}
	return nil
}

// Key is the partition as one string, used as a database key and as the prefix
// of MQTT topics: "account/region". The AWS part is the same for the whole
// server and therefore not in it.
func (p Partition) Key() string { return p.Account + "/" + p.Region }

// String is Key, for logs.
func (p Partition) String() string { return p.Key() }

func (p Partition) arn(service, resource string) string {
	return "arn:" + p.AWS + ":" + service + ":" + p.Region + ":" + p.Account + ":" + resource
}

// ThingARN is the ARN of an IoT thing.
func (p Partition) ThingARN(name string) string { return p.arn("iot", "thing/"+name) }

// ThingTypeARN is the ARN of an IoT thing type.
func (p Partition) ThingTypeARN(name string) string { return p.arn("iot", "thingtype/"+name) }

// ShadowARN is the resource that IoT policies name for a shadow of a thing; an
// empty name is the classic one.
func (p Partition) ShadowARN(thing, name string) string {
	if name != "" {
		name = "/" + name
	}
	return p.ThingARN(thing) + name
}

// JobARN is the ARN of an IoT job.
func (p Partition) JobARN(id string) string { return p.arn("iot", "job/"+id) }

// RoleAliasARN is the ARN of an IoT role alias.
func (p Partition) RoleAliasARN(name string) string { return p.arn("iot", "rolealias/"+name) }

// CertificateARN is the ARN of a device certificate. The id is the lowercase
// hexadecimal SHA-256 of the certificate's DER form, as AWS IoT's is.
func (p Partition) CertificateARN(id string) string { return p.arn("iot", "cert/"+id) }

// PolicyARN is the ARN of an IoT policy.
func (p Partition) PolicyARN(name string) string { return p.arn("iot", "policy/"+name) }

// ClientARN, TopicARN and TopicFilterARN are the resources that IoT policies
// name for MQTT connections, publishes and subscriptions.
func (p Partition) ClientARN(clientID string) string { return p.arn("iot", "client/"+clientID) }

// TopicARN is the resource of iot:Publish and iot:Receive.
func (p Partition) TopicARN(topic string) string { return p.arn("iot", "topic/"+topic) }

// TopicFilterARN is the resource of iot:Subscribe.
func (p Partition) TopicFilterARN(filter string) string {
	return p.arn("iot", "topicfilter/"+filter)
}

// FunctionARN is the unqualified ARN of a Lambda function.
func (p Partition) FunctionARN(name string) string { return p.arn("lambda", "function:"+name) }

// BucketARN is the ARN of a bucket. Buckets' ARNs name neither account nor Region.
func (p Partition) BucketARN(name string) string { return "arn:" + p.AWS + ":s3:::" + name }

// DefinitionARN is the ARN of a group or a definition. The resource part starts
// with a slash, as the original's did.
func (p Partition) DefinitionARN(k Kind, id string) string {
	return p.arn("greengrass", k.path(id))
}

// VersionARN is the ARN of one version of a group or a definition.
func (p Partition) VersionARN(k Kind, id, version string) string {
	return p.arn("greengrass", k.path(id)+"/versions/"+version)
}

// DeploymentARN is the ARN of a deployment of a group.
func (p Partition) DeploymentARN(groupID, deploymentID string) string {
	return p.arn("greengrass", "/greengrass/groups/"+groupID+"/deployments/"+deploymentID)
}

// BulkDeploymentARN is the ARN of a bulk deployment.
func (p Partition) BulkDeploymentARN(id string) string {
	return p.arn("greengrass", "/greengrass/bulk/deployments/"+id)
}

// CoreDeploymentARN is the resource of greengrass:UpdateCoreDeploymentStatus:
// one deployment on one core, whose thing ARN stands URL-encoded at the end.
func (p Partition) CoreDeploymentARN(groupID, deploymentID, coreThingARN string) string {
	return p.DeploymentARN(groupID, deploymentID) + "/cores/" + url.QueryEscape(coreThingARN)
}

// ArtifactARN is the name that group.json gives to something a core downloads:
// kind is "lambda" or "resource".
func (p Partition) ArtifactARN(groupID, deploymentID, kind, id string) string {
	return p.DeploymentARN(groupID, deploymentID) + "/artifacts/" + kind + "/" + id
}

var roleARNPattern = regexp.MustCompile(`^arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}$`)

// ValidRoleARN reports whether s has the form of an IAM role's ARN. That there is
// such a role is not asked, as the original did not.
func ValidRoleARN(s string) bool { return roleARNPattern.MatchString(s) }

// ARN is a parsed Amazon Resource Name.
type ARN struct {
	AWS, Service, Region, Account, Resource string
}

// ErrARN is wrapped by every ARN parse failure.
var ErrARN = errors.New("not a valid ARN")

// ParseARN splits an ARN into its parts; the resource part keeps its colons.
func ParseARN(s string) (ARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
		return ARN{}, fmt.Errorf("%q is %w", s, ErrARN)
	}
	return ARN{AWS: parts[1], Service: parts[2], Region: parts[3], Account: parts[4], Resource: parts[5]}, nil
}

// String is the ARN as text.
func (a ARN) String() string {
	return "arn:" + a.AWS + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Partition is where the ARN's resource lies.
func (a ARN) Partition() Partition {
	return Partition{AWS: a.AWS, Account: a.Account, Region: a.Region}
}

// ThingName is the thing that an IoT thing ARN names, and false for any other
// ARN.
func (a ARN) ThingName() (string, bool) {
	name, ok := strings.CutPrefix(a.Resource, "thing/")
	return name, ok && a.Service == "iot" && name != ""
}

// CertificateID is the id that an IoT certificate ARN names, and false for any
// other ARN.
func (a ARN) CertificateID() (string, bool) {
	id, ok := strings.CutPrefix(a.Resource, "cert/")
	return id, ok && a.Service == "iot" && id != ""
}

// Function is the name and qualifier (version or alias, possibly empty) that a
// Lambda function ARN names, and false for any other ARN.
func (a ARN) Function() (name, qualifier string, ok bool) {
	rest, ok := strings.CutPrefix(a.Resource, "function:")
	if !ok || a.Service != "lambda" {
		return "", "", false
	}
	name, qualifier, _ = strings.Cut(rest, ":")
	return name, qualifier, name != ""
}

// RoleARN is the ARN of an IAM role; IAM's resources have no Region.
func (p Partition) RoleARN(path, name string) string {
	return "arn:" + p.AWS + ":iam::" + p.Account + ":role" + path + name
}

// ManagedPolicyARN is the ARN of a managed IAM policy.
func (p Partition) ManagedPolicyARN(path, name string) string {
	return "arn:" + p.AWS + ":iam::" + p.Account + ":policy" + path + name
}

// SecretARN is the ARN of a secret.
func (p Partition) SecretARN(name, suffix string) string {
	return p.arn("secretsmanager", "secret:"+name+"-"+suffix)
}
