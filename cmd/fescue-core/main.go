//go:build linux

// Command fescue-core is the edge program alone, for gateways: what `fescue core`
// does, without the control plane.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/core/sandbox"
)

type flags struct {
	Root    string `default:"/greengrass" type:"path" env:"FESCUE_CORE_ROOT" help:"The core's root folder, with config/config.json and certs/."`
	IoTHost string `name:"iot-host" env:"FESCUE_IOT_HOST" placeholder:"HOST[:PORT]" help:"MQTT host in place of config.json's iotHost."`
	GGHost  string `name:"gg-host" env:"FESCUE_GG_HOST" placeholder:"HOST[:PORT]" help:"HTTPS host in place of config.json's ggHost."`
	CA      string `name:"ca" env:"FESCUE_CA" type:"path" placeholder:"FILE" help:"PEM file of the authority to trust, in place of config.json's."`

	LogsEndpoint string `env:"FESCUE_LOGS_ENDPOINT" placeholder:"URL" help:"CloudWatch Logs, or what speaks as it does, where loggers of type AWSCloudWatch send lines to, signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the default is the control plane."`

	Version kong.VersionFlag `help:"Print version, commit and date of the build."`
}

const description = `Runs a Greengrass core from a folder in the original's format.

Examples:
  fescue-core --root /greengrass
  fescue-core --root /greengrass --iot-host gg.example.com --gg-host gg.example.com --ca /etc/fescue/ca.pem`

func main() {
	sandbox.Init()
	var f flags
	parser := kong.Must(&f, kong.Name("fescue-core"), kong.Description(description),
		kong.Vars{"version": "fescue-core " + fescue.ReadBuild().String()})
	if _, err := parser.Parse(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "fescue-core: %v\nRun fescue-core --help for its flags and examples.\n", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, f)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fescue-core:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags) error {
	c, err := core.New(core.Options{
		Root: f.Root, IoTHost: f.IoTHost, GGHost: f.GGHost, CAFile: f.CA, Output: os.Stderr, ContainerInit: "/proc/self/exe",
		LogsEndpoint: f.LogsEndpoint, LogsCredentials: core.EnvironmentCredentials(),
	})
	if err != nil {
		return err
	}
	return c.Run(ctx)
}
