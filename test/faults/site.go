//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/core/sandbox"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/ports"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// diskSize is the size of the core's own disk, in bytes, where one can be mounted.
const diskSize = 32 << 20

// patience is how long everything that must happen at last may take, on a busy
// machine: a build whose server died is taken up after 30 s.
const patience = 150 * time.Second

// site is servers and a core with a line between them: the operator calls the first
// server, the line leads to the last.
type site struct {
	dir     string
	servers []*server
	// nodes and dropDatabase are of what several servers share.
	nodes        []*natstest.Node
	dropDatabase func(context.Context) error
	core         program
	https        *proxy
	mqtt         *proxy
	root         string
	mounted      bool
	// containers says that functions may be in containers.
	containers bool
	// held gives the ports back.
	held       []func()
	thingARN   string
	certARN    string
	coreClock  *clock
	caller     *http.Client
	greengrass *greengrass.Client
	lambda     *lambda.Client
	s3         *s3.Client
	secrets    *secretsmanager.Client

	// Each of these is held while the thing is away.
	nodeGone, coreGone, lineBad, diskFull sync.Mutex
}

// newSite starts a control plane and a core below a new folder. It is closed by
// the caller, also after an error.
func newSite(ctx context.Context, o Options, dir string) (*site, error) {
	s := &site{dir: dir, root: filepath.Join(dir, "greengrass")}
	if err := os.MkdirAll(s.root, 0o755); err != nil {
		return s, err
	}
	s.mounted, s.containers = mount(s.root) == nil, len(missing(o.Programs, dir)) == 0
	var err error
	if s.coreClock, err = newClock(filepath.Join(dir, "core.clock")); err != nil {
		return s, err
	}
	if err := s.serve(ctx, o); err != nil {
		return s, err
	}
	last := s.servers[len(s.servers)-1]
	if s.https, err = newProxy(last.device); err == nil {
		s.mqtt, err = newProxy(last.mqtt)
	}
	if err != nil {
		return s, err
	}
	s.caller = s.operator()
	cfg := aws.Config{
		Region: programs.Region, BaseEndpoint: aws.String("http://" + s.api()), HTTPClient: s.caller,
		Credentials: credentials.NewStaticCredentialsProvider(programs.KeyID, programs.Secret, ""),
	}
	s.greengrass, s.lambda, s.secrets = greengrass.NewFromConfig(cfg), lambda.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg)
	s.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	if err := s.provision(ctx, o.Programs); err != nil {
		return s, err
	}
	s.core = program{path: o.Core, log: filepath.Join(dir, "core.log"), args: []string{"--root", s.root}, env: []string{clockVariable + "=" + s.coreClock.file}}
	return s, s.core.start()
}

// missing is what this machine does not have that containers need.
func missing(built Programs, dir string) []string {
	box, err := sandbox.Open(sandbox.Options{Folder: filepath.Join(dir, "try"), Init: built.Core, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return []string{err.Error()}
	}
	list := box.Missing()
	if err := box.Close(); err != nil {
		return append(list, err.Error())
	}
	return list
}

// mount gives the core a small disk of its own, so that it can be full.
func mount(dir string) error {
	return syscall.Mount("fescue-faults", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", diskSize))
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }

// provision makes the core's identity and has it speak through the proxies.
func (s *site) provision(ctx context.Context, built Programs) error {
	cmd := exec.CommandContext(ctx, built.Fescue, "provision", "Faults_Core", "--root", s.root)
	cmd.Env = programs.Environment(programs.Caller(s.api(), programs.Region)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("provision: %w\n%s", err, out)
	}
	if s.thingARN, s.certARN, err = programs.Provisioned(string(out)); err != nil {
		return err
	}
	daemon, err := s.port()
	if err != nil {
		return err
	}
	return programs.EditConfig(s.root, func(config map[string]any) {
		for member, value := range map[string]int{
			"iotMqttPort": s.mqtt.port(), "iotHttpPort": s.https.port(), "ggHttpPort": s.https.port(),
			"ggDaemonPort": daemon, "mqttMaxConnectionRetryInterval": 1,
		} {
			config["coreThing"].(map[string]any)[member] = value
		}
	})
}

// api is where the first server answers operators.
func (s *site) api() string { return s.servers[0].api }

// port is one that stays the site's while nobody listens on it.
func (s *site) port() (int, error) {
	port, release, err := ports.Hold()
	if err == nil {
		s.held = append(s.held, release)
	}
	return port, err
}

// close ends everything. With keep the core's files are copied beside its disk
// before that goes.
func (s *site) close(keep bool) error {
	defer func() {
		for _, release := range s.held {
			release()
		}
	}()
	// The core tidies up after its containers; a server that is gone does not keep it.
	err := s.endServers()
	stopped := time.AfterFunc(patience, func() { s.core.signal(syscall.SIGKILL, false) })
	s.core.signal(syscall.SIGCONT, false)
	s.core.signal(syscall.SIGTERM, true)
	stopped.Stop()
	for _, p := range []*proxy{s.https, s.mqtt} {
		if p != nil {
			p.close()
		}
	}
	err = errors.Join(err, eventually(context.Background(), func() error {
		for _, f := range functions(s.root) {
			return fmt.Errorf("process %d of function %s outlives the core", f.pid, f.arn)
		}
		return nil
	}), s.containersGone())
	if keep {
		err = errors.Join(err, os.CopyFS(filepath.Join(s.dir, "kept"), noLinks{os.DirFS(s.root)}))
	}
	if s.mounted {
		err = errors.Join(err, unmount(s.root))
	}
	if !keep {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// containersGone finds that nothing of the core's containers is left when it has
// stopped.
func (s *site) containersGone() error {
	folder := filepath.Join(s.root, "ggc", "var", "state", "sandbox")
	id, err := os.ReadFile(filepath.Join(folder, "id"))
	if err != nil {
		return nil // it never came so far
	}
	var left []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), "fescue-"+strings.TrimSpace(string(id))) {
			left = append(left, path)
		}
		return nil
	})
	folders, _ := filepath.Glob(filepath.Join(folder, "containers", "*"))
	if left = append(left, folders...); len(left) > 0 {
		return fmt.Errorf("left of containers: %s", strings.Join(left, ", "))
	}
	return nil
}

// noLinks leaves links and the unpacked code out.
type noLinks struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (n noLinks) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(n.FS, name)
	var list []fs.DirEntry
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 && e.Name() != ".store" && e.Name() != "packages" {
			list = append(list, e)
		}
	}
	return list, err
}

// eventually waits until f gives nil; past patience its last error is given.
func eventually(ctx context.Context, f func() error) error {
	return testkit.Within(ctx, patience, f)
}
