package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T, path string) (*DB, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	db := New(path, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, log
}

func put(db *DB, topic string) error {
	return db.update(context.Background(), func(tx *sql.Tx, _ uint64) error {
		_, err := tx.Exec(`INSERT INTO queue (topic, payload) VALUES (?, ?)`, topic, bytes.Repeat([]byte("payload "), 100))
		return err
	})
}

func count(t *testing.T, db *DB) (n int) {
	t.Helper()
	err := db.view(context.Background(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT count(*) FROM queue WHERE length(payload) = 800`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "var", "state", FileName)
	db, _ := open(t, path)
	if there, err := db.Exists(); there || err != nil {
		t.Errorf("before the first use: there %v, %v", there, err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 20 {
				if err := put(db, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if n := count(t, db); n != 160 {
		t.Errorf("%d rows", n)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "cache_size": "-256", "auto_vacuum": "2", "busy_timeout": "5000"} {
		var got string
		if err := db.open.write.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := put(db, "late"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	again, _ := open(t, path)
	if n := count(t, again); n != 160 {
		t.Errorf("%d rows after it was opened again", n)
	}
}

// A file that cannot be right is put aside, and the core goes on.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(content []byte) []byte{
		"another file":           func([]byte) []byte { return []byte("a letter to the landlord, of more than one line\n") },
		"overwritten":            func(c []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(c)) },
		"zeros behind the head":  func(c []byte) []byte { return append(c[:4096:4096], make([]byte, len(c)-4096)...) },
		"garbage behind a table": func(c []byte) []byte { return append(c[:12288:12288], bytes.Repeat([]byte{0xa5}, len(c)-12288)...) },
		"cut off":                func(c []byte) []byte { return c[:len(c)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), FileName)
			db, _ := open(t, path)
			for range 50 {
				if err := put(db, "a"); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, harm(content), 0o600); err != nil {
				t.Fatal(err)
			}
			again, log := open(t, path)
			if n := count(t, again); n != 0 {
				t.Errorf("%d rows", n)
			}
			if err := put(again, "b"); err != nil {
				t.Error(err)
			}
			aside, err := filepath.Glob(path + ".damaged-*Z")
			if err != nil || len(aside) != 1 || !strings.Contains(log.String(), aside[0]) || strings.Count(log.String(), "\n") != 1 {
				t.Errorf("put aside: %v, %v; log:\n%s", aside, err, log)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || len(kept) == 0 {
				t.Errorf("%d bytes were kept, %v", len(kept), err)
			}
		})
	}
	t.Run("again and again", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), FileName)
		now := time.Now()
		for i := range 2 * maxDamaged {
			if err := os.WriteFile(path, []byte("this is not a database, whatever it is called"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+"-wal", []byte("nor a log"), 0o600); err != nil {
				t.Fatal(err)
			}
			db, _ := open(t, path)
			db.now = func() time.Time { return now.Add(time.Duration(i) * time.Second) }
			if err := put(db, "a"); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if aside, err := filepath.Glob(path + ".damaged-*Z"); err != nil || len(aside) != maxDamaged {
			t.Errorf("%v, %v", aside, err)
		}
	})
}

func TestUnusable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, path := range map[string]string{
		"a folder in its place": filepath.Join(dir, "folder"),
		"a folder that is none": filepath.Join(dir, "file", FileName),
	} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, "folder"), 0o700), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			db, _ := open(t, path)
			if err := put(db, "a"); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), path) {
				t.Error(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "file")); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("until it can be used", func(t *testing.T) {
		path := filepath.Join(dir, "later")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		db, _ := open(t, path)
		if err := put(db, "a"); !errors.Is(err, ErrUnusable) {
			t.Error(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := put(db, "a"); err != nil || count(t, db) != 1 {
			t.Error(err)
		}
	})
}

// What finds no room is not written, and what comes later may be.
func TestFull(t *testing.T) {
	t.Parallel()
	db, _ := open(t, filepath.Join(t.TempDir(), FileName))
	if err := put(db, "a"); err != nil {
		t.Fatal(err)
	}
	pages := func(n int) {
		if _, err := db.open.write.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	pages(16)
	n, err := 1, error(nil)
	for ; err == nil && n < 1000; n++ {
		err = put(db, "b")
	}
	if !errors.Is(err, ErrDiskFull) {
		t.Fatalf("after %d rows: %v", n, err)
	}
	if got := count(t, db); got != n-1 {
		t.Errorf("%d rows, want %d", got, n-1)
	}
	pages(1000)
	if err := put(db, "c"); err != nil || count(t, db) != n {
		t.Error(err)
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for i, name := range names {
		if !strings.HasPrefix(name, fmt.Sprintf("migrations/%04d_", i+1)) {
			t.Errorf("%s is number %d", name, i+1)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if taken := regexp.MustCompile(`(?i)\b(DROP|RENAME|DELETE)\b`).Find(text); taken != nil {
			t.Errorf("%s takes away (%s), and the version before cannot go on", name, taken)
		}
	}
	t.Run("a file of a later version", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), FileName)
		db, _ := open(t, path)
		if err := put(db, "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.open.write.Exec(fmt.Sprintf("CREATE TABLE later (a TEXT); PRAGMA user_version = %d", len(names)+3)); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		again, _ := open(t, path)
		if err := put(again, "b"); err != nil || count(t, again) != 2 {
			t.Error(err)
		}
	})
}
