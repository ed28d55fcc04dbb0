package plan

import (
	"cmp"
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
	c.shared(f, given)
	for _, access := range given {
		i := slices.IndexFunc(c.resources, func(r fescue.Resource) bool { return r.Id == access.ResourceId })
		r := c.resources[i]
		if local, ok := r.ResourceDataContainer.Local(); ok {
			c.local(f, r.Id, local, access.Permission)
		}
		if model, ok := r.ResourceDataContainer.Model(); ok {
			c.model(f, r.Id, model, access.Permission)
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

// model gives a function a model of machine learning.
func (c *checker) model(f *Function, id string, m fescue.Model, permission string) {
	art, ok := c.manifest.Model(id)
	if !ok {
		// One that its core is not to serve has not been packed.
		if !c.unserved[""] {
			c.problem(f.ARN, fescue.ManifestIncomplete, f.ARN)
		}
		return
	}
	folder := sandbox.HostPath(c.Model(art.SHA256))
	if info, err := c.Disk.Lstat(string(folder)); !c.dry && (err != nil || !info.IsDir()) {
		c.problem(f.ARN, fescue.PackageMissing, f.ARN)
		return
	}
	shared := Model{Resource: id, Folder: folder}
	if o := m.Owner; o != nil {
		gid, ok := c.owner(f, id, o.GroupOwner)
		if !ok {
			return
		}
		shared.GID, shared.Writable, permission = &gid, o.GroupPermission == "rw", cmp.Or(permission, o.GroupPermission)
		if f.RunAs != nil {
			f.join(gid)
		}
	} else {
		shared.Writable = permission == "rw"
	}
	c.share(f, shared)
	destination := path.Clean(m.Destination)
	if f.Container == nil {
		if f.Links == nil {
			f.Links = make(map[string]sandbox.HostPath)
		}
		f.Links[destination] = folder
		return
	}
	f.Container.Mounts = append(f.Container.Mounts, sandbox.Mount{
		Source: folder.Real(), Destination: sandbox.InsidePath(destination), Writable: permission == "rw",
	})
}

// owner is the group of a model, which the core must be able to give it to.
func (c *checker) owner(f *Function, id, name string) (uint32, bool) {
	gid, ok := c.groupID(f, id, name)
	if !ok {
		return 0, false
	}
	if self := c.Accounts.Self(); self.UID != 0 && gid != self.GID {
		c.problem(f.ARN, fescue.ResourceGroup, name, id, fmt.Errorf("the core runs as the user with UID %d and GID %d and can give files to that group only", self.UID, self.GID))
		return 0, false
	}
	if f.RunAs != nil && f.RunAs.UID == 0 || c.AllowRoot {
		return gid, true
	}
	for _, privileged := range fescue.PrivilegedGroups {
		if n, err := c.Accounts.GID(privileged); gid == 0 || err == nil && uint32(n) == gid {
			c.problem(f.ARN, fescue.ResourceGroup, name, id, fmt.Errorf("it amounts to root, and the core is not configured to run functions with root permissions"))
			return 0, false
		}
	}
	return gid, true
}

// share notes that a model is used. One folder has one owner.
func (c *checker) share(f *Function, m Model) {
	i := slices.IndexFunc(c.models, func(other Model) bool { return other.Folder == m.Folder })
	if i < 0 {
		c.models = append(c.models, m)
		return
	}
	other := &c.models[i]
	if same := m.GID == nil && other.GID == nil || m.GID != nil && other.GID != nil && *m.GID == *other.GID && m.Writable == other.Writable; !same {
		c.problem(f.ARN, fescue.ResourceRefused, m.Resource, f.ARN, fmt.Sprintf("it has the content of the resource '%s', but another OwnerSetting", other.Resource))
	}
	other.Writable = other.Writable || m.Writable
}

// shared refuses a function that could use a model which it was not given, as the group
// that it runs as owns it. What root can use is no question.
func (c *checker) shared(f *Function, given []fescue.ResourceAccessPolicy) {
	if f.RunAs == nil || f.RunAs.UID == 0 {
		return
	}
	for _, r := range c.resources {
		m, _ := r.ResourceDataContainer.Model()
		if m.Owner == nil || slices.ContainsFunc(given, func(a fescue.ResourceAccessPolicy) bool { return a.ResourceId == r.Id }) {
			continue
		}
		if n, err := c.Accounts.GID(m.Owner.GroupOwner); m.Owner.GroupOwner == fmt.Sprint(f.RunAs.GID) || err == nil && uint32(n) == f.RunAs.GID {
			c.problem(f.ARN, fescue.ModelGroupShared, f.ARN, r.Id)
		}
	}
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
