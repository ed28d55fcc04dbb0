// Package plantest is what tests of plans share: machines with some accounts, and
// changes of a group document whose first function they are about.
package plantest

import (
	"errors"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// Ordinary is a machine on which the core is not root.
type Ordinary struct{}

// Self implements plan.Accounts.
func (Ordinary) Self() sandbox.Credential { return sandbox.Credential{UID: 1000, GID: 1000} }

// UID implements plan.Accounts.
func (Ordinary) UID(string) (int, error) { return 0, errors.New("not to be asked") }

// GID implements plan.Accounts.
func (Ordinary) GID(string) (int, error) { return 0, errors.New("not to be asked") }

// UserName implements plan.Accounts.
func (Ordinary) UserName(int) string { return "" }

// GroupName implements plan.Accounts.
func (Ordinary) GroupName(int) string { return "" }

// Rooted is a machine on which the core is root, with these accounts.
type Rooted struct{ Users, Groups map[string]int }

// Self implements plan.Accounts.
func (Rooted) Self() sandbox.Credential { return sandbox.Credential{} }

// UID implements plan.Accounts.
func (r Rooted) UID(name string) (int, error) {
	if id, ok := r.Users[name]; ok {
		return id, nil
	}
	return 0, errors.New("user: unknown user " + name)
}

// GID implements plan.Accounts.
func (r Rooted) GID(name string) (int, error) {
	if id, ok := r.Groups[name]; ok {
		return id, nil
	}
	return 0, errors.New("group: unknown group " + name)
}

// UserName implements plan.Accounts.
func (r Rooted) UserName(uid int) string { return nameOf(r.Users, uid) }

// GroupName implements plan.Accounts.
func (r Rooted) GroupName(gid int) string { return nameOf(r.Groups, gid) }

func nameOf(accounts map[string]int, id int) string {
	for name, n := range accounts {
		if n == id {
			return name
		}
	}
	return ""
}

// RunAs gives the function of a group an identity.
func RunAs(uid, gid *int) func(*bundle.Group) {
	return func(g *bundle.Group) {
		g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration.Environment.Execution.RunAs = &fescue.RunAs{Uid: uid, Gid: gid}
	}
}

// Lambda edits the function of a group.
func Lambda(f func(*bundle.LambdaConfiguration)) func(*bundle.Group) {
	return func(g *bundle.Group) { f(&g.GroupDefinitions.Lambdas.Content[0].DeploymentConfiguration) }
}

// System adds a system function with variables.
func System(name string, variables map[string]string) func(*bundle.Group) {
	return func(g *bundle.Group) {
		l := bundle.Lambda{FunctionArn: "arn:aws:lambda:::function:" + name}
		l.DeploymentConfiguration.Environment.Variables = variables
		g.GroupDefinitions.Lambdas.Content = append(g.GroupDefinitions.Lambdas.Content, l)
	}
}

// Known is a machine with the accounts that functions run as by default.
var Known = Rooted{Users: map[string]int{"ggc_user": 112}, Groups: map[string]int{"ggc_group": 119}}

// NoUIDs has no users left.
type NoUIDs struct{}

// UID implements plan.FunctionUIDs.
func (NoUIDs) UID(function string) (int, error) {
	return 0, errors.New("no number is left for " + function)
}

// Peopled is a machine with the groups of a distribution.
var Peopled = Rooted{
	Users:  map[string]int{"ggc_user": 112, "daemon": 1},
	Groups: map[string]int{"ggc_group": 119, "shadow": 42, "video": 44, "docker": 998, "whale": 998},
}

// Rows are the group's subscriptions.
func Rows(list ...fescue.Subscription) func(*bundle.Group) {
	return func(g *bundle.Group) { g.GroupDefinitions.Subscriptions.Content = list }
}

// WithResource gives the function of a group a resource, in a container.
func WithResource(r bundle.Resource, permission string) func(*bundle.Group) {
	r.Id = "r"
	return func(g *bundle.Group) {
		g.GroupDefinitions.Resources.Content = append(g.GroupDefinitions.Resources.Content, r)
		Lambda(func(l *bundle.LambdaConfiguration) {
			l.Environment.Execution = nil
			l.Environment.ResourceAccessPolicies = append(l.Environment.ResourceAccessPolicies, fescue.ResourceAccessPolicy{ResourceId: "r", Permission: permission})
		})(g)
	}
}

// WithVolume gives it a volume.
func WithVolume(source, destination, permission string) func(*bundle.Group) {
	return WithResource(bundle.Resource{Type: "LOCAL_VOLUME", Data: bundle.ResourceData{SourcePath: source, DestinationPath: destination}}, permission)
}

// WithDevice gives it a device.
func WithDevice(path, permission string) func(*bundle.Group) {
	return WithResource(bundle.Resource{Type: "LOCAL_DEVICE", Data: bundle.ResourceData{SourcePath: path}}, permission)
}
