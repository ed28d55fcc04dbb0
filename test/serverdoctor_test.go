//go:build linux

package test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/doctor"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// examined is what fescue doctor said.
type examined struct {
	doctor.Report
	code int
}

// examineServer runs fescue doctor with the flags of fescue server.
func examineServer(t *testing.T, environment []string, flags ...string) examined {
	t.Helper()
	p := startProgram(t, fescueBin, environment, append([]string{"doctor", "--json"}, flags...)...)
	eventually(t, "the doctor is done", func() error {
		select {
		case <-p.Done:
			return nil
		default:
			return errors.New("it is not")
		}
	})
	text := p.out.String()
	var e examined
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&e.Report); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if e.code = p.ProcessState.ExitCode(); (e.code == 0) != e.Well() {
		t.Errorf("exit code %d: %s", e.code, text)
	}
	return e
}

// want wants the health of subjects, and a text in what is said of each.
func (e examined) want(t *testing.T, health doctor.Health, said map[string]string) {
	t.Helper()
	for subject, text := range said {
		found := slices.DeleteFunc(slices.Clone(e.Findings), func(f doctor.Finding) bool { return f.Subject != subject })
		if len(found) == 0 {
			t.Errorf("nothing is said of %s: %+v", subject, e.Findings)
		}
		for _, f := range found {
			if f.Health != health || !strings.Contains(f.Says, text) || (health == doctor.Bad || health == doctor.Poor) && f.Remedy == "" {
				t.Errorf("%+v, want %s with %q", f, health, text)
			}
		}
	}
}

// tree is what a data folder holds, by names and modes, but for messages, of which a server
// that runs makes and removes files as it goes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	err := testkit.Walk(dir, func(path string, info os.FileInfo) error {
		if info.Name() == "messages" {
			return filepath.SkipDir
		}
		fmt.Fprintln(&list, path, info.Mode())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

