package recovery

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// document is group.json as it is read: package bundle's form, but for the two
// lists whose entries nobody has seen. A section that is missing is empty.
type document struct {
	Schema           any `json:"$Schema"`
	Arn              string
	Version          *string
	Region           *string
	Cores            []bundle.Identity
	Devices          []bundle.Identity
	GroupDefinitions struct {
		Resources              bundle.Section[bundle.Resource]
		Lambdas                bundle.Lambdas
		Subscriptions          bundle.Section[fescue.Subscription]
		Logging                bundle.Section[bundle.Logger]
		ShadowSync             bundle.Section[json.RawMessage]
		ClientCertFingerprints bundle.Section[json.RawMessage]
	}
}

// parseDocument reads group.json and lists the members that it does not know.
func parseDocument(data []byte) (doc document, unknown []string, err error) {
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, nil, fmt.Errorf("group.json does not parse: %w", err)
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		return doc, nil, fmt.Errorf("group.json does not parse: %w", err)
	}
	unknown = unknownMembers("", plain, reflect.TypeFor[document]())
	slices.Sort(unknown)
	return doc, slices.Compact(unknown), nil
}

// unknownMembers lists, as paths, the members of a decoded JSON value that the
// type has no field for.
func unknownMembers(path string, value any, t reflect.Type) (list []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := value.(type) {
	case []any:
		if t.Kind() != reflect.Slice || t == reflect.TypeFor[json.RawMessage]() {
			return nil
		}
		for _, item := range v {
			list = append(list, unknownMembers(path+"[]", item, t.Elem())...)
		}
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return nil
		}
		fields := fieldsOf(t)
		for name, item := range v {
			member := strings.TrimPrefix(path+"."+name, ".")
			field, ok := fields[strings.ToLower(name)]
			if ok {
				list = append(list, unknownMembers(member, item, field)...)
			} else {
				list = append(list, member)
			}
		}
	}
	return list
}

// fieldsOf are a struct's fields by the name that JSON decodes into, in any case.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		fields[strings.ToLower(name)] = f.Type
	}
	return fields
}

// groupIDs are the group's and the version's id in the ARN of a group version.
func (doc document) groupIDs() (p fescue.Partition, group, version string, err error) {
	arn, err := fescue.ParseARN(doc.Arn)
	if err != nil {
		return p, "", "", fmt.Errorf("group.json: Arn: %w", err)
	}
	p = arn.Partition()
	if err := p.Validate(); err != nil {
		return p, "", "", fmt.Errorf("group.json: Arn: %w", err)
	}
	group, version, err = p.ParseVersionARN(fescue.GroupKind, doc.Arn)
	if err != nil {
		return p, "", "", fmt.Errorf("group.json: Arn: %w", err)
	}
	return p, group, version, nil
}

// deploymentID is the deployment that wrote the file, as its downloads name it.
func (doc document) deploymentID() string {
	var arns []string
	for _, f := range doc.GroupDefinitions.Lambdas.Content {
		arns = append(arns, f.ArtifactArn)
	}
	for _, r := range doc.GroupDefinitions.Resources.Content {
		arns = append(arns, r.ArtifactArn)
	}
	for _, arn := range arns {
		_, rest, _ := strings.Cut(arn, "/deployments/")
		if id, _, ok := strings.Cut(rest, "/artifacts/"); ok && fescue.ValidID(id) {
			return id
		}
	}
	return ""
}

// synced are the things whose shadows were kept in sync, by ARN or by name, and
// the entries that could not be understood. The original's form of an entry is
// not known.
func (doc document) synced() (things map[string]bool, strange []string) {
	things = make(map[string]bool)
	for _, raw := range doc.GroupDefinitions.ShadowSync.Content {
		var entry struct{ ThingArn, ThingName string } // matches thingArn and thingName too
		var text string
		switch {
		case json.Unmarshal(raw, &text) == nil && text != "":
		case json.Unmarshal(raw, &entry) == nil:
			text = entry.ThingArn
			if text == "" {
				text = entry.ThingName
			}
		}
		if text == "" {
			strange = append(strange, string(raw))
			continue
		}
		things[text] = true
	}
	return things, strange
}
