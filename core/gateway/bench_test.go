//go:build linux

package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/gateway"
	"github.com/fescue-edge/fescue/core/router"
	"github.com/fescue-edge/fescue/mqtt"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/ports"
)

// benchFolder has a run of this program be the gateway of a benchmark, whose memory and
// CPU are then its own.
const benchFolder = "FESCUE_BENCH_GATEWAY"

func TestMain(m *testing.M) {
	if folder := os.Getenv(benchFolder); folder != "" {
		fmt.Fprintln(os.Stderr, serveBench(folder))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// pairs publish and receive in the benchmarks: device 2n publishes on t/2n, which comes
// to device 2n+1.
const pairs = 50

// serveBench is the gateway of the devices that a folder lists.
func serveBench(folder string) error {
	var devices []gateway.Device
	data, err := os.ReadFile(filepath.Join(folder, "devices.json"))
	if err == nil {
		err = json.Unmarshal(data, &devices)
	}
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "server.crt"), filepath.Join(folder, "server.key"))
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	g, r := routed(gateway.Options{Logger: logger, Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }}, nil)
	g.SetDevices(devices)
	var rows []fescue.Subscription
	for n := range pairs {
		rows = append(rows, fescue.Subscription{Id: fmt.Sprint(n), Source: devices[2*n].ThingARN, Target: devices[2*n+1].ThingARN, Subject: "t/#"})
	}
	table, err := router.NewTable(rows)
	if err != nil {
		return err
	}
	r.SetTable(table)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "address.new"), []byte(l.Addr().String()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(folder, "address.new"), filepath.Join(folder, "address")); err != nil {
		return err
	}
	return g.Serve(context.Background(), l)
}

// measured is a server under measurement.
type measured struct {
	b       *testing.B
	pid     int
	address string
	devices []identity
}

// prepare makes the certificates of n devices, of an authority that the server trusts
// where it wants one.
func prepare(b *testing.B, n int) (folder string, devices []identity) {
	b.Helper()
	folder = b.TempDir()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	authority, err := pki.NewAuthority("bench", pki.ECDSA, time.Now())
	check(err)
	server, err := authority.IssueServer(pki.ECDSA, []string{"127.0.0.1"}, time.Now(), 24*time.Hour)
	check(err)
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	check(err)
	var list []gateway.Device
	for i := range n {
		own, err := pki.GenerateKey(pki.ECDSA)
		check(err)
		cert, err := authority.IssueDevice(own.Public(), time.Now())
		check(err)
		id := identity{fmt.Sprintf("device%d", i), tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: own}}
		devices, list = append(devices, id), append(list, id.listed())
	}
	text, err := json.Marshal(list)
	check(err)
	for name, data := range map[string][]byte{
		"ca.pem": authority.PEM(), "server.crt": pki.EncodeCertificate(server.Certificate[0]),
		"server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), "devices.json": text,
	} {
		check(os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	return folder, devices
}

// start starts a server on the first processor, and leaves the others to the clients.
func (m *measured) start(cmd *exec.Cmd) {
	m.b.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	var err error
	if n := runtime.NumCPU(); n > 1 {
		apart.Do(func() { pinClients(m.b, n) })
		runtime.LockOSThread() // whose processors are the program's
		pin(m.b, unix.Gettid(), 0, 1)
		err = cmd.Start()
		pin(m.b, unix.Gettid(), 1, n)
		runtime.UnlockOSThread()
	} else {
		err = cmd.Start()
	}
	if err != nil {
		m.b.Fatal(err)
	}
	m.pid = cmd.Process.Pid
	m.b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if m.b.Failed() {
			m.b.Log(said.String())
		}
	})
}

var apart sync.Once

// pinClients keeps this program off the first of n processors.
func pinClients(b *testing.B, n int) {
	b.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		b.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			b.Fatal(err)
		}
		pin(b, id, 1, n)
	}
	runtime.GOMAXPROCS(n - 1)
}

// pin has a thread run on the processors from first to before end.
func pin(b *testing.B, thread, first, end int) {
	b.Helper()
	var set unix.CPUSet
	for cpu := first; cpu < end; cpu++ {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		b.Fatal(err)
	}
}

// startGateway is a gateway of so many devices.
func startGateway(b *testing.B, devices int) *measured {
	m := &measured{b: b}
	folder, list := prepare(b, devices)
	m.devices = list
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchFolder+"="+folder)
	m.start(cmd)
	testkit.Until(b, "the gateway serves", func() bool {
		text, err := os.ReadFile(filepath.Join(folder, "address"))
		m.address = string(text)
		return err == nil
	})
	return m
}

