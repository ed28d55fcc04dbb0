package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/fescue-edge/fescue"
)

// Config is what config.json says, with the defaults filled in and everything
// checked.
type Config struct {
	// Root is the install root, normally /greengrass.
	Root string
	// Partition and ThingName are read off ThingARN.
	Partition fescue.Partition
	ThingName string
	ThingARN  string
	// IoTMQTT, IoTHTTP and GGHTTP are the cloud's endpoints.
	IoTMQTT, IoTHTTP, GGHTTP Endpoint
	// Credentials says where certificate, key and authorities lie.
	Credentials Credentials
	// ClientID is the MQTT client id: coreClientId, else the thing name.
	ClientID string
	// KeepAlive is the MQTT keep-alive, 30 s to 1200 s.
	KeepAlive time.Duration
	// OperationTimeout bounds one publish, subscribe or unsubscribe toward the
	// cloud, at least 5 s.
	OperationTimeout time.Duration
	// MaxRetryInterval is the ceiling of the reconnect back-off.
	MaxRetryInterval time.Duration
	// Proxy is nil without networkProxy.
	Proxy *Proxy
	// LocalMQTTPort is the port of the local broker for client devices.
	LocalMQTTPort int
	// DaemonPort is the port of the local HTTP API.
	DaemonPort int
	// AuthTimeout bounds the authentication of system components over IPC.
	AuthTimeout time.Duration
	// MaxWorkItems is the size of the work queue.
	MaxWorkItems int
	// MaxConcurrent bounds the on-demand workers; never below lruSize.
	MaxConcurrent int
	// HealthTimeout bounds the wait for the check after a start.
	HealthTimeout time.Duration
	// AllowRoot permits functions with UID or GID 0.
	AllowRoot bool
	// FunctionUIDs are the users of which each function without RunAs gets one of
	// its own; none where all have the same.
	FunctionUIDs UIDRange
	// UseSystemd, MountAllBlockDevices and OverlayTmpfs concern containers.
	UseSystemd, MountAllBlockDevices, OverlayTmpfs bool
	// ShadowSyncTimeout bounds one HTTP call to the cloud's shadows.
	ShadowSyncTimeout time.Duration
	// Unused lists which keys of the file have no effect, and why.
	Unused []string
	// WriteDirectory takes the place of Root/ggc for what is written; empty
	// when the file names none.
	WriteDirectory string
	// PIDFileDirectory is where the core writes its number, for who starts and stops
	// it; empty for nowhere.
	PIDFileDirectory string
}

// Overrides replace what the file says, for programs and tests that already
// know better. Empty members change nothing.
type Overrides struct {
	// IoTHost and GGHost are "host" or "host:port".
	IoTHost, GGHost string
	// CAFile is a plain path.
	CAFile string
}

// Path is where a root keeps its configuration.
func Path(root string) string { return filepath.Join(root, "config", "config.json") }

// maxFile bounds config.json, in bytes; a full one is under 4 KB.
const maxFile = 1 << 20

// Load reads the configuration of root.
func Load(root string, o Overrides) (*Config, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("root folder: %w", err)
	}
	path := Path(root)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fileError{text: "Couldn't find " + path + ".", kind: ErrNotFound}
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(data, root, o)
	if err != nil {
		return nil, err
	}
	c.onMachine()
	return c, nil
}

// Parse is Load for a file that is already in memory. The certificates that it
// names are not opened, nor is the machine looked at.
func Parse(data []byte, root string, o Overrides) (*Config, error) {
	path := Path(root)
	if len(data) > maxFile {
		return nil, invalid("%s is larger than %d bytes", path, maxFile)
	}
	var raw file
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, &fileError{text: "Failed to parse " + path + ".", kind: ErrParse, reason: err}
	}
	c, err := raw.resolve(root, o)
	if err != nil {
		if errors.Is(err, ErrInvalid) {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return nil, err
	}
	c.Unused = unusedIn(data)
	return c, nil
}

