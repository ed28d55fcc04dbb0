//go:build linux

package test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/testkit"
)

// BenchmarkGetDeploymentStatus compares the call, signature verified, with a
// bare handler that sends the same bytes from a process of its own. The ratio of
// their rates is what counts.
func BenchmarkGetDeploymentStatus(b *testing.B) {
	s := startServer(b)
	h := s.site(region)
	g := h.provision(b, "Bench_Core")
	group, version := g.groupVersion(b, "", nil, nil)
	deployment := h.deploy(b, group, version)
	h.await(b, group, deployment, fescue.InProgress)

	path := "/greengrass/groups/" + group + "/deployments/" + deployment + "/status"
	req, err := http.NewRequest(http.MethodGet, "http://"+s.api+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	empty := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret},
		req, hex.EncodeToString(empty[:]), "greengrass", region, time.Now()); err != nil {
		b.Fatal(err)
	}
	body := fetch(b, http.DefaultClient, req)
	bare := startBare(b, body)
	plain, err := http.NewRequest(http.MethodGet, "http://"+bare+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	plain.Header = req.Header // the same request, byte for byte but its host

	// Rounds in turn, so that what else the machine does meets both alike.
	compare := func(b *testing.B, req *http.Request) {
		var served, sent float64
		for b.Loop() {
			sent += drive(b, plain)
			served += drive(b, req)
		}
		b.ReportMetric(sent/float64(b.N), "bare-req/s")
		b.ReportMetric(served/float64(b.N), "req/s")
		b.ReportMetric(served/sent, "ratio")
	}
	b.Run("under way", func(b *testing.B) { compare(b, req) })
	// The same for a deployment that has ended, which may be remembered.
	reset, err := h.greengrass.ResetDeployments(b.Context(), &greengrass.ResetDeploymentsInput{GroupId: &group, Force: aws.Bool(true)})
	if err != nil {
		b.Fatal(err)
	}
	h.await(b, group, *reset.DeploymentId, fescue.Success)
	if req, err = http.NewRequest(http.MethodGet, "http://"+s.api+strings.Replace(path, deployment, *reset.DeploymentId, 1), nil); err != nil {
		b.Fatal(err)
	}
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret},
		req, hex.EncodeToString(empty[:]), "greengrass", region, time.Now()); err != nil {
		b.Fatal(err)
	}
	fetch(b, http.DefaultClient, req)
	b.Run("ended", func(b *testing.B) { compare(b, req) })
}

// drive has wrk send a request again and again on 16 connections for two seconds, and
// returns how many were answered in one.
func drive(b *testing.B, req *http.Request) float64 {
	b.Helper()
	path, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("wrk (Debian's package wrk) is not installed")
	}
	arguments := []string{"-t", "1", "-c", "16", "-d", "2s"}
	for name, values := range req.Header {
		arguments = append(arguments, "-H", name+": "+values[0])
	}
	out, err := exec.Command(path, append(arguments, req.URL.String())...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "Non-2xx") {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	_, rest, _ := strings.Cut(string(out), "Requests/sec:")
	rate, err := strconv.ParseFloat(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 64)
	if err != nil {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	return rate
}

func fetch(b *testing.B, client *http.Client, req *http.Request) string {
	resp, err := client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s %s: %v", resp.Status, body, err)
	}
	return string(body)
}

// startBare builds and starts the baseline.
func startBare(b *testing.B, body string) (addr string) {
	bin := filepath.Join(b.TempDir(), "bare")
	if out, err := exec.Command("go", "build", "-o", bin, "./testdata/bare").CombinedOutput(); err != nil {
		b.Fatalf("build bare: %v\n%s", err, out)
	}
	out := new(testkit.Buffer)
	cmd := exec.Command(bin, body)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(b, "baseline", func() error {
		var ok bool
		if addr, ok = out.Find(`api=(.*)`); !ok {
			return errors.New("not listening")
		}
		return nil
	})
	return addr
}

