//go:build linux

package faults

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// clock is the wall clock of one program: a file of two numbers that the program
// maps, nanoseconds at which it stands still, and by which it is wrong. The
// monotonic clock goes on, as it does on a machine whose clock is set.
type clock struct {
	mu   sync.Mutex
	file string
}

// clockVariable names the file to a program.
const clockVariable = "FAULTS_CLOCK"

func newClock(file string) (*clock, error) {
	c := &clock{file: file}
	return c, os.WriteFile(file, make([]byte, 16), 0o600)
}

// set makes the clock stand at a time, or be wrong by a duration; zero values
// make it right.
func (c *clock) set(stands time.Time, wrong time.Duration) error {
	f, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	var numbers [16]byte
	if !stands.IsZero() {
		binary.NativeEndian.PutUint64(numbers[:], uint64(stands.UnixNano()))
	}
	binary.NativeEndian.PutUint64(numbers[8:], uint64(wrong))
	_, err = f.WriteAt(numbers[:], 0)
	return errors.Join(err, f.Close())
}

// spoil makes the clock wrong for a time.
func (c *clock) spoil(stands bool, wrong, lasts time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var at time.Time
	if stands {
		at = time.Now()
	}
	if err := c.set(at, wrong); err != nil {
		panic(fmt.Sprintf("set a clock: %v", err)) // a harness that does nothing finds nothing
	}
	time.Sleep(lasts)
	if err := c.set(time.Time{}, 0); err != nil {
		panic(fmt.Sprintf("set a clock right: %v", err))
	}
}

// wrong is how far a clock is set: from minutes, which deadlines notice, to days,
// which certificates do.
func wrong(pick uint64) time.Duration {
	return []time.Duration{3 * time.Minute, 40 * time.Minute, 30 * time.Hour, 90 * 24 * time.Hour}[pick%4]
}

// clockFaults are what happens to clocks.
var clockFaults = []fault{
	{name: "stop the server's clock", clock: true, do: func(s *site, lasts time.Duration, pick uint64) { s.struck(pick).clock.spoil(true, 0, lasts) }},
	{name: "set the server's clock ahead", clock: true, do: func(s *site, lasts time.Duration, pick uint64) { s.struck(pick).clock.spoil(false, wrong(pick), lasts) }},
	{name: "set the server's clock back", clock: true, do: func(s *site, lasts time.Duration, pick uint64) {
		s.struck(pick).clock.spoil(false, -wrong(pick), lasts)
	}},
	{name: "stop the core's clock", do: func(s *site, lasts time.Duration, _ uint64) { s.coreClock.spoil(true, 0, lasts) }},
	{name: "set the core's clock ahead", do: func(s *site, lasts time.Duration, pick uint64) { s.coreClock.spoil(false, wrong(pick), lasts) }},
	{name: "set the core's clock back", do: func(s *site, lasts time.Duration, pick uint64) { s.coreClock.spoil(false, -wrong(pick), lasts) }},
}

// drawRare draws one of some faults for one run in three.
func drawRare(r *rand.Rand, of []fault) []strike {
	k := drawStrike(r, of)
	if r.IntN(3) > 0 {
		return nil
	}
	return []strike{k}
}

// overlay writes what `go build -overlay` needs to give programs such a clock: the
// standard library's package time asks the file. The programs' own source is
// built as it is.
func overlay(dir string) (file string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	const asks = "\tsec, nsec, mono := runtimeNow()\n"
	before, after, ok := strings.Cut(string(text), "func Now() Time {\n"+asks)
	if !ok {
		return "", fmt.Errorf("%s does not read the clock as Go 1.26 does", source)
	}
	replace := make(map[string]string)
	for name, text := range map[string]string{
		"time.go":  before + "func Now() Time {\n" + asks + "\tsec, nsec = faultsNow(sec, nsec)\n" + after,
		"fault.go": clockSource,
	} {
		replace[filepath.Join(source, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}

// clockSource is the program's side of a clock.
const clockSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var faultsClock *[2]int64

func init() {
	name, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("open the clock " + name + ": " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 16, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map the clock " + name + ": " + err.Error())
	}
	faultsClock = (*[2]int64)(unsafe.Pointer(&page[0]))
}

func faultsNow(sec int64, nsec int32) (int64, int32) {
	if faultsClock == nil {
		return sec, nsec
	}
	now := sec*1e9 + int64(nsec) + atomic.LoadInt64(&faultsClock[1])
	if stands := atomic.LoadInt64(&faultsClock[0]); stands != 0 {
		now = stands
	}
	return now / 1e9, int32(now % 1e9)
}
`
