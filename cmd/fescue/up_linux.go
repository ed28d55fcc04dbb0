package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/cloud"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/sites"
	"github.com/fescue-edge/fescue/core"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/transfer"
)

// upCore is the thing that up's core runs as.
const upCore = "fescue-up-core"

// nobody is whom functions run as when up is started by root.
const nobody = 65534

// upRun is one run of up.
type upRun struct {
	*upCommand
	*terminal
	started time.Time
	logFile *os.File
	stop    context.CancelCauseFunc // ends the run, for a reason
	core    service
	control service
	server  *cloud.Server
	key     cloud.AccessKey
	api     *client.Client
	// isolation is how the first function runs.
	isolation fescue.IsolationMode
}

// service is something that runs beside the terminal until it is stopped.
type service struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// start runs f in a context of its own, which outlives ctx: services are stopped
// one after the other.
func (s *service) start(ctx context.Context, f func(context.Context)) {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { f(ctx) })
}

// stop ends the service, if it was started, and waits for it.
func (s *service) stop() {
	if s.cancel != nil {
		s.cancel()
		s.running.Wait()
	}
}

// Run starts everything, deploys, shows what happens and serves until the context
// ends; then it stops everything and waits for it.
func (c *upCommand) Run(ctx context.Context, t *terminal) error {
	u := &upRun{upCommand: c, terminal: t, started: time.Now()}
	ctx, u.stop = context.WithCancelCause(ctx)
	err := u.start(ctx)
	if err == nil {
		<-ctx.Done()
		fmt.Fprintln(u.stdout, "\nstopping…")
	}
	// What made everything stop says more than the errors that follow from it.
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	u.core.stop() // while it can still report to the control plane
	u.control.stop()
	if u.logFile != nil {
		u.logFile.Close()
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(u.stdout, "stopped")
		return nil
	}
	return err
}

func (u *upRun) say(label, format string, args ...any) {
	fmt.Fprintf(u.stdout, "%-11s%s\n", label, fmt.Sprintf(format, args...))
}

