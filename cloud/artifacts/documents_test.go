package artifacts_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/artifacts/artifactstest"
)

// documents are by their hashes.
type documents map[string][]byte

var errDatabase = errors.New("the database is away")

// Document implements artifacts.Documents. One that is nil cannot be read.
func (d documents) Document(_ context.Context, hash string) ([]byte, error) {
	content, ok := d[hash]
	switch {
	case !ok:
		return nil, fescue.ErrNotFound
	case content == nil:
		return nil, errDatabase
	}
	return content, nil
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	document, lost := []byte("0123456789"), artifactstest.Hash([]byte("lost"))
	hash := artifactstest.Hash(document)
	known := documents{hash: document, lost: nil}
	t.Run("beside them, the store is as it was", func(t *testing.T) {
		t.Parallel()
		artifactstest.TestStore(t, func(t *testing.T) artifacts.Store {
			return artifacts.WithDocuments(openFolder(t, t.TempDir()), known)
		})
	})
	s := artifacts.WithDocuments(openFolder(t, t.TempDir()), known)
	if info, err := s.Stat(t.Context(), hash); err != nil || info.Size != 10 {
		t.Errorf("%+v, %v", info, err)
	}
	for _, test := range []struct {
		hash   string
		offset int64
		want   string
		err    error
	}{
		{hash, 0, "0123456789", nil},
		{hash, 7, "789", nil},
		{hash, 10, "", nil},
		{hash, 11, "", artifacts.ErrOffset},
		{hash, -1, "", artifacts.ErrOffset},
		{lost, 0, "", errDatabase},
		{artifactstest.Hash([]byte("unknown")), 0, "", fescue.ErrNotFound},
		{"../" + hash, 0, "", artifacts.ErrHash},
	} {
		r, err := s.Open(t.Context(), test.hash, test.offset)
		if !errors.Is(err, test.err) {
			t.Errorf("%s at %d: %v, want %v", test.hash, test.offset, err, test.err)
		}
		if err != nil {
			continue
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, []byte(test.want)) || r.Close() != nil {
			t.Errorf("at %d: %q, %v", test.offset, got, err)
		}
	}
	if _, err := s.Stat(t.Context(), lost); !errors.Is(err, errDatabase) {
		t.Errorf("%v, want %v", err, errDatabase)
	}
}
