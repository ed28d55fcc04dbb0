package cloud_test

import (
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/greengrass"

	"github.com/fescue-edge/fescue/cloud"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*cloud.Options)
		want   string
	}{
		{"no data folder", func(o *cloud.Options) { o.DataDir = "" }, "--data"},
		{"no Region", func(o *cloud.Options) { o.Regions = nil }, "--region"},
		{"a malformed Region", func(o *cloud.Options) { o.Regions = []string{"us-east-1", "mars"} }, `"mars" does not look like a Region`},
		{"no account", func(o *cloud.Options) { o.Account = "" }, "is not twelve digits"},
		{"a short account", func(o *cloud.Options) { o.Account = "12345" }, `account "12345" is not twelve digits`},
		{"an unknown partition", func(o *cloud.Options) { o.AWS = "aws-mars" }, "aws, aws-cn, aws-us-gov"},
		{"half an API certificate", func(o *cloud.Options) { o.APICertFile = "x" }, "--tls-cert and --tls-key"},
		{"half a device certificate", func(o *cloud.Options) { o.DeviceKeyFile = "x" }, "--device-tls-cert and --device-tls-key"},
		{"half an access key", func(o *cloud.Options) { o.AccessKeyID = "AKIAXXXXXXXXXXXXXXXX" }, "FESCUE_SECRET_ACCESS_KEY"},
		{"a short secret", func(o *cloud.Options) { o.AccessKeyID, o.SecretAccessKey = "AKIAXXXXXXXXXXXXXXXX", "short" }, "16 to 128 characters"},
		{"a malformed key id", func(o *cloud.Options) { o.AccessKeyID, o.SecretAccessKey = "key", strings.Repeat("x", 40) }, "16 to 128 characters"},
		{"a certificate that is not there", func(o *cloud.Options) { o.DeviceCertFile, o.DeviceKeyFile = "no.pem", "no.key" }, "no.pem"},
		{"sites without a line that renew all the time", func(o *cloud.Options) { o.OfflineSites = 24*time.Hour - 1 }, "--offline-sites"},
		{"sites without a line for less than nothing", func(o *cloud.Options) { o.OfflineSites = -1 }, "--offline-sites"},
		{"sessions that end at once", func(o *cloud.Options) { o.SessionExpiry = time.Minute - 1 }, "--mqtt-session-expiry"},
		{"sessions that are kept for longer than a week", func(o *cloud.Options) { o.SessionExpiry = 7*24*time.Hour + 1 }, "--mqtt-session-expiry"},
		{"an address without a port", func(o *cloud.Options) { o.MQTTAddr = "localhost" }, "choose another address with --mqtt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := options(t.TempDir())
			tc.change(&o)
			got := refused(t, o)
			if !strings.Contains(got, tc.want) {
				t.Errorf("error %q, want %q", got, tc.want)
			}
			if strings.Contains(got, "short") && tc.name == "a short secret" {
				t.Errorf("error %q contains the secret", got)
			}
		})
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	dir := t.TempDir()
	for flag, change := range map[string]func(*cloud.Options){
		"--api":    func(o *cloud.Options) { o.APIAddr = address },
		"--device": func(o *cloud.Options) { o.DeviceAddr = address },
		"--mqtt":   func(o *cloud.Options) { o.MQTTAddr = address },
	} {
		t.Run(flag, func(t *testing.T) {
			o := options(dir)
			change(&o)
			want := "cannot listen on " + address + ": bind: address already in use; choose another address with " + flag
			if got := refused(t, o); got != want {
				t.Errorf("error %q, want %q", got, want)
			}
		})
	}
	t.Run("the data folder is free again", func(t *testing.T) {
		start(t, options(dir))
	})
}

func TestDataFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "data")
	first := start(t, options(dir))

	t.Run("a second server is refused", func(t *testing.T) {
		got := refused(t, options(dir))
		if !strings.Contains(got, "another server uses this data folder") || !strings.Contains(got, "--data") {
			t.Errorf("error %q", got)
		}
	})
	t.Run("secrets are for their owner alone", func(t *testing.T) {
		for name, want := range map[string]fs.FileMode{
			".": 0o700, "master.key": 0o600, "access-key.json": 0o600, "server.lock": 0o600, "ca.pem": 0o644,
		} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %04o, want %04o", name, got, want)
			}
		}
	})
	t.Run("the first start makes an access key", func(t *testing.T) {
		data, err := os.ReadFile(first.AccessKeyFile())
		if err != nil {
			t.Fatal(err)
		}
		var key struct{ AccessKeyID, SecretAccessKey string }
		if err := json.Unmarshal(data, &key); err != nil {
			t.Fatal(err)
		}
		if first.MadeKey.ID == "" || key.AccessKeyID != first.MadeKey.ID || key.SecretAccessKey != first.MadeKey.Secret || first.key != first.MadeKey {
			t.Errorf("file has %q, MadeKey is %q", key.AccessKeyID, first.MadeKey.ID)
		}
	})
	t.Run("a key made beside the running server is good, until it is revoked", func(t *testing.T) {
		keys, closeKeys, err := cloud.OpenKeys(t.Context(), cloud.State{DataDir: dir}, options(dir).Logger)
		if err != nil {
			t.Fatal(err)
		}
		defer closeKeys()
		id, secret, err := keys.Create(t.Context(), account, "ci", identity.Grant{Access: identity.Admin})
		if err != nil {
			t.Fatal(err)
		}
		client := first.greengrass("us-east-1", cloud.AccessKey{ID: id, Secret: secret})
		if _, err := client.ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
			t.Errorf("new key: %v", err)
		}
		if err := keys.Revoke(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the revoked key is refused", func() bool {
			_, err := client.ListGroups(t.Context(), &greengrass.ListGroupsInput{})
			if err != nil && !strings.Contains(err.Error(), "403") {
				t.Fatal(err)
			}
			return err != nil
		})
	})
	t.Run("an ended server leaves the folder to the next", func(t *testing.T) {
		first.stop()
		if err := os.Remove(first.AccessKeyFile()); err != nil {
			t.Fatal(err)
		}
		o := options(dir)
		next, err := cloud.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close()
		if next.MadeKey.ID != "" {
			t.Error("made another key")
		}
		if _, err := next.AdminKey(t.Context()); err == nil || !strings.Contains(err.Error(), "fescue keys create") {
			t.Errorf("without its file: %v", err)
		}
	})
}

