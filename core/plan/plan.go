// Package plan turns a group document into what is to run on this core, and into
// what is wrong with it. It starts nothing and changes nothing, but for the bit that
// makes an executable function executable.
//
// What runs functions takes a Function as it stands here. The package knows the
// machine's accounts and the folders of packages; it must not know how processes are
// started (behind Runner), deployments or the cloud.
package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/core/secrets"
	"github.com/fescue-edge/fescue/disk"
)

// Plan is a deployment as it is to run on this core: everything resolved,
// nothing left to look up. The zero Plan runs nothing.
type Plan struct {
	GroupID, DeploymentID string
	Functions             []Function
	Subscriptions         []fescue.Subscription
	// Devices are the client devices that may connect.
	Devices []Device
	// SyncedThings are the things whose shadows are kept in step with the cloud's.
	SyncedThings []string
	// DetectAddresses has the control plane given this machine's addresses, for
	// client devices.
	DetectAddresses bool
	// Models are what functions are given of machine learning, each once.
	Models []Model
	// Loggers are the group's; nil before the first deployment.
	Loggers []bundle.Logger
	// Warnings are what was found in the group that fails nothing.
	Warnings []fescue.ErrorDetail
	// Secrets are the group's, nil for none.
	Secrets *secrets.Set
	// SpoolBytes bounds the queue of messages for the cloud; 0 is the default.
	SpoolBytes int64
	// SpoolOnDisk has that queue on the disk.
	SpoolOnDisk bool
	// CloudKeeps has the cloud keep what comes from there while the core is away.
	CloudKeeps bool
}

// Function is one function of a Plan, ready to run.
type Function struct {
	// ARN is qualified with the version; it identifies the function. The rest of the
	// names are its parts.
	ARN, Name, Version, Region, Account string
	// GroupID is the deployed group's.
	GroupID string
	// CodeHash is the SHA-256 of the zip, Code the folder of its content, which
	// never changes.
	CodeHash string
	Code     sandbox.HostPath
	// Runtime is Lambda's name for the interpreter, of package runtimes.
	Runtime string
	// Handler is "module.function", or the program's file name below Code: what
	// fescue.EntryPoint says.
	Handler string
	// Arguments are appended to the command line.
	Arguments []string
	// Pinned functions are long-lived: exactly one process, started at once.
	Pinned bool
	// Timeout bounds one call of the handler.
	Timeout time.Duration
	// Encoding is fescue.EncodingJSON or fescue.EncodingBinary.
	Encoding string
	// Environment are the variables that the group defines.
	Environment map[string]string
	// RunAs is nil for the user that the core itself runs as.
	RunAs *sandbox.Credential
	// Container is nil for a function without one.
	Container *Container
	// Secrets are the secrets that it may read, by their ARNs, each with the versions
	// that it finds: one that gets others is started anew.
	Secrets map[string]string `json:",omitempty"`
	// Links are the models that a function without a container is given, by the path at
	// which it looks for them below ResourceFolder, which is its own; empty without.
	Links          map[string]sandbox.HostPath `json:",omitempty"`
	ResourceFolder sandbox.HostPath            `json:"-"`
	// LogLevel is the group's level for functions.
	LogLevel string
	// Hash names code and configuration: a function whose hash stays the same
	// keeps its process.
	Hash string
}

// Device is a client device.
type Device struct {
	// ThingARN is its end of subscriptions, Thing its name.
	ThingARN, Thing string
	// CertificateID is the SHA-256 of its certificate, in hexadecimal.
	CertificateID string
}

// Container is what a function in a container may use.
type Container struct {
	// MemoryKB is its MemorySize, the unit that the original's API has.
	MemoryKB int
	// Sysfs lets it read the machine's /sys.
	Sysfs bool
	// Mounts and Devices are the resources that the group gives it.
	Mounts  []sandbox.Mount  `json:",omitempty"`
	Devices []sandbox.Device `json:",omitempty"`
}

// Model is a model on this machine, and who may use it.
type Model struct {
	// Resource is the Id of the first resource that it is for.
	Resource string
	// Folder is where it lies.
	Folder sandbox.HostPath
	// GID is the group that owns it; nil for one that only reaches functions in
	// containers, as a mount.
	GID *uint32
	// Writable is what its owner may do, or, without one, a function to which it is
	// mounted so.
	Writable bool
}

// defaultLogLevel is the level of a group without loggers (same guide,
// "Monitoring with AWS IoT Greengrass logs").
const defaultLogLevel = "INFO"

// Options is what a Planner is made of: first what the machine and its operator say, each
// with a default, then what is needed.
type Options struct {
	// Missing is what the machine lacks for containers; none where it lacks nothing.
	Missing []string
	// Private are the core's own folders, which no group may give to a function.
	Private []sandbox.HostPath
	// AllowRoot permits functions with UID or GID 0, or one that amounts to it.
	AllowRoot bool
	// DefaultUID and DefaultGID take the place of fescue.DefaultUser and
	// fescue.DefaultGroup.
	DefaultUID, DefaultGID *int
	// FunctionUIDs takes the place of DefaultUID; nil where functions share it.
	FunctionUIDs FunctionUIDs
	// Accounts are the machine's if nil.
	Accounts Accounts

	Disk disk.FS
	// Code is where the package with a hash lies, unpacked.
	Code func(hash string) string
	// Model is where the model with a hash lies, unpacked.
	Model func(hash string) string
	// Resources is the folder in which functions without a container have one each.
	Resources sandbox.HostPath
	// Lambdas is the folder in which functions' packages have their original names,
	// for messages.
	Lambdas string
	Runner  Runner
	Secrets Secrets
	Logger  *slog.Logger
}

