//go:build linux

// Command fescue-core is the edge program alone, for gateways: what `fescue core`
// does, without the control plane.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/systemd"
)

// place says whose folder it is and where its cloud lies.
type place struct {
	Root    string `default:"/greengrass" type:"path" env:"FESCUE_CORE_ROOT" help:"The core's root folder, with config/config.json and certs/."`
	IoTHost string `name:"iot-host" env:"FESCUE_IOT_HOST" placeholder:"HOST[:PORT]" help:"MQTT host in place of config.json's iotHost."`
	GGHost  string `name:"gg-host" env:"FESCUE_GG_HOST" placeholder:"HOST[:PORT]" help:"HTTPS host in place of config.json's ggHost."`
	CA      string `name:"ca" env:"FESCUE_CA" type:"path" placeholder:"FILE" help:"PEM file of the authority to trust, in place of config.json's."`
}

func (p place) options() core.Options {
	return core.Options{Root: p.Root, IoTHost: p.IoTHost, GGHost: p.GGHost, CAFile: p.CA, ContainerInit: "/proc/self/exe"}
}

// commands is the command line: without a command the core runs.
type commands struct {
	Run      runCommand      `cmd:"" default:"withargs" help:"Run the core (the default)."`
	Doctor   doctorCommand   `cmd:"" help:"Look whether this machine has what a core needs."`
	Takeover takeoverCommand `cmd:"" help:"Put this core in the place of AWS's on a gateway, or back."`
	Apply    applyCommand    `cmd:"" help:"Bring a deployment onto this core from a file of fescue bundle."`

	Version versionCommand   `cmd:"" help:"Print the version."`
	Built   kong.VersionFlag `name:"version" help:"Print version, commit and date of the build."`
}

type runCommand struct {
	place
	LogsEndpoint        string        `env:"FESCUE_LOGS_ENDPOINT" placeholder:"URL" help:"CloudWatch Logs, or what speaks as it does, where loggers of type AWSCloudWatch send lines to, signed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if they are set, else as the role of the group; the default is the control plane."`
	CredentialsEndpoint string        `env:"FESCUE_CREDENTIALS_ENDPOINT" placeholder:"URL" help:"AWS IoT credentials endpoint from which functions get credentials, with the core's certificate: https://HOST/role-aliases/ALIAS/credentials; the default is the role of the group, from the control plane."`
	TelemetryInterval   time.Duration `env:"FESCUE_TELEMETRY_INTERVAL" default:"24h" placeholder:"DURATION" help:"How often telemetry is published, while it is on; figures are taken 24 times as often. At least 1s."`
}

// Help implements kong.HelpProvider.
func (runCommand) Help() string {
	return `Runs the core of a folder until it is told to end, as fescue-core without a command does.

Examples:
  fescue-core run --root /greengrass
  fescue-core run --root /greengrass --iot-host gg.example.com --gg-host gg.example.com --ca /etc/fescue/ca.pem`
}

// Run runs the core until the context ends.
func (c *runCommand) Run(ctx context.Context) error {
	o := c.options()
	o.Crashes = true
	o.Output, o.LogsEndpoint, o.LogsCredentials = os.Stderr, c.LogsEndpoint, core.EnvironmentCredentials()
	o.CredentialsEndpoint, o.TelemetryInterval = c.CredentialsEndpoint, c.TelemetryInterval
	edge, err := core.New(o)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return systemd.Service{Ready: edge.Ready(), Alive: edge.Alive, Logger: logger}.Run(ctx, edge.Run)
}

type versionCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (versionCommand) Help() string {
	return `Prints version, commit and date of what the program was built from, as --version does.

Examples:
  fescue-core version
  fescue-core version --json`
}

// Run prints version, commit and date of the build.
func (c versionCommand) Run() error {
	if c.JSON {
		return printJSON(os.Stdout, fescue.ReadBuild())
	}
	_, err := fmt.Println("fescue-core", fescue.ReadBuild())
	return err
}

const description = `Runs a Greengrass core from a folder in the original's format.

Examples:
  fescue-core --root /greengrass
  fescue-core --root /greengrass --iot-host gg.example.com --gg-host gg.example.com --ca /etc/fescue/ca.pem
  fescue-core doctor --root /greengrass
  fescue-core apply mill.bundle --root /greengrass`

func main() {
	sandbox.Init()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var cli commands
	parser := kong.Must(&cli, kong.Name("fescue-core"), kong.Description(description), kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Vars{"version": "fescue-core " + fescue.ReadBuild().String()})
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "fescue-core: %v\nRun fescue-core --help for its flags and examples.\n", err)
		os.Exit(2)
	}
	err = command.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fescue-core:", err)
		os.Exit(1)
	}
}
