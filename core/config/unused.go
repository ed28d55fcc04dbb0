package config

import (
	"encoding/json"
	"strings"
)

// unused are the documented keys that have no effect, each with why. A key that is
// off, or not there, asks for nothing.
var unused = []struct{ key, why string }{
	{"coreThing.systemComponentAuthTimeout", "the core's components are one process and do not authenticate to each other"},
	{"runtime.mountAllBlockDevices", "containers are shown /usr, /opt and the like on whatever file system they lie; give a function another folder as a volume resource"},
	{"runtime.cgroup.useSystemd", "the core finds the control groups of its machine itself"},
	{"crypto.PKCS11", "no key of crypto.principals lies in a hardware security module, and this program cannot load its library"},
	{"crypto.principals.MQTTServerCertificate", "the core makes the key of its MQTT server itself"},
	{"managedRespawn", "this core has no OTA agent: update it with your machine's packages, and run your scripts from there"},
	{"system.shadowSyncTimeout", "this version of the core syncs no shadows"},
	{"system.useOverlayWithTmpfs", "the layers of containers lie in ggc/var/state/sandbox: put a tmpfs there if its file system cannot have them"},
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