// Serving is what the core says of what it serves.
func (o Options) Serving() fescue.CoreInfo {
	unserved := fescue.UnservedNames()
	if len(o.Missing) > 0 {
		unserved = append(unserved, fescue.FeatureContainers)
	}
	return fescue.CoreInfo{Unserved: unserved, Missing: o.Missing}
}

// Secrets are what was staged of a deployment's secrets; secrets.Vault is some.
type Secrets interface {
	// Load opens them; nil for a group without any.
	Load(m bundle.Manifest, g bundle.Group) (*secrets.Set, error)
	// Check says whether this core could have secrets at all.
	Check() error
}

// Runner is what runs functions.
type Runner interface {
	// Check says which functions could not run here. It starts nothing.
	Check(ctx context.Context, functions []Function) []Trouble
}

// Trouble is a function that does not run, and why.
type Trouble struct {
	ARN, Cause string
	// Kind is for what Check finds.
	Kind TroubleKind
	// LastLines are the function's last log lines, oldest first.
	LastLines []string
}

// TroubleKind is why a function could not run here.
type TroubleKind int

// What Check finds.
const (
	// RuntimeMissing: nothing on this machine runs functions of its kind.
	RuntimeMissing TroubleKind = iota
	// Closed: its user may not use a file or a folder that it needs.
	Closed
	// ProgramInvalid: its program or package is not one that can be started.
	ProgramInvalid
	// PortTaken: client devices cannot connect. It concerns no function, and only what
	// has been started finds it.
	PortTaken
)

// code is the deployment's failure.
func (k TroubleKind) code() fescue.FailureCode {
	switch k {
	case Closed:
		return fescue.FunctionClosed
	case ProgramInvalid:
		return fescue.ProgramInvalid
	}
	return fescue.RuntimeMissing
}

// Planner resolves groups into plans for one core.
type Planner struct{ Options }

// New makes a planner.
func New(o Options) *Planner {
	if o.Accounts == nil {
		o.Accounts = System{}
	}
	return &Planner{o}
}

// Plan resolves a group whose packages are staged, document being group.json. The
// problems are everything that keeps it from running here; the Plan then holds what
// has none.
func (p *Planner) Plan(ctx context.Context, m bundle.Manifest, document []byte) (Plan, []failure.Problem) {
	return p.resolve(ctx, m, document, false)
}

// Check finds what Plan would find, as far as that can be known without the
// packages. It changes nothing.
func (p *Planner) Check(ctx context.Context, m bundle.Manifest, document []byte) (Plan, []failure.Problem) {
	return p.resolve(ctx, m, document, true)
}

func (p *Planner) resolve(ctx context.Context, m bundle.Manifest, document []byte, dry bool) (Plan, []failure.Problem) {
	plan := Plan{GroupID: m.GroupID, DeploymentID: m.DeploymentID}
	group, err := bundle.ParseGroup(document)
	if err != nil {
		return plan, []failure.Problem{failure.New("", fescue.GroupFile, err)}
	}
	d := group.GroupDefinitions
	check := &checker{Planner: p, manifest: m, defaults: d.Lambdas.DefaultConfig, dry: dry}
	for _, r := range d.Resources.Content {
		if definition, ok := r.Definition(); ok {
			check.resources = append(check.resources, definition)
		}
	}
	check.group(group)
	plan.Secrets = check.secrets(group)
	plan.Loggers = d.Logging.Content
	if plan.Loggers == nil {
		plan.Loggers = []bundle.Logger{}
	}
	level := functionLevel(plan.Loggers)
	seen := make(map[string]bool)
	for _, l := range d.Lambdas.Content {
		if name, ok := fescue.SystemFunctionOf(l.FunctionArn); ok {
			check.system(name, l, &plan)
			continue
		}
		if seen[l.FunctionArn] {
			check.problem(l.FunctionArn, fescue.FunctionMisconfigured, l.FunctionArn, "it stands in the group file twice")
			continue
		}
		seen[l.FunctionArn] = true
		f, ok := check.function(l)
		if !ok {
			continue
		}
		f.LogLevel, f.Secrets = level, given(l, group, plan.Secrets)
		f.Hash = f.hash()
		if len(f.Links) > 0 {
			f.ResourceFolder = p.Resources.Join(f.Hash)
		}
		plan.Functions = append(plan.Functions, f)
	}
	plan.Subscriptions = check.subscriptions(d.Subscriptions.Content)
	plan.Devices = check.devices(group.Devices)
	plan.SyncedThings = check.synced(d.ShadowSync.Content)
	plan.Models = check.models
	check.roots()
	plan.Functions = check.runnable(ctx, plan.Functions)
	plan.Warnings = check.warnings
	return plan, check.problems
}

// hash is over everything that a process was started with.
func (f Function) hash() string {
	f.Hash = ""
	// A struct of strings, numbers and maps of strings always encodes, with the
	// keys of maps in order.
	data, err := json.Marshal(f)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// functionLevel is the lowest level that anything takes of functions.
func functionLevel(loggers []bundle.Logger) string {
	levels := []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
	lowest, files := len(levels), false
	for _, l := range loggers {
		if level := slices.Index(levels, l.Level); l.Component == "Lambda" && level >= 0 {
			lowest = min(lowest, level)
			files = files || l.Type == "FileSystem"
		}
	}
	if !files {
		lowest = min(lowest, slices.Index(levels, defaultLogLevel))
	}
	return levels[lowest]
}
