package recovery

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// Format is the form of a Group as text. Another one is refused.
const Format = "fescue.group/1"

// Group is a group with everything that it refers to. Member names are those of
// the APIs that read and write each part. The lists are in the order in which
// they can be made.
type Group struct {
	Format string
	// Partition is where its ARNs lie.
	Partition    Partition
	Policies     []Policy
	Certificates []Certificate
	ThingTypes   []ThingType `json:",omitempty"`
	Things       []Thing
	Functions    []Function
	// Definitions are of the seven kinds, each with the versions that versions of
	// the group refer to, oldest first.
	Definitions []Container
	Group       Container
	// Models are those that lie in a core's folder; the text of a group has none.
	Models []Model `json:"-"`
}

// Partition is an account in a Region.
type Partition struct {
	AWS, Account, Region string
}

func (p Partition) fescue() fescue.Partition { return fescue.Partition(p) }

// Policy is an IoT policy with the document that acts.
type Policy struct {
	PolicyName     string
	PolicyDocument string
	// Assumed policies are not known to be the original's: one that is there under
	// the name is as good.
	Assumed bool `json:"-"`
}

// Certificate is a device certificate; its private key is nobody's business.
type Certificate struct {
	CertificateId  string
	CertificatePem string
	Status         fescue.CertificateStatus
	// Policies are the names of those attached.
	Policies []string
	// Assumed says that the policies are.
	Assumed bool `json:"-"`
}

// ThingType is an IoT thing type that things are of.
type ThingType struct {
	ThingTypeName        string
	ThingTypeDescription string   `json:",omitempty"`
	SearchableAttributes []string `json:",omitempty"`
}

// Thing is an IoT thing with the ids of its certificates.
type Thing struct {
	ThingName     string
	ThingTypeName string            `json:",omitempty"`
	Attributes    map[string]string `json:",omitempty"`
	Principals    []string
	// Epoch is the highest epoch that a core has been through, by its folder; the text of a
	// group has none.
	Epoch int64 `json:"-"`
}

// Function is one published version of a Lambda function.
type Function struct {
	FunctionName  string
	Version       string
	Runtime       string
	Role          string
	Handler       string
	Description   string            `json:",omitempty"`
	Timeout       int               `json:",omitempty"`
	MemorySize    int               `json:",omitempty"`
	Environment   map[string]string `json:",omitempty"`
	Architectures []string          `json:",omitempty"`
	Aliases       []Alias           `json:",omitempty"`
	CodeSha256    string            `json:",omitempty"`
	ZipFile       []byte            `json:",omitempty"`

	pack func() ([]byte, error)
}

// Alias is a name for the version of a Function.
type Alias struct {
	Name        string
	Description string `json:",omitempty"`
}

// Code is the function's zip. That of a recovered function is made at each call,
// so that not all of them are in memory at once; the same folder makes the same
// bytes.
func (f Function) Code() ([]byte, error) {
	if f.pack != nil {
		return f.pack()
	}
	return f.ZipFile, nil
}

// Container is a group or a definition.
type Container struct {
	// Kind is the kind's segment in URLs: "groups", "cores".
	Kind                 string
	Id                   string
	Name                 string            `json:",omitempty"`
	CreationTimestamp    string            `json:",omitempty"`
	LastUpdatedTimestamp string            `json:",omitempty"`
	Tags                 map[string]string `json:"tags,omitempty"`
	Versions             []Version
}

// Version is one version of a Container.
type Version struct {
	Version           string
	CreationTimestamp string `json:",omitempty"`
	Definition        json.RawMessage
}

// kindOf is the kind of a container.
func (c Container) kindOf() (fescue.Kind, error) {
	for _, k := range append([]fescue.Kind{fescue.GroupKind}, fescue.DefinitionKinds...) {
		if k.Segment == c.Kind {
			return k, nil
		}
	}
	return fescue.Kind{}, fmt.Errorf("%.64q is no kind of definition", c.Kind)
}

// KindOf is the kind of a container of a group that Parse or Read gave.
func KindOf(c Container) fescue.Kind {
	k, _ := c.kindOf()
	return k
}

// Encode is the group as text, the same for the same group.
func (g *Group) Encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(g); err != nil {
		return nil, fmt.Errorf("encode the group: %w", err)
	}
	return buf.Bytes(), nil
}

