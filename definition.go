package fescue

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Definition is a versioned container: a group or a definition of one of the
// seven kinds. Only its Name and Tags ever change; what is deployed lives in
// its versions.
type Definition struct {
	Kind Kind
	ID   string
	// Name is mandatory for groups, optional for definitions, and not unique.
	Name string
	// CreatedAt is also the creation time of a version made in the same call.
	CreatedAt time.Time
	// UpdatedAt changes with Name, not with new versions (observed in the
	// captured samples of the AWS CLI reference).
	UpdatedAt time.Time
	// LatestVersion is the id of the newest version, empty when there is none.
	LatestVersion string
	Tags          map[string]string
}

// DefinitionVersion is one immutable version of a Definition.
type DefinitionVersion struct {
	Kind Kind
	// DefinitionID is the container's id; ID is the version's own.
	DefinitionID, ID string
	CreatedAt        time.Time
	// Body is the version in the API's own JSON: the entity list, or the
	// references of a group version.
	Body json.RawMessage
}

// GroupVersion is the body of a version of a group: references to at most one
// version of each kind of definition, by ARN.
type GroupVersion struct {
	ConnectorDefinitionVersionArn    string `json:",omitempty"`
	CoreDefinitionVersionArn         string `json:",omitempty"`
	DeviceDefinitionVersionArn       string `json:",omitempty"`
	FunctionDefinitionVersionArn     string `json:",omitempty"`
	LoggerDefinitionVersionArn       string `json:",omitempty"`
	ResourceDefinitionVersionArn     string `json:",omitempty"`
	SubscriptionDefinitionVersionArn string `json:",omitempty"`
}

// Reference is the ARN that the group version holds for a kind, empty when it
// holds none.
func (v GroupVersion) Reference(k Kind) string {
	switch k.Segment {
	case ConnectorKind.Segment:
		return v.ConnectorDefinitionVersionArn
	case CoreKind.Segment:
		return v.CoreDefinitionVersionArn
	case DeviceKind.Segment:
		return v.DeviceDefinitionVersionArn
	case FunctionKind.Segment:
		return v.FunctionDefinitionVersionArn
	case LoggerKind.Segment:
		return v.LoggerDefinitionVersionArn
	case ResourceKind.Segment:
		return v.ResourceDefinitionVersionArn
	case SubscriptionKind.Segment:
		return v.SubscriptionDefinitionVersionArn
	}
	return ""
}

// ParseVersionARN reads the ARN of a version of kind k that lies in p, and
// fails for another kind's or another partition's.
func (p Partition) ParseVersionARN(k Kind, arn string) (id, version string, err error) {
	rest, ok := strings.CutPrefix(arn, p.arn("greengrass", k.path("")))
	if ok {
		id, version, ok = strings.Cut(rest, "/versions/")
	}
	if !ok || !ValidID(id) || !ValidID(version) {
		return "", "", fmt.Errorf("%q is not the ARN of a %s version in %s", arn, k.Name, p)
	}
	return id, version, nil
}

// Page asks for a part of a list: at most Limit records after the key After
// (exclusive; empty starts at the beginning).
type Page struct {
	After string
	Limit int
}
