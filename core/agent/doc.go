// Package agent brings deployments onto the core. It fetches the signed manifest
// that the cloud offers, verifies it, claims it, downloads what is missing,
// stages it beside what runs, switches by one rename, waits for the new functions
// to be healthy, and goes back by itself to what ran before when they are not.
//
// What it promises: whatever happens at any instant (a crash, a power cut, a
// broken connection), the core starts from one deployment as a whole, the old or
// the new one, and nothing unverified ever starts. It works without the cloud
// once a deployment is on disk.
//
// The package knows the deployment folder, the manifest and group.json. It must
// not know processes, routing or MQTT (they are behind Edge), nor the wire to
// the cloud (behind Cloud).
package agent
