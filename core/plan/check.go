package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/runtimes"
	"github.com/fescue-edge/fescue/topic"
)

// checker holds a group against what this core can do. It collects all problems
// instead of stopping at the first.
type checker struct {
	*Planner
	manifest bundle.Manifest
	defaults *fescue.FunctionDefaultConfig
	// resources are the group's.
	resources []fescue.Resource
	// models are those that functions so far were given.
	models []Model
	// dry takes a package that is not here for one that would be fetched.
	dry bool
	// privileged are the names of privileged groups on this machine, nil before they are
	// looked up.
	privileged map[uint32]string
	// asRoot are the functions with UID or GID 0.
	asRoot   []string
	problems []failure.Problem
	// unserved are functions that need what this core does not serve.
	unserved map[string]bool
	// warnings are what fails nothing.
	warnings []fescue.ErrorDetail
}

func (c *checker) problem(function string, code fescue.FailureCode, values ...any) {
	c.problems = append(c.problems, failure.New(function, code, values...))
}

// found takes over problems of a function that the rules of package fescue found.
func (c *checker) found(function string, list []fescue.ErrorDetail) {
	for _, d := range list {
		c.problems = append(c.problems, failure.Problem{Function: function, Code: d.DetailedErrorCode, Message: d.DetailedErrorMessage})
	}
}

func (c *checker) warn(detail fescue.ErrorDetail) {
	c.warnings = append(c.warnings, detail)
	c.Logger.Warn("Something in the group has no effect, or deserves a look.",
		slog.String("code", detail.DetailedErrorCode), slog.String("errorString", detail.DetailedErrorMessage))
}

// group checks what concerns no single function.
func (c *checker) group(g bundle.Group) {
	core := c.Serving()
	failures, warnings := fescue.Judge(g.Needs(), core, core.Serves)
	c.unserved = make(map[string]bool)
	for _, f := range failures {
		c.found(f.Function, []fescue.ErrorDetail{f.Detail})
		c.unserved[f.Function] = true
	}
	for _, w := range warnings {
		c.warn(w.Detail)
	}
	if !fescue.Isolation(c.defaults.DefaultExecution(), nil).Valid() {
		c.problem("", fescue.IsolationModeOfGroup)
	}
}

// minSpool is the least that the original accepted, in bytes.
const minSpool = 262144

// system takes the settings of a system function that stands in the group.
func (c *checker) system(name fescue.SystemFunction, l bundle.Lambda, p *Plan) {
	environment := l.DeploymentConfiguration.Environment
	if name.Facts().FixedExecution && environment.Execution != nil {
		c.problem(l.FunctionArn, fescue.ExecutionUnexpected, l.FunctionArn)
	}
	if name == fescue.IPDetectorFunction {
		p.DetectAddresses = true
	}
	if name != fescue.SpoolerFunction {
		return
	}
	p.SpoolOnDisk = environment.Variables[bundle.SpoolStorage] == bundle.SpoolFileSystem
	p.CloudKeeps = environment.Variables[bundle.SubscriptionQuality] == bundle.AtLeastOncePersistent
	text, ok := environment.Variables[bundle.SpoolSize]
	if !ok {
		return
	}
	size, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	switch {
	case err != nil:
		c.problem(l.FunctionArn, fescue.SpoolSizeInvalid, text)
	case size < minSpool:
		c.problem(l.FunctionArn, fescue.SpoolSize, minSpool)
	default:
		p.SpoolBytes = size
	}
}

// function resolves one function. It is false when there is a problem.
func (c *checker) function(l bundle.Lambda) (Function, bool) {
	before := len(c.problems)
	f := c.configure(l)
	if len(c.problems) > before {
		return f, false
	}
	c.isolation(l, &f)
	// Without an identity of its own a function would run as the core.
	id, ok := c.identity(l)
	f.RunAs = id
	if ok {
		c.attach(l, &f)
	}
	c.code(&f)
	return f, ok && len(c.problems) == before && !c.unserved[l.FunctionArn]
}

// configure copies the configuration.
func (c *checker) configure(l bundle.Lambda) Function {
	d := l.DeploymentConfiguration
	arn, err := fescue.ParseARN(l.FunctionArn)
	name, version, ok := arn.Function()
	if err != nil || !ok || version == "" || strings.ContainsAny(l.FunctionArn, "/\x00") {
		c.problem(l.FunctionArn, fescue.FunctionMisconfigured, strconv.Quote(l.FunctionArn), "that is not the ARN of a function version")
		return Function{}
	}
	f := Function{
		ARN: l.FunctionArn, GroupID: c.manifest.GroupID, Name: name, Version: version, Region: arn.Region, Account: arn.Account,
		Runtime:     d.Runtime,
		Handler:     fescue.EntryPoint(d.Runtime, d.Handler, d.Executable),
		Arguments:   d.ExecArgs,
		Pinned:      d.Pinned != nil && *d.Pinned,
		Timeout:     fescue.DefaultTimeout,
		Encoding:    cmp.Or(d.EncodingType, fescue.EncodingJSON),
		Environment: d.Environment.Variables,
	}
	if d.Timeout != nil && *d.Timeout != 0 {
		f.Timeout = time.Duration(*d.Timeout) * time.Second
	}
	for _, text := range fescue.ProcessProblems(f.Encoding, d.Timeout, f.Environment, slices.Concat(f.Arguments, []string{f.Handler})...) {
		c.problem(f.ARN, fescue.FunctionMisconfigured, f.ARN, text)
	}
	return f
}