// start does all that up does before it only serves.
func (u *upRun) start(ctx context.Context) (err error) {
	if err := disk.MakeFolder(u.Data, 0o755); err != nil {
		return err
	}
	// Server and core log to a file; the terminal is for what happens.
	u.logFile, err = os.OpenFile(filepath.Join(u.Data, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := u.startServer(ctx); err != nil {
		return err
	}
	root := u.coreRoot()
	if _, err := transfer.Provision(ctx, u.api, upCore, root, nil); err != nil && !errors.Is(err, transfer.ErrProvisioned) {
		return err
	}
	if err := u.startCore(ctx, root); err != nil {
		return err
	}
	viewer, err := u.startViewer(ctx)
	if err != nil {
		return err
	}
	defer viewer.close()
	d, err := u.deployExample(ctx)
	if err != nil {
		return err
	}
	if err := d.watch(ctx); err != nil {
		return err
	}
	viewer.show(ctx)
	profile, err := u.writeProfile()
	if err != nil {
		return err
	}
	u.printNext(ctx, profile, d)
	return nil
}

func (u *upRun) startServer(ctx context.Context) (err error) {
	data, logger := filepath.Join(u.Data, "server"), slog.New(slog.NewTextHandler(u.logFile, nil))
	if err := u.settle(ctx, cloud.State{DataDir: data}, logger); err != nil {
		return err
	}
	u.server, err = cloud.New(ctx, cloud.Options{
		DataDir: data, APIAddr: u.API, DeviceAddr: u.Device, MQTTAddr: u.MQTT,
		AWS: u.Partition, Account: u.Account, Regions: u.Regions, PublicHosts: []string{"localhost"},
		OfflineSites: sites.DefaultOffline,
		AccessKeyID:  os.Getenv("FESCUE_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("FESCUE_SECRET_ACCESS_KEY"),
		Logger: logger,
	})
	if err != nil {
		return err
	}
	u.control.start(ctx, func(ctx context.Context) {
		if err := u.server.Run(ctx); err != nil {
			u.stop(err)
		}
	})
	if u.key, err = u.server.AdminKey(ctx); err != nil {
		return err
	}
	u.api = client.Of(u.endpoint(), aws.Config{
		Region: u.Region, Credentials: credentials.NewStaticCredentialsProvider(u.key.ID, u.key.Secret, ""),
	})
	u.say("server", "API %s, devices https://%s, MQTT %s", u.endpoint(), u.server.DeviceAddr(), u.server.MQTTAddr())
	return nil
}

func (u *upRun) endpoint() string { return u.server.APIScheme() + "://" + u.server.APIAddr() }

// local is an address of the server as its certificate names it.
func local(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort("localhost", port)
}

// coreRoot is the core's folder: below the data folder, unless functions run as
// nobody and a parent folder keeps nobody out. Then it is below /var/lib.
func (u *upRun) coreRoot() string {
	if os.Geteuid() == 0 {
		for dir := u.Data; dir != "/"; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
				sum := sha256.Sum256([]byte(u.Data))
				return filepath.Join("/var/lib/fescue-up", hex.EncodeToString(sum[:6]))
			}
		}
	}
	return filepath.Join(u.Data, "core")
}

// startCore runs a core beside the server, pointed to the ports of this run.
func (u *upRun) startCore(ctx context.Context, root string) error {
	o := core.Options{
		Root: root, IoTHost: local(u.server.MQTTAddr()), GGHost: local(u.server.DeviceAddr()),
		IPCPort: &u.IPC, DevicesPort: u.DevicesMQTT, Output: u.logFile, ContainerInit: "/proc/self/exe",
	}
	if os.Geteuid() == 0 {
		fmt.Fprintf(u.stderr, "WARN: started as root: functions run as user %d (nobody).\n", nobody)
		id := uint32(nobody)
		o.DefaultUID, o.DefaultGID = &id, &id
	}
	edge, err := core.New(o)
	if err != nil {
		return err
	}
	u.core.start(ctx, func(ctx context.Context) {
		err := edge.Run(ctx)
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("cannot listen on 127.0.0.1:%d: address already in use; choose another port with --ipc", u.IPC)
		}
		if err != nil {
			u.stop(err)
		}
	})
	u.say("core", "%s in %s", upCore, root)
	select {
	case <-edge.Ready():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	u.isolation = fescue.GreengrassContainer
	if missing := edge.Missing(); len(missing) > 0 {
		u.isolation = fescue.NoContainer
		u.say("isolation", "%s: %s", u.isolation, strings.Join(missing, "; "))
	} else {
		u.say("isolation", "%s: functions run in containers", u.isolation)
	}
	return nil
}

// writeProfile writes an AWS configuration file with one profile, readable by its
// owner alone.
func (u *upRun) writeProfile() (path string, err error) {
	path = filepath.Join(u.Data, "aws-profile")
	text := fmt.Sprintf("[profile fescue]\naws_access_key_id = %s\naws_secret_access_key = %s\nregion = %s\nendpoint_url = %s\n",
		u.key.ID, u.key.Secret, u.Region, u.endpoint())
	return path, disk.WriteFile(path, []byte(text), 0o600)
}

// printNext says how to go on with the AWS CLI.
func (u *upRun) printNext(ctx context.Context, profile string, d *exampleDeployment) {
	exports := []string{"AWS_CONFIG_FILE=" + profile, "AWS_PROFILE=fescue"}
	if u.PrintSecret {
		exports = []string{"AWS_ACCESS_KEY_ID=" + u.key.ID, "AWS_SECRET_ACCESS_KEY=" + u.key.Secret, "AWS_DEFAULT_REGION=" + u.Region}
	}
	fmt.Fprintf(u.stdout, "\nTry next, in another terminal:\n\n  export %s\n", strings.Join(exports, "\n  export "))
	fmt.Fprintf(u.stdout, "  aws --endpoint-url %s greengrass get-deployment-status --group-id %s --deployment-id %s\n"+
		"  fescue logs --endpoint %[1]s --group %[2]s\n\n",
		u.endpoint(), d.groupID, d.id)
	if link, err := consoleLink(ctx, u.api); err == nil {
		u.say("console", "%s (once; fescue console --endpoint %s prints another)", link.URL, u.endpoint())
	} else {
		u.say("console", "%s%s", u.endpoint(), ownapi.ConsolePath)
	}
	u.say("logs", "functions %s, server and core %s",
		filepath.Join(u.coreRoot(), "ggc", "var", "log", "user"), filepath.Join(u.Data, "up.log"))
	u.say("serving", "until Ctrl-C (up after %.1f s)", time.Since(u.started).Seconds())
}
