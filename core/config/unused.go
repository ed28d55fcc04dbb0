package config

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// unused are the documented keys that have no effect, each with why. A key that is
// off, or not there, asks for nothing.
var unused = []struct{ key, why string }{
	{"coreThing.systemComponentAuthTimeout", "the core's components are one process and do not authenticate to each other"},
	{"crypto.PKCS11", "no key of crypto.principals lies in a hardware security module, and this program cannot load its library"},
	{"managedRespawn", "this core has no OTA agent: update it with your machine's packages, and run your scripts from there"},
}

// unusedIn are the keys of a file that ask for something and have no effect.
func unusedIn(data []byte) (list []string) {
	var whole map[string]any
	if json.Unmarshal(data, &whole) != nil {
		return nil
	}
	for _, u := range unused {
		var value any = whole
		for name := range strings.SplitSeq(u.key, ".") {
			members, _ := value.(map[string]any)
			value = members[name]
		}
		if value != nil && value != false && value != "no" {
			list = append(list, u.key+" of config.json has no effect: "+u.why)
		}
	}
	return list
}

// systemdFolder is there where systemd started the machine (sd_booted(3)).
const systemdFolder = "/run/systemd/system"

// onMachine adds what asks for something that this machine does not have. The core
// finds its control groups itself, as those of systemd where that runs.
func (c *Config) onMachine() {
	if _, err := os.Stat(systemdFolder); c.UseSystemd && errors.Is(err, fs.ErrNotExist) {
		c.Unused = append(c.Unused, "runtime.cgroup.useSystemd of config.json has no effect: systemd did not start this machine; the core finds its control groups itself")
	}
}
