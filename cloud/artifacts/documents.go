package artifacts

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/fescue-edge/fescue"
)

// Documents are small blobs that lie elsewhere: in the database, with the rows that name them.
type Documents interface {
	// Document is a whole blob. An unknown hash is fescue.ErrNotFound.
	Document(ctx context.Context, hash string) ([]byte, error)
}

// WithDocuments is a store that reads documents, too. What is put goes to the store, and only
// there something is deleted.
func WithDocuments(s Store, d Documents) Store { return documented{s, d} }

type documented struct {
	Store
	documents Documents
}

// Open implements Store.
func (s documented) Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error) {
	document, err := s.document(ctx, hash)
	switch {
	case errors.Is(err, fescue.ErrNotFound):
		return s.Store.Open(ctx, hash, offset)
	case err != nil:
		return nil, err
	case offset < 0 || offset > int64(len(document)):
		return nil, ErrOffset
	}
	return io.NopCloser(bytes.NewReader(document[offset:])), nil
}

// Stat implements Store. When a document was stored is not known.
func (s documented) Stat(ctx context.Context, hash string) (Info, error) {
	document, err := s.document(ctx, hash)
	if errors.Is(err, fescue.ErrNotFound) {
		return s.Store.Stat(ctx, hash)
	}
	return Info{Size: int64(len(document))}, err
}

func (s documented) document(ctx context.Context, hash string) ([]byte, error) {
	if err := checkHash(hash); err != nil {
		return nil, err
	}
	return s.documents.Document(ctx, hash)
}
