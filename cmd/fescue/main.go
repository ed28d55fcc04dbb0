// Command fescue is the operator's program: it runs the control plane and a core,
// provisions gateways and keeps access keys.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/fescue-edge/fescue/client"
)

const description = `Fescue is AWS IoT Greengrass V1, self-hosted: the control plane that your scripts
call and the core that runs your functions.

Examples:
  fescue up                                     server, core and a first function on this machine
  fescue server --data /var/lib/fescue          the control plane alone
  fescue provision Mill_Core --root /greengrass make a core's identity and configuration
  fescue core --root /greengrass                run the core
  fescue recover /greengrass --dry-run          see what can be restored from a V1 core's disk
`

// commands is the command line.
type commands struct {
	Up        upCommand        `cmd:"" help:"Run a server and a core on this machine, and deploy a first function."`
	Server    serverCommand    `cmd:"" help:"Run the control plane."`
	Core      coreCommand      `cmd:"" help:"Run a core (Linux)."`
	Provision provisionCommand `cmd:"" help:"Make a core's thing, certificate, policy and configuration."`
	Check     checkCommand     `cmd:"" help:"Find what deploying a group would find, without deploying it."`
	Deploy    deployCommand    `cmd:"" help:"Deploy a group to its core, again, or take it off."`
	Bundle    bundleCommand    `cmd:"" help:"Write a deployment into a file, for a core without a line."`
	Watch     watchCommand     `cmd:"" help:"Show the steps of a deployment as they happen."`
	Cancel    cancelCommand    `cmd:"" help:"End a deployment, or ask its core to."`

	Status      statusCommand      `cmd:"" help:"Show on one screen how it stands: server, cores, deployments, what is wrong, what ends soon."`
	Doctor      doctorCommand      `cmd:"" help:"Look at what a server stands on: database, disk, addresses, certificates, clock, limits."`
	Console     consoleCommand     `cmd:"" help:"Print a link that signs in to the web console."`
	Cores       coresCommand       `cmd:"" help:"List cores: connected, since when, from where, what runs, what is wrong."`
	Top         topCommand         `cmd:"" help:"Show what the core of a group does: processes, memory, queues."`
	Devices     devicesCommand     `cmd:"" help:"List the client devices of a group: connected, since when, from where, certificate, messages."`
	Logs        logsCommand        `cmd:"" help:"Print the logs of a group's core."`
	Deployments deploymentsCommand `cmd:"" help:"List the deployments of all groups by status."`
	Bulk        bulkCommand        `cmd:"" help:"Show how far a bulk deployment has come, and why records failed."`

	ResetEpoch resetEpochCommand `cmd:"" help:"Set the epoch that a core is taken to have been through."`

	MQTT   mqttCommand   `cmd:"" name:"mqtt" help:"Read and publish MQTT messages, as the account of the access key."`
	Shadow shadowCommand `cmd:"" help:"Read and change device shadows in the cloud."`

	Recover recoverCommand `cmd:"" help:"Restore a group from the folder of a V1 core."`
	Export  exportCommand  `cmd:"" help:"Write a group with everything that it refers to."`
	Import  importCommand  `cmd:"" help:"Restore a group that export wrote."`
	Login   loginCommand   `cmd:"" help:"Keep a server and an access key, so that commands need no flags."`
	Logout  logoutCommand  `cmd:"" help:"Remove what login kept."`
	Keys    keysCommand    `cmd:"" help:"List, create and revoke access keys."`
	Audit   auditCommand   `cmd:"" help:"Show the calls that changed something."`
	Backup  backupCommand  `cmd:"" help:"Write a server's state into one file, while it runs."`
	Restore restoreCommand `cmd:"" help:"Lay a backup out in an empty data folder."`

	Completion completionCommand `cmd:"" help:"Print what makes a shell complete commands and flags."`

	Version versionCommand `cmd:"" help:"Print the version."`

	LogLevel slog.Level `default:"INFO" env:"FESCUE_LOG_LEVEL" help:"Log DEBUG, INFO, WARN or ERROR and above (${env})."`
}

func main() {
	beContainer()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: 0 is success, 1 a failure that was reported, 2 a command line
// that does not make sense.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var cli commands
	exit := -1
	parser, err := kong.New(&cli,
		kong.Name("fescue"), kong.Description(description),
		kong.Writers(stdout, stderr), kong.UsageOnError(), kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Vars{"local_endpoint": client.LocalEndpoint},
	)
	if err != nil {
		fmt.Fprintln(stderr, "fescue:", err)
		return 2
	}
	if len(args) > 0 && args[0] == completionWord {
		complete(parser.Model, args[1:], stdout)
		return 0
	}
	if len(args) > 0 && args[0] == "--version" { // no flag of kong's: commands have one of this name for group versions
		args = append([]string{"version"}, args[1:]...)
	}
	if len(args) == 0 {
		parser.Stdout = stderr
		parser.Parse([]string{"--help"})
		return 2
	}
	command, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprint(stderr, usage(err))
		return 2
	}
	t := &terminal{stdout, stderr, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cli.LogLevel}))}
	err = command.Run(t)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "fescue:", err)
		var exit *exitError
		if errors.As(err, &exit) {
			return exit.code
		}
		return 1
	}
	return 0
}

// exitNoAnswer is the exit code when what was waited for did not come in time.
const exitNoAnswer = 3

// usage says what is wrong with a command line, and which command's help says
// more.
func usage(err error) string {
	command, what := "fescue", "the commands"
	var parsing *kong.ParseError
	if errors.As(err, &parsing) {
		for _, p := range parsing.Context.Path {
			if p.Command != nil {
				command = p.Command.FullPath()
			}
		}
	}
	if command != "fescue" {
		what = "its flags and examples"
	}
	return fmt.Sprintf("fescue: %s\nRun %s --help for %s.\n", nearby(err.Error()), command, what)
}

// exitError is a failure with an exit code of its own.
type exitError struct {
	code int
	text string
}

// Error is what happened.
func (e *exitError) Error() string { return e.text }
