package plan

import (
	"cmp"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/sandbox"
)

// Accounts is who the core is and whom it can make functions be.
type Accounts interface {
	// Self is the user that the core runs as; UID 0 can become anyone.
	Self() sandbox.Credential
	// UID and GID look a name up in the machine's accounts.
	UID(user string) (int, error)
	GID(group string) (int, error)
	// UserName and GroupName are the name of an id, empty for none.
	UserName(uid int) string
	GroupName(gid int) string
}

// FunctionUIDs gives functions users of their own. It is asked with ARNs without a
// version, and gives each the same number for good and no other the same.
type FunctionUIDs interface {
	UID(function string) (int, error)
}

// System is the machine's own accounts.
type System struct{}

// Self is the effective user and group of this process.
func (System) Self() sandbox.Credential {
	return sandbox.Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
}

// UID looks up a user.
func (System) UID(name string) (int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

// GID looks up a group.
func (System) GID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// UserName looks up a user by its number.
func (System) UserName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}

// GroupName looks up a group by its number.
func (System) GroupName(gid int) string {
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		return ""
	}
	return g.Name
}

// identity resolves whom a function runs as: its own RunAs, then the group's,
// then the core's default, each half for itself. It is nil and true for the user
// that the core itself runs as, and false when there is a problem.
func (c *checker) identity(l bundle.Lambda) (*sandbox.Credential, bool) {
	uid, gid := fescue.Identity(l.DeploymentConfiguration.Environment.Execution, c.defaults.DefaultExecution())
	self := c.Accounts.Self()
	if self.UID != 0 {
		if (uid != nil && int64(*uid) != int64(self.UID)) || (gid != nil && int64(*gid) != int64(self.GID)) {
			c.problem(l.FunctionArn, fescue.RunAsOtherUser, l.FunctionArn, self.UID)
			return nil, false
		}
		return nil, true
	}
	id, ok := c.complete(l.FunctionArn, uid, gid)
	if !ok {
		return nil, false
	}
	return &id, c.permitted(l.FunctionArn, id, uid, gid)
}

// permitted reports whether a function may have an identity, of which uid and gid
// are what the group said: nil for nothing. Where functions may run as root,
// everything is permitted.
func (c *checker) permitted(arn string, id sandbox.Credential, uid, gid *int) bool {
	if c.AllowRoot {
		return true
	}
	if id.UID == 0 || id.GID == 0 {
		c.asRoot = append(c.asRoot, arn)
		return false
	}
	if name, ok := c.privilegedGroups()[id.GID]; ok {
		c.problem(arn, fescue.RunAsPrivileged, arn, "GID", id.GID, name)
		return false
	}
	for _, half := range []struct {
		given  *int
		kind   string
		own    string
		lookup func(string) (int, error)
		name   func(int) string
	}{
		{uid, "UID", fescue.DefaultUser, c.Accounts.UID, c.Accounts.UserName},
		{gid, "GID", fescue.DefaultGroup, c.Accounts.GID, c.Accounts.GroupName},
	} {
		if half.given == nil || *half.given >= fescue.FirstOrdinaryID {
			continue
		}
		if n, err := half.lookup(half.own); err == nil && n == *half.given {
			continue // what it would have run as anyway
		}
		c.warn(fescue.RunAsSystemID.Detail(arn, half.kind, *half.given, cmp.Or(half.name(*half.given), "without a name")))
	}
	return true
}

// privilegedGroups looks them up once for all functions: each look reads the machine's file of
// groups.
func (c *checker) privilegedGroups() map[uint32]string {
	if c.privileged != nil {
		return c.privileged
	}
	c.privileged = make(map[uint32]string)
	for _, name := range fescue.PrivilegedGroups {
		n, err := c.Accounts.GID(name)
		if err != nil {
			continue
		}
		if _, ok := c.privileged[uint32(n)]; !ok {
			c.privileged[uint32(n)] = name
		}
	}
	return c.privileged
}

// complete fills in the halves that nobody gave.
func (c *checker) complete(arn string, uid, gid *int) (sandbox.Credential, bool) {
	if uid == nil && c.FunctionUIDs != nil {
		own, err := c.FunctionUIDs.UID(arn[:strings.LastIndexByte(arn, ':')])
		if err != nil {
			c.problem(arn, fescue.FunctionUIDMissing, arn, err)
			return sandbox.Credential{}, false
		}
		uid = &own
	}
	if uid == nil {
		uid = c.DefaultUID
	}
	if gid == nil {
		gid = c.DefaultGID
	}
	var id sandbox.Credential
	for _, half := range []struct {
		given  *int
		lookup func(string) (int, error)
		name   string
		kind   string
		word   string
		store  *uint32
	}{
		{uid, c.Accounts.UID, fescue.DefaultUser, "UID", "user", &id.UID},
		{gid, c.Accounts.GID, fescue.DefaultGroup, "GID", "group", &id.GID},
	} {
		if half.given != nil {
			if n := int64(*half.given); n < 0 || n >= 1<<32-1 {
				c.problem(arn, fescue.RunAsInvalid, arn, half.kind, n)
				return id, false
			}
			*half.store = uint32(*half.given)
			continue
		}
		n, err := half.lookup(half.name)
		if err != nil {
			c.once(fescue.AccountMissing, half.kind, half.word, half.word, half.name, err)
			return id, false
		}
		*half.store = uint32(n)
	}
	return id, true
}

// once reports a problem that every function would meet again.
func (c *checker) once(code fescue.FailureCode, values ...any) {
	before := len(c.problems)
	c.problem("", code, values...)
	for _, p := range c.problems[:before] {
		if p == c.problems[before] {
			c.problems = c.problems[:before]
			return
		}
	}
}

// roots reports the functions that may not run as root, in the original's words
// (AWS IoT Greengrass V1 developer guide, "Troubleshooting").
func (c *checker) roots() {
	if len(c.asRoot) > 0 {
		c.problem("", fescue.RunAsRoot, strings.Join(c.asRoot, ", "))
	}
}
