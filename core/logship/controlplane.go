package logship

import (
	"context"
	"fmt"

	"github.com/fescue-edge/fescue/corelink"
)

// ControlPlane is the control plane's device port.
type ControlPlane struct {
	Client interface {
		PutLogs(ctx context.Context, thing string, batch corelink.LogBatch) error
	}
	Thing string
}

// String implements Destination.
func (ControlPlane) String() string { return "the control plane" }

// Send implements Destination.
func (c ControlPlane) Send(ctx context.Context, batch *Batch) error {
	wire := corelink.LogBatch{ID: batch.ID, GroupID: batch.GroupID}
	for _, l := range batch.Logs {
		lines := corelink.LogLines{Component: l.Component, Name: l.Name, Lost: l.Lost, Lines: make([]corelink.LogLine, 0, len(l.Lines))}
		for _, line := range l.Lines {
			lines.Lines = append(lines.Lines, corelink.LogLine{At: max(0, line.At.UnixMilli()), Level: line.Level.String(), Text: line.Text})
		}
		wire.Logs = append(wire.Logs, lines)
	}
	err := c.Client.PutLogs(ctx, c.Thing, wire)
	if _, refused := corelink.Refused(err); refused {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
