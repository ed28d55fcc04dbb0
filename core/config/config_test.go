package config_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/config"
)

const root = "/greengrass"

// minimal is the file as the console of the original made it.
const minimal = `{"coreThing":{"caPath":"root.ca.pem","certPath":"x.pem.crt","keyPath":"x.pem.key",
 "thingArn":"arn:aws:iot:us-east-1:123456789012:thing/Mill_Core",
 "iotHost":"abc-ats.iot.us-east-1.amazonaws.com","ggHost":"greengrass-ats.iot.us-east-1.amazonaws.com","keepAlive":600},
 "runtime":{"cgroup":{"useSystemd":"yes"}},"managedRespawn":false,
 "crypto":{"caPath":"file:///greengrass/certs/AmazonRootCA1.pem","principals":{
  "IoTCertificate":{"privateKeyPath":"file:///greengrass/certs/x.pem.key","certificatePath":"file://certs/x.pem.crt"},
  "SecretsManager":{"privateKeyPath":"file:///greengrass/certs/x.pem.key"}}}}`

// old is the format before version 1.7, without a crypto object.
const old = `{"coreThing":{"caPath":"root.ca.pem","certPath":"x.pem.crt","keyPath":"sub/x.pem.key",
 "thingArn":"arn:aws:iot:us-east-1:123456789012:thing/Mill_Core","iotHost":"iot","ggHost":"gg",
 "mqttMaxConnectionRetryInterval":30}}`

