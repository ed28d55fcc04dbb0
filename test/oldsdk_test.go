//go:build linux

package test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/testkit/programs"
)

// amazonNames are the names under which SDKs without a setting for the endpoint
// look for the services in region, as docs/old-sdks.md lists them.
func amazonNames() []string {
	var names []string
	for _, service := range []string{"greengrass", "iot", "data.iot", "data-ats.iot", "lambda", "sts", "secretsmanager", "s3", "*.s3"} {
		names = append(names, service+"."+region+".amazonaws.com")
	}
	return append(names, "sts.amazonaws.com", "iam.amazonaws.com", "s3.amazonaws.com", "*.s3.amazonaws.com")
}

// TestAmazonNames has SDKs that are given nothing but the Region find the server
// under AWS's names, which lead to it, and trust its authority.
func TestAmazonNames(t *testing.T) {
	t.Parallel()
	flags := []string{"--api", "0.0.0.0:0"} // beyond loopback it is HTTPS
	for _, name := range amazonNames() {
		flags = append(flags, "--public-host", name)
	}
	s := startServer(t, flags...)
	_, port, err := net.SplitHostPort(s.api)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(s.data, "ca.pem")
	sources := filepath.Join("testdata", "oldsdk")
	environment := append(programs.Environment(), "AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION="+region, "AWS_DEFAULT_REGION="+region,
		"AWS_CONFIG_FILE=/nonexistent", "AWS_EC2_METADATA_DISABLED=true", "AWS_CA_BUNDLE="+ca, "NODE_EXTRA_CA_CERTS="+ca, "SERVER_PORT="+port, "AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE=1")
	steps := func(t *testing.T, want map[string]any, program *exec.Cmd) {
		t.Helper()
		program.Env = append(environment, program.Env...)
		out, err := program.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("%v\n%s", err, exit.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	seen := func(thing string) map[string]any {
		return map[string]any{"account": account, "group": true, "thing": thing, "functions": 0.0, "secrets": 0.0, "object": "content"}
	}

	t.Run("boto3", func(t *testing.T) {
		python := ""
		for _, program := range []string{"python3", "/usr/bin/python3"} {
			if exec.Command(program, "-c", "import boto3").Run() == nil {
				python = program
				break
			}
		}
		if python == "" {
			t.Skip("boto3 (Debian's package python3-boto3) is not installed")
		}
		proxy := leadTo(t, "127.0.0.1:"+port)
		run := exec.Command(python, filepath.Join(sources, "steps.py"))
		run.Env = []string{"HTTPS_PROXY=http://" + proxy.address}
		steps(t, seen("Python_Core"), run)
		for _, service := range []string{"greengrass.", "iot.", "lambda.", "secretsmanager."} {
			if !proxy.was(service + region + ".amazonaws.com:443") {
				t.Errorf("boto3 did not look for %s: it looked for %v", service, proxy.names)
			}
		}
	})
	t.Run("JavaScript v2", func(t *testing.T) {
		for _, program := range []string{"node", "npm"} {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(program + " (Debian's packages nodejs and npm) is not installed")
			}
		}
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(sources)); err != nil {
			t.Fatal(err)
		}
		install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			t.Skipf("the npm registry has not given aws-sdk: %v\n%s", err, out)
		}
		run := exec.Command("node", "--require", "./names.cjs", "steps.cjs")
		run.Dir = dir
		steps(t, seen("JavaScript_Core"), run)
	})
}

// tunnels is a proxy that leads every name to one server, in the place of a name
// server and of port 443.
type tunnels struct {
	address string

	mu    sync.Mutex
	names []string
}

func (p *tunnels) was(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.names {
		if n == name {
			return true
		}
	}
	return false
}

func leadTo(t *testing.T, server string) *tunnels {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tunnels{address: l.Addr().String()}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(client, server) })
		}
	})
	return p
}

func (p *tunnels) serve(client net.Conn, server string) {
	defer client.Close()
	reader := bufio.NewReader(client)
	request, err := http.ReadRequest(reader)
	if err != nil || request.Method != http.MethodConnect {
		return
	}
	p.mu.Lock()
	p.names = append(p.names, strings.ToLower(request.Host))
	p.mu.Unlock()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer upstream.Close()
	io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(upstream, reader)
		upstream.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, upstream)
}
