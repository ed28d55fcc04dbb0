package main

// upCommand is the whole house on one machine.
type upCommand struct {
	placeFlags
	Data        string `default:"fescue-data" type:"path" env:"FESCUE_DATA" help:"Folder of everything that up makes; a second run uses it again."`
	API         string `default:"127.0.0.1:9080" help:"Address of the AWS API."`
	Device      string `default:"127.0.0.1:8443" help:"Address of HTTPS for cores and devices."`
	MQTT        string `name:"mqtt" default:"127.0.0.1:8883" help:"Address of MQTT for cores and devices."`
	IPC         int    `name:"ipc" default:"8000" help:"Port on 127.0.0.1 that functions speak to the core on."`
	DevicesMQTT int    `name:"devices-mqtt" default:"8884" help:"Port of the core's own MQTT server, for client devices of its group. Gateways have it at 8883, which is the server's here."`
	PrintSecret bool   `help:"Print the access key in clear in place of the path of an AWS profile."`
}

// Help implements kong.HelpProvider.
func (upCommand) Help() string {
	return `Starts a server and a core, makes key, thing, certificate and policy, packs a first
function, deploys it and shows its first messages; then serves until Ctrl-C.
Everything listens on 127.0.0.1. Nothing has to be configured.

Examples:
  fescue up
  fescue up --data /tmp/try --api 127.0.0.1:9090
  fescue up --print-secret`
}