// edit replaces part of minimal.
func edit(pairs ...string) string {
	s := minimal
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			panic("the sample has no " + pairs[i])
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

// with adds members to coreThing.
func with(members string) string { return edit(`"keepAlive":600`, members) }

func TestParseFillsInDefaults(t *testing.T) {
	t.Parallel()
	c, err := config.Parse([]byte(minimal), root, config.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Root:      root,
		ThingName: "Mill_Core", ThingARN: "arn:aws:iot:us-east-1:123456789012:thing/Mill_Core", ClientID: "Mill_Core",
		IoTMQTT: config.Endpoint{Host: "abc-ats.iot.us-east-1.amazonaws.com", Port: 8883},
		IoTHTTP: config.Endpoint{Host: "abc-ats.iot.us-east-1.amazonaws.com", Port: 8443},
		GGHTTP:  config.Endpoint{Host: "greengrass-ats.iot.us-east-1.amazonaws.com", Port: 8443},
		Credentials: config.Credentials{
			CAPath: "/greengrass/certs/AmazonRootCA1.pem", CertificatePath: "/greengrass/certs/x.pem.crt", PrivateKeyPath: "/greengrass/certs/x.pem.key", SecretsKeyPath: "/greengrass/certs/x.pem.key",
		},
		KeepAlive: 600 * time.Second, OperationTimeout: 5 * time.Second, MaxRetryInterval: 60 * time.Second,
		LocalMQTTPort: 8883, DaemonPort: 8000, AuthTimeout: 5 * time.Second,
		MaxWorkItems: 1024, MaxConcurrent: 25, HealthTimeout: 30 * time.Second,
		UseSystemd: true, ShadowSyncTimeout: 5 * time.Second,
	}
	want.Partition.AWS, want.Partition.Account, want.Partition.Region = "aws", "123456789012", "us-east-1"
	if diff := cmp.Diff(want, *c); diff != "" {
		t.Error(diff)
	}
	for _, folder := range []struct{ got, want string }{
		{c.DeploymentFolder(), "/greengrass/ggc/deployment"},
		{c.LogFolder(), "/greengrass/ggc/var/log"},
		{c.StateFolder(), "/greengrass/ggc/var/state"},
		{c.CertificateFolder(), "/greengrass/certs"},
	} {
		if folder.got != folder.want {
			t.Errorf("folder %s, want %s", folder.got, folder.want)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file string
		overrides  config.Overrides
		got        func(*config.Config) any
		want       any
	}{
		{name: "paths of the old format", file: old, got: func(c *config.Config) any { return c.Credentials },
			want: config.Credentials{CAPath: "/greengrass/certs/root.ca.pem", CertificatePath: "/greengrass/certs/x.pem.crt", PrivateKeyPath: "/greengrass/certs/sub/x.pem.key", SecretsKeyPath: "/greengrass/certs/sub/x.pem.key"}},
		{name: "retry interval inside coreThing", file: old, got: func(c *config.Config) any { return c.MaxRetryInterval }, want: 30 * time.Second},
		{name: "retry interval at the top", file: edit(`"managedRespawn":false`, `"mqttMaxConnectionRetryInterval":10`),
			got: func(c *config.Config) any { return c.MaxRetryInterval }, want: 10 * time.Second},
		{name: "port behind the host", file: edit("abc-ats.iot.us-east-1.amazonaws.com", "mill.local:1234"),
			got: func(c *config.Config) any { return c.IoTMQTT.String() + " " + c.IoTHTTP.String() }, want: "mill.local:1234 mill.local:8443"},
		{name: "ports of their own", file: with(`"iotMqttPort":443,"ggHttpPort":9443,"iotHttpPort":443`),
			got: func(c *config.Config) any { return []int{c.IoTMQTT.Port, c.IoTHTTP.Port, c.GGHTTP.Port} }, want: []int{443, 443, 9443}},
		{name: "protocols on port 443 alone", file: with(`"iotMqttPort":443,"ggHttpPort":9443,"iotHttpPort":443`),
			got: func(c *config.Config) any { return []string{c.IoTMQTT.ALPN, c.IoTHTTP.ALPN, c.GGHTTP.ALPN} }, want: []string{"x-amzn-mqtt-ca", "x-amzn-http-ca", ""}},
		{name: "protocols where both are on one port", file: minimal, overrides: config.Overrides{IoTHost: "mill:9443", GGHost: "mill:9443"},
			got: func(c *config.Config) any { return []string{c.IoTMQTT.ALPN, c.GGHTTP.ALPN} }, want: []string{"x-amzn-mqtt-ca", "x-amzn-http-ca"}},
		{name: "shadows where both are on one port", file: minimal, overrides: config.Overrides{IoTHost: "mill:9443", GGHost: "mill:9443"},
			got: func(c *config.Config) any { return c.IoTHTTP }, want: config.Endpoint{Host: "mill", Port: 9443, ALPN: "x-amzn-http-ca"}},
		{name: "shadows from outside", file: with(`"iotHttpPort":8444`), overrides: config.Overrides{IoTHost: "mill:1", GGHost: "mill:2"},
			got: func(c *config.Config) any { return c.IoTHTTP.String() }, want: "mill:2"},
		{name: "shadows on a port of their own", file: with(`"iotHttpPort":8444`), overrides: config.Overrides{IoTHost: "mill:1"},
			got: func(c *config.Config) any { return c.IoTHTTP.String() }, want: "mill:8444"},
		{name: "no protocol where hosts differ", file: minimal, overrides: config.Overrides{IoTHost: "mill:9443", GGHost: "mall:9443"},
			got: func(c *config.Config) any { return []string{c.IoTMQTT.ALPN, c.GGHTTP.ALPN} }, want: []string{"", ""}},
		{name: "IPv6 address", file: edit("abc-ats.iot.us-east-1.amazonaws.com", "[::1]:1883"),
			got: func(c *config.Config) any { return c.IoTMQTT.String() }, want: "[::1]:1883"},
		{name: "hosts from outside", file: minimal, overrides: config.Overrides{IoTHost: "localhost:1", GGHost: "localhost:2", CAFile: "/tmp/ca.pem"},
			got: func(c *config.Config) any {
				return []string{c.IoTMQTT.String(), c.GGHTTP.String(), c.Credentials.CAPath}
			},
			want: []string{"localhost:1", "localhost:2", "/tmp/ca.pem"}},
		{name: "a key for secrets", file: edit(`"SecretsManager":{"privateKeyPath":"file:///greengrass/certs/x.pem.key"`, `"SecretsManager":{"privateKeyPath":"file:///etc/secrets.key"`),
			got: func(c *config.Config) any { return c.Credentials.SecretsKeyPath }, want: "/etc/secrets.key"},
		{name: "no key for secrets", file: edit(`"SecretsManager":{"privateKeyPath":"file:///greengrass/certs/x.pem.key"}`, `"SecretsManager":{}`),
			got: func(c *config.Config) any { return c.Credentials.SecretsKeyPath }, want: "/greengrass/certs/x.pem.key"},
		{name: "unknown members", file: with(`"unheardOf":{"a":[1]}`), got: func(c *config.Config) any { return c.KeepAlive }, want: 600 * time.Second},
		{name: "client id", file: with(`"coreClientId":"mill-7"`), got: func(c *config.Config) any { return c.ClientID }, want: "mill-7"},
		{name: "functions as root", file: edit(`"cgroup"`, `"allowFunctionsToRunAsRoot":"yes","cgroup"`), got: func(c *config.Config) any { return c.AllowRoot }, want: true},
		{name: "functions not as root", file: edit(`"cgroup"`, `"allowFunctionsToRunAsRoot":"no","cgroup"`), got: func(c *config.Config) any { return c.AllowRoot }, want: false},
		{name: "users for functions", file: edit(`"cgroup"`, `"functionUids":"200000 - 200999","cgroup"`), got: func(c *config.Config) any { return c.FunctionUIDs }, want: config.UIDRange{First: 200000, Last: 200999}},
		{name: "one user", file: edit(`"cgroup"`, `"functionUids":"70000-70000","cgroup"`), got: func(c *config.Config) any { return c.FunctionUIDs.String() }, want: "70000-70000"},
		{name: "a switch as a boolean", file: edit(`"cgroup"`, `"allowFunctionsToRunAsRoot":true,"cgroup"`), got: func(c *config.Config) any { return c.AllowRoot }, want: true},
		{name: "lruSize is a floor", file: edit(`"cgroup"`, `"lruSize":40,"maxConcurrentLimit":30,"cgroup"`), got: func(c *config.Config) any { return c.MaxConcurrent }, want: 40},
		{name: "a lower concurrency limit", file: edit(`"cgroup"`, `"maxConcurrentLimit":3,"cgroup"`), got: func(c *config.Config) any { return c.MaxConcurrent }, want: 3},
		{name: "write directory", file: edit(`"managedRespawn":false`, `"writeDirectory":"/data/gg"`),
			got: func(c *config.Config) any { return c.DeploymentFolder() + " " + c.LogFolder() }, want: "/data/gg/deployment /data/gg/var/log"},
		{name: "proxy", file: with(`"networkProxy":{"noProxyAddresses":"10.0.0.1, mill.local","proxy":{"url":"https://proxy","username":"u","password":"p"}}`),
			got: func(c *config.Config) any { return c.Proxy.Variables() },
			want: map[string]string{
				"http_proxy": "https://u:p@proxy:443", "HTTP_PROXY": "https://u:p@proxy:443", "https_proxy": "https://u:p@proxy:443", "HTTPS_PROXY": "https://u:p@proxy:443",
				"no_proxy": "10.0.0.1,mill.local,localhost,127.0.0.1", "NO_PROXY": "10.0.0.1,mill.local,localhost,127.0.0.1",
			}},
		{name: "proxy exceptions", file: with(`"networkProxy":{"noProxyAddresses":"mill.local","proxy":{"url":"http://proxy:1100"}}`),
			got: func(c *config.Config) any { return []bool{c.Proxy.For("MILL.local"), c.Proxy.For("other")} }, want: []bool{false, true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Parse([]byte(tc.file), root, tc.overrides)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, tc.got(c)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const key = `"privateKeyPath":"file:///greengrass/certs/x.pem.key","cert`
	for _, tc := range []struct {
		name, file string
		kind       error
		text       string
	}{
		{"nothing", ``, config.ErrParse, "Failed to parse /greengrass/config/config.json."},
		{"half a file", minimal[:100], config.ErrParse, "Failed to parse /greengrass/config/config.json."},
		{"a list", `[]`, config.ErrParse, "Failed to parse /greengrass/config/config.json."},
		{"a wrong type", with(`"keepAlive":"long"`), config.ErrParse, "keepAlive"},
		{"a wrong switch", edit(`"useSystemd":"yes"`, `"useSystemd":"maybe"`), config.ErrParse, `"maybe" is neither "yes" nor "no"`},
		{"users that are none", edit(`"cgroup"`, `"functionUids":"many","cgroup"`), config.ErrInvalid, `runtime.functionUids "many" is not a range`},
		{"users without an end", edit(`"cgroup"`, `"functionUids":"70000","cgroup"`), config.ErrInvalid, "is not a range"},
		{"users that go backwards", edit(`"cgroup"`, `"functionUids":"70001-70000","cgroup"`), config.ErrInvalid, "is not a range"},
		{"users of the system", edit(`"cgroup"`, `"functionUids":"0-70000","cgroup"`), config.ErrInvalid, "from 1000 on"},
		{"users below none", edit(`"cgroup"`, `"functionUids":"-5-70000","cgroup"`), config.ErrInvalid, "is not a range"},
		{"the last user of all", edit(`"cgroup"`, `"functionUids":"70000-2147483648","cgroup"`), config.ErrInvalid, "is not a range"},
		{"users beyond", edit(`"cgroup"`, `"functionUids":"70000-4294967296","cgroup"`), config.ErrInvalid, "is not a range"},
		{"nothing in it", `{}`, config.ErrMissingPaths, "The configuration file is missing the CaPath, CertPath or KeyPath."},
		{"old format without key", strings.Replace(old, `"keyPath":"sub/x.pem.key",`, "", 1), config.ErrMissingPaths, "The configuration file is missing the CaPath, CertPath or KeyPath."},
		{"crypto without key", edit(key, `"cert`), config.ErrMissingPaths, "missing the CaPath, CertPath or KeyPath."},
		{"plain crypto path", edit(`"file:///greengrass/certs/AmazonRootCA1.pem"`, `"/greengrass/certs/AmazonRootCA1.pem"`), config.ErrUnknownURIScheme, "Error occurred while generating TLS config: ErrUnknownURIScheme"},
		{"http crypto path", edit(`"file:///greengrass/certs/AmazonRootCA1.pem"`, `"http://x/ca"`), config.ErrUnknownURIScheme, "ErrUnknownURIScheme"},
		{"file: without slashes", edit(`"file:///greengrass/certs/AmazonRootCA1.pem"`, `"file:x"`), config.ErrUnknownURIScheme, "ErrUnknownURIScheme"},
		{"empty file URI", edit(`"file:///greengrass/certs/AmazonRootCA1.pem"`, `"file://"`), config.ErrUnknownURIScheme, "ErrUnknownURIScheme"},
		{"hardware key for secrets", edit(`"SecretsManager":{"privateKeyPath":"file:`, `"SecretsManager":{"privateKeyPath":"pkcs11:`), config.ErrPKCS11, "file:///path/to/private.key"},
		{"hardware key", edit(key, `"privateKeyPath":"pkcs11:object=key;type=private","cert`), config.ErrPKCS11, "file:///path/to/private.key"},
		{"hardware key of the MQTT server", edit(`"SecretsManager":{`, `"MQTTServerCertificate":{"privateKeyPath":"pkcs11:object=key;type=private"},"SecretsManager":{`), config.ErrPKCS11, "(crypto.principals.MQTTServerCertificate.privateKeyPath)"},
		{"plain path of secrets", edit(`"SecretsManager":{"privateKeyPath":"file:///greengrass`, `"SecretsManager":{"privateKeyPath":"/greengrass`), config.ErrUnknownURIScheme, "ErrUnknownURIScheme"},
		{"relative folder of the pid file", edit(`"managedRespawn":false`, `"pidFileDirectory":"run"`), config.ErrInvalid, "pidFileDirectory"},
		{"no thing", edit(`"thingArn":"arn:aws:iot:us-east-1:123456789012:thing/Mill_Core",`, ""), config.ErrInvalid, "coreThing.thingArn is missing"},
		{"no ARN", edit("arn:aws:iot:us-east-1:123456789012:thing/Mill_Core", "Mill_Core"), config.ErrInvalid, "coreThing.thingArn"},
		{"another ARN", edit("arn:aws:iot:us-east-1:123456789012:thing/Mill_Core", "arn:aws:iot:us-east-1:123456789012:cert/ab"), config.ErrInvalid, "does not name an IoT thing"},
		{"a thing with a slash", edit("thing/Mill_Core", "thing/../etc"), config.ErrInvalid, "does not name an IoT thing"},
		{"no account", edit("us-east-1:123456789012", "us-east-1:"), config.ErrInvalid, "account"},
		{"no iotHost", edit(`"iotHost":"abc-ats.iot.us-east-1.amazonaws.com",`, ""), config.ErrInvalid, "coreThing.iotHost"},
		{"host is a URL", edit("abc-ats.iot.us-east-1.amazonaws.com", "https://mill"), config.ErrInvalid, "give a host name"},
		{"host with a bad port", edit("abc-ats.iot.us-east-1.amazonaws.com", "mill:0"), config.ErrInvalid, "coreThing.iotHost"},
		{"host with no port", edit("abc-ats.iot.us-east-1.amazonaws.com", "mill:"), config.ErrInvalid, "coreThing.iotHost"},
		{"port out of range", with(`"iotMqttPort":70000`), config.ErrInvalid, "coreThing.iotMqttPort is 70000"},
		{"keepAlive too short", with(`"keepAlive":29`), config.ErrInvalid, "coreThing.keepAlive is 29; it must lie between 30 and 1200"},
		{"keepAlive too long", with(`"keepAlive":1201`), config.ErrInvalid, "coreThing.keepAlive"},
		{"operation timeout", with(`"mqttOperationTimeout":4`), config.ErrInvalid, "coreThing.mqttOperationTimeout"},
		{"daemon port", with(`"ggDaemonPort":80`), config.ErrInvalid, "coreThing.ggDaemonPort"},
		{"local MQTT port", with(`"ggMqttPort":443`), config.ErrInvalid, "coreThing.ggMqttPort"},
		{"authentication timeout", with(`"systemComponentAuthTimeout":5001`), config.ErrInvalid, "systemComponentAuthTimeout"},
		{"client id", with(`"coreClientId":"` + strings.Repeat("x", 129) + `"`), config.ErrInvalid, "coreClientId"},
		{"health timeout", edit(`"cgroup"`, `"postStartHealthCheckTimeout":0,"cgroup"`), config.ErrInvalid, "postStartHealthCheckTimeout"},
		{"relative write directory", edit(`"managedRespawn":false`, `"writeDirectory":"data"`), config.ErrInvalid, "writeDirectory"},
		{"SOCKS proxy", with(`"networkProxy":{"proxy":{"url":"socks5://proxy"}}`), config.ErrInvalid, "only http and https"},
		{"bad proxy", with(`"networkProxy":{"proxy":{"url":"http://u:secret@:1"}}`), config.ErrInvalid, "networkProxy"},
		{"too large", `{"x":"` + strings.Repeat("x", 1<<20) + `"}`, config.ErrInvalid, "larger than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse([]byte(tc.file), root, config.Overrides{})
			if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %v, want %v with %q", err, tc.kind, tc.text)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error contains a password: %v", err)
			}
		})
	}
}

// TestUnused: a key without effect is named where it asks for something.
func TestUnused(t *testing.T) {
	t.Parallel()
	base := edit(`"runtime":{"cgroup":{"useSystemd":"yes"}},`, `"runtime":{},`)
	for _, tc := range []struct{ name, old, new, key string }{
		{"nothing", "", "", ""},
		{"what is off", `"runtime":{}`, `"runtime":{"mountAllBlockDevices":"no","cgroup":null},"system":{"useOverlayWithTmpfs":false}`, ""},
		{"managedRespawn", `"managedRespawn":false`, `"managedRespawn":true`, "managedRespawn"},
		{"authentication of components", `"keepAlive":600`, `"systemComponentAuthTimeout":600`, "coreThing.systemComponentAuthTimeout"},
		{"systemd, which is looked for on the machine", `"runtime":{}`, `"runtime":{"cgroup":{"useSystemd":"yes"}}`, ""},
		{"a module that no key is in", `"crypto":{`, `"crypto":{"PKCS11":{"P11Provider":"/usr/lib/softhsm.so","slotLabel":"l","slotUserPin":"1"},`, "crypto.PKCS11"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(base, tc.old) {
				t.Fatalf("the sample has no %s", tc.old)
			}
			c, err := config.Parse([]byte(strings.Replace(base, tc.old, tc.new, 1)), root, config.Overrides{})
			if err != nil {
				t.Fatal(err)
			}
			if tc.key == "" {
				if len(c.Unused) != 0 {
					t.Errorf("%q", c.Unused)
				}
				return
			}
			if len(c.Unused) != 1 || !strings.HasPrefix(c.Unused[0], tc.key+" of config.json has no effect: ") {
				t.Errorf("%q", c.Unused)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	t.Run("names the file that is missing", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		_, err := config.Load(dir, config.Overrides{})
		if want := "Couldn't find " + dir + "/config/config.json."; !errors.Is(err, config.ErrNotFound) || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
	t.Run("reads the file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "config"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(config.Path(dir), []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(dir, config.Overrides{})
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(dir, "certs", "x.pem.crt"); c.Credentials.CertificatePath != want {
			t.Errorf("certificate %s, want %s", c.Credentials.CertificatePath, want)
		}
	})
}

// TestMQTTServerKey: what the original took is taken, anything else is refused by name.
func TestMQTTServerKey(t *testing.T) {
	t.Parallel()
	ec := func(curve elliptic.Curve) any {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key  any
		text string // of the file, where key is nil
		says string
	}{
		"RSA of 2048 bits": {key: good}, "P-256": {key: ec(elliptic.P256())}, "P-384": {key: ec(elliptic.P384())},
		"P-521":   {key: ec(elliptic.P521()), says: "is an EC key on P-521"},
		"Ed25519": {key: edwards, says: "is a key of another kind"},
		"no key":  {text: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", says: "holds no private key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, text := filepath.Join(t.TempDir(), "mqtt.key"), []byte(tc.text)
			if tc.key != nil {
				der, err := x509.MarshalPKCS8PrivateKey(tc.key)
				if err != nil {
					t.Fatal(err)
				}
				text = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
			}
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			key, err := config.Credentials{MQTTServerKeyPath: file}.MQTTServerKey()
			if tc.says == "" {
				if err != nil || key == nil {
					t.Errorf("%v, %v", key, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "crypto.principals.MQTTServerCertificate.privateKeyPath: ") {
				t.Errorf("error %v", err)
			}
		})
	}
	if key, err := (config.Credentials{}).MQTTServerKey(); key != nil || err != nil {
		t.Errorf("without one: %v, %v", key, err)
	}
}

// TestSystemd: useSystemd is worth a line only on a machine without systemd.
func TestSystemd(t *testing.T) {
	t.Parallel()
	_, without := os.Stat("/run/systemd/system")
	for value, want := range map[string]bool{"yes": without != nil, "no": false} {
		dir := t.TempDir()
		err := os.MkdirAll(filepath.Join(dir, "config"), 0o700)
		if err == nil {
			err = os.WriteFile(config.Path(dir), []byte(edit(`"useSystemd":"yes"`, `"useSystemd":"`+value+`"`)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(dir, config.Overrides{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.Unused) == 1 && strings.HasPrefix(c.Unused[0], "runtime.cgroup.useSystemd of config.json has no effect: "); got != want || !want && len(c.Unused) > 0 {
			t.Errorf("%s: %q", value, c.Unused)
		}
	}
}

// TestEveryKey: each documented key has its effect, or exactly one line that says why it
// has none.
func TestEveryKey(t *testing.T) {
	t.Parallel()
	base, err := config.Parse([]byte(minimal), root, config.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	inRuntime := func(member string) string { return edit(`"cgroup"`, member+`,"cgroup"`) }
	onTop := func(member string) string { return edit(`"managedRespawn":false`, member) }
	for key, tc := range map[string]struct {
		file string
		// effect shows it; nil for a key without any.
		effect func(c *config.Config) any
	}{
		"coreThing.thingArn":                   {edit("thing/Mill_Core", "thing/Fan_Core"), func(c *config.Config) any { return c.ThingName }},
		"coreThing.iotHost":                    {edit("abc-ats.iot.us-east-1.amazonaws.com", "mill"), func(c *config.Config) any { return c.IoTMQTT }},
		"coreThing.iotMqttPort":                {with(`"iotMqttPort":443`), func(c *config.Config) any { return c.IoTMQTT }},
		"coreThing.iotHttpPort":                {with(`"iotHttpPort":443`), func(c *config.Config) any { return c.IoTHTTP }},
		"coreThing.ggHttpPort":                 {with(`"ggHttpPort":443`), func(c *config.Config) any { return c.GGHTTP }},
		"coreThing.ggMqttPort":                 {with(`"ggMqttPort":8884`), func(c *config.Config) any { return c.LocalMQTTPort }},
		"coreThing.keepAlive":                  {edit(`"keepAlive":600`, `"keepAlive":60`), func(c *config.Config) any { return c.KeepAlive }},
		"coreThing.mqttOperationTimeout":       {with(`"mqttOperationTimeout":9`), func(c *config.Config) any { return c.OperationTimeout }},
		"coreThing.networkProxy":               {with(`"networkProxy":{"proxy":{"url":"http://proxy:1"}}`), func(c *config.Config) any { return c.Proxy != nil }},
		"coreThing.ggDaemonPort":               {with(`"ggDaemonPort":8001`), func(c *config.Config) any { return c.DaemonPort }},
		"coreThing.systemComponentAuthTimeout": {file: with(`"systemComponentAuthTimeout":600`)},
		"coreThing.coreClientId":               {with(`"coreClientId":"x"`), func(c *config.Config) any { return c.ClientID }},
		"runtime.maxWorkItemCount":             {inRuntime(`"maxWorkItemCount":7`), func(c *config.Config) any { return c.MaxWorkItems }},
		"runtime.maxConcurrentLimit":           {inRuntime(`"maxConcurrentLimit":7`), func(c *config.Config) any { return c.MaxConcurrent }},
		"runtime.lruSize":                      {inRuntime(`"lruSize":40`), func(c *config.Config) any { return c.MaxConcurrent }},
		"runtime.mountAllBlockDevices":         {inRuntime(`"mountAllBlockDevices":"yes"`), func(c *config.Config) any { return c.MountAllBlockDevices }},
		"runtime.postStartHealthCheckTimeout":  {inRuntime(`"postStartHealthCheckTimeout":7`), func(c *config.Config) any { return c.HealthTimeout }},
		"runtime.allowFunctionsToRunAsRoot":    {inRuntime(`"allowFunctionsToRunAsRoot":"yes"`), func(c *config.Config) any { return c.AllowRoot }},
		"crypto.caPath":                        {edit("certs/AmazonRootCA1.pem", "certs/other.pem"), func(c *config.Config) any { return c.Credentials.CAPath }},
		"crypto.PKCS11":                        {file: edit(`"crypto":{`, `"crypto":{"PKCS11":{"P11Provider":"/p.so"},`)},
		"crypto.principals.MQTTServerCertificate": {edit(`"principals":{`, `"principals":{"MQTTServerCertificate":{"privateKeyPath":"file:///k"},`),
			func(c *config.Config) any { return c.Credentials.MQTTServerKeyPath }},
		"crypto.principals.SecretsManager": {edit(`"SecretsManager":{"privateKeyPath":"file:///greengrass/certs/x.pem.key"`, `"SecretsManager":{"privateKeyPath":"file:///k"`),
			func(c *config.Config) any { return c.Credentials.SecretsKeyPath }},
		"mqttMaxConnectionRetryInterval":           {onTop(`"mqttMaxConnectionRetryInterval":7`), func(c *config.Config) any { return c.MaxRetryInterval }},
		"coreThing.mqttMaxConnectionRetryInterval": {with(`"mqttMaxConnectionRetryInterval":7`), func(c *config.Config) any { return c.MaxRetryInterval }},
		"managedRespawn":                           {file: onTop(`"managedRespawn":true`)},
		"writeDirectory":                           {onTop(`"writeDirectory":"/w"`), func(c *config.Config) any { return c.Variable() }},
		"pidFileDirectory":                         {onTop(`"pidFileDirectory":"/p"`), func(c *config.Config) any { return c.PIDFileDirectory }},
		"system.useOverlayWithTmpfs":               {onTop(`"system":{"useOverlayWithTmpfs":true}`), func(c *config.Config) any { return c.OverlayTmpfs }},
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			c, err := config.Parse([]byte(tc.file), root, config.Overrides{})
			if err != nil {
				t.Fatal(err)
			}
			if tc.effect != nil {
				if len(c.Unused) != 0 || cmp.Equal(tc.effect(c), tc.effect(base)) {
					t.Errorf("its effect is %v, as without it; lines %q", tc.effect(c), c.Unused)
				}
			} else if len(c.Unused) != 1 || !strings.HasPrefix(c.Unused[0], key+" of config.json has no effect: ") {
				t.Errorf("%q", c.Unused)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{minimal, old, `{}`, `[]`, `{"crypto":{}}`, with(`"networkProxy":{"proxy":{"url":"http://u:p@h:1"}}`)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data, root, config.Overrides{})
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Errorf("config %v with error %q", c, err)
			}
			return
		}
		for _, path := range []string{c.Credentials.CAPath, c.Credentials.CertificatePath, c.Credentials.PrivateKeyPath, c.Variable()} {
			if !filepath.IsAbs(path) {
				t.Errorf("%q is not an absolute path", path)
			}
		}
		if c.ThingName == "" || c.ClientID == "" || c.IoTMQTT.Host == "" || c.GGHTTP.Port < 1 {
			t.Errorf("incomplete: %+v", c)
		}
	})
}
