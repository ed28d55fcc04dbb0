// Package cores keeps what the control plane knows of a core by the name of its
// thing alone: where client devices reach it, and whether it sends telemetry.
// Which group holds the core, and whether the thing exists, it does not know:
// like the original it takes both before they are set up.
package cores

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
)

// Store is what the service needs of the database.
type Store interface {
	// Connectivity of a core for which none was put is fescue.ErrNotFound.
	Connectivity(ctx context.Context, p fescue.Partition, thing string) (Connectivity, error)
	PutConnectivity(ctx context.Context, p fescue.Partition, thing string, c Connectivity) error
	// Telemetry is empty where nobody said anything.
	Telemetry(ctx context.Context, p fescue.Partition, thing string) (desired, reported fescue.Telemetry, err error)
	DesireTelemetry(ctx context.Context, p fescue.Partition, thing string, t fescue.Telemetry) error
	ReportTelemetry(ctx context.Context, p fescue.Partition, thing string, t fescue.Telemetry) error
}

// Service reads and changes it.
type Service struct {
	store Store
	now   func() time.Time
}

// New makes the service.
func New(store Store, now func() time.Time) *Service { return &Service{store, now} }

// InvalidError says what is wrong with a caller's argument.
type InvalidError struct{ Text string }

// Error is what is wrong.
func (e *InvalidError) Error() string { return e.Text }

func invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

func checkThing(name string) error {
	if !fescue.ValidThingName(name) {
		return invalid("%.200q is not the name of a thing: 1 to 128 characters of a-z, A-Z, 0-9, ':', '_' and '-'.", name)
	}
	return nil
}

// Connectivity reads where client devices reach a core; Version is empty when it
// was never set.
func (s *Service) Connectivity(ctx context.Context, p fescue.Partition, thing string) (Connectivity, error) {
	if err := checkThing(thing); err != nil {
		return Connectivity{}, err
	}
	c, err := s.store.Connectivity(ctx, p, thing)
	if errors.Is(err, fescue.ErrNotFound) {
		return Connectivity{}, nil
	}
	return c, err
}

// UpdateConnectivity replaces the whole list of a core, which may become empty.
// A port of 0 stands for DefaultPort.
func (s *Service) UpdateConnectivity(ctx context.Context, p fescue.Partition, thing string, info []fescue.ConnectivityInfo) (Connectivity, error) {
	if err := checkThing(thing); err != nil {
		return Connectivity{}, err
	}
	info, err := checkInfo(info)
	if err != nil {
		return Connectivity{}, err
	}
	c := Connectivity{Version: fescue.NewID(), Info: info, UpdatedAt: s.now().UTC()}
	if err := s.store.PutConnectivity(ctx, p, thing, c); err != nil {
		return Connectivity{}, fmt.Errorf("update connectivity of core %s: %w", thing, err)
	}
	return c, nil
}

// RuntimeConfiguration is what a core is to do at run time, without a
// deployment.
type RuntimeConfiguration struct {
	Telemetry fescue.Telemetry
	// InSync is whether the core said that it does so.
	InSync bool
}

// RuntimeConfiguration reads it. Telemetry is on by default (AWS IoT Greengrass
// developer guide).
func (s *Service) RuntimeConfiguration(ctx context.Context, p fescue.Partition, thing string) (RuntimeConfiguration, error) {
	if err := checkThing(thing); err != nil {
		return RuntimeConfiguration{}, err
	}
	desired, reported, err := s.store.Telemetry(ctx, p, thing)
	if err != nil {
		return RuntimeConfiguration{}, fmt.Errorf("telemetry of core %s: %w", thing, err)
	}
	desired = cmp.Or(desired, fescue.TelemetryOn)
	return RuntimeConfiguration{desired, desired == reported}, nil
}

// UpdateTelemetry sets whether a core is to send telemetry.
func (s *Service) UpdateTelemetry(ctx context.Context, p fescue.Partition, thing string, t fescue.Telemetry) error {
	return s.telemetry(ctx, p, thing, t, s.store.DesireTelemetry)
}

// SyncTelemetry takes what a core reports that it does, and returns what it is to do.
func (s *Service) SyncTelemetry(ctx context.Context, p fescue.Partition, thing string, says fescue.Telemetry) (fescue.Telemetry, error) {
	desired, reported, err := s.store.Telemetry(ctx, p, thing)
	if err == nil && says != reported {
		err = s.ReportTelemetry(ctx, p, thing, says)
	}
	if err != nil {
		return "", fmt.Errorf("telemetry of core %s: %w", thing, err)
	}
	return cmp.Or(desired, fescue.TelemetryOn), nil
}

// ReportTelemetry keeps what a core says it does.
func (s *Service) ReportTelemetry(ctx context.Context, p fescue.Partition, thing string, t fescue.Telemetry) error {
	return s.telemetry(ctx, p, thing, t, s.store.ReportTelemetry)
}

func (s *Service) telemetry(ctx context.Context, p fescue.Partition, thing string, t fescue.Telemetry,
	put func(context.Context, fescue.Partition, string, fescue.Telemetry) error,
) error {
	if err := checkThing(thing); err != nil {
		return err
	}
	if !t.Valid() {
		return invalid("Telemetry %.64q is not one of %s and %s.", t, fescue.TelemetryOn, fescue.TelemetryOff)
	}
	if err := put(ctx, p, thing, t); err != nil {
		return fmt.Errorf("set telemetry of core %s: %w", thing, err)
	}
	return nil
}
