package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/disk"
)

// Plan is a deployment as it is to run on this core: everything resolved,
// nothing left to look up. The zero Plan runs nothing.
type Plan struct {
	GroupID, DeploymentID string
	Functions             []Function
	Subscriptions         []fescue.Subscription
	// Loggers are the group's; nil before the first deployment.
	Loggers []bundle.Logger
	// Warnings are what was found in the group that fails nothing.
	Warnings []fescue.ErrorDetail
	// SpoolBytes bounds the queue of messages for the cloud; 0 is the default.
	SpoolBytes int64
}

// Function is one function of a Plan.
type Function struct {
	// ARN is qualified with the version; the rest of the names are its parts.
	ARN, Name, Version, Region, Account string
	// CodeHash is the SHA-256 of the zip, Dir the folder of its content, which
	// never changes.
	CodeHash, Dir string
	Runtime       string
	// Handler is the definition's Executable, else the handler of the version.
	Handler     string
	Arguments   []string
	Pinned      bool
	Timeout     time.Duration
	Encoding    string // "json" or "binary"
	Environment map[string]string
	// RunAs is nil for the user that the core itself runs as.
	RunAs *Identity
	// LogLevel is the group's level for functions.
	LogLevel string
	// Hash names code and configuration: a function whose hash stays the same
	// keeps its process.
	Hash string
}

// Identity is a numeric Linux user and group.
type Identity struct{ UID, GID int }

// defaultTimeout is that of a function that has none (AWS IoT Greengrass V1
// developer guide, "Controlling execution").
const defaultTimeout = 3 * time.Second

// defaultLogLevel is the level of a group without loggers (same guide,
// "Monitoring with AWS IoT Greengrass logs").
const defaultLogLevel = "INFO"

// plan resolves a staged deployment. The problems are everything that keeps it
// from running here; the Plan then holds what has none.
func (a *Agent) plan(ctx context.Context, m bundle.Manifest) (Plan, []Problem) {
	p := Plan{GroupID: m.GroupID, DeploymentID: m.DeploymentID}
	if m.DeploymentType.Reset() {
		return p, nil
	}
	group, err := a.readGroup(m)
	if err != nil {
		return p, []Problem{problem("", fescue.GroupFile, err)}
	}
	return a.planGroup(ctx, &checker{agent: a, manifest: m, defaults: group.GroupDefinitions.Lambdas.DefaultConfig}, group, p)
}

// planGroup resolves a group into the plan.
func (a *Agent) planGroup(ctx context.Context, check *checker, group bundle.Group, p Plan) (Plan, []Problem) {
	d := group.GroupDefinitions
	check.group(group)
	p.Loggers = d.Logging.Content
	if p.Loggers == nil {
		p.Loggers = []bundle.Logger{}
	}
	level := functionLevel(p.Loggers)
	seen := make(map[string]bool)
	for _, l := range d.Lambdas.Content {
		if name, ok := fescue.SystemFunctionOf(l.FunctionArn); ok {
			check.system(name, l, &p)
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
		f.LogLevel = level
		f.Hash = f.hash()
		p.Functions = append(p.Functions, f)
	}
	p.Subscriptions = check.subscriptions(d.Subscriptions.Content)
	check.roots()
	p.Functions = check.runnable(ctx, p.Functions)
	p.Warnings = check.warnings
	return p, check.problems
}

// readGroup reads the group document out of the store and verifies it again: it
// is what the signature covers, not the file group.json that people edit.
func (a *Agent) readGroup(m bundle.Manifest) (bundle.Group, error) {
	data, err := a.groupDocument(m)
	if err != nil {
		return bundle.Group{}, err
	}
	return bundle.ParseGroup(data)
}

func (a *Agent) groupDocument(m bundle.Manifest) ([]byte, error) {
	document, ok := m.GroupDocument()
	if !ok {
		return nil, errors.New("the manifest names no group document")
	}
	data, err := disk.ReadFile(a.disk, a.layout.artifact(document.SHA256), maxGroupFile)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != document.SHA256 {
		return nil, fmt.Errorf("the group document in the store was changed since it was verified; deploy the group again")
	}
	return data, nil
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

func functionLevel(loggers []bundle.Logger) string {
	for _, l := range loggers {
		if l.Component == "Lambda" && l.Type == "FileSystem" && l.Level != "" {
			return l.Level
		}
	}
	return defaultLogLevel
}
