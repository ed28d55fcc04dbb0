package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/artifacts/s3store"
	"github.com/fescue-edge/fescue/cloud/backup"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/pki"
)

// State says where the state of servers lies: as in Options.
type State struct {
	DataDir       string
	Database      string
	MasterKeyFile string
}

func (o *Options) state() State { return State{o.DataDir, o.Database, o.MasterKeyFile} }

// Names of settings of the database.
const (
	masterKeySetting = backup.MasterKeySetting
	artifactsSetting = "artifacts-mark"
)

// shared reports whether other servers may use the database.
func (s State) shared() bool { return s.Database != "" }

// what names the database in a message; a URL's password does not belong there.
func (s State) what() string {
	if s.shared() {
		return "the database of --database"
	}
	return "the database in " + s.DataDir
}

// open opens the database and the master key, making both where there are none.
// Other programs may have them open too.
func (s State) open(ctx context.Context, logger *slog.Logger) (_ *pki.MasterKey, _ *store.DB, err error) {
	database, keyFile := s.Database, s.MasterKeyFile
	if !s.shared() {
		database = filepath.Join(s.DataDir, databaseName)
	} else if !strings.Contains(database, "://") {
		return nil, nil, fmt.Errorf("--database %s is not a URL: give postgres://user@host/database, or leave it out for a file in the data folder", database)
	}
	if keyFile == "" {
		keyFile = filepath.Join(s.DataDir, masterKeyName)
	}
	if err := disk.MakeFolder(s.DataDir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make data folder: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(s.DataDir, backup.Unfinished)); err == nil {
		return nil, nil, fmt.Errorf("a restore into %s was cut short: empty the folder and run fescue restore again", s.DataDir)
	}
	if _, err := os.Stat(s.DataDir); err == nil {
		if err := keepPrivate(s.DataDir, logger); err != nil {
			return nil, nil, err
		}
	}
	db, err := store.Open(ctx, database, logger)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	kept, err := db.Settings().Kept(ctx, masterKeySetting)
	if err != nil {
		return nil, nil, err
	}
	master, err := pki.LoadMasterKey(keyFile, kept == "")
	if err != nil {
		return nil, nil, fmt.Errorf("%w; %s needs the master key that it was made with%s", err, s.what(), s.remedy())
	}
	if kept, err = db.Settings().Keep(ctx, masterKeySetting, master.ID()); err != nil {
		return nil, nil, err
	}
	if kept != master.ID() {
		return nil, nil, fmt.Errorf("master key %s is not the one that %s was made with%s", keyFile, s.what(), s.remedy())
	}
	if err := s.adoptKeys(ctx, accessKeys(db, master, time.Now), db, logger); err != nil {
		return nil, nil, err
	}
	return master, db, nil
}

// adoptKeys adopts the access keys of an early version, once. Whoever can write to
// the database could have its keys adopted a second time, with what they may do
// changed: that it was done is kept in the data folder too, and a database that
// says something else is not opened.
func (s State) adoptKeys(ctx context.Context, keys *identity.Keys, db *store.DB, logger *slog.Logger) error {
	done, err := db.AccessKeys().AccessKeysAdopted(ctx)
	if err != nil {
		return err
	}
	mark := filepath.Join(s.DataDir, keysAdoptedName)
	_, err = os.Lstat(mark)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	marked := err == nil
	changed := fmt.Errorf("%s is not as its servers left it: its access keys were sealed with what they may do, and it says that they were not. "+
		"Restore a backup; or, where you put an older database there yourself, look at its keys in it first and remove %s", s.what(), mark)
	if !done {
		if marked {
			return changed
		}
		adopted, err := keys.Adopt(ctx)
		if errors.Is(err, identity.ErrAdopted) {
			return fmt.Errorf("%w: %w", changed, err)
		}
		if err != nil {
			return fmt.Errorf("adopt access keys: %w", err)
		}
		for _, k := range adopted {
			logger.Warn("access key of an earlier version adopted with what its row says; nothing authenticated that before", "key", k.ID, "name", k.Name, "account", k.Account, "access", k.Access, "limit", k.Limit.String())
		}
	}
	if marked {
		return nil
	}
	return disk.WriteFile(mark, []byte("The access keys of the database are sealed with what they may do.\n"), 0o600)
}

func (s State) remedy() string {
	if !s.shared() {
		return ""
	}
	return ": give every server the same file, with FESCUE_MASTER_KEY_FILE"
}

// openArtifacts opens the artifacts, and beside them the contents of buckets, which
// are collected by another rule. Servers on one database use the same: what one of
// them takes, cores fetch from another.
func (s *Server) openArtifacts(ctx context.Context) (blobs, contents artifacts.Store, err error) {
	place := s.o.Artifacts
	if place == "" {
		place = s.path(artifactsName)
	}
	if strings.HasPrefix(place, s3store.Scheme) {
		var external *s3store.Store
		if external, err = s3store.Open(ctx, place, s.path(spoolName)); err == nil {
			blobs, contents = external, external.Within(bucketsName)
		}
	} else if blobs, err = artifacts.OpenFolder(place); err == nil {
		contents, err = artifacts.OpenFolder(filepath.Join(place, bucketsName))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open artifacts: %w", err)
	}
	if s.o.state().shared() {
		if err := s.checkArtifacts(ctx, blobs); err != nil {
			return nil, nil, fmt.Errorf("artifacts in %s: %w", place, err)
		}
	}
	return blobs, contents, nil
}

// checkArtifacts refuses artifacts that are not those of the other servers. The
// first server puts one that says nothing; the others must find it.
func (s *Server) checkArtifacts(ctx context.Context, blobs artifacts.Store) error {
	hash, err := s.db.Settings().Kept(ctx, artifactsSetting)
	if err != nil {
		return err
	}
	if hash == "" {
		mark := "artifacts " + fescue.NewID()
		sum := sha256.Sum256([]byte(mark))
		hash = hex.EncodeToString(sum[:])
		if err := blobs.Put(ctx, hash, strings.NewReader(mark)); err != nil {
			return err
		}
		if hash, err = s.db.Settings().Keep(ctx, artifactsSetting, hash); err != nil {
			return err
		}
	}
	if _, err := blobs.Stat(ctx, hash); errors.Is(err, fescue.ErrNotFound) {
		return errors.New("they are not those of the other servers on this database: share one folder or bucket among all of them and name it with --artifacts")
	} else if err != nil {
		return err
	}
	return nil
}
