package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/recovery"
)

type recoverCommand struct {
	endpointFlag
	rewriteFlag
	Path         string `arg:"" type:"existingdir" help:"The core's root folder, or a copy of it: config/, certs/, ggc/."`
	Deployment   string `type:"existingdir" help:"Its deployment folder, where that is not PATH/ggc/deployment." placeholder:"DIR"`
	Name         string `help:"Name of the group. Default: the core's name without _Core."`
	Alias        string `help:"Make this alias for each function, and name functions by it instead of by version number."`
	Isolation    string `enum:",NoContainer" default:"" placeholder:"NoContainer" help:"With NoContainer, functions that ran in a container run without one, and lose what only a container has: MemorySize, AccessSysfs, local resources. Each is named."`
	Certificates string `type:"existingdir" help:"Folder with certificates of client devices, as PEM files. Those that the group names are registered." placeholder:"DIR"`
	DryRun       bool   `help:"Print what is missing, and change nothing."`
	JSON         bool   `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (recoverCommand) Help() string {
	return `Reads what a Greengrass V1 core has on its disk, and restores through the server's
API what it was deployed from: things, certificates, functions with their code,
definitions, and the group with its old id and version id. Prints what it had to
assume, and what only you can supply. What is there already stays as it is, so it
can be run again, also after it was interrupted. Private keys are not read. At the end
it says what of the group cores of this version cannot run, and what to do about it.

` + rewriteHelp + `

Examples:
  fescue recover /greengrass --dry-run
  fescue recover /greengrass --dry-run --isolation NoContainer
  fescue recover ./copy-of-greengrass --name Mill --alias live
  fescue recover /greengrass --deployment /data/gg/deployment --certificates ./device-certs`
}

// quickStartPolicy is the policy of AWS's quick start for cores, which stands in
// for one that nobody knows: what it allowed must go on working.
const quickStartPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":["iot:Publish","iot:Subscribe","iot:Connect","iot:Receive"],"Resource":["*"]},` +
	`{"Effect":"Allow","Action":["greengrass:*"],"Resource":["*"]}]}`

// devicePolicy stands in for the policies of client devices: what they need to
// find a core, and to speak to it and to AWS IoT.
const devicePolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":["iot:Publish","iot:Subscribe","iot:Connect","iot:Receive"],"Resource":["*"]},` +
	`{"Effect":"Allow","Action":["greengrass:Discover"],"Resource":["*"]}]}`

// recovered is what recover prints as JSON.
type recovered struct {
	GroupID        string          `json:"groupId"`
	GroupVersionID string          `json:"groupVersionId"`
	GroupName      string          `json:"groupName"`
	DeploymentID   string          `json:"oldDeploymentId,omitempty"`
	Account        string          `json:"account"`
	Region         string          `json:"region"`
	DryRun         bool            `json:"dryRun"`
	Changed        int             `json:"changed"`
	Parts          []outcome       `json:"parts"`
	Assumed        []recovery.Note `json:"assumed"`
	Supply         []recovery.Note `json:"supply"`
	Warnings       []recovery.Note `json:"warnings"`
	// CannotRun fails a deployment to a core of this version, NoEffect does not.
	CannotRun []fescue.ErrorDetail `json:"cannotRun"`
	NoEffect  []fescue.ErrorDetail `json:"noEffect"`
}

// Run recovers a group.
func (c *recoverCommand) Run(ctx context.Context, t *terminal) error {
	root, err := os.OpenRoot(c.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	deployment, err := c.deployment(root)
	if err != nil {
		return err
	}
	defer deployment.Close()
	o := recovery.Options{Name: c.Name, Alias: c.Alias, NoContainer: c.Isolation == string(fescue.NoContainer), CorePolicy: quickStartPolicy, DevicePolicy: devicePolicy, Now: time.Now()}
	if o.DeviceCertificates, err = c.deviceCertificates(); err != nil {
		return err
	}
	group, report, err := recovery.Read(recovery.Folder{Root: root.FS(), Deployment: deployment.FS()}, o)
	if err != nil {
		return err
	}
	client, p, err := c.rewriteFlag.client(ctx, c.endpointFlag, fescue.Partition(group.Partition))
	if err != nil {
		return err
	}
	if from := fescue.Partition(group.Partition); from != p {
		core := group.Things[0].ThingName // the core's comes first
		report.Warnings = append(report.Warnings, recovery.Note{About: "account and Region", Text: fmt.Sprintf(
			"the folder is of %s, the server's key and Region are of %s: ARNs are rewritten. The gateway's config.json must name %s as coreThing.thingArn",
			from, p, p.ThingARN(core))})
		if err := group.Rewrite(p); err != nil {
			return err
		}
	}
	outcomes, err := (&restorer{client, group, p}).run(ctx, c.DryRun)
	if outcomes == nil && err != nil {
		return err
	}
	return errors.Join(c.tell(t, recovered{
		GroupID: group.Group.Id, GroupVersionID: group.Group.Versions[0].Version, GroupName: group.Group.Name, DeploymentID: report.DeploymentID,
		Account: p.Account, Region: p.Region, DryRun: c.DryRun, Changed: changes(outcomes), Parts: outcomes,
		Assumed: present(report.Assumed), Supply: present(report.Supply), Warnings: present(report.Warnings),
		CannotRun: present(report.CannotRun), NoEffect: present(report.NoEffect),
	}), err)
}

// present is a list that JSON shows as one, also when it is empty.
func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// deployment opens the deployment folder. No link leads out of it.
func (c *recoverCommand) deployment(root *os.Root) (*os.Root, error) {
	if c.Deployment != "" {
		return os.OpenRoot(c.Deployment)
	}
	folder, err := root.OpenRoot("ggc/deployment")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no ggc/deployment. Is it the root folder of a core? With a writeDirectory in config.json, name its deployment folder with --deployment", c.Path)
	}
	return folder, err
}

// maxDeviceCertificate bounds a file of a certificate, in bytes; what is larger
// is none.
const maxDeviceCertificate = 64 << 10

// deviceCertificates reads the certificates in the folder that was named. Files
// that are named as keys are not opened.
func (c *recoverCommand) deviceCertificates() ([][]byte, error) {
	if c.Certificates == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(c.Certificates)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		if !e.Type().IsRegular() || strings.Contains(name, "key") || filepath.Ext(name) != ".pem" && filepath.Ext(name) != ".crt" {
			continue
		}
		file, err := root.Open(e.Name())
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(file, maxDeviceCertificate+1))
		file.Close()
		if err != nil {
			return nil, err
		}
		if len(data) > maxDeviceCertificate {
			return nil, fmt.Errorf("%s is larger than the %d bytes that a certificate may have", filepath.Join(c.Certificates, e.Name()), maxDeviceCertificate)
		}
		list = append(list, data)
	}
	return list, nil
}