// startMosquitto is a Mosquitto that so many devices may use. It skips the benchmark where
// that is not installed.
func startMosquitto(b *testing.B, devices int) *measured {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		b.Skip("mosquitto (Debian's package of that name) is not installed")
	}
	m := &measured{b: b}
	folder, list := prepare(b, devices)
	m.devices = list
	port := ports.Take(b)
	m.address = fmt.Sprintf("127.0.0.1:%d", port)
	config := fmt.Sprintf("user root\nlistener %d 127.0.0.1\ncafile %[2]s/ca.pem\ncertfile %[2]s/server.crt\nkeyfile %[2]s/server.key\n"+
		"require_certificate true\nallow_anonymous true\nlog_type error\n", port, folder)
	if err := os.WriteFile(filepath.Join(folder, "mosquitto.conf"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	// A program that Go starts has the limit of open files that Go found.
	m.start(exec.Command("sh", "-c", `ulimit -n "$(ulimit -H -n)"; exec "$0" -c "$1"`, program, filepath.Join(folder, "mosquitto.conf")))
	testkit.Until(b, "Mosquitto serves", func() bool {
		conn, err := net.Dial("tcp", m.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return m
}

// servers runs a benchmark against the gateway, and against Mosquitto where it is
// installed.
func servers(b *testing.B, devices int, run func(*testing.B, *measured)) {
	b.Run("gateway", func(b *testing.B) { run(b, startGateway(b, devices)) })
	b.Run("mosquitto", func(b *testing.B) { run(b, startMosquitto(b, devices)) })
}

func (m *measured) connect(id identity) *mqtt.Client {
	m.b.Helper()
	conn, err := tls.Dial("tcp", m.address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{id.pair}})
	if err != nil {
		m.b.Fatal(err)
	}
	c := connect(id)
	c.KeepAlive = 20 * time.Minute
	client, _, err := mqtt.Open(context.Background(), conn, c, mqtt.Options{})
	if err != nil {
		m.b.Fatal(err)
	}
	m.b.Cleanup(client.Close)
	return client
}

// stat is a field of /proc/<pid>/stat, counted from 1.
func (m *measured) stat(field int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
	if err != nil {
		m.b.Fatal(err)
	}
	_, rest, _ := bytes.Cut(text, []byte(") "))
	n, err := strconv.ParseFloat(strings.Fields(string(rest))[field-3], 64)
	if err != nil {
		m.b.Fatal(err)
	}
	return n
}

// resident is in KB, CPU in seconds.
func (m *measured) resident() float64 { return m.stat(24) * float64(os.Getpagesize()) / 1024 }
func (m *measured) cpu() float64      { return (m.stat(14) + m.stat(15)) / 100 }

// BenchmarkIdleDevice is what a device costs that is connected, has subscribed and has
// published once.
func BenchmarkIdleDevice(b *testing.B) {
	const devices = 2500
	servers(b, devices, func(b *testing.B, m *measured) {
		for b.Loop() {
			m.connect(m.devices[0]).Close() // what the first handshake costs is no device's
			before := m.resident()
			clients := make([]*mqtt.Client, len(m.devices))
			for i, id := range m.devices {
				clients[i] = m.connect(id)
			}
			for i, c := range clients {
				if err := c.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "f", QoS: 1}}}); err != nil {
					b.Fatal(err)
				}
				if err := c.Send(&mqtt.Publish{Topic: fmt.Sprintf("p/%d", i), Payload: []byte("x"), QoS: 1, ID: 2}); err != nil {
					b.Fatal(err)
				}
			}
			for _, c := range clients {
				for range 2 { // SUBACK and PUBACK
					if _, err := c.Read(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric((m.resident()-before)/devices, "KB/device")
			b.ReportMetric(before/1024, "MB/alone")
		}
	})
}

// stream is 50 publishers and as many subscribers, each with a topic of its own.
type stream struct {
	*measured
	qos                     byte
	publishers, subscribers []*mqtt.Client
}

func (m *measured) stream(qos byte) *stream {
	m.b.Helper()
	s := &stream{measured: m, qos: qos}
	for n := range pairs {
		publisher, subscriber := m.connect(m.devices[2*n]), m.connect(m.devices[2*n+1])
		if err := subscriber.Send(&mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: fmt.Sprintf("t/%d", n), QoS: qos}}}); err != nil {
			m.b.Fatal(err)
		}
		if _, err := subscriber.Read(); err != nil {
			m.b.Fatal(err)
		}
		s.publishers, s.subscribers = append(s.publishers, publisher), append(s.subscribers, subscriber)
	}
	return s
}

