package fescue

// Kind is a kind of versioned container: the group, or one of the seven kinds
// of definition. All eight share one shape (a named container with immutable
// versions), so one implementation driven by this table serves them.
type Kind struct {
	// Name is the kind as operations spell it: "Core" in CreateCoreDefinition.
	Name string
	// Segment is the kind as URLs, ARNs and the database spell it: "cores".
	Segment string
	// Member is the member of a definition version that lists its entities:
	// "Cores". Empty for the group.
	Member string
	// Reference is the member of a group version that points to a version of
	// this kind: "CoreDefinitionVersionArn". Empty for the group.
	Reference string
}

// Container is the kind as operations spell what has the versions: "Group", and
// "CoreDefinition" in GetCoreDefinitionVersion.
func (k Kind) Container() string {
	if k.Segment == GroupKind.Segment {
		return k.Name
	}
	return k.Name + "Definition"
}

// The kinds.
var (
	GroupKind        = Kind{Name: "Group", Segment: "groups"}
	ConnectorKind    = definitionKind("Connector", "connectors")
	CoreKind         = definitionKind("Core", "cores")
	DeviceKind       = definitionKind("Device", "devices")
	FunctionKind     = definitionKind("Function", "functions")
	LoggerKind       = definitionKind("Logger", "loggers")
	ResourceKind     = definitionKind("Resource", "resources")
	SubscriptionKind = definitionKind("Subscription", "subscriptions")
)

// DefinitionKinds lists the seven kinds of definition in the order of their
// names.
var DefinitionKinds = []Kind{
	ConnectorKind, CoreKind, DeviceKind, FunctionKind, LoggerKind, ResourceKind, SubscriptionKind,
}

func definitionKind(name, segment string) Kind {
	return Kind{
		Name:      name,
		Segment:   segment,
		Member:    name + "s",
		Reference: name + "DefinitionVersionArn",
	}
}

func (k Kind) path(id string) string {
	if k.Segment == GroupKind.Segment {
		return "/greengrass/groups/" + id
	}
	return "/greengrass/definition/" + k.Segment + "/" + id
}
