// Package backup writes what a server must not lose into one file, while the
// server runs, and lays it out again in an empty folder. An archive is a tar file
// that begins with its table: every file, its size and its SHA-256, and the table's
// MAC. The package
// knows the names in a data folder and nothing of what the files mean.
package backup

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/pki"
)

// Format is the version of archives that this package writes; it reads those from
// 1 on. Archives of format 1 are not authenticated.
const Format = 2

// Names in a data folder.
const (
	Database  = "fescue.db"
	Artifacts = "artifacts"
	Buckets   = "buckets" // in Artifacts: contents of objects
	MasterKey = "master.key"
	AccessKey = "access-key.json"
)

// Unfinished lies in a data folder while it is being restored: a server does not
// start on it.
const Unfinished = "restore-unfinished"

// MasterKeySetting names the master key's id in the database.
const MasterKeySetting = "master-key-id"

const (
	// tableName is the archive's first entry.
	tableName = "backup.json"
	// maxTable bounds it, in bytes: about half a million artifacts.
	maxTable = 128 << 20
)

// Table says what an archive holds.
type Table struct {
	Format    int       `json:"format"`
	CreatedAt time.Time `json:"createdAt"`
	// MasterKeyID names the master key that the secrets in the database are
	// wrapped by.
	MasterKeyID string `json:"masterKeyId"`
	Files       []File `json:"files"`
	// MAC authenticates all of the above by a key of the master key: an archive
	// that somebody else made or changed has none that fits.
	MAC []byte `json:"mac,omitempty"`
}

// authenticator is the HMAC-SHA256 of the table, and through its hashes of every file.
func (t Table) authenticator(key *pki.MasterKey) ([]byte, error) {
	secret, err := key.Derive("backups")
	if err != nil {
		return nil, err
	}
	t.MAC = nil
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(data)
	return mac.Sum(nil), nil
}

// ErrUnauthenticated is wrapped beside ErrArchive when nothing proves that a
// server's own master key made the archive as it is.
var ErrUnauthenticated = errors.New("it is not authenticated")

// Verify proves that whoever has the master key made the archive with this table.
func (t Table) Verify(key *pki.MasterKey) error {
	if key.ID() != t.MasterKeyID {
		return fmt.Errorf("%w: %w: the master key %s is not its own, %s", ErrArchive, ErrUnauthenticated, key.ID(), t.MasterKeyID)
	}
	if len(t.MAC) == 0 {
		return fmt.Errorf("%w: %w: a version that made no authenticated backups made it, or somebody else did", ErrArchive, ErrUnauthenticated)
	}
	want, err := t.authenticator(key)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, t.MAC) {
		return fmt.Errorf("%w: %w: it was changed after it was made", ErrArchive, ErrUnauthenticated)
	}
	return nil
}

// File is one file of an archive.
type File struct {
	// Name is relative to the data folder, with slashes.
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Holds reports whether the archive has a file of this name.
func (t Table) Holds(name string) bool {
	for _, f := range t.Files {
		if f.Name == name {
			return true
		}
	}
	return false
}

// Bytes is the size of all files.
func (t Table) Bytes() (n int64) {
	for _, f := range t.Files {
		n += f.Size
	}
	return n
}

// ErrArchive is wrapped by every refusal of an archive.
var ErrArchive = errors.New("not a usable backup")

func parseTable(data []byte) (Table, error) {
	var t Table
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("%w: its table does not parse: %w", ErrArchive, err)
	}
	if t.Format < 1 || t.Format > Format {
		return t, fmt.Errorf("%w: format %d, this version reads 1 to %d", ErrArchive, t.Format, Format)
	}
	seen := make(map[string]bool, len(t.Files))
	for _, f := range t.Files {
		switch {
		case !validName(f):
			return t, fmt.Errorf("%w: a file named %q does not belong into a data folder", ErrArchive, f.Name)
		case seen[f.Name]:
			return t, fmt.Errorf("%w: it names %s twice", ErrArchive, f.Name)
		case f.Size < 0 || !fescue.ValidHash(f.SHA256):
			return t, fmt.Errorf("%w: %s has %d bytes and the hash %q", ErrArchive, f.Name, f.Size, f.SHA256)
		}
		seen[f.Name] = true
	}
	if !seen[Database] {
		return t, fmt.Errorf("%w: it has no database", ErrArchive)
	}
	return t, nil
}

// validName reports whether a file may lie where it says: one of the few names,
// or an artifact under its hash.
func validName(f File) bool {
	switch f.Name {
	case Database, MasterKey, AccessKey:
		return true
	}
	if !fescue.ValidHash(f.SHA256) {
		return false
	}
	shelf, found := strings.CutSuffix(f.Name, "/"+f.SHA256[:2]+"/"+f.SHA256)
	return found && (shelf == Artifacts || shelf == path.Join(Artifacts, Buckets))
}

// Progress is called with how far the work has come, by bytes. It may be nil.
type Progress func(done, total int64)

func (p Progress) report(done, total int64) {
	if p != nil {
		p(done, total)
	}
}
