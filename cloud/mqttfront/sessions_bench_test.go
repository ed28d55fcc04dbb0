//go:build linux

package mqttfront_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/gob"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/broker/natstest"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/mqtt"
)

// measuredServer names the variable that makes the test program a server that is measured:
// "front", or "TLS" for one that does nothing but TLS.
const measuredServer = "FESCUE_TEST_MEASURED_SERVER"

func TestMain(m *testing.M) {
	if what := os.Getenv(measuredServer); what != "" {
		serveMeasured(what)
		return
	}
	natstest.Main()
	os.Exit(m.Run())
}

// anybody is a Directory that knows every certificate, with one policy.
type anybody struct{ principal identity.Principal }

// Principal implements mqttfront.Directory.
func (a anybody) Principal(_ context.Context, id string) (identity.Principal, error) {
	p := a.principal
	p.Certificate.ID = id
	return p, nil
}

// Principals implements mqttfront.Directory.
func (a anybody) Principals(ctx context.Context, ids []string) ([]identity.Answer, error) {
	answers := make([]identity.Answer, len(ids))
	for i, id := range ids {
		answers[i].Principal, answers[i].Err = a.Principal(ctx, id)
	}
	return answers, nil
}

// Current implements mqttfront.Changes.
func (anybody) Current() bool { return true }

// Within implements mqttfront.Changes.
func (anybody) Within(time.Duration) bool { return true }

// serveMeasured serves on a port that it prints, then answers each line that it reads with
// how many goroutines there are, after it has collected garbage.
func serveMeasured(what string) {
	var certificate tls.Certificate
	if err := gob.NewDecoder(os.Stdin).Decode(&certificate.Certificate); err != nil {
		panic(err)
	}
	t := &testing.B{}
	server := makeCertificate(t, pkix.Name{CommonName: "front"})
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{server.cert}, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
	})
	if err != nil {
		panic(err)
	}
	if what == "front" {
		dir, err := os.MkdirTemp("", "fescue-measured-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		silent := slog.New(slog.DiscardHandler)
		b, err := broker.Start(broker.Options{Dir: dir, Logger: silent})
		if err != nil {
			panic(err)
		}
		who := anybody{identity.Principal{Partition: home, Policies: policies(t, quickStart), Certificate: fescue.Certificate{
			Status: fescue.CertificateActive, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}}}
		front, err := mqttfront.New(mqttfront.Options{
			Directory: who, Changes: who, Broker: b, Logger: silent, Quotas: deploy.Quotas{mqttfront.QuotaCertificateSessions: 0},
		})
		if err != nil {
			panic(err)
		}
		go front.Serve(context.Background(), ln)
	} else {
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(io.Discard, conn) }()
			}
		}()
	}
	fmt.Println(ln.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		debug.FreeOSMemory()
		fmt.Println(runtime.NumGoroutine())
	}
}

// measured is such a server, seen from outside.
type measured struct {
	tb      testing.TB
	address string
	pid     int
	in      io.Writer
	out     *bufio.Scanner
}

func startMeasured(tb testing.TB, what string) *measured {
	tb.Helper()
	c := exec.Command(os.Args[0])
	c.Env, c.Stderr = append(os.Environ(), measuredServer+"="+what), os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	if err := gob.NewEncoder(in).Encode([][]byte{}); err != nil {
		tb.Fatal(err)
	}
	m := &measured{tb: tb, pid: c.Process.Pid, in: in, out: bufio.NewScanner(out)}
	if !m.out.Scan() {
		tb.Fatal("the server does not start")
	}
	m.address = m.out.Text()
	return m
}

// look is its resident memory in KB, its goroutines, and the processor time that it has
// used.
func (m *measured) look() (resident, goroutines int, used time.Duration) {
	m.tb.Helper()
	used = m.used()
	fmt.Fprintln(m.in)
	if !m.out.Scan() {
		m.tb.Fatal("the server is gone")
	}
	goroutines, _ = strconv.Atoi(m.out.Text())
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		m.tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			resident, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return resident, goroutines, used
}

// used is the processor time, of which the kernel counts hundredths of a second.
func (m *measured) used() time.Duration {
	m.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
	if err != nil {
		m.tb.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// sessionCosts are for each of the clients that wait.
type sessionCosts struct {
	resident, goroutines, used float64 // KB, their number, milliseconds of processor time
}

// waiting measures what clients cost a server that connect, subscribe to one topic each where
// it is a front, and wait.
func waiting(tb testing.TB, what string, clients int) sessionCosts {
	tb.Helper()
	const atOnce = 16
	m := startMeasured(tb, what)
	who := makeCertificate(tb, pkix.Name{CommonName: "device"})
	open := func(n int) net.Conn {
		conn, err := tls.Dial("tcp", m.address, who.tlsConfig())
		if err != nil {
			tb.Error(err)
			return nil
		}
		if what == "TLS" {
			return conn
		}
		c, _, err := mqtt.Open(context.Background(), conn, &mqtt.Connect{ClientID: fmt.Sprint("client-", n), Level: mqtt.Level311, CleanSession: true, KeepAlive: 20 * time.Minute}, mqtt.Options{ConnectTimeout: patience})
		if err == nil {
			if err = c.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: fmt.Sprint("to/", n)}}}); err == nil {
				_, err = c.Read()
			}
		}
		if err != nil {
			tb.Error(err)
		}
		return conn
	}
	warm := open(clients)
	before, goroutines, used := m.look()
	conns := make(chan net.Conn, clients)
	var opening sync.WaitGroup
	for w := range atOnce {
		opening.Go(func() {
			for n := w; n < clients; n += atOnce {
				conns <- open(n)
			}
		})
	}
	opening.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	after, now, total := m.look()
	_ = warm.Close()
	close(conns)
	for conn := range conns {
		_ = conn.Close()
	}
	each := func(n float64) float64 { return n / float64(clients) }
	return sessionCosts{each(float64(after - before)), each(float64(now - goroutines)), each(float64(total-used) / float64(time.Millisecond))}
}

// BenchmarkSessions measures what a client costs that waits, against a connection of mutual
// TLS to a server that does nothing else.
func BenchmarkSessions(b *testing.B) {
	for b.Loop() {
		bare, front := waiting(b, "TLS", 2000), waiting(b, "front", 2000)
		b.ReportMetric(front.resident, "KB/session")
		b.ReportMetric(bare.resident, "KB/TLS")
		b.ReportMetric(front.resident/bare.resident, "×TLS")
		b.ReportMetric(front.goroutines, "goroutines/session")
		b.ReportMetric(front.used, "ms-CPU/session")
		b.ReportMetric(bare.used, "ms-CPU/TLS")
	}
}

// TestSessionCosts bounds what a client that waits takes in memory and goroutines, with garbage
// collected, by what mutual TLS alone takes in the same run.
func TestSessionCosts(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector has memory of its own")
	}
	const clients = 1000
	bare, front := waiting(t, "TLS", clients), waiting(t, "front", clients)
	ratio := front.resident / bare.resident
	t.Logf("a session takes %.1f KB, TLS alone %.1f KB: %.2f times as much; %.2f goroutines", front.resident, bare.resident, ratio, front.goroutines)
	if ratio > 2 || ratio != ratio {
		t.Errorf("a session takes %.2f times the memory of TLS alone, at most 2", ratio)
	}
	if front.goroutines > 2.1 {
		t.Errorf("a session takes %.2f goroutines, at most 2.1", front.goroutines)
	}
}