// ErrFile is wrapped by everything that Parse refuses.
var ErrFile = errors.New("not an exported group that can be imported")

// Parse reads what Encode wrote. Everything that can be checked without a server is
// checked here, so that a file that was cut or changed by hand changes nothing.
func Parse(data []byte) (*Group, error) {
	var g Group
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&g)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("something follows the JSON document")
		}
	}
	if err == nil {
		err = g.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return &g, nil
}

// TypesOfThings are the thing types, last those that things name and the group does
// not describe.
func (g *Group) TypesOfThings() []ThingType {
	types := slices.Clone(g.ThingTypes)
	for _, t := range g.Things {
		named := func(known ThingType) bool { return known.ThingTypeName == t.ThingTypeName }
		if t.ThingTypeName != "" && !slices.ContainsFunc(types, named) {
			types = append(types, ThingType{ThingTypeName: t.ThingTypeName})
		}
	}
	return types
}

func (g *Group) check() error {
	if g.Format != Format {
		return fmt.Errorf("its Format is %.64q; this program reads %q", g.Format, Format)
	}
	if err := g.Partition.fescue().Validate(); err != nil {
		return err
	}
	var problems []error
	refuse := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	certificates, policies := make(map[string]bool), make(map[string]bool)
	for _, p := range g.Policies {
		policies[p.PolicyName] = true
	}
	for _, c := range g.Certificates {
		certificates[c.CertificateId] = true
		cert, err := pki.ParseCertificate([]byte(c.CertificatePem))
		if err != nil {
			refuse("certificate %.64s: %w", c.CertificateId, err)
		} else if id := pki.CertificateID(cert.Raw); id != c.CertificateId {
			refuse("certificate %.64s has the text of another, %s", c.CertificateId, id)
		}
		for _, name := range c.Policies {
			if !policies[name] {
				refuse("certificate %.64s: its policy %q is not in the file", c.CertificateId, name)
			}
		}
	}
	for _, t := range g.Things {
		if !fescue.ValidThingName(t.ThingName) {
			refuse("%.128q is no name of a thing", t.ThingName)
		}
		for _, id := range t.Principals {
			if !certificates[id] {
				refuse("thing %s: its certificate %.64s is not in the file", t.ThingName, id)
			}
		}
	}
	for _, f := range g.Functions {
		if len(f.ZipFile) == 0 {
			refuse("function %s:%s has no code (ZipFile)", f.FunctionName, f.Version)
		} else if sum := CodeSHA256(f.ZipFile); sum != f.CodeSha256 {
			refuse("function %s:%s: its code has the SHA-256 %s, the file says %.64q", f.FunctionName, f.Version, sum, f.CodeSha256)
		}
	}
	if g.Group.Kind != fescue.GroupKind.Segment {
		refuse("its Group is of kind %.64q", g.Group.Kind)
	}
	for _, c := range append(g.Definitions[:len(g.Definitions):len(g.Definitions)], g.Group) {
		if _, err := c.kindOf(); err != nil {
			refuse("definition %.64s: %w", c.Id, err)
		}
		if !fescue.ValidID(c.Id) {
			refuse("%s %.64q is no id: ids are UUIDs in lowercase", c.Kind, c.Id)
		}
		if len(c.Versions) == 0 {
			refuse("%s %.64s has no version", c.Kind, c.Id)
		}
		for _, v := range c.Versions {
			if !fescue.ValidID(v.Version) || len(v.Definition) == 0 {
				refuse("%s %.64s: version %.64q has no id or no definition", c.Kind, c.Id, v.Version)
			}
		}
	}
	return errors.Join(problems...)
}

// CodeSHA256 is a zip's hash as Lambda prints it.
func CodeSHA256(zip []byte) string {
	sum := sha256.Sum256(zip)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// SameJSON reports whether two texts are the same JSON value, whatever their
// white space and the order of their members.
func SameJSON(a, b []byte) bool {
	var x, y any
	for _, half := range []struct {
		text []byte
		into *any
	}{{a, &x}, {b, &y}} {
		dec := json.NewDecoder(bytes.NewReader(half.text))
		dec.UseNumber()
		if dec.Decode(half.into) != nil {
			return false
		}
	}
	return reflect.DeepEqual(x, y)
}
