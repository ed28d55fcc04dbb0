package cloud

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fescue-edge/fescue/periodic"
)

const (
	// minFree is what must stay free in the data folder, in bytes: enough for the
	// database to write what cores report, and for an operator to clean up.
	minFree = 64 << 20
	// expiryNotice is how long before its end a certificate is warned of.
	expiryNotice = 30 * 24 * time.Hour
	// healthEvery is how often the server looks at itself for its log.
	healthEvery = time.Minute
)

// room is the error of a data folder that is nearly full.
func (s *Server) room() error {
	free, err := s.o.Free(s.o.DataDir)
	if err != nil || free >= minFree {
		return nil // what cannot be asked shows in the write that fails
	}
	return fmt.Errorf("the disk of the server's data folder is nearly full: %d MB are free, %d MB have to be. Free space on it; until then only reading and deleting work", free>>20, minFree>>20)
}

// roomCache asks for the room on the disk at most every lookEvery: who asks for each
// message is not to wait for a slow file system.
type roomCache struct {
	mu   sync.Mutex
	at   time.Time
	last error
}

// lookEvery is short enough that what comes in between fits into minFree.
const lookEvery = 100 * time.Millisecond

func (l *roomCache) room(ask func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) > lookEvery {
		l.last, l.at = ask(), time.Now()
	}
	return l.last
}

// space is the error of a data folder without room for bytes of large bodies. They
// leave twice what has to stay free: what is small goes on while no more of them are
// taken.
func (s *Server) space(bytes int64) error {
	free, err := s.o.Free(s.o.DataDir)
	if err != nil || free-bytes >= 2*minFree {
		return nil
	}
	return fmt.Errorf("the disk of the server's data folder has no room for this: it takes up to %d MB with what is being sent already, %d MB are free, and %d MB have to stay so. Free space on it", bytes>>20, free>>20, 2*minFree>>20)
}

// Alive returns nil while the server works, also when its database refuses: only a
// database that is asked and never answers is a reason to start the server anew.
func (s *Server) Alive(ctx context.Context) error {
	if err := s.db.Ping(ctx); err != nil && ctx.Err() != nil {
		return fmt.Errorf("the database does not answer: %w", err)
	}
	return nil
}

// certificateEnds are the ends of the certificates that the server uses.
func (s *Server) certificateEnds() map[string]time.Time {
	ends := map[string]time.Time{"authority": s.authority.Certificate.NotAfter, "device": s.deviceTLS.NotAfter()}
	if s.apiTLS != nil {
		ends["api"] = s.apiTLS.NotAfter()
	}
	return ends
}

// unhealthy says what needs an operator, by a name that stays the same.
func (s *Server) unhealthy() map[string]string {
	found := map[string]string{}
	if err := s.room(); err != nil {
		found["disk"] = err.Error()
	}
	now := s.o.Now()
	for name, end := range s.certificateEnds() {
		if left := end.Sub(now); left < expiryNotice {
			found["certificate "+name] = fmt.Sprintf("the %s certificate ends at %s, in %d days: renew it before; if this machine's clock (%s) is wrong, set it",
				name, end.UTC().Format(time.RFC3339), int(left.Hours()/24), now.UTC().Format(time.RFC3339))
		}
	}
	return found
}

// watchHealth logs what needs an operator, once, and when it is over.
func (s *Server) watchHealth(ctx context.Context) {
	known := map[string]string{}
	periodic.AtOnce(ctx, healthEvery, func() {
		found := s.unhealthy()
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if _, before := known[name]; !before {
				s.o.Logger.Warn(found[name], "about", name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if _, still := found[name]; !still {
				s.o.Logger.Info("what needed an operator is over", "about", name)
			}
		}
		known = found
	})
}

// watchHealth adds free space and the ends of certificates.
func (m *metrics) watchHealth(s *Server) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fescue_data_free_bytes", Help: "Room on the disk of the data folder.",
	}, func() float64 {
		free, err := s.o.Free(s.o.DataDir)
		if err != nil {
			return -1
		}
		return float64(free)
	}))
	for name := range s.certificateEnds() {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fescue_certificate_end_timestamp_seconds", Help: "When a certificate of the server ends.",
			ConstLabels: prometheus.Labels{"certificate": name},
		}, func() float64 { return float64(s.certificateEnds()[name].Unix()) }))
	}
}
