package telemetry

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue/corelink"
)

// Machine is the source of the machine's own figures, namespace SystemMetrics, read
// below proc: memory that is not available to programs, the share of the processors'
// time that was used since the figures were last taken, and open files. A figure that
// cannot be read is left out.
func Machine(proc string) Source {
	m := &machine{proc: proc}
	m.busy, m.all, _ = m.processors()
	return m.read
}

type machine struct {
	proc string
	// busy and all are what the processors did until the last reading.
	busy, all uint64
}

func (m *machine) read() []corelink.TelemetryPoint {
	var list []corelink.TelemetryMetric
	if mb, ok := m.memory(); ok {
		list = append(list, corelink.TelemetryMetric{Name: "SystemMemUsage", Sum: mb, Unit: "Megabytes"})
	}
	if busy, all, ok := m.processors(); ok {
		share := 0.0
		if all > m.all && busy >= m.busy {
			share = 100 * float64(busy-m.busy) / float64(all-m.all)
		}
		m.busy, m.all = busy, all
		list = append(list, corelink.TelemetryMetric{Name: "CpuUsage", Sum: round(min(share, 100)), Unit: "Percent"})
	}
	if n, ok := m.files(); ok {
		list = append(list, corelink.TelemetryMetric{Name: "TotalNumberOfFDs", Sum: n, Unit: "Count"})
	}
	if len(list) == 0 {
		return nil
	}
	return []corelink.TelemetryPoint{{Namespace: "SystemMetrics", Metrics: list}}
}

// round keeps two digits behind the point.
func round(f float64) float64 { return math.Round(f*100) / 100 }

// memory is what is in use, in MB.
func (m *machine) memory() (float64, bool) {
	text, err := os.ReadFile(filepath.Join(m.proc, "meminfo"))
	if err != nil {
		return 0, false
	}
	kb := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			if n, err := strconv.ParseFloat(fields[0], 64); err == nil {
				kb[name] = n
			}
		}
	}
	total, ok1 := kb["MemTotal"]
	available, ok2 := kb["MemAvailable"]
	return round(max(total-available, 0) / 1024), ok1 && ok2
}

// processors are the ticks of all processors since the machine started: those that they
// worked, and all.
func (m *machine) processors() (busy, all uint64, ok bool) {
	text, err := os.ReadFile(filepath.Join(m.proc, "stat"))
	if err != nil {
		return 0, 0, false
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 6 || string(fields[0]) != "cpu" {
		return 0, 0, false
	}
	// user nice system idle iowait irq softirq steal; what guests take is in user, too.
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, 0, false
		}
		all += n
		if i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, all, true
}

// files is how many files are open on the machine.
func (m *machine) files() (float64, bool) {
	text, err := os.ReadFile(filepath.Join(m.proc, "sys", "fs", "file-nr"))
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(fields[0], 10, 63)
	return float64(n), err == nil
}