// BenchmarkCreateToSuccess measures from CreateDeployment to the first status that
// says Success, on a warm core: with nothing to run, with nothing that changed, with
// one function that changed, and with one of which a megabyte changed. It also reports
// what core and server take of processors for each, and the core's memory when idle.
func BenchmarkCreateToSuccess(b *testing.B) {
	for _, c := range []struct {
		name     string
		function bool
		// changed is how many bytes of the function change each time.
		changed int
	}{{"nothing to run", false, 0}, {"no change", true, 0}, {"one function changed", true, 16}, {"1 MB changed", true, 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			h := startServer(b).site(region)
			g := h.provision(b, "Bench_Core")
			g.run(b)
			var group, version string
			change := func() {
				var list []function
				if c.function {
					list = []function{{arn: h.benchFunction(b, c.changed), pinned: true, variables: out(g.thing, "x")}}
				}
				group, version = g.groupVersion(b, group, list, nil)
			}
			change()
			h.await(b, group, h.deploy(b, group, version), fescue.Success)
			var took []time.Duration
			core, server := g.process.Process.Pid, h.process.Process.Pid
			coreBefore, serverBefore := cpuOf(b, core), cpuOf(b, server)
			for b.Loop() {
				if c.changed > 0 {
					b.StopTimer()
					change()
					b.StartTimer()
				}
				start := time.Now()
				h.succeeds(b, group, h.deploy(b, group, version))
				took = append(took, time.Since(start))
			}
			reportTimes(b, took)
			b.ReportMetric(float64((cpuOf(b, core)-coreBefore).Milliseconds())/float64(b.N), "core-cpu-ms/op")
			b.ReportMetric(float64((cpuOf(b, server)-serverBefore).Milliseconds())/float64(b.N), "server-cpu-ms/op")
			b.ReportMetric(residentMB(b, core), "core-MB")
		})
	}
}

// succeeds asks every ten milliseconds until a deployment has ended, in Success: pauses that
// grow, as tests make them, would be what is measured.
func (h *site) succeeds(b *testing.B, group, deployment string) {
	b.Helper()
	for every := time.NewTicker(10 * time.Millisecond); ; <-every.C {
		out, err := h.status(b.Context(), group, deployment)
		if err != nil {
			b.Fatal(err)
		}
		switch status := fescue.DeploymentStatus(*out.DeploymentStatus); {
		case status == fescue.Success:
			return
		case status.Final():
			b.Fatalf("deployment ended in %s: %v", status, aws.ToString(out.ErrorMessage))
		}
	}
}

// benchFunction publishes a Python function of which some bytes are new.
func (h *site) benchFunction(b *testing.B, changed int) string {
	b.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		b.Skip("python3 is not installed")
	}
	filler := make([]byte, max(changed, 1))
	if changed > 0 {
		rand.Read(filler)
	}
	return h.publish(b, "Bench", "python3.8", "app.handler", zipOf(b, map[string][]byte{"app.py": []byte(greeter), "filler": filler}))
}

// BenchmarkRollback measures from the death of a new version to the first message
// of the version before, which runs again.
func BenchmarkRollback(b *testing.B) {
	h := startServer(b).site(region)
	g := h.provision(b, "Bench_Core")
	viewer := h.connect(b, "Viewer")
	viewer.subscribe(b, "Bench_Core/out")
	g.run(b)
	died := filepath.Join(openDir(b), "died")
	if err := os.WriteFile(died, nil, 0o666); err != nil {
		b.Fatal(err)
	}
	if err := os.Chmod(died, 0o666); err != nil { // the umask takes bits away
		b.Fatal(err)
	}
	code := readFile(b, echoBin)
	versionOf := func(group string, files map[string][]byte, handler string) (string, string) {
		arn := h.publish(b, "Bench", fescue.ExecutableRuntime, handler, zipOf(b, files))
		variables := out(g.thing, "bench")
		variables["DIED"] = died
		return g.groupVersion(b, group, []function{{arn: arn, pinned: true, encoding: types.EncodingTypeBinary, variables: variables}}, ends(arn, g.thing))
	}
	group, good := versionOf("", map[string][]byte{"run": code}, "run")
	_, bad := versionOf(group, map[string][]byte{"run": []byte("#!/bin/sh\ndate +%s%N > \"$DIED\"\nexit 1\n")}, "run")
	h.await(b, group, h.deploy(b, group, good), fescue.Success)
	viewer.next(b, "started bench")
	var took []time.Duration
	for b.Loop() {
		id := h.deploy(b, group, bad)
		viewer.next(b, "started bench")
		back := time.Now()
		at, err := strconv.ParseInt(strings.TrimSpace(string(readFile(b, died))), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, back.Sub(time.Unix(0, at)))
		h.await(b, group, id, fescue.Failure)
	}
	reportTimes(b, took)
}

