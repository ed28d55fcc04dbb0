package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/backup"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/pki"
)

// masterKey is the key of a data folder.
func masterKey(t testing.TB, dir string) *pki.MasterKey {
	t.Helper()
	key, err := pki.LoadMasterKey(filepath.Join(dir, backup.MasterKey), true)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// by has an archive restored that is authenticated by the key.
func by(key *pki.MasterKey) backup.Accept {
	return func(backup.Table) (backup.Terms, error) { return backup.Terms{MasterKey: key}, nil }
}

// unproven has an archive restored that nothing proves.
func unproven(backup.Table) (backup.Terms, error) { return backup.Terms{Unauthenticated: true}, nil }

// dataFolder is a data folder with an open database and three artifacts.
func dataFolder(t testing.TB) (dir string, hashes []string) {
	t.Helper()
	dir = t.TempDir()
	st, err := store.OpenSQLite(t.Context(), filepath.Join(dir, backup.Database), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if _, err := st.Settings().Keep(t.Context(), backup.MasterKeySetting, masterKey(t, dir).ID()); err != nil {
		t.Fatal(err)
	}
	blobs, err := artifacts.OpenFolder(filepath.Join(dir, backup.Artifacts))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		content := bytes.Repeat([]byte{byte(i)}, 1000*i)
		hashes = append(hashes, hashOf(content))
		if err := blobs.Put(t.Context(), hashes[i], bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	// An object has the content of an artifact.
	contents, err := artifacts.OpenFolder(filepath.Join(dir, backup.Artifacts, backup.Buckets))
	if err != nil {
		t.Fatal(err)
	}
	if err := contents.Put(t.Context(), hashes[1], bytes.NewReader(bytes.Repeat([]byte{1}, 1000))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{backup.AccessKey: "an access key", "artifacts/tmp/put-1": "half"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, hashes
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func create(t testing.TB, dir string, secrets map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup.tar")
	reported := int64(0)
	table, err := backup.Create(t.Context(), backup.Source{
		Dir: dir, MasterKey: masterKey(t, dir), Secrets: secrets, Now: time.Now, Progress: func(done, _ int64) { reported = done },
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	if reported != table.Bytes() {
		t.Errorf("progress of %d bytes, want %d", reported, table.Bytes())
	}
	return file
}

// files lists a folder's files with their hashes.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	list := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		list[filepath.ToSlash(name)] = hashOf(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return list
}

func TestBackup(t *testing.T) {
	t.Parallel()
	dir, hashes := dataFolder(t)
	for _, secrets := range []map[string]string{nil, {backup.MasterKey: filepath.Join(dir, backup.MasterKey), backup.AccessKey: filepath.Join(dir, backup.AccessKey)}} {
		t.Run(fmt.Sprintf("%d secrets", len(secrets)), func(t *testing.T) {
			t.Parallel()
			file := create(t, dir, secrets)
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if names := files(t, filepath.Dir(file)); len(names) != 1 {
				t.Errorf("left behind: %v", names)
			}
			to := filepath.Join(t.TempDir(), "a", "b")
			accept := by(masterKey(t, dir))
			if secrets != nil {
				accept = nil // the archive has it
			}
			table, err := backup.Restore(t.Context(), file, to, accept, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := files(t, to)
			if len(got) != 2+len(hashes)+len(secrets) || len(table.Files) != len(got) || table.MasterKeyID != masterKey(t, dir).ID() {
				t.Errorf("restored %v, table %+v", got, table)
			}
			if object := "artifacts/buckets/" + hashes[1][:2] + "/" + hashes[1]; got[object] != hashes[1] {
				t.Errorf("the content of an object is not restored: %v", got)
			}
			for _, h := range hashes {
				if got["artifacts/"+h[:2]+"/"+h] != h {
					t.Errorf("artifact %s is %s", h, got["artifacts/"+h[:2]+"/"+h])
				}
			}
			for name := range secrets {
				if want := files(t, dir)[name]; got[name] != want || table.Holds(name) != true {
					t.Errorf("%s is %s", name, got[name])
				}
			}
			st, err := store.OpenSQLite(t.Context(), filepath.Join(to, backup.Database), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if id, err := st.Settings().Keep(t.Context(), backup.MasterKeySetting, "other"); err != nil || id != masterKey(t, dir).ID() {
				t.Errorf("setting %q, %v", id, err)
			}
		})
	}
}

func TestCreateRefusals(t *testing.T) {
	t.Parallel()
	t.Run("no data folder", func(t *testing.T) {
		t.Parallel()
		refuseCreate(t, t.TempDir(), "no server's database")
	})
	t.Run("a damaged artifact", func(t *testing.T) {
		t.Parallel()
		dir, hashes := dataFolder(t)
		path := filepath.Join(dir, "artifacts", hashes[1][:2], hashes[1])
		if err := os.WriteFile(path, bytes.Repeat([]byte{9}, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		refuseCreate(t, dir, hashes[1])
	})
	t.Run("artifacts that lie elsewhere", func(t *testing.T) {
		t.Parallel()
		dir, hashes := dataFolder(t)
		db, err := sql.Open("sqlite", filepath.Join(dir, backup.Database))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, statement := range []string{
			`INSERT INTO lambda_function (partition, name, last_version, unpublished, tags_json, created_at) VALUES ('1/r', 'f', 0, true, '{}', 0)`,
			`INSERT INTO lambda_version (partition, function, number, revision_id, code_hash, config_json, updated_at) VALUES ('1/r', 'f', 0, 'r', '` + hashes[1] + `', '{}', 0)`,
		} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		create(t, dir, nil) // they are there
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		if err := os.Rename(filepath.Join(dir, backup.Artifacts), elsewhere); err != nil {
			t.Fatal(err)
		}
		refuseCreate(t, dir, "--artifacts")
		for _, s := range []backup.Source{{Artifacts: elsewhere}, {WithoutArtifacts: true}} {
			s.Dir, s.MasterKey, s.Now = dir, masterKey(t, dir), time.Now
			table, err := backup.Create(t.Context(), s, filepath.Join(t.TempDir(), "b"))
			if err != nil || table.Holds("artifacts/"+hashes[1][:2]+"/"+hashes[1]) == s.WithoutArtifacts {
				t.Errorf("%+v, %v", table, err)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		dir, _ := dataFolder(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		out := t.TempDir()
		if _, err := backup.Create(ctx, backup.Source{Dir: dir, MasterKey: masterKey(t, dir), Now: time.Now}, filepath.Join(out, "b")); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if left := files(t, out); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// refuseCreate makes a backup that must fail and leave an older one alone.
func refuseCreate(t *testing.T, dir, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(file, []byte("the older one"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := backup.Create(t.Context(), backup.Source{Dir: dir, MasterKey: masterKey(t, dir), Now: time.Now}, file)
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %q", err, text)
	}
	if left := files(t, filepath.Dir(file)); len(left) != 1 || left["backup.tar"] != hashOf([]byte("the older one")) {
		t.Errorf("left %v", left)
	}
}

// entry is a file of a forged archive.
type entry struct {
	name string
	kind byte
	data []byte
	link string
}

func entriesOf(t testing.TB, file string) []entry {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []entry
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, entry{h.Name, h.Typeflag, content, ""})
	}
}

func pack(t testing.TB, list []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range list {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Size: int64(len(e.data)), Mode: 0o600, Linkname: e.link}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestForgedArchives(t *testing.T) {
	t.Parallel()
	dir, _ := dataFolder(t)
	key, good := masterKey(t, dir), entriesOf(t, create(t, dir, nil))
	var table backup.Table
	if err := json.Unmarshal(good[0].data, &table); err != nil {
		t.Fatal(err)
	}
	forge := func(change func(*backup.Table)) []entry {
		t.Helper()
		forged := table
		forged.Files = append([]backup.File(nil), table.Files...)
		change(&forged)
		data, err := json.Marshal(forged)
		if err != nil {
			t.Fatal(err)
		}
		return append([]entry{{name: good[0].name, kind: tar.TypeReg, data: data}}, good[1:]...)
	}
	outside := func(name string) []entry {
		list := forge(func(tb *backup.Table) { tb.Files[1].Name = name })
		list[2].name = name
		return list
	}
	replaced := func(i int, e entry) []entry {
		list := append([]entry(nil), good...)
		list[i] = e
		return list
	}
	whole := pack(t, good)
	for name, data := range map[string][]byte{
		"empty":                   nil,
		"no tar":                  []byte("hello"),
		"without a table":         pack(t, good[1:]),
		"cut in the middle":       whole[:len(whole)/2],
		"cut at the end":          whole[:len(whole)-1024-600],
		"a file missing":          pack(t, good[:len(good)-1]),
		"a file too many":         pack(t, append(append([]entry(nil), good...), entry{name: "x", kind: tar.TypeReg})),
		"another format":          pack(t, forge(func(tb *backup.Table) { tb.Format = 3 })),
		"another master key":      pack(t, forge(func(tb *backup.Table) { tb.MasterKeyID = "other" })),
		"no database":             pack(t, forge(func(tb *backup.Table) { tb.Files = tb.Files[1:] })),
		"twice":                   pack(t, forge(func(tb *backup.Table) { tb.Files[1] = tb.Files[0] })),
		"a wrong hash":            pack(t, forge(func(tb *backup.Table) { tb.Files[0].SHA256 = strings.Repeat("0", 64) })),
		"no hash":                 pack(t, forge(func(tb *backup.Table) { tb.Files[0].SHA256 = "" })),
		"a negative size":         pack(t, forge(func(tb *backup.Table) { tb.Files[0].Size = -1 })),
		"a table that is no JSON": pack(t, replaced(0, entry{good[0].name, tar.TypeReg, []byte("{"), ""})),
		"outside":                 pack(t, outside("../evil")),
		"absolute":                pack(t, outside("/tmp/evil")),
		"hidden outside":          pack(t, outside("artifacts/../../evil")),
		"an unknown name":         pack(t, outside("server.lock")),
		"an artifact elsewhere":   pack(t, outside("artifacts/zz/"+table.Files[1].SHA256)),
		"a link":                  pack(t, replaced(2, entry{good[2].name, tar.TypeSymlink, nil, "/etc/passwd"})),
		"a changed database":      pack(t, replaced(1, entry{good[1].name, tar.TypeReg, bytes.Replace(good[1].data, []byte(table.MasterKeyID), []byte(strings.Repeat("x", len(table.MasterKeyID))), 1), ""})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, root := filepath.Join(t.TempDir(), "b.tar"), t.TempDir()
			to := filepath.Join(root, "data")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			// What the key does not prove is refused before anything is written.
			_, err := backup.Restore(t.Context(), file, to, by(key), nil)
			if left := files(t, root); !errors.Is(err, backup.ErrArchive) || errors.Is(err, backup.ErrUnauthenticated) && len(left) > 0 {
				t.Errorf("error %v, left %v", err, left)
			}
			// Without it the rest has to hold.
			_, err = backup.Restore(t.Context(), file, to, unproven, nil)
			if !errors.Is(err, backup.ErrArchive) {
				t.Errorf("error %v", err)
			}
			left := files(t, root)
			for name := range left {
				if !strings.HasPrefix(name, "data/") {
					t.Errorf("written outside: %s", name)
				}
			}
			if _, marked := left["data/"+backup.Unfinished]; len(left) > 0 && !marked {
				t.Errorf("a half restored folder is not marked: %v", left)
			}
		})
	}
}

func TestRestoreIntoUsedFolder(t *testing.T) {
	t.Parallel()
	dir, _ := dataFolder(t)
	file := create(t, dir, nil)
	for _, names := range [][]string{
		{"something"}, {backup.Database}, {backup.MasterKey}, {backup.Unfinished, "something"}, {backup.Unfinished, "artifacts-of-mine"},
	} {
		t.Run(strings.Join(names, " and "), func(t *testing.T) {
			t.Parallel()
			to := t.TempDir()
			for _, name := range names {
				if err := os.WriteFile(filepath.Join(to, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := backup.Restore(t.Context(), file, to, by(masterKey(t, dir)), nil); !errors.Is(err, backup.ErrNotEmpty) {
				t.Errorf("error %v", err)
			}
			if left := files(t, to); len(left) != len(names) {
				t.Errorf("left %v", left)
			}
		})
	}
	t.Run("what is not accepted leaves nothing", func(t *testing.T) {
		t.Parallel()
		to := filepath.Join(t.TempDir(), "data")
		no := errors.New("no")
		_, err := backup.Restore(t.Context(), file, to, func(table backup.Table) (backup.Terms, error) {
			if table.MasterKeyID != masterKey(t, dir).ID() {
				t.Errorf("table %+v", table)
			}
			return backup.Terms{}, no
		}, nil)
		if left := files(t, to); !errors.Is(err, no) || len(left) > 0 {
			t.Errorf("error %v, left %v", err, left)
		}
	})
	t.Run("interrupted, then again", func(t *testing.T) {
		t.Parallel()
		to := filepath.Join(t.TempDir(), "data")
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := backup.Restore(ctx, file, to, by(masterKey(t, dir)), func(int64, int64) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		for _, name := range []string{backup.MasterKey, "." + backup.Unfinished + "-123", backup.Database + "-wal"} {
			if err := os.WriteFile(filepath.Join(to, name), []byte("left"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		beside := func(backup.Table) (backup.Terms, error) {
			return backup.Terms{MasterKey: masterKey(t, dir), Beside: map[string][]byte{backup.MasterKey: []byte("key")}}, nil
		}
		table, err := backup.Restore(t.Context(), file, to, beside, nil)
		if err != nil {
			t.Fatal(err)
		}
		left := files(t, to)
		if _, marked := left[backup.Unfinished]; marked || len(left) != len(table.Files)+1 {
			t.Errorf("left %v", left)
		}
		if key, err := os.ReadFile(filepath.Join(to, backup.MasterKey)); string(key) != "key" {
			t.Errorf("the key beside it is %q, %v", key, err)
		}
	})
}

// FuzzRestore: whatever an archive holds, nothing is written outside of the
// folder, what is not whole is marked, and what is accepted is what its table
// says. The database stays out of what is fuzzed, so that mutations meet the table
// and the headers. Give -fuzzminimizetime 100x, as .ci/run does: every run writes
// files and flushes them, and the engine otherwise spends a minute on minimizing
// its first find, which looks like a hang.
func FuzzRestore(f *testing.F) {
	dir, _ := dataFolder(f)
	whole, err := os.ReadFile(create(f, dir, nil))
	if err != nil {
		f.Fatal(err)
	}
	in := bytes.NewReader(whole)
	archive := tar.NewReader(in)
	h := &tar.Header{}
	for h.Name != backup.Database {
		if h, err = archive.Next(); err != nil {
			f.Fatal(err)
		}
	}
	begin := len(whole) - in.Len()
	end := begin + int(h.Size)
	database := whole[begin:end]
	f.Add(whole[:begin], whole[end:])
	f.Add(whole[:begin], []byte{})
	f.Fuzz(func(t *testing.T, before, after []byte) {
		root := t.TempDir()
		file, to := filepath.Join(root, "b.tar"), filepath.Join(root, "data")
		if err := os.WriteFile(file, slices.Concat(before, database, after), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := backup.Restore(t.Context(), file, to, unproven, nil)
		left := files(t, root)
		for name := range left {
			if name != "b.tar" && !strings.HasPrefix(name, "data/") {
				t.Fatalf("written outside: %s", name)
			}
		}
		if err != nil {
			if _, marked := left["data/"+backup.Unfinished]; len(left) > 1 && !marked {
				t.Fatalf("%v, and %v is not marked", err, left)
			}
			return
		}
		want := map[string]string{"b.tar": left["b.tar"]}
		for _, f := range table.Files {
			want["data/"+f.Name] = f.SHA256
		}
		if !maps.Equal(left, want) {
			t.Fatalf("restored %v, the table says %v", left, want)
		}
	})
}

// TestRehashedArchive: whoever changes a backup and makes its hashes fit again is
// found out by the master key.
func TestRehashedArchive(t *testing.T) {
	t.Parallel()
	dir, _ := dataFolder(t)
	own := map[string]string{backup.MasterKey: filepath.Join(dir, backup.MasterKey)}
	for _, c := range []struct {
		name    string
		secrets map[string]string
		accept  backup.Accept
		forge   func(t *testing.T, table *backup.Table, list []entry)
	}{
		{"a changed database", nil, by(masterKey(t, dir)), nil},
		{"without the MAC", nil, by(masterKey(t, dir)), func(_ *testing.T, table *backup.Table, _ []entry) { table.MAC = nil }},
		{"as an early version's", nil, by(masterKey(t, dir)), func(_ *testing.T, table *backup.Table, _ []entry) { table.MAC, table.Format = nil, 1 }},
		{"another time", nil, by(masterKey(t, dir)), func(_ *testing.T, table *backup.Table, _ []entry) { table.CreatedAt = table.CreatedAt.Add(time.Hour) }},
		{"without a key", nil, nil, nil},
		{"with its own key", own, nil, nil},
		{"with a key of the forger's", own, nil, func(t *testing.T, table *backup.Table, list []entry) {
			other := masterKey(t, t.TempDir())
			table.MasterKeyID = other.ID()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list := entriesOf(t, create(t, dir, c.secrets))
			var table backup.Table
			if err := json.Unmarshal(list[0].data, &table); err != nil {
				t.Fatal(err)
			}
			// The database stays one: a page's unused end is changed.
			list[1].data = append(bytes.Clone(list[1].data), make([]byte, 4096)...)
			table.Files[0].SHA256, table.Files[0].Size = hashOf(list[1].data), int64(len(list[1].data))
			if c.forge != nil {
				c.forge(t, &table, list)
			}
			var err error
			if list[0].data, err = json.Marshal(table); err != nil {
				t.Fatal(err)
			}
			file, to := filepath.Join(t.TempDir(), "b.tar"), filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(file, pack(t, list), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = backup.Restore(t.Context(), file, to, c.accept, nil)
			if !errors.Is(err, backup.ErrArchive) {
				t.Errorf("error %v", err)
			}
			left := files(t, to)
			if _, marked := left[backup.Unfinished]; len(left) > 0 && !marked {
				t.Errorf("a server starts on it: %v", left)
			}
			if c.secrets == nil && len(left) > 0 {
				t.Errorf("written: %v", left)
			}
		})
	}
}
