package plan

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// attach gives a function the resources that its group attaches to it: what it sees of
// them, and the groups that they bring.
func (c *checker) attach(l bundle.Lambda, f *Function) {
	given := l.DeploymentConfiguration.Environment.ResourceAccessPolicies
	mode := fescue.NoContainer
	if f.Container != nil {
		mode = fescue.GreengrassContainer
	}
	problems := fescue.AttachmentProblems(f.ARN, mode, given, c.resources)
	c.found(f.ARN, problems)
	if len(problems) > 0 {
		return
	}
	for _, access := range given {
		i := slices.IndexFunc(c.resources, func(r fescue.Resource) bool { return r.Id == access.ResourceId })
		r := c.resources[i]
		if local, ok := r.ResourceDataContainer.Local(); ok {
			c.local(f, r.Id, local, access.Permission)
		}
	}
}

// local gives a function a device or a volume. Without a permission it is read.
func (c *checker) local(f *Function, id string, l fescue.Local, permission string) {
	source, err := c.look(l, permission)
	if err != nil {
		c.problem(f.ARN, fescue.ResourceSource, id, f.ARN, err)
		return
	}
	if !c.join(f, id, l.Group, source) {
		return
	}
	real := l
	real.Source = string(source.Path)
	destination, writable := sandbox.InsidePath(l.Destination), permission == "rw" && !real.ReadOnly()
	if f.RunAs.MayUse(source, writable) != nil {
		c.problem(f.ARN, fescue.ResourceClosed, c.uid(f), c.gids(f), map[bool]string{false: "ro", true: "rw"}[writable], l.Source)
		return
	}
	if l.Device {
		f.Container.Devices = append(f.Container.Devices, sandbox.Device{
			Source: source.Path, Path: destination, Block: source.Mode&fs.ModeCharDevice == 0,
			Major: source.Major, Minor: source.Minor, Writable: writable,
		})
		return
	}
	f.Container.Mounts = append(f.Container.Mounts, sandbox.Mount{Source: source.Path, Destination: destination, Writable: writable})
}

// look finds the source of a device or a volume, and says why it is none.
func (c *checker) look(l fescue.Local, permission string) (sandbox.Source, error) {
	source, err := sandbox.Look(sandbox.HostPath(l.Source))
	if err != nil {
		return source, err
	}
	if isDevice := source.Mode&fs.ModeDevice != 0; l.Device && !isDevice {
		return source, fmt.Errorf("%s is neither a character nor a block device", l.Source)
	} else if isDevice && !l.Device {
		return source, fmt.Errorf("%s is a device; give it as LocalDeviceResourceData", l.Source)
	}
	if l.Device {
		// One that a link in /dev leads to keeps the link's name.
		if !within(string(source.Path), "/dev") {
			return source, fmt.Errorf("%s leads to %s", l.Source, source.Path)
		}
		return source, nil
	}
	real := l
	real.Source = string(source.Path)
	if text := real.Problem(permission); text != "" {
		return source, fmt.Errorf("%s leads to %s: %s", l.Source, source.Path, text)
	}
	for _, own := range c.Private {
		if within(real.Source, string(own)) {
			return source, fmt.Errorf("%s lies in %s, which is the core's own", l.Source, own)
		}
	}
	if folder := sandbox.Covered(sandbox.InsidePath(l.Destination)); folder != "" {
		return source, fmt.Errorf("%s lies in %s, which is empty in a container; choose another DestinationPath", l.Destination, folder)
	}
	return source, nil
}

// join adds the group of a resource to those of the function: the one that owns it, or
// the one that the group document names.
func (c *checker) join(f *Function, id string, setting *fescue.GroupOwnerSetting, source sandbox.Source) bool {
	if setting == nil || f.RunAs == nil {
		return true
	}
	gid := source.GID
	switch auto := setting.AutoAddGroupOwner; {
	case auto != nil && *auto:
	case setting.GroupOwner == "":
		return true
	default:
		var ok bool
		if gid, ok = c.groupID(f, id, setting.GroupOwner); !ok {
			return false
		}
	}
	f.join(gid)
	return true
}

// join adds a supplementary group.
func (f *Function) join(gid uint32) {
	if gid != f.RunAs.GID && !slices.Contains(f.RunAs.Groups, gid) {
		f.RunAs.Groups = append(f.RunAs.Groups, gid)
	}
}

// groupID is the number of a group that is called by its name or its number.
func (c *checker) groupID(f *Function, id, name string) (uint32, bool) {
	n, err := c.Accounts.GID(name)
	if err != nil {
		if number, parsed := strconv.ParseUint(name, 10, 32); parsed == nil {
			n, err = int(number), nil
		}
	}
	if err != nil {
		c.problem(f.ARN, fescue.ResourceGroup, name, id, err)
		return 0, false
	}
	return uint32(n), true
}

// uid and gids are whom a function runs as, as the original's messages put it.
func (c *checker) uid(f *Function) uint32 {
	if f.RunAs != nil {
		return f.RunAs.UID
	}
	return c.Accounts.Self().UID
}

func (c *checker) gids(f *Function) []uint32 {
	if f.RunAs != nil {
		return append([]uint32{f.RunAs.GID}, f.RunAs.Groups...)
	}
	return []uint32{c.Accounts.Self().GID}
}

func within(p, folder string) bool {
	return p == folder || strings.HasPrefix(path.Clean(p), strings.TrimSuffix(folder, "/")+"/")
}