func reportTimes(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Milliseconds()), "p95-ms")
}

// residentMB is a process's resident memory as the kernel counts it.
func residentMB(b *testing.B, pid int) float64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(text)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// BenchmarkCoreStart measures from the start of a core's program to the start of the first
// function, which lies on its disk: to the first line of its code. It also reports what
// the core takes of memory then.
func BenchmarkCoreStart(b *testing.B) {
	h := startServer(b).site(region)
	g := h.provision(b, "Bench_Core")
	g.run(b)
	began := filepath.Join(openDir(b), "began")
	if err := errors.Join(os.WriteFile(began, nil, 0o666), os.Chmod(began, 0o666)); err != nil {
		b.Fatal(err)
	}
	code := "import os, time\nwith open(os.environ['BEGAN'], 'w') as f:\n    f.write('%d' % (time.time() * 1e9))\n" + greeter
	arn := h.python(b, "Bench", code)
	variables := out(g.thing, "x")
	variables["BEGAN"] = began
	group, version := g.groupVersion(b, "", []function{{arn: arn, pinned: true, variables: variables}}, nil)
	h.await(b, group, h.deploy(b, group, version), fescue.Success)
	var took []time.Duration
	for b.Loop() {
		g.process.Kill()
		if err := os.Truncate(began, 0); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		g.run(b)
		eventually(b, "its function runs", func() error {
			at, err := strconv.ParseInt(string(readFile(b, began)), 10, 64)
			if err == nil {
				took = append(took, time.Unix(0, at).Sub(start))
			}
			return err
		})
	}
	reportTimes(b, took)
	b.ReportMetric(residentMB(b, g.process.Process.Pid), "core-MB")
}

// BenchmarkIdleCore measures what a core takes of memory ten seconds after its start,
// when it has connected and its function, devices and shadows have nothing to do. What the
// function takes is its own.
func BenchmarkIdleCore(b *testing.B) {
	h := startServer(b).site(region)
	bare := h.provision(b, "Bare_Core")
	whole := h.serveDevices(b, "Whole_Core")
	whole.run(b)
	lamp := h.provision(b, "Lamp")
	lamp.syncShadow = true
	spooler := function{arn: "arn:aws:lambda:::function:GGCloudSpooler:1", pinned: true,
		variables: map[string]string{"GG_CONFIG_STORAGE_TYPE": "FileSystem", "GG_CONFIG_MAX_SIZE_BYTES": "16777216"}}
	greets := function{arn: h.python(b, "Greets", greeter), pinned: true, variables: out(whole.thing, "greets")}
	whole.deployWith(b, []function{spooler, greets}, []route{{lamp.thingARN, "lamp/#", "cloud"}, {"cloud", "lamp/#", lamp.thingARN}}, lamp)
	device := whole.join(b, lamp)
	device.listen(b, "lamp/#")
	await(b, "publish", device.Publish("lamp/state", 1, false, "on"))
	whole.process.Kill()
	for _, g := range []*gateway{bare, whole.gateway} {
		b.Run(g.thing, func(b *testing.B) {
			var sum float64
			for b.Loop() {
				g.run(b)
				settled := time.Now().Add(10 * time.Second)
				testkit.Until(b, "ten seconds", func() bool { return time.Now().After(settled) })
				sum += residentMB(b, g.process.Process.Pid)
				g.process.Kill()
			}
			b.ReportMetric(sum/float64(b.N), "MB")
		})
	}
}