func TestOperatorsKey(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.AccessKeyID, o.SecretAccessKey = "AKIAIOSFODNN7EXAMPLE", strings.Repeat("s", 40)
	s := start(t, o)
	if s.key.ID != o.AccessKeyID || s.MadeKey.ID != "" {
		t.Errorf("AdminKey %q, MadeKey %q", s.key.ID, s.MadeKey.ID)
	}
	if _, err := os.Stat(s.AccessKeyFile()); !os.IsNotExist(err) {
		t.Errorf("access-key.json: %v", err)
	}
	if _, err := s.greengrass("us-east-1", cloud.AccessKey{}).ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
		t.Error(err)
	}
	s.stop()
	t.Run("a new secret takes the old one's place", func(t *testing.T) {
		o.SecretAccessKey = strings.Repeat("n", 40)
		s := start(t, o)
		old := cloud.AccessKey{ID: o.AccessKeyID, Secret: strings.Repeat("s", 40)}
		if _, err := s.greengrass("us-east-1", old).ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err == nil {
			t.Error("the old secret is still good")
		}
		if _, err := s.greengrass("us-east-1", cloud.AccessKey{}).ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
			t.Error(err)
		}
	})
}

func TestMasterKey(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		s, err := cloud.New(t.Context(), options(d))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(dir, "master.key")
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := os.ReadFile(filepath.Join(other, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		content []byte // nil for no file
		mode    fs.FileMode
		want    string
	}{
		{"missing", nil, 0, "no such file or directory; the database in " + dir + " needs the master key that it was made with"},
		{"another database's", wrong, 0o600, "master key " + key + " is not the one that the database in " + dir + " was made with"},
		{"readable by others", good, 0o640, "can be read by others (mode 0640): run chmod 600"},
		{"empty", []byte{}, 0o600, "a master key has 32 bytes, not 0"},
		{"short", []byte("AAAA\n"), 0o600, "a master key has 32 bytes, not 3"},
		{"not base64", []byte("!!"), 0o600, "is not base64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.Remove(key); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if tc.content != nil {
				if err := os.WriteFile(key, tc.content, tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			got := refused(t, options(dir))
			if !strings.Contains(got, tc.want) {
				t.Errorf("error %q, want %q", got, tc.want)
			}
			if text := strings.TrimSpace(string(tc.content)); text != "" && strings.Contains(got, text) {
				t.Errorf("error %q contains the key", got)
			}
			if _, _, err := cloud.OpenKeys(t.Context(), cloud.State{DataDir: dir}, options(dir).Logger); err == nil {
				t.Error("OpenKeys took it")
			}
		})
	}
	t.Run("from a file of its own", func(t *testing.T) {
		o := options(dir)
		o.MasterKeyFile = filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(o.MasterKeyFile, good, 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, o)
		if _, err := s.greengrass("us-east-1", cloud.AccessKey{}).ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
			t.Error(err)
		}
	})
}

// TestKeysAreAdoptedOnce: keys of an early version go on working, which is said
// once, and a database that claims to be one again is not opened.
func TestKeysAreAdoptedOnce(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	forget := func(t *testing.T) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(o.DataDir, "fescue.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), `DELETE FROM server_setting WHERE name = 'access-keys-adopted'`); err != nil {
			t.Fatal(err)
		}
	}
	mark := filepath.Join(o.DataDir, "keys-adopted")
	s := start(t, o)
	s.stop()
	if info, err := os.Stat(mark); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	forget(t)
	if got := refused(t, o); !strings.Contains(got, "is not as its servers left it") || !strings.Contains(got, mark) {
		t.Errorf("%s", got)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, o); !strings.Contains(got, "access keys are adopted once") { // its key is sealed as this version does
		t.Errorf("%s", got)
	}

	// As an early version left it.
	master, err := pki.LoadMasterKey(filepath.Join(o.DataDir, "master.key"), false)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := master.Seal([]byte(s.key.Secret), "access-key/"+s.key.ID)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(o.DataDir, "fescue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE access_key SET sealed = $1, limit_json = ''`, base64.StdEncoding.EncodeToString(sealed)); err != nil {
		t.Fatal(err)
	}
	var logged testkit.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	s = start(t, o)
	if _, err := s.greengrass("us-east-1", cloud.AccessKey{}).ListGroups(t.Context(), &greengrass.ListGroupsInput{}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(logged.String(), "adopted") || !strings.Contains(logged.String(), s.key.ID) {
		t.Errorf("logged %s", logged.String())
	}
	if _, body, _ := s.sendAs("us-east-1", s.key, "GET", "/fescue/v1/audit"); !strings.Contains(body, "AdoptAccessKey") {
		t.Errorf("no record: %s", body)
	}
}