func (c *recoverCommand) tell(t *terminal, r recovered) error {
	if c.JSON {
		return printJSON(t.stdout, r)
	}
	w := t.stdout
	fmt.Fprintf(w, "%-10s %s (%s, version %s) in account %s, Region %s\n", "group", r.GroupName, r.GroupID, r.GroupVersionID, r.Account, r.Region)
	for _, list := range []struct {
		label string
		notes []recovery.Note
	}{{"assumed", r.Assumed}, {"supply", r.Supply}, {"warning", r.Warnings}} {
		for _, n := range list.notes {
			fmt.Fprintf(w, "%-10s %s: %s\n", list.label, n.About, n.Text)
		}
	}
	tellOutcomes(w, r.Parts)
	writeVerdict(w, r)
	return nil
}

// writeVerdict says what cores of this version cannot run of the group, and what
// to do next.
func writeVerdict(w io.Writer, r recovered) {
	if len(r.NoEffect) > 0 {
		fmt.Fprintln(w, "\nWithout effect on cores of this version:")
		writeDetails(w, "  ", r.NoEffect)
	}
	if len(r.CannotRun) > 0 {
		fmt.Fprintln(w, "\nCores of this version cannot run this group; a deployment would fail:")
		writeDetails(w, "  ", r.CannotRun)
		containers := func(d fescue.ErrorDetail) bool { return d.DetailedErrorCode == string(fescue.ContainerUnsupported) }
		if slices.ContainsFunc(r.CannotRun, containers) {
			fmt.Fprintln(w, "  With --isolation NoContainer, functions are recovered to run without a container.")
		}
		fmt.Fprintln(w, "Next: supply what is named above, make a group version without what cannot run, and deploy that.")
		return
	}
	fmt.Fprintf(w, "\nNothing in the folder keeps cores of this version from running this group. Next: supply what is named above, and deploy:\n"+
		"  aws greengrass create-deployment --deployment-type NewDeployment --group-id %s --group-version-id %s\n", r.GroupID, r.GroupVersionID)
}

// printJSON prints an indented document.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
