//go:build linux

package test

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/fescue-edge/fescue/testkit"
)

// TestServersFilesArePrivate: whatever the umask was, in a new folder and in one of an
// earlier version, no other user can open a file of the server's, and so none can
// lock its database.
func TestServersFilesArePrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // the server inherits it
	kept, err := filepath.Glob(filepath.Join("testdata", "data-*", "server.tar.gz"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("no kept data folder: %v", err)
	}
	for name, archive := range map[string]string{"new": "", "kept": kept[0]} {
		t.Run(name, func(t *testing.T) {
			// Below a folder that others may enter, as /var/lib is.
			data := filepath.Join(openDir(t), "data")
			if err := os.Mkdir(data, 0o777); err != nil {
				t.Fatal(err)
			}
			if archive != "" {
				tar(t, "-xzpf", archive, "-C", data)
				if out, err := exec.Command("chmod", "-R", "a+rwX", data).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				// One that others could read would be refused.
				if err := os.Chmod(filepath.Join(data, "master.key"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h := startServerOn(t, data, "--ops", address(t)).site(region)
			h.provision(t, "Private")
			client := s3.New(s3.Options{
				Region: region, BaseEndpoint: aws.String("http://" + h.api), UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
			})
			if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("private-bucket")}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("private-bucket"), Key: aws.String("k"), Body: bytes.NewReader(make([]byte, 3<<20))}); err != nil {
				t.Fatal(err)
			}
			viewer := h.connect(t, "Viewer")
			viewer.subscribe(t, "private/topic")
			viewer.Publish("private/topic", 1, false, "text").WaitTimeout(patience)

			found := 0
			err := testkit.Walk(data, func(path string, info fs.FileInfo) error {
				found++
				if inherited := archive != "" && strings.Count(strings.TrimPrefix(path, data), "/") > 1; info.Mode()&0o077 != 0 && info.Name() != "ca.pem" && !inherited {
					t.Errorf("%s: mode %04o", path, info.Mode().Perm())
				}
				return nil
			})
			if err != nil || found < 10 {
				t.Errorf("%d files, %v", found, err)
			}
			if os.Getuid() != 0 {
				return
			}
			for _, name := range []string{"fescue.db", "fescue.db-wal", "fescue.db-shm", "server.lock", "ca.pem", "messages"} {
				other := exec.Command("cat", filepath.Join(data, name))
				other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
				if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
					t.Errorf("another user opens %s: %.100s, %v", name, out, err)
				}
			}
			resp, err := http.Get("http://" + h.ops + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
	}
}
