package bundle

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fescue-edge/fescue"
)

// A carried deployment is one file for a core that no line leads to: a tar archive of,
// in this order, a list of what is in it, the signed manifest, the signing keys' chain,
// the secrets that are sealed for the core, every artifact, and an empty entry that
// ends it. Nothing in it is believed but what the manifest's signature covers; the list
// serves to find out what is missing or was changed before anything is done with it.

// CarriedFormat is the format of carried deployments that this version writes and reads.
const CarriedFormat = 1

// Carried is the list of what a carried deployment has.
type Carried struct {
	Format       int    `json:"format"`
	GroupID      string `json:"groupId"`
	DeploymentID string `json:"deploymentId"`
	CoreThingArn string `json:"coreThingArn"`
	// Manifest, Keys and Secrets are its documents; Secrets is empty without any.
	Manifest CarriedPiece `json:"manifest"`
	Keys     CarriedPiece `json:"keys"`
	Secrets  CarriedPiece `json:"secrets,omitzero"`
	// Artifacts are each hash once.
	Artifacts []CarriedPiece `json:"artifacts"`
}

// CarriedPiece is a file of a carried deployment.
type CarriedPiece struct {
	SHA256 string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// Names of the entries. Artifacts have their hash behind artifactFolder.
const (
	carriedList     = "bundle.json"
	CarriedManifest = "manifest.dsse"
	CarriedKeys     = "keys.json"
	CarriedSecrets  = "secrets.dsse"
	artifactFolder  = "artifacts/"
	carriedEnd      = "end"
)

// Limits of a carried deployment, in bytes but for the number of artifacts.
const (
	maxCarriedList      = 1 << 20
	maxCarriedDocument  = 8 << 20
	maxCarriedArtifacts = 5000
	// MaxCarried bounds all artifacts together.
	MaxCarried = 64 << 30
)

// ErrCarried is wrapped where a file is no carried deployment, or not a whole one.
var ErrCarried = errors.New("the bundle is refused")

func refuseCarried(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCarried, fmt.Sprintf(format, args...))
}

// pieceOf describes a document.
func pieceOf(data []byte) CarriedPiece {
	sum := sha256.Sum256(data)
	return CarriedPiece{hex.EncodeToString(sum[:]), int64(len(data))}
}

// Carry writes a carried deployment. list gives the ids and the artifacts; manifest,
// keys and secrets (nil for none) are its documents, open gives an artifact.
func Carry(w io.Writer, list Carried, manifest, keys, secrets []byte, open func(hash string) (io.ReadCloser, error)) error {
	list.Format = CarriedFormat
	list.Manifest, list.Keys = pieceOf(manifest), pieceOf(keys)
	if len(secrets) > 0 {
		list.Secrets = pieceOf(secrets)
	}
	if err := list.validate(); err != nil {
		return err
	}
	head, err := json.Marshal(list)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	entry := func(name string, size int64) error {
		return out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: size, Format: tar.FormatPAX})
	}
	for _, document := range []struct {
		name string
		data []byte
	}{{carriedList, head}, {CarriedManifest, manifest}, {CarriedKeys, keys}, {CarriedSecrets, secrets}} {
		if document.data == nil {
			continue
		}
		if err := entry(document.name, int64(len(document.data))); err != nil {
			return err
		}
		if _, err := out.Write(document.data); err != nil {
			return err
		}
	}
	for _, a := range list.Artifacts {
		if err := entry(artifactFolder+a.SHA256, a.Size); err != nil {
			return err
		}
		content, err := open(a.SHA256)
		if err != nil {
			return err
		}
		_, err = io.CopyN(out, content, a.Size)
		if err = errors.Join(err, content.Close()); err != nil {
			return fmt.Errorf("artifact %s: %w", a.SHA256, err)
		}
	}
	if err := entry(carriedEnd, 0); err != nil {
		return err
	}
	return out.Close()
}

// validate refuses a list that cannot be.
func (c Carried) validate() error {
	if c.Format != CarriedFormat {
		return refuseCarried("it has format %d, this version reads %d", c.Format, CarriedFormat)
	}
	if !fescue.ValidID(c.GroupID) || !fescue.ValidID(c.DeploymentID) {
		return refuseCarried("its list does not name a group and a deployment")
	}
	if len(c.Artifacts) > maxCarriedArtifacts {
		return refuseCarried("it has %d artifacts, at most %d are taken", len(c.Artifacts), maxCarriedArtifacts)
	}
	for name, piece := range map[string]CarriedPiece{CarriedManifest: c.Manifest, CarriedKeys: c.Keys, CarriedSecrets: c.Secrets} {
		if piece == (CarriedPiece{}) && name == CarriedSecrets {
			continue
		}
		if !fescue.ValidHash(piece.SHA256) || piece.Size < 0 || piece.Size > maxCarriedDocument {
			return refuseCarried("its list has a %s of %d bytes with the hash %.70q", name, piece.Size, piece.SHA256)
		}
	}
	left, seen := int64(MaxCarried), make(map[string]bool)
	for _, a := range c.Artifacts {
		if !fescue.ValidHash(a.SHA256) || seen[a.SHA256] || a.Size < 0 {
			return refuseCarried("its list has an artifact %.70q of %d bytes", a.SHA256, a.Size)
		}
		seen[a.SHA256] = true
		if left -= a.Size; left < 0 {
			return refuseCarried("its artifacts have more than %d bytes", int64(MaxCarried))
		}
	}
	return nil
}

