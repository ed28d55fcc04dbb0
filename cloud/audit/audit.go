// Package audit keeps the record of every call that changes something. It is
// append-only: the package has no way to change or remove a record.
//
// A record is written after the call was carried out and before it is answered.
// When that fails the caller gets the error, the record goes to the log and waits,
// and no further call that changes something is carried out until what waits is
// written: a database that takes changes but no records does not go on silently.
//
// Of calls that are denied alike the first has a record, and the others of the same
// minute have one together: nobody fills the record with what he may not do.
package audit

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/periodic"
)

// Store keeps records.
type Store interface {
	// AddAuditRecords adds all or none.
	AddAuditRecords(ctx context.Context, records ...Record) error
	// AuditRecords are oldest first where the filter does not say otherwise.
	AuditRecords(ctx context.Context, p fescue.Partition, f Filter) ([]Record, error)
}

// Service is the record.
type Service struct {
	store  Store
	logger *slog.Logger

	// turn is whose it is to write what waits.
	turn chan struct{}

	mu sync.Mutex
	// waiting are records that could not be written, oldest first.
	waiting []Record
	denied  denials
}

// New makes the service.
func New(store Store, logger *slog.Logger) *Service {
	return &Service{store: store, logger: logger, turn: make(chan struct{}, 1)}
}

// writeTimeout bounds how long a call waits for its record.
const writeTimeout = 10 * time.Second

// Ready writes what waits. While it fails, nothing is to be changed.
func (s *Service) Ready(ctx context.Context) error {
	if _, some := s.first(); !some {
		return nil
	}
	timeout := time.NewTimer(writeTimeout)
	defer timeout.Stop()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("audit records wait to be written: %w", fescue.ErrBusy)
	}
	for {
		record, some := s.first()
		if !some {
			return nil
		}
		if err := s.add(ctx, record); err != nil {
			return fmt.Errorf("audit records wait to be written: %w", err)
		}
		s.mu.Lock()
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
	}
}

// first is the record that has waited for longest.
func (s *Service) first() (record Record, some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return Record{}, false
	}
	return s.waiting[0], true
}

// Add writes the records of a call that was carried out or refused, but for those of
// denials that are only counted. After an error they wait, and Ready fails.
func (s *Service) Add(ctx context.Context, records ...Record) error {
	s.mu.Lock()
	records = s.denied.first(records)
	s.mu.Unlock()
	return s.write(ctx, records)
}

func (s *Service) write(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	// The caller may be gone; what it did is recorded all the same.
	err := s.add(context.WithoutCancel(ctx), records...)
	if err == nil {
		return nil
	}
	for _, r := range records {
		s.logger.Error("audit record not written; calls that change something are refused until it is",
			"error", err, "request", r.ID, "partition", r.Partition, "at", r.At, "key", r.KeyID, "person", r.Person, "source", r.Source,
			"service", r.Service, "operation", r.Operation, "resource", r.Resource, "status", r.Status, "code", r.Code)
	}
	s.mu.Lock()
	s.waiting = append(s.waiting, records...)
	s.mu.Unlock()
	return fmt.Errorf("write audit record: %w", err)
}

// Run writes once a minute what was counted, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	periodic.Every(ctx, window, func() { s.Flush() }) // what fails is logged, and waits
}

// Flush writes the records of the denials that were counted since the last time.
func (s *Service) Flush() error {
	s.mu.Lock()
	records := s.denied.counted()
	s.mu.Unlock()
	return s.write(context.Background(), records)
}

func (s *Service) add(ctx context.Context, records ...Record) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.store.AddAuditRecords(ctx, records...)
}

// Records are the records of a partition and of its account, oldest first where the filter does not say otherwise.
func (s *Service) Records(ctx context.Context, p fescue.Partition, f Filter) ([]Record, error) {
	return s.store.AuditRecords(ctx, p, f)
}