// TestServerDoctor: the doctor says what a server has and lacks, before its first start,
// beside it, and after a crash, and leaves all as it is.
func TestServerDoctor(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	api, device, mqtt := address(t), address(t), address(t)
	flags := []string{"--data", data, "--api", api, "--device", device, "--mqtt", mqtt}
	everywhere := append(slices.Clone(flags[:2]), "--api", api, "--device", "0.0.0.0"+device[strings.LastIndex(device, ":"):], "--mqtt", mqtt, "--public-host", "127.0.0.1")

	t.Run("before the first start", func(t *testing.T) {
		e := examineServer(t, nil, flags...)
		e.want(t, doctor.Good, map[string]string{
			"data folder": "not there yet", "database": "not there yet", "master key": "not there yet", "artifacts": "not there yet", "writing": "1 looked at",
			"API": api + " is free", "devices, HTTPS": device + " is free", "devices, MQTT": mqtt + " is free", "public host localhost": "this machine alone",
		})
		if _, err := os.Stat(data); e.code != 0 || err == nil {
			t.Errorf("exit code %d, %v", e.code, err)
		}
	})
	t.Run("in the folder that a package made", func(t *testing.T) {
		made := t.TempDir()
		if err := os.Chmod(made, 0o700); err != nil {
			t.Fatal(err)
		}
		e := examineServer(t, nil, append(slices.Clone(flags), "--data", made)...)
		e.want(t, doctor.Good, map[string]string{"data folder": "of its user alone", "database": "not there yet", "master key": "not there yet"})
		if e.code != 0 {
			t.Errorf("exit code %d", e.code)
		}
	})
	h := (&server{data: data, args: append([]string{"server", "--account", account, "--region", region}, flags...)}).site(region)
	h.run(t)
	pid := fmt.Sprintf("(process %d)", h.Process.Pid)
	t.Run("beside the server", func(t *testing.T) {
		before := tree(t, data)
		e := examineServer(t, nil, flags...)
		e.want(t, doctor.Good, map[string]string{
			"data folder": "of its user alone", "database": "whole by SQLite's quick check, beside the server that runs", "schema": "of this version", "writing": "may write",
			"master key": "with which the database was made", "artifacts": "artifacts", "API": api + " is held by the server that runs " + pid,
			"devices, HTTPS": "is held by the server that runs " + pid, "devices, MQTT": "is held by the server that runs " + pid, "authority": "ca.pem, until",
		})
		if after := tree(t, data); e.code != 0 || after != before {
			t.Errorf("exit code %d, the folder had\n%sand has\n%s", e.code, before, after)
		}
		open := slices.IndexFunc(e.Findings, func(f doctor.Finding) bool { return f.Subject == "open files" && strings.Contains(f.Says, pid) })
		if open < 0 {
			t.Errorf("nothing is said of the server's open files: %+v", e.Findings)
		}
		e.want(t, doctor.Good, map[string]string{"memory": "collects garbage more eagerly from"})
		h.provision(t, "Examined_Core") // the server writes
	})
	t.Run("for people", func(t *testing.T) {
		out, errs, code := program(t, fescueBin, append([]string{"doctor"}, flags...)...)
		if code != 0 || errs != "" || !strings.Contains(out, "SUBJECT ") || !strings.Contains(out, "\ndevices, MQTT ") {
			t.Errorf("%d %s\n%s", code, errs, out)
		}
	})
	t.Run("flags that are not the server's", func(t *testing.T) {
		other := address(t)
		e := examineServer(t, nil, append(slices.Clone(flags), "--api", other, "--region", "nowhere")...)
		e.want(t, doctor.Poor, map[string]string{"API": other + " is free, though a server runs"})
		e.want(t, doctor.Bad, map[string]string{"flags": "nowhere"})
	})
	t.Run("a public host that leads here, one that leads elsewhere, one that leads nowhere", func(t *testing.T) {
		e := examineServer(t, nil, append(everywhere, "--public-host", "no.such.host.invalid")...)
		e.want(t, doctor.Poor, map[string]string{"public host 127.0.0.1": "leads gateways to themselves"})
		e.want(t, doctor.Bad, map[string]string{"public host no.such.host.invalid": "no.such.host.invalid"})
	})
	t.Run("a port that somebody else has", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		at := l.Addr().String()
		e := examineServer(t, nil, append(slices.Clone(flags), "--api", at, "--device", at, "--mqtt", at)...)
		e.want(t, doctor.Bad, map[string]string{"API": at + " is held, and not by a server on this data folder", "devices, HTTPS": at + " is held, and not by"})
	})
	t.Run("another server's ports", func(t *testing.T) {
		other := startServer(t)
		e := examineServer(t, nil, "--data", data, "--api", other.api, "--device", other.device, "--mqtt", other.mqtt)
		e.want(t, doctor.Bad, map[string]string{"API": "another authority", "devices, HTTPS": "not of " + data, "devices, MQTT": "not of " + data})
	})
	t.Run("an address that the machine has not", func(t *testing.T) {
		e := examineServer(t, nil, append(slices.Clone(flags), "--ops", "203.0.113.1:9090")...)
		e.want(t, doctor.Bad, map[string]string{"operators": "cannot assign requested address"})
	})
	t.Run("certificates of the operator's that do not fit, and files that others may use", func(t *testing.T) {
		dir := t.TempDir()
		cert := filepath.Join(dir, "cert.pem")
		if err := os.WriteFile(cert, readFile(t, filepath.Join(data, "ca.pem")), 0o644); err != nil {
			t.Fatal(err)
		}
		open := filepath.Join(data, "left")
		if err := os.WriteFile(open, nil, 0o604); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(open)
		e := examineServer(t, nil, append(slices.Clone(flags), "--device-tls-cert", cert, "--device-tls-key", cert)...)
		e.want(t, doctor.Bad, map[string]string{"device certificate": cert, "devices, HTTPS": "another certificate"})
		e.want(t, doctor.Poor, map[string]string{"data folder": open + " (0604)"})
	})
	h.Kill()
	t.Run("after a crash", func(t *testing.T) {
		before := tree(t, data)
		e := examineServer(t, nil, flags...)
		e.want(t, doctor.Good, map[string]string{"database": "whole by SQLite's quick check", "schema": "of this version", "API": api + " is free", "devices, HTTPS": "is free"})
		if after := tree(t, data); e.code != 0 || after != before {
			t.Errorf("exit code %d, the folder had\n%sand has\n%s", e.code, before, after)
		}
		h.run(t)
		h.interrupt(t)
	})
	database := filepath.Join(data, "fescue.db")
	alter := func(t *testing.T, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", database)
		if err == nil {
			_, err = db.ExecContext(t.Context(), statement)
			err = errors.Join(err, db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a database of another version", func(t *testing.T) {
		kept := readFile(t, database)
		defer os.WriteFile(database, kept, 0o600)
		alter(t, `DELETE FROM goose_db_version WHERE version_id = (SELECT MAX(version_id) FROM goose_db_version)`)
		examineServer(t, nil, flags...).want(t, doctor.Poor, map[string]string{"schema": "the next start changes the database (1 changes"})
		alter(t, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
		e := examineServer(t, nil, flags...)
		e.want(t, doctor.Poor, map[string]string{"schema": "a newer version changed the database (change 99999"})
	})
	t.Run("a master key that is gone, or another's", func(t *testing.T) {
		key := filepath.Join(data, "master.key")
		kept := readFile(t, key)
		defer os.WriteFile(key, kept, 0o600)
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		examineServer(t, nil, flags...).want(t, doctor.Bad, map[string]string{"master key": "no such file"})
		if err := os.WriteFile(key, readFile(t, filepath.Join(startServer(t).data, "master.key")), 0o600); err != nil {
			t.Fatal(err)
		}
		examineServer(t, nil, flags...).want(t, doctor.Bad, map[string]string{"master key": "not the one that the database was made with"})
	})
	t.Run("a database that is damaged", func(t *testing.T) {
		kept := readFile(t, database)
		defer os.WriteFile(database, kept, 0o600)
		spoiled := slices.Clone(kept)
		for i := 4096; i < len(spoiled)/2; i++ {
			spoiled[i] ^= 0x5a
		}
		if err := os.WriteFile(database, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		e := examineServer(t, nil, flags...)
		e.want(t, doctor.Bad, map[string]string{"database": ""})
	})
	t.Run("a folder that is something else's", func(t *testing.T) {
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		e := examineServer(t, nil, "--data", dir, "--api", api, "--device", device, "--mqtt", mqtt)
		e.want(t, doctor.Bad, map[string]string{"data folder": "holds other things"})
	})
	t.Run("a folder that the server's is in, as fescue up has it", func(t *testing.T) {
		outer := t.TempDir()
		inner := filepath.Join(outer, "server")
		if err := errors.Join(os.Mkdir(inner, 0o700), os.WriteFile(filepath.Join(inner, "fescue.db"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		e := examineServer(t, nil, "--data", outer, "--api", api, "--device", device, "--mqtt", mqtt)
		e.want(t, doctor.Bad, map[string]string{"data folder": "is no server's data folder, and has one in it"})
		if found := e.Findings[slices.IndexFunc(e.Findings, func(f doctor.Finding) bool { return f.Subject == "data folder" })]; found.Remedy != "name it: --data "+inner {
			t.Errorf("%+v", found)
		}
	})
}

// TestServerDoctorOnPostgres: the doctor looks at a shared database as at a file.
func TestServerDoctorOnPostgres(t *testing.T) {
	t.Parallel()
	database, shared := pgtest.Database(t), t.TempDir()
	environment := []string{"FESCUE_DATABASE=" + database, "FESCUE_MASTER_KEY_FILE=" + filepath.Join(shared, "master.key")}
	artifacts := []string{"--artifacts", filepath.Join(shared, "artifacts")}
	api, device, mqtt := address(t), address(t), address(t)
	flags := append([]string{"--data", t.TempDir(), "--api", api, "--device", device, "--mqtt", mqtt}, artifacts...)
	e := examineServer(t, environment, flags...)
	e.want(t, doctor.Good, map[string]string{"database": "PostgreSQL answers", "schema": "the database is empty", "writing": "is a primary", "master key": "not there yet"})

	s := startServerWith(t, environment, t.TempDir(), artifacts...)
	e = examineServer(t, environment, append([]string{"--data", s.data, "--api", s.api, "--device", s.device, "--mqtt", s.mqtt}, artifacts...)...)
	e.want(t, doctor.Good, map[string]string{
		"schema": "of this version", "master key": "with which the database was made", "artifacts": "artifacts", "API": "is held by the server that runs",
	})
	if i := slices.IndexFunc(e.Findings, func(f doctor.Finding) bool { return f.Subject == "clock" }); i < 0 || !strings.Contains(e.Findings[i].Says, "of the database's") || e.code != 0 {
		t.Errorf("exit code %d, %+v", e.code, e.Findings)
	}
	t.Run("artifacts that are not shared", func(t *testing.T) {
		examineServer(t, environment, flags[:8]...).want(t, doctor.Bad, map[string]string{"artifacts": "not those of the other servers"})
	})
	t.Run("a database that is away", func(t *testing.T) {
		away := append([]string{"FESCUE_DATABASE=postgres://fescue:geheim@" + address(t) + "/fescue"}, programs.ServerKey...)
		e := examineServer(t, away, flags...)
		e.want(t, doctor.Bad, map[string]string{"database": "connect"})
		if text := fmt.Sprint(e.Findings); strings.Contains(text, "geheim") {
			t.Errorf("the password is shown: %s", text)
		}
	})
}
