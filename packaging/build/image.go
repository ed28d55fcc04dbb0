package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	containers "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	// imageUser is the user and the group that the server has in a container: a number,
	// which is how Kubernetes sees that it is not root's.
	imageUser = 65532
	imageData = "/var/lib/fescue"
)

// server is the product that there is an image of: a core makes containers itself, and
// has a gateway's devices.
var server = products[0]

// writeImage makes the image of the server for an architecture, and returns the name of
// its file: a tar archive that is an OCI image layout, and what docker save makes too.
func (c command) writeImage(r release, a architecture, programs, work string) (name string, err error) {
	layer, err := c.imageLayer(r, programs)
	if err != nil {
		return "", err
	}
	image, err := imageOf(r, a, layer)
	if err != nil {
		return "", fmt.Errorf("make the image for %s: %w", a.name, err)
	}
	folder := filepath.Join(work, "image-"+a.name)
	if err := writeLayout(folder, image, r); err != nil {
		return "", fmt.Errorf("write the image for %s: %w", a.name, err)
	}
	name = fmt.Sprintf("%s_%s_%s.image.tar", server.name, r.version, a.name)
	return name, writeTar(filepath.Join(c.dist, name), os.DirFS(folder), r.time)
}

// imageOf is an image of one layer.
func imageOf(r release, a architecture, layer containers.Layer) (containers.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(image, mutate.Addendum{Layer: layer, History: containers.History{
		Created: containers.Time{Time: r.time}, CreatedBy: "go run -C packaging ./build", Comment: "the program, CA certificates and a user",
	}})
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", a.goarch, containers.Time{Time: r.time}
	if a.goarm != "" {
		file.Variant = "v" + a.goarm
	}
	file.Config = containers.Config{
		User:       fmt.Sprintf("%d:%d", imageUser, imageUser),
		Entrypoint: []string{"/usr/bin/" + server.program},
		// A container's own loopback is nobody else's. The API is HTTPS there.
		Cmd: []string{"server", "--api", "0.0.0.0:9080", "--device", "0.0.0.0:8443", "--mqtt", "0.0.0.0:8883"},
		Env: []string{"PATH=/usr/bin", "FESCUE_DATA=" + imageData},
		// What libraries keep for a while lies there too: nothing else can be written.
		WorkingDir:   imageData,
		Volumes:      map[string]struct{}{imageData: {}},
		ExposedPorts: map[string]struct{}{"9080/tcp": {}, "8443/tcp": {}, "8883/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title": server.name, "org.opencontainers.image.description": server.summary,
			"org.opencontainers.image.version": r.version, "org.opencontainers.image.revision": r.commit,
			"org.opencontainers.image.created": r.time.Format(time.RFC3339), "org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.source": homepage,
		},
	}
	return mutate.ConfigFile(image, file)
}

// imageLayer is all that there is in the image.
func (c command) imageLayer(r release, programs string) (containers.Layer, error) {
	program, err := os.ReadFile(filepath.Join(programs, server.program))
	if err != nil {
		return nil, err
	}
	licence, err := os.ReadFile("../LICENSE")
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, f := range []struct {
		name    string
		mode    fs.FileMode
		owner   int
		content []byte
	}{
		{"etc/", 0o755, 0, nil},
		{"etc/passwd", 0o644, 0, fmt.Appendf(nil, "root:x:0:0::/:/none\nfescue:x:%d:%d::%s:/none\n", imageUser, imageUser, imageData)},
		{"etc/group", 0o644, 0, fmt.Appendf(nil, "root:x:0:\nfescue:x:%d:\n", imageUser)},
		{"etc/ssl/", 0o755, 0, nil},
		{"etc/ssl/certs/", 0o755, 0, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, 0, authorities()},
		{"usr/", 0o755, 0, nil},
		{"usr/bin/", 0o755, 0, nil},
		{"usr/bin/" + server.program, 0o755, 0, program},
		{"usr/share/", 0o755, 0, nil},
		{"usr/share/doc/", 0o755, 0, nil},
		{"usr/share/doc/" + server.name + "/", 0o755, 0, nil},
		{"usr/share/doc/" + server.name + "/copyright", 0o644, 0, licence},
		{"var/", 0o755, 0, nil},
		{"var/lib/", 0o755, 0, nil},
		{strings.TrimPrefix(imageData, "/") + "/", 0o700, imageUser, nil},
	} {
		h := &tar.Header{Name: f.name, Mode: int64(f.mode), Uid: f.owner, Gid: f.owner, Size: int64(len(f.content)), ModTime: r.time, Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(c.gzipLevel()), tarball.WithCompressedCaching)
}

// gzipLevel is that of the packages, where they are compressed so.
func (c command) gzipLevel() int {
	if _, level, ok := strings.Cut(c.compression, "gzip:"); ok {
		if n, err := strconv.Atoi(level); err == nil {
			return n
		}
	}
	return gzip.DefaultCompression
}

// authorities are those that Mozilla trusts for servers, as the module that go.mod names
// has them, but for those whose trust ends with a condition that a PEM file cannot say.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return b.Bytes()
}

// writeLayout writes an image as an OCI layout, with the file beside it by which Docker
// finds its parts.
func writeLayout(folder string, image containers.Image, r release) error {
	// A tag has no +.
	tag := strings.ReplaceAll(r.version, "+", "_")
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	if err := path.WriteImage(image); err != nil {
		return err
	}
	described, err := partial.Descriptor(image)
	if err != nil {
		return err
	}
	// What would make it an artifact of another kind to some programs.
	described.ArtifactType = ""
	described.Annotations = map[string]string{
		"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": "docker.io/library/" + server.name + ":" + tag,
	}
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	described.Platform = file.Platform()
	if err := path.AppendDescriptor(*described); err != nil {
		return err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	blob := func(h containers.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	saved := tarball.Descriptor{Config: blob(manifest.Config.Digest), RepoTags: []string{server.name + ":" + tag}}
	for _, l := range manifest.Layers {
		saved.Layers = append(saved.Layers, blob(l.Digest))
	}
	text, err := json.Marshal(tarball.Manifest{saved})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "manifest.json"), text, 0o644)
}

// writeTar writes the files of a folder, all of one time and of nobody.
func writeTar(to string, folder fs.FS, at time.Time) error {
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer file.Close()
	w := tar.NewWriter(file)
	err = fs.WalkDir(folder, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		h := &tar.Header{Name: path + "/", Mode: 0o755, ModTime: at, Typeflag: tar.TypeDir}
		var content []byte
		if !entry.IsDir() {
			if content, err = fs.ReadFile(folder, path); err != nil {
				return err
			}
			h = &tar.Header{Name: path, Mode: 0o644, ModTime: at, Typeflag: tar.TypeReg, Size: int64(len(content))}
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return file.Close()
}
