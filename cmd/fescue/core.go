package main

import "time"

// coreCommand runs a core from an original-format folder.
type coreCommand struct {
	Root    string `default:"/greengrass" type:"path" env:"FESCUE_CORE_ROOT" help:"The core's root folder, with config/config.json and certs/."`
	IoTHost string `name:"iot-host" env:"FESCUE_IOT_HOST" placeholder:"HOST[:PORT]" help:"MQTT host in place of config.json's iotHost."`
	GGHost  string `name:"gg-host" env:"FESCUE_GG_HOST" placeholder:"HOST[:PORT]" help:"HTTPS host in place of config.json's ggHost."`
	CA      string `name:"ca" env:"FESCUE_CA" type:"path" placeholder:"FILE" help:"PEM file of the authority to trust, in place of config.json's."`

	LogsEndpoint        string        `env:"FESCUE_LOGS_ENDPOINT" placeholder:"URL" help:"CloudWatch Logs, or what speaks as it does, where loggers of type AWSCloudWatch send lines to, signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if they are set, else as the role of the group; the default is the control plane."`
	CredentialsEndpoint string        `env:"FESCUE_CREDENTIALS_ENDPOINT" placeholder:"URL" help:"AWS IoT credentials endpoint from which functions get credentials, with the core's certificate: https://HOST/role-aliases/ALIAS/credentials; the default is the role of the group, from the control plane."`
	TelemetryInterval   time.Duration `env:"FESCUE_TELEMETRY_INTERVAL" default:"24h" placeholder:"DURATION" help:"How often telemetry is published, while it is on; figures are taken 24 times as often. At least 1s."`
}

// Help implements kong.HelpProvider.
func (coreCommand) Help() string {
	return `Runs from a config/config.json in the original's format. A gateway's old file can
stay as it is: --iot-host, --gg-host and --ca (or FESCUE_IOT_HOST, FESCUE_GG_HOST and
FESCUE_CA) point it to a Fescue server.

Examples:
  fescue core --root /greengrass
  fescue core --root /greengrass --iot-host gg.example.com --gg-host gg.example.com --ca /etc/fescue/ca.pem`
}
