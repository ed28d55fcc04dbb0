package inbound

// What is assumed of limits that cannot be asked, and the most that is used.
const (
	fewDescriptors  = 1024
	manyDescriptors = 1 << 20
)

// Shares are how many connections each listener may have.
type Shares struct {
	API, Device, MQTT, Ops int
	// OneOfAPI is how many requests to the API one caller may have under way.
	OneOfAPI int
	// WebSockets is how many of the API's connections may be WebSockets, which stay.
	WebSockets int
	// IdleDevice is how many of Device may wait for another request.
	IdleDevice int
}

// mostIdle is how many cores' connections are kept for their next requests: one that is opened
// again resumes its TLS session, so that thousands more would save little, and each holds 27 KB
// for TLS alone.
const mostIdle = 2000

// Share divides descriptors among the listeners. A tenth, and 128 at least, is for
// the database, artifacts and spools. A request over HTTP, which the port for devices takes,
// too, may have a file open beside its connection; an MQTT session has its connection alone.
func Share(descriptors int) Shares {
	const forFile, ops = 2, 16
	left := max(descriptors-max(descriptors/10, 128)-ops*forFile, 128)
	api, device := left*3/20/forFile, left*5/20/forFile
	return Shares{API: api, Device: device, MQTT: left * 12 / 20, Ops: ops, OneOfAPI: max(api/4, 4), WebSockets: max(api/2, 4), IdleDevice: min(device, mostIdle)}
}
