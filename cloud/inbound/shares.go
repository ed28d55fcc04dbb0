package inbound

// What is assumed of limits that cannot be asked, and the most that is used.
const (
	fewDescriptors  = 1024
	manyDescriptors = 1 << 20
)

// Shares are how many connections each listener may have.
type Shares struct{ API, Device, MQTT, Ops int }

// Share divides descriptors among the listeners. A tenth, and 128 at least, is for
// the database, artifacts and spools. A request over HTTP may have a file open
// beside its connection, and an MQTT session has two ends of a connection to the
// broker.
func Share(descriptors int) Shares {
	const forFile, forSession, ops = 2, 3, 16
	left := max(descriptors-max(descriptors/10, 128)-ops*forFile, 64)
	return Shares{
		API: left * 3 / 20 / forFile, Device: left * 5 / 20 / forFile, MQTT: left * 12 / 20 / forSession, Ops: ops,
	}
}
