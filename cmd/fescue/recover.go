package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/recovery"
	"github.com/fescue-edge/fescue/transfer"
)

type recoverCommand struct {
	serverFlags
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

// recovered is what recover prints as JSON.
type recovered struct {
	GroupID        string             `json:"groupId"`
	GroupVersionID string             `json:"groupVersionId"`
	GroupName      string             `json:"groupName"`
	DeploymentID   string             `json:"oldDeploymentId,omitempty"`
	Account        string             `json:"account"`
	Region         string             `json:"region"`
	DryRun         bool               `json:"dryRun"`
	Changed        int                `json:"changed"`
	Parts          []transfer.Outcome `json:"parts"`
	Assumed        []recovery.Note    `json:"assumed"`
	Supply         []recovery.Note    `json:"supply"`
	Warnings       []recovery.Note    `json:"warnings"`
	// CannotRun fails a deployment to a core of this version, NoEffect does not.
	CannotRun []fescue.ErrorDetail `json:"cannotRun"`
	NoEffect  []fescue.ErrorDetail `json:"noEffect"`
}

// Run recovers a group.
func (c *recoverCommand) Run(ctx context.Context, t *terminal) error {
	folder, err := transfer.OpenCore(transfer.CoreFolder{Root: c.Path, Deployment: c.Deployment, Certificates: c.Certificates})
	if err != nil {
		return err
	}
	defer folder.Close()
	group, report, err := folder.Read(recovery.Options{Name: c.Name, Alias: c.Alias, NoContainer: c.Isolation == string(fescue.NoContainer), Now: time.Now()})
	if err != nil {
		return err
	}
	api, p, err := c.rewriteFlag.connect(ctx, c.serverFlags, fescue.Partition(group.Partition))
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
	outcomes, err := transfer.Restore(ctx, api, group, p, c.DryRun)
	if outcomes == nil && err != nil {
		return err
	}
	return errors.Join(c.print(t, recovered{
		GroupID: group.Group.Id, GroupVersionID: group.Group.Versions[0].Version, GroupName: group.Group.Name, DeploymentID: report.DeploymentID,
		Account: p.Account, Region: p.Region, DryRun: c.DryRun, Changed: transfer.Changes(outcomes), Parts: outcomes,
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

func (c *recoverCommand) print(t *terminal, r recovered) error {
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
	printOutcomes(w, r.Parts)
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
		fmt.Fprintln(w, "Next: supply what is named above, make a group version without what cannot run, and deploy that.")
		return
	}
	fmt.Fprintf(w, "\nNothing in the folder keeps cores of this version from running this group. Next: supply what is named above, and deploy:\n"+
		"  aws greengrass create-deployment --deployment-type NewDeployment --group-id %s --group-version-id %s\n", r.GroupID, r.GroupVersionID)
}
