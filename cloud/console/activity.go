package console

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// activityPage is what a group's core does now.
type activityPage struct {
	Group groupInformation
	ownapi.GroupActivity
	// Devices and Functions are by name. Others are client devices of the latest version
	// that the core says nothing of.
	Devices   []corelink.DeviceActivity
	Functions []corelink.FunctionActivity
	Others    []string
}

func (v *visit) activity() error {
	id, err := v.id("group")
	if err != nil {
		return err
	}
	p := activityPage{}
	if p.Group, err = get[groupInformation](v, greengrass, "/greengrass/groups/"+id); err != nil {
		return err
	}
	if p.GroupActivity, err = get[ownapi.GroupActivity](v, own, "/fescue/v1/groups/"+id+"/activity"); err != nil {
		return err
	}
	known := make(map[string]bool)
	if a := p.Activity; a != nil {
		p.Devices, p.Functions = a.Devices, a.Functions
		for _, d := range p.Devices {
			known[d.Thing] = true
		}
	}
	slices.SortFunc(p.Devices, func(a, b corelink.DeviceActivity) int { return cmp.Compare(a.Thing, b.Thing) })
	slices.SortFunc(p.Functions, func(a, b corelink.FunctionActivity) int { return cmp.Compare(a.ARN, b.ARN) })
	latest, err := v.content(id, p.Group.LatestVersion)
	if err != nil {
		return err
	}
	for _, d := range latest.Devices.Devices {
		arn, err := fescue.ParseARN(d.ThingArn)
		if err != nil {
			continue
		}
		if name, ok := arn.ThingName(); ok && !known[name] {
			p.Others = append(p.Others, name)
		}
	}
	slices.SortFunc(p.Others, strings.Compare)
	return v.show("activity", p.Group.Name, p, v.fescueCLI("devices --group "+id), v.fescueCLI("top --group "+id),
		v.aws("greengrass list-device-definitions"))
}
