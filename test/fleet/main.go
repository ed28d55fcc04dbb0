//go:build linux

// Command fleet measures what gateways cost a server. It plays any number of cores, in
// processes of its own, over real mutual TLS and with the packages that a core is made of,
// and prints what the server used for them: memory, descriptors, processors, time.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
)

const description = `Plays gateways and measures what they cost a server.

Without --endpoint it builds a server and starts it on a folder of its own. The exit code
is 1 when a deployment did not end as it should, or something did not happen in time.

Examples:
  go run ./test/fleet --cores 500                         connect, and wait for 30 s
  go run ./test/fleet --cores 2000 --deployments --bulk   deployments, each by a call, then all at once
  go run ./test/fleet --cores 500 --deployments --fail 0.1 --slow 0.1 --cut 0.1
  go run ./test/fleet --cores 1000 --without-mqtt 1       cores that wait by long polls
  go run ./test/fleet --cores 2000 --storm --json         kill the server; all come back
  go run ./test/fleet --cores 200 --soak 30m              work again and again; does anything grow?
  go run ./test/fleet --cores 2000 --servers 2 --breakdown --messages   lose a server and a node
  go run ./test/fleet --endpoint http://10.0.0.7:9080 --ops 10.0.0.7:9090 --cores 100`

// options are the flags.
type options struct {
	Cores       int     `default:"500" help:"How many cores there are."`
	Servers     int     `default:"1" placeholder:"N" help:"How many servers are started; several are on one PostgreSQL, which must be installed, and on three nodes of NATS."`
	Processes   int     `default:"1" help:"In how many processes they are played, at least; one has up to 4000."`
	WithoutMQTT float64 `name:"without-mqtt" default:"0" placeholder:"PART" help:"The part of the cores that wait by long polls, from 0 to 1."`

	Idle        time.Duration `default:"30s" help:"Measure for half of this time what waiting costs, after a rest of the other half; 0 leaves it out."`
	Messages    bool          `help:"Each core sends a message with QoS 1 to its neighbour."`
	Deployments bool          `help:"Deploy each group by a call of its own."`
	Bulk        bool          `help:"Deploy all groups by one bulk deployment."`
	Storm       bool          `help:"Kill the server, start it again and wait until all cores are back; not with --endpoint."`
	Restart     bool          `help:"The same with a server that is told to stop by SIGTERM; not with --endpoint."`
	Breakdown   bool          `help:"Deploy all groups and send messages while one of several servers and one node of NATS are killed; nothing may be lost."`
	Soak        time.Duration `default:"0s" help:"Deploy all groups and send messages again and again for so long, and note what the server holds."`

	Fail    float64       `default:"0" placeholder:"PART" help:"The part of the cores whose deployments fail."`
	Slow    float64       `default:"0" placeholder:"PART" help:"The part of the cores whose deployments take --slow-for."`
	SlowFor time.Duration `default:"2s" help:"How long those take."`
	Cut     float64       `default:"0" placeholder:"PART" help:"The part of the cores whose lines are cut while they deploy."`

	Entries   int           `default:"32" help:"How many cores of one process connect at once at first."`
	KeepAlive time.Duration `default:"240s" help:"Keep-alive of the cores' MQTT sessions."`
	Poll      time.Duration `default:"5m" help:"Pause between polls of cores whose MQTT session is up, where the server names no longer one."`
	Retry     time.Duration `default:"1s" help:"First pause before a core connects again; it doubles."`
	MaxRetry  time.Duration `default:"60s" help:"Longest pause before a core connects again."`

	Endpoint string   `placeholder:"URL" help:"API of a server that runs already; credentials and Region are found the way the AWS CLI finds them."`
	Ops      string   `placeholder:"HOST:PORT" help:"Its address for operators (--ops), whose /metrics are read."`
	Program  string   `type:"existingfile" placeholder:"FILE" help:"The built fescue to start; default: it is built."`
	Flags    []string `name:"server-flag" sep:"none" placeholder:"FLAG" help:"A further flag for the server that is started, such as --server-flag=--log-level=DEBUG."`
	Dir      string   `type:"existingdir" placeholder:"DIR" help:"Where the server's folder is made; default: where temporary files go."`

	Patience time.Duration `default:"5m" help:"How long one step may take."`
	Limit    time.Duration `default:"30m" help:"How long everything may take."`
	JSON     bool          `name:"json" help:"Print JSON instead of tables."`

	pace pace
}

// Validate is called by kong.
func (o *options) Validate() error {
	if o.Cores < 1 || o.Processes < 1 || o.Entries < 1 || o.Servers < 1 {
		return errors.New("--cores, --servers, --processes and --entries are at least 1")
	}
	for name, part := range map[string]float64{"without-mqtt": o.WithoutMQTT, "fail": o.Fail, "slow": o.Slow, "cut": o.Cut} {
		if part < 0 || part > 1 {
			return fmt.Errorf("--%s is a part from 0 to 1", name)
		}
	}
	for name, d := range map[string]time.Duration{
		"keep-alive": o.KeepAlive, "poll": o.Poll, "retry": o.Retry, "max-retry": o.MaxRetry, "patience": o.Patience, "limit": o.Limit,
	} {
		if d <= 0 {
			return fmt.Errorf("--%s is more than 0", name)
		}
	}
	switch {
	case (o.Endpoint == "") != (o.Ops == ""):
		return errors.New("--endpoint and --ops go together")
	case o.Endpoint != "" && (o.Servers > 1 || o.Storm || o.Restart || o.Breakdown || o.Program != "" || len(o.Flags) > 0):
		return errors.New("--servers, --storm, --restart, --breakdown, --program and --server-flag are for servers that are started here, not for one at --endpoint")
	case o.Breakdown && o.Servers < 2:
		return errors.New("--breakdown kills a server, so that --servers has to be 2 at least")
	case o.sends() && o.Cores < 2:
		return errors.New("a core that sends messages needs a neighbour: --cores has to be 2 at least")
	case o.sends() && o.WithoutMQTT > 0:
		return errors.New("cores --without-mqtt send no messages")
	}
	o.pace = pace{KeepAlive: o.KeepAlive, Poll: o.Poll, FirstRetry: o.Retry, MostRetry: o.MaxRetry}
	return nil
}

// sends reports whether the cores send messages to each other.
func (o *options) sends() bool { return o.Messages || o.Breakdown || o.Soak > 0 }

// command is the command line.
type command struct{ options }

// Run measures and prints.
func (c *command) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("not done within %s (--limit)", c.Limit))
	defer cancel()
	r, err := run(ctx, c.options, os.Stderr)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.print(os.Stdout)
	}
	if err == nil && len(r.Broken) > 0 {
		err = fmt.Errorf("%d deployments did not end as they should", len(r.Broken))
	}
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if slices.Equal(os.Args[1:], []string{crewArgument}) {
		if err := playCrew(ctx, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "fleet: a process of cores:", err)
			os.Exit(1)
		}
		return
	}
	natstest.Main() // with several servers, this program is their nodes of NATS
	var cli command
	k := kong.Parse(&cli, kong.Name("fleet"), kong.Description(description), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}