var clientIDPattern = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,128}$`)

func (f *file) resolve(root string, o Overrides) (*Config, error) {
	c := &Config{
		Root:                 root,
		AllowRoot:            f.Runtime.AllowFunctionsToRunAsRoot.on,
		UseSystemd:           f.Runtime.Cgroup.UseSystemd.on,
		MountAllBlockDevices: f.Runtime.MountAllBlockDevices.on,
		OverlayTmpfs:         f.System.UseOverlayWithTmpfs,
		ClientID:             f.CoreThing.CoreClientID,
		PIDFileDirectory:     f.PIDFileDirectory,
	}
	var err error
	if c.Credentials, err = f.credentials(root, o.CAFile); err != nil {
		return nil, err
	}
	if err := c.identify(f.CoreThing.ThingARN); err != nil {
		return nil, err
	}
	if c.ClientID == "" {
		c.ClientID = c.ThingName
	}
	if !clientIDPattern.MatchString(c.ClientID) {
		return nil, invalid("coreThing.coreClientId %q is not 1 to 128 printable characters", c.ClientID)
	}
	if c.FunctionUIDs, err = parseUIDRange(f.Runtime.FunctionUids); err != nil {
		return nil, err
	}
	if err := c.numbers(f); err != nil {
		return nil, err
	}
	if err := c.endpoints(f, o); err != nil {
		return nil, err
	}
	if c.Proxy, err = f.CoreThing.NetworkProxy.resolve(); err != nil {
		return nil, err
	}
	if c.Proxy != nil {
		c.Proxy.CAFile = c.Credentials.CAPath
	}
	if err := c.folders(f.WriteDirectory); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) identify(thingARN string) error {
	if thingARN == "" {
		return invalid("coreThing.thingArn is missing; it is the ARN of the core's thing, for example arn:aws:iot:us-east-1:123456789012:thing/MyCore")
	}
	arn, err := fescue.ParseARN(thingARN)
	if err != nil {
		return invalid("coreThing.thingArn: %v", err)
	}
	name, ok := arn.ThingName()
	if !ok || !fescue.ValidThingName(name) {
		return invalid("coreThing.thingArn %q does not name an IoT thing", thingARN)
	}
	if err := arn.Partition().Validate(); err != nil {
		return invalid("coreThing.thingArn: %v", err)
	}
	c.ThingARN, c.ThingName, c.Partition = thingARN, name, arn.Partition()
	return nil
}

// numbers fills in every numeric member from one table of names, defaults and
// ranges (AWS IoT Greengrass V1 developer guide, "Configure the core").
func (c *Config) numbers(f *file) error {
	const most = 1 << 30
	retry := f.MaxRetryInterval
	if retry == nil {
		// Core 1.6 had it inside coreThing.
		retry = f.CoreThing.MaxRetryInterval
	}
	var lru int
	for _, n := range []struct {
		name            string
		value           *int
		standard        int
		lowest, highest int
		store           func(int)
	}{
		{"coreThing.ggMqttPort", f.CoreThing.GGMQTTPort, 8883, 1024, 65535, func(n int) { c.LocalMQTTPort = n }},
		{"coreThing.keepAlive", f.CoreThing.KeepAlive, 600, 30, 1200, func(n int) { c.KeepAlive = seconds(n) }},
		{"coreThing.mqttOperationTimeout", f.CoreThing.MQTTOperationTimeout, 5, 5, 86400, func(n int) { c.OperationTimeout = seconds(n) }},
		{"coreThing.ggDaemonPort", f.CoreThing.GGDaemonPort, 8000, 1024, 65535, func(n int) { c.DaemonPort = n }},
		{"coreThing.systemComponentAuthTimeout", f.CoreThing.SystemComponentAuthTimeout, 5000, 500, 5000, func(n int) { c.AuthTimeout = milliseconds(n) }},
		{"mqttMaxConnectionRetryInterval", retry, 60, 1, 86400, func(n int) { c.MaxRetryInterval = seconds(n) }},
		{"runtime.maxWorkItemCount", f.Runtime.MaxWorkItemCount, 1024, 1, most, func(n int) { c.MaxWorkItems = n }},
		{"runtime.maxConcurrentLimit", f.Runtime.MaxConcurrentLimit, 25, 1, most, func(n int) { c.MaxConcurrent = n }},
		{"runtime.lruSize", f.Runtime.LRUSize, 25, 1, most, func(n int) { lru = n }},
		{"runtime.postStartHealthCheckTimeout", f.Runtime.PostStartHealthCheck, 30000, 1, 86400000, func(n int) { c.HealthTimeout = milliseconds(n) }},
		{"system.shadowSyncTimeout", f.System.ShadowSyncTimeout, 5, 1, 86400, func(n int) { c.ShadowSyncTimeout = seconds(n) }},
	} {
		v := n.standard
		if n.value != nil {
			v = *n.value
		}
		if v < n.lowest || v > n.highest {
			return invalid("%s is %d; it must lie between %d and %d", n.name, v, n.lowest, n.highest)
		}
		n.store(v)
	}
	// Without lruSize in the file, its default must not undo a lower limit.
	if f.Runtime.LRUSize != nil {
		c.MaxConcurrent = max(c.MaxConcurrent, lru)
	}
	return nil
}

func (c *Config) folders(write string) error {
	if write != "" && !filepath.IsAbs(write) {
		return invalid("writeDirectory %q is not an absolute path", write)
	}
	c.WriteDirectory = write
	if d := c.PIDFileDirectory; d != "" && !filepath.IsAbs(d) {
		return invalid("pidFileDirectory %q is not an absolute path", d)
	}
	return nil
}

// Variable is the folder of everything that the core writes: writeDirectory,
// else ggc below the root.
func (c *Config) Variable() string {
	if c.WriteDirectory != "" {
		return c.WriteDirectory
	}
	return filepath.Join(c.Root, "ggc")
}

// DeploymentFolder holds the deployed group and its functions.
func (c *Config) DeploymentFolder() string { return filepath.Join(c.Variable(), "deployment") }

// LogFolder holds the log files.
func (c *Config) LogFolder() string { return filepath.Join(c.Variable(), "var", "log") }

// StateFolder holds what components keep between starts.
func (c *Config) StateFolder() string { return filepath.Join(c.Variable(), "var", "state") }

// CertificateFolder holds certificates and keys.
func (c *Config) CertificateFolder() string { return filepath.Join(c.Root, "certs") }

func seconds(n int) time.Duration      { return time.Duration(n) * time.Second }
func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
