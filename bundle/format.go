package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// format is one way to write a manifest. A core says which ones it reads, and the
// control plane writes one of those, so that a version of one goes on with the
// version before of the other.
type format struct {
	number int
	// write gives what is encoded as JSON. It is ErrFormat when the format cannot
	// say what is in the manifest.
	write func(Manifest) (any, error)
	// read decodes a document of this format.
	read func(data []byte) (Manifest, error)
}

// formats are those that this version reads and writes, oldest first. A core that
// is taken back to the version before finds, in the same envelope, the manifest in
// a format that this one reads: the last two formats stay.
var formats = []format{
	{1, writeFormat1, readFormat1},
	{2, writeFormat2, readFormat2},
}

// Formats are the numbers of the formats that this version reads and writes,
// rising.
func Formats() []int {
	numbers := make([]int, len(formats))
	for i, f := range formats {
		numbers[i] = f.number
	}
	return numbers
}

// OldestFormat is what the first cores read, which did not say so.
const OldestFormat = 1

// ErrFormat means that a manifest cannot be written in any of the formats that a
// core reads: the core or the control plane is too old for the other.
var ErrFormat = errors.New("no manifest format that both sides know can say what the deployment consists of")

// encode writes a manifest in a format.
func (f format) encode(m Manifest) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	document, err := f.write(m)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return data, nil
}

// formatOf is the format in which a document says that it is written.
func formatOf(document []byte) (format, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(document, &head); err != nil {
		return format{}, refuse("it does not parse: %v", err)
	}
	i := slices.IndexFunc(formats, func(f format) bool { return f.number == head.Format })
	if i < 0 {
		return format{}, refuse("format %d, this version reads %v", head.Format, Formats())
	}
	return formats[i], nil
}

// ParseManifest reads a manifest whose signature has been verified.
func ParseManifest(document []byte) (Manifest, error) {
	f, err := formatOf(document)
	if err != nil {
		return Manifest{}, err
	}
	m, err := f.read(document)
	if err == nil {
		err = m.validate()
	}
	if err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// decode reads one JSON value and nothing after it. A strict one has no unknown
// members.
func decode(document []byte, strict bool, into any) error {
	dec := json.NewDecoder(bytes.NewReader(document))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(into); err != nil {
		return refuse("it does not parse: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return refuse("data after the document")
	}
	return nil
}

// format1 names the group document and the functions' packages, and nothing else
// can be in it: unknown members are refused.
type format1 struct {
	Format int `json:"format"`
	Manifest
	Group     *content          `json:"group,omitempty"`
	Functions []functionPackage `json:"functions,omitempty"`
}

type content struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

type functionPackage struct {
	FunctionArn string `json:"functionArn"`
	content
}

func writeFormat1(m Manifest) (any, error) {
	document := format1{Format: 1, Manifest: m}
	document.Artifacts = nil
	for _, a := range m.Artifacts {
		switch c := (content{a.SHA256, a.Size}); a.Kind {
		case GroupDocument:
			document.Group = &c
		case FunctionPackage:
			document.Functions = append(document.Functions, functionPackage{a.Name, c})
		default:
			return nil, fmt.Errorf("%w: format 1 has no artifacts of kind %q", ErrFormat, a.Kind)
		}
	}
	return document, nil
}

func readFormat1(data []byte) (Manifest, error) {
	var document format1
	if err := decode(data, true, &document); err != nil {
		return Manifest{}, err
	}
	m := document.Manifest
	if m.Artifacts != nil {
		return Manifest{}, refuse("format 1 has no list of artifacts")
	}
	if g := document.Group; g != nil {
		m.Artifacts = append(m.Artifacts, GroupArtifact(g.SHA256, g.Size))
	}
	for _, f := range document.Functions {
		m.Artifacts = append(m.Artifacts, PackageArtifact(f.FunctionArn, f.SHA256, f.Size))
	}
	return m, nil
}

// format2 lists artifacts of any kind alike. Unknown members are passed over, so
// that later versions may add what need not be understood; what must be
// understood is a new kind, a new packing, or a new format, which are refused.
type format2 struct {
	Format int `json:"format"`
	Manifest
}

func writeFormat2(m Manifest) (any, error) {
	return format2{2, m}, nil
}

func readFormat2(data []byte) (Manifest, error) {
	var document format2
	if err := decode(data, false, &document); err != nil {
		return Manifest{}, err
	}
	return document.Manifest, nil
}
