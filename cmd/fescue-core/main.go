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

	"github.com/fescue-edge/fescue/core"
)

type flags struct {
	Root    string `default:"/greengrass" type:"path" env:"FESCUE_CORE_ROOT" help:"The core's root folder, with config/config.json and certs/."`
	IoTHost string `name:"iot-host" env:"FESCUE_IOT_HOST" placeholder:"HOST[:PORT]" help:"MQTT host in place of config.json's iotHost."`
	GGHost  string `name:"gg-host" env:"FESCUE_GG_HOST" placeholder:"HOST[:PORT]" help:"HTTPS host in place of config.json's ggHost."`
	CA      string `name:"ca" env:"FESCUE_CA" type:"path" placeholder:"FILE" help:"PEM file of the authority to trust, in place of config.json's."`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Name("fescue-core"),
		kong.Description("Runs a Greengrass core from a folder in the original's format.\n\nExample:\n  fescue-core --root /greengrass"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, f)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fescue-core:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags) error {
	c, err := core.New(core.Options{Root: f.Root, IoTHost: f.IoTHost, GGHost: f.GGHost, CAFile: f.CA, Output: os.Stderr})
	if err != nil {
		return err
	}
	return c.Run(ctx)
}