// carry has each publisher send so many messages of 128 bytes: turn waits for the time of
// each and writes what it likes into the payload, arrived learns of each that has come.
func (s *stream) carry(each int, turn func(publisher, number int, payload []byte), arrived func(subscriber int, payload []byte)) {
	b := s.b
	var running sync.WaitGroup
	for n := range pairs {
		running.Go(func() {
			for range each {
				p, err := s.subscribers[n].Read()
				if err != nil {
					b.Error(err)
					return
				}
				if id := p.(*mqtt.Publish).ID; id > 0 {
					_ = s.subscribers[n].Send(&mqtt.Puback{ID: id})
				}
				arrived(n, p.(*mqtt.Publish).Payload)
			}
		})
		if s.qos > 0 {
			running.Go(func() {
				for range each {
					if _, err := s.publishers[n].Read(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		running.Go(func() {
			for i := range each {
				p := &mqtt.Publish{Topic: fmt.Sprintf("t/%d", n), Payload: make([]byte, 128), QoS: s.qos}
				turn(n, i, p.Payload)
				if s.qos > 0 {
					p.ID = uint16(i%60000 + 1)
				}
				if err := s.publishers[n].Send(p); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}

// saturate sends with so many messages of each publisher on the way, and returns the rate.
func (s *stream) saturate(each, inFlight int) (rate float64) {
	room := make([]chan struct{}, pairs)
	for n := range room {
		room[n] = make(chan struct{}, inFlight)
	}
	began := time.Now()
	s.carry(each, func(n, _ int, _ []byte) { room[n] <- struct{}{} }, func(n int, _ []byte) { <-room[n] })
	return float64(each*pairs) / time.Since(began).Seconds()
}

// pace sends at a rate, and returns how long the messages took, from when each was due.
func (s *stream) pace(each int, rate float64) (took []time.Duration) {
	interval := time.Duration(float64(pairs) / rate * float64(time.Second))
	var mu sync.Mutex
	began := time.Now()
	ticks := make([]*time.Ticker, pairs)
	for n := range ticks {
		ticks[n] = time.NewTicker(max(interval, time.Millisecond))
		defer ticks[n].Stop()
	}
	s.carry(each, func(n, i int, payload []byte) {
		due := began.Add(time.Duration(i)*interval + interval*time.Duration(n)/pairs)
		for time.Now().Before(due) {
			<-ticks[n].C
		}
		binary.BigEndian.PutUint64(payload, uint64(due.UnixNano()))
	}, func(_ int, payload []byte) {
		passed := time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(payload))))
		mu.Lock()
		took = append(took, passed)
		mu.Unlock()
	})
	slices.Sort(took)
	return took
}

// generator is the CPU that this process, which is all clients, has used, in seconds.
func generator() float64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkForward is what goes from 50 publishers to 50 subscribers, with 20 messages of
// each publisher on the way, and with one.
func BenchmarkForward(b *testing.B) {
	for _, inFlight := range []int{20, 1} {
		for _, qos := range []byte{0, 1} {
			b.Run(fmt.Sprintf("%d/QoS%d", inFlight, qos), func(b *testing.B) {
				servers(b, 2*pairs, func(b *testing.B, m *measured) {
					s := m.stream(qos)
					each := b.N/pairs + 1
					cpu, own := m.cpu(), generator()
					b.ResetTimer()
					rate := s.saturate(each, inFlight)
					b.StopTimer()
					sent := float64(each * pairs)
					b.ReportMetric(rate, "messages/s")
					b.ReportMetric((m.cpu()-cpu)/sent*1e6, "µs-CPU/message")
					b.ReportMetric((generator()-own)/sent*1e6, "µs-clients/message")
				})
			})
		}
	}
}

// BenchmarkAtHalf is how long messages take at half of the rate that Mosquitto reaches in
// the same run, from when each was due. The servers take turns. It is to be run once.
func BenchmarkAtHalf(b *testing.B) {
	const turns, seconds = 3, 4
	for _, qos := range []byte{0, 1} {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			for b.Loop() {
				mosquitto := startMosquitto(b, 2*pairs).stream(qos)
				gateway := startGateway(b, 2*pairs).stream(qos)
				half := mosquitto.saturate(1000, 20) / 2
				each := int(half*seconds)/pairs + 1
				var theirs, ours []time.Duration
				own := generator()
				began := time.Now()
				for range turns {
					theirs = append(theirs, mosquitto.pace(each, half)...)
					ours = append(ours, gateway.pace(each, half)...)
				}
				slices.Sort(theirs)
				slices.Sort(ours)
				p99 := func(list []time.Duration) float64 { return list[len(list)*99/100].Seconds() * 1000 }
				b.ReportMetric(half, "messages/s")
				b.ReportMetric(p99(theirs), "ms-p99-mosquitto")
				b.ReportMetric(p99(ours), "ms-p99-gateway")
				b.ReportMetric((generator()-own)/time.Since(began).Seconds(), "CPUs-clients")
			}
		})
	}
}