// defaultMemoryKB is the MemorySize of a function in a container that has none (same
// guide, "Controlling execution").
const defaultMemoryKB = 16384

// isolation checks that a function asks for nothing that its mode does not have, and
// gives it its container.
func (c *checker) isolation(l bundle.Lambda, f *Function) {
	d, arn := l.DeploymentConfiguration, l.FunctionArn
	mode := fescue.Isolation(d.Environment.Execution, c.defaults.DefaultExecution())
	if !mode.Valid() {
		c.problem(arn, fescue.IsolationModeOfFunction, arn)
	}
	for _, code := range fescue.ModeConflicts(mode, d.MemorySize, d.Environment.AccessSysfs) {
		c.problem(arn, code, arn)
	}
	if mode != fescue.GreengrassContainer {
		return
	}
	f.Container = &Container{MemoryKB: defaultMemoryKB, Sysfs: d.Environment.AccessSysfs != nil && *d.Environment.AccessSysfs}
	if d.MemorySize != nil && *d.MemorySize != 0 {
		f.Container.MemoryKB = *d.MemorySize
	}
	if f.Container.MemoryKB < 0 {
		c.problem(arn, fescue.FunctionMisconfigured, arn, fmt.Sprintf("MemorySize is %d KB", f.Container.MemoryKB))
	}
	if row := runtimes.Of(f.Runtime); row != nil && f.Container.MemoryKB < row.MemoryKB {
		c.warn(fescue.MemorySizeSmall.Detail(arn, f.Container.MemoryKB, row.Language, row.MemoryKB))
	}
}

// code finds the function's folder and what runs it.
func (c *checker) code(f *Function) {
	code, ok := c.manifest.Package(f.ARN)
	if !ok {
		if !c.unserved[f.ARN] {
			c.problem(f.ARN, fescue.ManifestIncomplete, f.ARN)
		}
		return
	}
	f.CodeHash = code.SHA256
	f.Code = sandbox.HostPath(c.Code(f.CodeHash))
	info, err := c.Disk.Lstat(string(f.Code))
	if c.dry && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil || !info.IsDir() {
		c.problem(f.ARN, fescue.PackageMissing, f.ARN)
		return
	}
	if f.Runtime == fescue.ExecutableRuntime {
		c.executable(f)
	}
}

// runnable asks what runs functions whether it can run these, and gives those
// that it can.
func (c *checker) runnable(ctx context.Context, functions []Function) []Function {
	for _, t := range c.Runner.Check(ctx, functions) {
		c.problem(t.ARN, t.Kind.code(), t.ARN, t.Cause)
		functions = slices.DeleteFunc(functions, func(f Function) bool { return f.ARN == t.ARN })
	}
	return functions
}

// executable finds the program of an executable function and makes it one that
// everybody may run, as the original did.
func (c *checker) executable(f *Function) {
	name := path.Clean("/" + f.Handler)[1:]
	program := string(f.Code.Join(filepath.FromSlash(name)))
	missing := func(err error) {
		c.problem(f.ARN, fescue.HandlerMissing, filepath.Join(c.Lambdas, f.ARN, f.Handler), err)
	}
	info, err := c.Disk.Lstat(program)
	switch {
	case name == "" || err != nil:
		missing(errNoSuchFile)
		return
	case !info.Mode().IsRegular():
		missing(errNotAFile)
		return
	}
	if info.Mode().Perm()&0o111 == 0 && !c.dry {
		if err := c.Disk.Chmod(program, 0o755); err != nil {
			missing(err)
		}
	}
	f.Handler = name
}

// Words for a program that is not there, as the kernel puts them.
var (
	errNoSuchFile = errors.New("no such file or directory")
	errNotAFile   = errors.New("not a regular file")
)

// subscriptions checks the rows of the routing table.
func (c *checker) subscriptions(rows []fescue.Subscription) []fescue.Subscription {
	var good []fescue.Subscription
	for _, r := range rows {
		if r.Source == "" || r.Target == "" {
			c.problem("", fescue.SubscriptionInvalid, r.Id, "it has no source or no target")
			continue
		}
		if err := topic.ValidFilter(r.Subject); err != nil {
			c.problem("", fescue.SubscriptionInvalid, r.Id, err)
			continue
		}
		good = append(good, r)
	}
	return good
}

// devices checks the client devices.
func (c *checker) devices(list []bundle.Identity) []Device {
	var good []Device
	for _, one := range list {
		thing, thingErr := fescue.ParseARN(one.ThingArn)
		name, isThing := thing.ThingName()
		certificate, certificateErr := fescue.ParseARN(one.CertArn)
		id, isCertificate := certificate.CertificateID()
		if err := errors.Join(thingErr, certificateErr); err != nil || !isThing || !isCertificate {
			c.problem("", fescue.GroupFile, fmt.Sprintf("the client device %q with the certificate %q is none", one.ThingArn, one.CertArn))
			continue
		}
		good = append(good, Device{ThingARN: one.ThingArn, Thing: name, CertificateID: id})
	}
	return good
}

// synced checks the things whose shadows are to be kept in step.
func (c *checker) synced(list []bundle.ShadowSync) []string {
	var good []string
	for _, one := range list {
		thing, err := fescue.ParseARN(one.ThingArn)
		name, isThing := thing.ThingName()
		if err != nil || !isThing {
			c.problem("", fescue.GroupFile, fmt.Sprintf("%q, whose shadow is to be kept in step, is no thing", one.ThingArn))
			continue
		}
		good = append(good, name)
	}
	return good
}