// Size is how many bytes its files have together.
func (c Carried) Size() (bytes int64) {
	for _, a := range c.Artifacts {
		bytes += a.Size
	}
	return bytes + c.Manifest.Size + c.Keys.Size + c.Secrets.Size
}

// ReadCarried reads a carried deployment to its end. begin is called with the list,
// keep with the name and the content of each file, an artifact's being its hash. What
// keep was given counts only when ReadCarried has returned without an error: a file
// that is cut off or was changed is found out at its end. Such errors wrap ErrCarried.
func ReadCarried(r io.Reader, begin func(Carried) error, keep func(name string, size int64, content io.Reader) error) (list Carried, err error) {
	in := tar.NewReader(r)
	data, err := nextCarried(in, carriedList, maxCarriedList, func(content io.Reader) ([]byte, error) { return io.ReadAll(content) })
	if err != nil {
		return list, err
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return list, refuseCarried("its list cannot be read: %v", err)
	}
	if err := list.validate(); err != nil {
		return list, err
	}
	if err := begin(list); err != nil {
		return list, err
	}
	type file struct {
		entry, name string
		CarriedPiece
	}
	files := []file{{CarriedManifest, CarriedManifest, list.Manifest}, {CarriedKeys, CarriedKeys, list.Keys}}
	if list.Secrets != (CarriedPiece{}) {
		files = append(files, file{CarriedSecrets, CarriedSecrets, list.Secrets})
	}
	for _, a := range list.Artifacts {
		files = append(files, file{artifactFolder + a.SHA256, a.SHA256, a})
	}
	for _, f := range files {
		sum := sha256.New()
		_, err := nextCarried(in, f.entry, f.Size, func(content io.Reader) ([]byte, error) {
			counted := &countedReader{r: io.TeeReader(content, sum)}
			if err := keep(f.name, f.Size, counted); err != nil {
				return nil, err
			}
			_, err := io.Copy(io.Discard, counted)
			if err == nil && (counted.n != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256) {
				err = refuseCarried("%s was changed: it does not have the %d bytes with the SHA-256 %s of its list", f.entry, f.Size, f.SHA256)
			}
			return nil, err
		})
		if err != nil {
			return list, err
		}
	}
	if _, err := nextCarried(in, carriedEnd, 0, func(io.Reader) ([]byte, error) { return nil, nil }); err != nil {
		return list, err
	}
	if head, err := in.Next(); err != io.EOF {
		if err == nil {
			err = refuseCarried("something follows its end: %.100q", head.Name)
		}
		return list, cutOff(err)
	}
	return list, nil
}

// nextCarried has the next entry read, which must be a file with a name and at most a
// size.
func nextCarried(in *tar.Reader, name string, most int64, read func(io.Reader) ([]byte, error)) ([]byte, error) {
	head, err := in.Next()
	switch {
	case err == io.EOF:
		return nil, refuseCarried("it is cut off before %s", name)
	case err != nil:
		return nil, cutOff(err)
	case head.Name != name || head.Typeflag != tar.TypeReg:
		return nil, refuseCarried("it has %.100q where %s is expected; fescue bundle writes such files", head.Name, name)
	case sparse(head):
		return nil, refuseCarried("%s is written as a file with holes; fescue bundle writes none such", name)
	case head.Size > most:
		return nil, refuseCarried("%s has %d bytes, at most %d are taken", name, head.Size, most)
	}
	data, err := read(in)
	return data, cutOff(err)
}

// sparse reports whether an entry unpacks to more than the archive has of it.
func sparse(head *tar.Header) bool {
	for key := range head.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// cutOff tells a file that ends too early, or is no archive, from other errors.
func cutOff(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuseCarried("it is cut off")
	case errors.Is(err, tar.ErrHeader):
		return refuseCarried("it is not a file of fescue bundle, or was changed: %v", err)
	}
	return err
}

// countedReader counts what is read.
type countedReader struct {
	r io.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
