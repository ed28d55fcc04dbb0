//go:build linux

package test

import (
	tarball "archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// image is an OCI image, and what its file has.
type image struct {
	blobs  map[string][]byte
	config struct {
		Architecture, OS string
		Config           struct {
			User, WorkingDir     string
			Entrypoint, Cmd, Env []string
			Volumes              map[string]struct{}
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	layers []string
}

// openImage reads an image, first as an OCI layout and then as Docker does.
func openImage(t *testing.T, file string) *image {
	t.Helper()
	i := &image{blobs: make(map[string][]byte)}
	for header, content := range members(t, readFile(t, file)) {
		i.blobs[header.Name] = content
		if digest, ok := strings.CutPrefix(header.Name, "blobs/sha256/"); ok && digest != "" {
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != digest {
				t.Errorf("%s is another", header.Name)
			}
		}
	}
	type descriptor struct {
		Digest   string
		Platform struct{ Architecture, OS string }
	}
	var index struct{ Manifests []descriptor }
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	var saved []struct {
		Config           string
		RepoTags, Layers []string
	}
	i.decode(t, "index.json", &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Platform.Architecture != runtime.GOARCH {
		t.Fatalf("the index has %+v", index)
	}
	blob := func(d descriptor) string { return "blobs/" + strings.Replace(d.Digest, ":", "/", 1) }
	i.decode(t, blob(index.Manifests[0]), &manifest)
	i.decode(t, blob(manifest.Config), &i.config)
	for _, l := range manifest.Layers {
		i.layers = append(i.layers, blob(l))
	}
	i.decode(t, "manifest.json", &saved)
	if len(saved) != 1 || saved[0].Config != blob(manifest.Config) || !slices.Equal(saved[0].Layers, i.layers) || !slices.Equal(saved[0].RepoTags, []string{"fescue:0.2.0"}) {
		t.Errorf("Docker would find %+v", saved)
	}
	return i
}

func (i *image) decode(t *testing.T, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(i.blobs[name], into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// members are those of a tar archive, in their order.
func members(t *testing.T, archive []byte) func(yield func(*tarball.Header, []byte) bool) {
	return func(yield func(*tarball.Header, []byte) bool) {
		t.Helper()
		for r := tarball.NewReader(bytes.NewReader(archive)); ; {
			header, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			content, readErr := io.ReadAll(r)
			if err := errors.Join(err, readErr); err != nil {
				t.Fatal(err)
			}
			if !yield(header, content) {
				return
			}
		}
	}
}

// unpack makes the image's file system, and returns the names of its files.
func (i *image) unpack(t *testing.T, root string) (files []string) {
	t.Helper()
	if len(i.layers) != len(i.config.RootFS.DiffIDs) {
		t.Fatalf("%d layers, and hashes of %d", len(i.layers), len(i.config.RootFS.DiffIDs))
	}
	for n, layer := range i.layers {
		r, err := gzip.NewReader(bytes.NewReader(i.blobs[layer]))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); got != i.config.RootFS.DiffIDs[n] {
			t.Errorf("layer %d is %s, and %s is promised", n, got, i.config.RootFS.DiffIDs[n])
		}
		for header, content := range members(t, content) {
			path := filepath.Join(root, header.Name)
			if header.Typeflag == tarball.TypeDir {
				err = os.Mkdir(path, 0o755)
			} else {
				files = append(files, header.Name)
				err = os.WriteFile(path, content, 0o644)
			}
			if err := errors.Join(err, os.Chmod(path, header.FileInfo().Mode().Perm()), os.Chown(path, header.Uid, header.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}

// runImage has what an image says run in nothing but its layers, as its user, where only
// the volume can be written: the server comes up, is well and answers a signed call.
func runImage(t *testing.T, file string) {
	i := openImage(t, file)
	root := filepath.Join(t.TempDir(), "root")
	if err := errors.Join(os.Mkdir(root, 0o755), os.Chmod(filepath.Dir(root), 0o755)); err != nil {
		t.Fatal(err)
	}
	want := []string{"etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt", "usr/bin/fescue", "usr/share/doc/fescue/copyright"}
	if files := i.unpack(t, root); !slices.Equal(files, want) {
		t.Errorf("the image has %q, want %q", files, want)
	}
	c := i.config.Config
	uid, err := strconv.ParseUint(strings.Split(c.User, ":")[0], 10, 32)
	if err != nil || uid == 0 {
		t.Fatalf("its user is %q", c.User)
	}
	for _, volume := range []struct {
		path  string
		flags uintptr
	}{{"", unix.MS_RDONLY}, {c.WorkingDir, 0}} {
		path := filepath.Join(root, volume.path)
		err := unix.Mount(path, path, "", unix.MS_BIND, "")
		if err == nil {
			err = unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|volume.flags, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	}
	if _, ok := c.Volumes[c.WorkingDir]; !ok {
		t.Errorf("what is kept in %s is in no volume: %v", c.WorkingDir, c.Volumes)
	}
	// The ports of a container's own network are others' here.
	s := &server{api: address(t), device: address(t), mqtt: address(t)}
	args := slices.Clone(c.Cmd)
	for flag, at := range map[string]string{"--api": s.api, "--device": s.device, "--mqtt": s.mqtt} {
		n := slices.Index(args, flag)
		if n < 0 || !strings.HasPrefix(args[n+1], "0.0.0.0:") {
			t.Fatalf("it does not serve others: %q", args)
		}
		args[n+1] = strings.Replace(at, "127.0.0.1", "0.0.0.0", 1)
	}
	p := &process{out: new(testkit.Buffer)}
	p.Program, err = programs.StartBy(func(cmd *exec.Cmd) error {
		cmd.Dir, cmd.Env = c.WorkingDir, append(slices.Clone(c.Env), programs.ServerKey...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		return cmd.Start()
	}, p.out, nil, c.Entrypoint[0], append(c.Entrypoint[1:], args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the image's program said:\n%s", p.out)
		}
	})
	// Its API's certificate is of its own authority.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, path := range []string{"/healthz", "/readyz"} {
		eventually(t, path, func() error {
			if err := p.Ended(); err != nil {
				t.Fatal(err)
			}
			answer, err := client.Get("https://" + s.api + path)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return errors.New(answer.Status)
			}
			return nil
		})
	}
	calls := greengrass.New(greengrass.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://" + s.api), HTTPClient: client, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
	})
	made, err := calls.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("Contained")})
	if err != nil || aws.ToString(made.Name) != "Contained" {
		t.Errorf("a call of its API: %+v, %v", made, err)
	}
	if err := p.interrupt(t); err != nil {
		t.Errorf("it ends with %v", err)
	}
}
