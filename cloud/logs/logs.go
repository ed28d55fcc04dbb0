// Package logs keeps what cores send of their logs, for a time and up to a size for
// each core, and gives it to who may read the group. It knows lines and pieces; it
// must not know who asks, nor how they came.
package logs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// Piece are lines of one log of a core that came together.
type Piece struct {
	Partition fescue.Partition
	GroupID   string
	Thing     string
	// ID names the piece among those of its core.
	ID string
	// At is when it came.
	At time.Time
	// Component and Name are the log's.
	Component, Name string
	// Body is gzip of JSON of the lines.
	Body []byte
}

// Filter chooses pieces of a group.
type Filter struct {
	// From is when the oldest came.
	From time.Time
	// Thing, Component and Name, when set, are those of the pieces.
	Thing, Component, Name string
	// AfterAt and AfterID continue behind a piece.
	AfterAt time.Time
	AfterID string
	Limit   int
}

// Store keeps pieces.
type Store interface {
	// AddLogs adds the pieces of a batch of one core, all or none; a piece that is
	// there already stays. Of the core's pieces the oldest go until they have no more
	// than space bytes.
	AddLogs(ctx context.Context, p fescue.Partition, thing string, pieces []Piece, space int64) error
	// Logs are oldest first.
	Logs(ctx context.Context, p fescue.Partition, groupID string, f Filter) ([]Piece, error)
}

// Cores returns which core a group has.
type Cores interface {
	// GroupCore is the thing of the group's core, or fescue.ErrNotFound.
	GroupCore(ctx context.Context, p fescue.Partition, groupID string) (string, error)
}

// DefaultSpace is how much of each core's logs is kept, compressed, in bytes.
const DefaultSpace = 16 << 20

// Options are what a Service is made of.
type Options struct {
	Store Store
	Cores Cores
	// Space bounds the logs of each core, in bytes; 0 means DefaultSpace.
	Space int64
	Now   func() time.Time
}

// Service keeps logs. Make one with New.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service {
	if o.Space == 0 {
		o.Space = DefaultSpace
	}
	return &Service{o}
}

var (
	// ErrBatch means that what a core sent makes no sense.
	ErrBatch = errors.New("these are no lines of logs")
	// ErrForeign means that the group is not one that the core runs.
	ErrForeign = errors.New("the group does not have this core")
)

// Put keeps what a core sends. Errors wrap ErrBatch or ErrForeign where it is at
// fault.
func (s *Service) Put(ctx context.Context, p fescue.Partition, thing string, batch corelink.LogBatch) error {
	if err := batch.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrBatch, err)
	}
	core, err := s.Cores.GroupCore(ctx, p, batch.GroupID)
	if errors.Is(err, fescue.ErrNotFound) || err == nil && core != thing {
		return fmt.Errorf("%w: %s", ErrForeign, batch.GroupID)
	}
	if err != nil {
		return err
	}
	at := s.Now().UTC()
	var pieces []Piece
	for i, l := range batch.Logs {
		body, err := pack(l)
		if err != nil {
			return err
		}
		pieces = append(pieces, Piece{
			Partition: p, GroupID: batch.GroupID, Thing: thing, ID: batch.ID + "." + strconv.Itoa(i), At: at,
			Component: l.Component, Name: l.Name, Body: body,
		})
	}
	return s.Store.AddLogs(ctx, p, thing, pieces, s.Space)
}

func pack(l corelink.LogLines) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(l); err != nil {
		return nil, err
	}
	err := z.Close()
	return b.Bytes(), err
}

// Bounds of a page: what is read goes on until there is so much text, or so many
// pieces.
const (
	pageText   = 512 << 10
	pagePieces = 100
)

// Read are the lines of a group's logs from a time on, in the order in which they
// came, a page of them: behind its last piece the next begins, unless there is none.
func (s *Service) Read(ctx context.Context, p fescue.Partition, groupID string, f Filter) (lines []Lines, more bool, err error) {
	f.Limit = pagePieces + 1
	pieces, err := s.Store.Logs(ctx, p, groupID, f)
	if err != nil {
		return nil, false, err
	}
	size := 0
	for i, piece := range pieces {
		if i == pagePieces || size > pageText {
			return lines, true, nil
		}
		l := Lines{Piece: piece}
		z, err := gzip.NewReader(bytes.NewReader(piece.Body))
		if err == nil {
			err = json.NewDecoder(io.LimitReader(z, 8*corelink.MaxBatch)).Decode(&l.LogLines)
		}
		if err != nil {
			return nil, false, fmt.Errorf("logs of core %s, piece %s: %w", piece.Thing, piece.ID, err)
		}
		for _, line := range l.LogLines.Lines {
			size += len(line.Text)
		}
		lines = append(lines, l)
	}
	return lines, false, nil
}

// Lines are a piece with its lines.
type Lines struct {
	Piece
	corelink.LogLines
}
