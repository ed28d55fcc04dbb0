package cloud

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
	"github.com/fescue-edge/fescue/cloud/artifacts/s3store"
	"github.com/fescue-edge/fescue/cloud/backup"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/doctor"
	"github.com/fescue-edge/fescue/inbound"
	"github.com/fescue-edge/fescue/pki"
)

// examiner looks at what a server stands on.
type examiner struct {
	doctor.Report
	o Options
	// database is what was found in it, nil where it could not be read.
	database *store.Examination
	// runs is whether a server runs on the data folder, pid its process. Where that
	// cannot be found out, or the process is another container's, pid is 0.
	runs bool
	pid  int
}

// lookTimeout bounds each thing that is asked for over a network.
const lookTimeout = 5 * time.Second

// Examine looks whether a server with these options can do its work on this machine.
// Account and Regions that are not given are those of the server that last ran there. It
// changes nothing, and takes no lock that a server needs: one may run meanwhile, or start.
func Examine(ctx context.Context, o Options) *doctor.Report {
	e := &examiner{o: o}
	if e.o.Logger == nil {
		e.o.Logger = slog.New(slog.DiscardHandler)
	}
	e.runs, e.pid = holder(filepath.Join(o.DataDir, lockName))
	e.folder()
	e.state(ctx)
	e.options()
	e.artifacts(ctx)
	e.room()
	e.descriptors()
	e.memory()
	e.clock()
	e.listeners(ctx)
	e.signIns(ctx)
	return &e.Report
}

// folder looks at the data folder.
func (e *examiner) folder() {
	const subject = "data folder"
	dir := e.o.DataDir
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		e.Add(subject, doctor.Good, dir+" is not there yet: the first start makes it", "")
		return
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", dir)
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		e.Add(subject, doctor.Bad, err.Error(), "run this, and the server, as the user that the folder belongs to")
		return
	}
	if !ofServer(entries) {
		if inner := serverWithin(dir, entries); inner != "" {
			e.Add(subject, doctor.Bad, dir+" is no server's data folder, and has one in it", "name it: --data "+inner)
			return
		}
		if info.Mode()&othersMay != 0 {
			e.Add(subject, doctor.Bad, fmt.Sprintf("%s holds other things than a server's data, and other users may enter it (mode %04o)", dir, info.Mode().Perm()),
				"name a folder with --data that is empty, or that nobody else may enter")
			return
		}
	}
	if owner, uid := disk.Owner(info), os.Geteuid(); owner >= 0 && owner != uid && uid != 0 {
		e.Add("user", doctor.Poor, fmt.Sprintf("UID %d, and %s is of UID %d", uid, dir, owner), "run this as the server's user, to see what that one sees")
	}
	open := []string{}
	for _, path := range append([]string{"."}, names(entries)...) {
		info, err := os.Stat(filepath.Join(dir, path))
		if err == nil && path != authorityPEMName && (info.Mode().IsRegular() || info.IsDir()) && info.Mode()&othersMay != 0 {
			open = append(open, fmt.Sprintf("%s (%04o)", filepath.Join(dir, path), info.Mode().Perm()))
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, backup.Unfinished)); err == nil {
		e.Add(subject, doctor.Bad, "a restore into "+dir+" was cut short", "empty the folder and run fescue restore again")
	} else if len(open) > 0 {
		e.Add(subject, doctor.Poor, "other users can use "+strings.Join(open, ", "), "chmod -R go= "+dir+", which a server does to what it finds at its start")
	} else {
		e.Add(subject, doctor.Good, fmt.Sprintf("%s (%04o), of its user alone", dir, info.Mode().Perm()), "")
	}
}

func names(entries []os.DirEntry) (list []string) {
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

// state looks at the database and the master key.
func (e *examiner) state(ctx context.Context) {
	state, database := e.o.state(), e.o.Database
	if !state.shared() {
		database = filepath.Join(e.o.DataDir, databaseName)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // a large file takes its time
	defer cancel()
	var found *store.Examination
	var err error
	if state.shared() && !strings.Contains(database, "://") {
		err = fmt.Errorf("--database %s is not a URL", database)
	} else {
		found, err = store.Examine(ctx, database)
	}
	switch {
	case !state.shared() && errors.Is(err, fs.ErrNotExist):
		e.Add("database", doctor.Good, database+" is not there yet: the first start makes it", "")
	case err != nil && state.shared():
		e.Add("database", doctor.Bad, err.Error(), "see to the database, the way there and what FESCUE_DATABASE says; the server gives up after 10 s, and systemd starts it again")
	case err != nil:
		e.Add("database", doctor.Bad, err.Error(), "run this as the server's user; if that is so, stop the server and restore a backup with fescue restore")
	case len(found.Damage) > 0:
		e.Add("database", doctor.Bad, database+" is damaged: "+strings.Join(found.Damage, "; "), "stop the server, keep a copy of the folder, and restore a backup with fescue restore; then see to the disk")
	default:
		e.database = found
		e.Add("database", doctor.Good, e.databaseSays(database), "")
		e.schema()
	}
	e.writable(database)
	e.masterKey(!state.shared() && errors.Is(err, fs.ErrNotExist))
}

func (e *examiner) databaseSays(path string) string {
	if e.o.state().shared() {
		return fmt.Sprintf("PostgreSQL answers, and takes %d connections, of which each server may hold %d", e.database.Connections, e.database.Wanted)
	}
	says := path + ", whole by SQLite's quick check"
	if e.runs {
		says += ", beside the server that runs"
	}
	return says
}

// schema compares the database with what this version knows.
func (e *examiner) schema() {
	const subject = "schema"
	switch d := e.database; {
	case len(d.Unknown) > 0:
		e.Add(subject, doctor.Poor, fmt.Sprintf("a newer version changed the database (change %d, unknown here)", slices.Max(d.Unknown)), "run that version; the one just before it may go on until all servers are upgraded, an earlier one needs a backup of before its first start")
	case d.Last == 0:
		e.Add(subject, doctor.Good, "the database is empty: the first start makes its tables", "")
	case len(d.Missing) > 0:
		e.Add(subject, doctor.Poor, fmt.Sprintf("the next start changes the database (%d changes, up to %d), and of earlier versions only the one just before this may run on it then", len(d.Missing), slices.Max(d.Missing)), "back it up before: fescue backup")
	default:
		e.Add(subject, doctor.Good, fmt.Sprintf("of this version (change %d)", d.Last), "")
	}
}

// writable looks whether the database can be written, without writing.
func (e *examiner) writable(database string) {
	const subject = "writing"
	if e.o.state().shared() {
		switch d := e.database; {
		case d == nil:
		case d.Refuses != "":
			e.Add(subject, doctor.Bad, d.Refuses, "correct that in PostgreSQL")
		case d.Connections < d.Wanted:
			e.Add(subject, doctor.Poor, fmt.Sprintf("PostgreSQL takes %d connections in all, and a server may hold %d", d.Connections, d.Wanted), "raise max_connections: as many for each server, and some for others")
		default:
			e.Add(subject, doctor.Good, "PostgreSQL is a primary, and its user may create tables", "")
		}
		return
	}
	checked := 0
	for _, path := range []string{nearest(e.o.DataDir), database, database + "-wal", database + "-shm"} {
		err := mayWrite(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			e.Add(subject, doctor.Bad, fmt.Sprintf("this user may not write %s: %v", path, err), "give the data folder to the server's user (chown -R), and see whether its file system is mounted read-only")
			return
		}
		checked++
	}
	e.Add(subject, doctor.Good, fmt.Sprintf("this user may write the data folder and its database (%d looked at)", checked), "")
}

// nearest is a folder that there is: this one, or the first above it.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// masterKey looks at the key; fresh is whether there is no database yet.
func (e *examiner) masterKey(fresh bool) {
	const subject = "master key"
	path := cmp.Or(e.o.MasterKeyFile, filepath.Join(e.o.DataDir, masterKeyName))
	var kept string
	if e.database != nil {
		kept = e.database.Setting(masterKeySetting)
	}
	master, err := pki.LoadMasterKey(path, false)
	switch {
	case errors.Is(err, fs.ErrNotExist) && kept == "" && (e.database != nil || fresh):
		e.Add(subject, doctor.Good, path+" is not there yet: the first start makes it", "keep a copy of it apart from the backups, once it is there")
	case err != nil:
		e.Add(subject, doctor.Bad, err.Error(), "put the key back that the database was made with, for the server's user alone: without it no server opens the database"+e.o.state().remedy())
	case kept != "" && master.ID() != kept:
		e.Add(subject, doctor.Bad, path+" is not the one that the database was made with", "put that one back"+e.o.state().remedy())
	case kept == "":
		e.Add(subject, doctor.Good, path, "")
	default:
		e.Add(subject, doctor.Good, path+", with which the database was made", "")
	}
}

// options completes the options as a start does, with what the database says of the place.
func (e *examiner) options() {
	var known Place
	if e.database != nil {
		if text := e.database.Setting(placeSetting); text != "" && json.Unmarshal([]byte(text), &known) != nil {
			e.Add("flags", doctor.Bad, "the setting "+placeSetting+" of the database does not parse", "restore a backup")
		}
	}
	known.Regions = append(known.Regions, "us-east-1")
	if len(e.o.Regions) == 0 {
		e.o.Regions = known.Regions
	}
	e.o.Account, e.o.AWS = cmp.Or(e.o.Account, known.Account, "000000000000"), cmp.Or(e.o.AWS, known.AWS)
	if err := e.o.complete(); err != nil {
		e.Add("flags", doctor.Bad, err.Error(), "correct the flags of fescue server")
	}
}

// artifacts looks whether code and models can be read, without opening the place as a
// server does, which cleans up there.
func (e *examiner) artifacts(ctx context.Context) {
	const subject = "artifacts"
	place := cmp.Or(e.o.Artifacts, filepath.Join(e.o.DataDir, artifactsName))
	mark := ""
	if e.database != nil {
		mark = e.database.Setting(artifactsSetting)
	}
	const others = "they are not those of the other servers on this database"
	if strings.HasPrefix(place, s3store.Scheme) {
		ctx, cancel := context.WithTimeout(ctx, 3*lookTimeout)
		defer cancel()
		external, err := s3store.Open(ctx, place, "")
		if err == nil && mark != "" {
			if _, err = external.Stat(ctx, mark); errors.Is(err, fescue.ErrNotFound) {
				err = errors.New(place + ": " + others)
			}
		}
		if err != nil {
			e.Add(subject, doctor.Bad, err.Error(), "see to the store, and to what AWS_ENDPOINT_URL_S3, AWS_REGION and the credentials say")
			return
		}
		e.Add(subject, doctor.Good, place+" answers", "")
		return
	}
	dir := nearest(place)
	if err := mayWrite(dir); err != nil {
		e.Add(subject, doctor.Bad, fmt.Sprintf("this user may not write %s: %v", dir, err), "give it to the server's user")
		return
	}
	if mark != "" && e.o.state().shared() {
		if there, err := artifacts.InFolder(place, mark); err != nil || !there {
			e.Add(subject, doctor.Bad, place+": "+others, "share one folder or bucket among all servers and name it with --artifacts")
			return
		}
	}
	if dir != place {
		e.Add(subject, doctor.Good, place+" is not there yet: the first start makes it", "")
		return
	}
	e.Add(subject, doctor.Good, place, "")
}

// room looks at the disks of the data folder and of the artifacts.
func (e *examiner) room() {
	const advised = 1 << 30
	folders := []string{e.o.DataDir}
	if e.o.Artifacts != "" && !strings.HasPrefix(e.o.Artifacts, s3store.Scheme) {
		folders = append(folders, e.o.Artifacts)
	}
	for _, folder := range folders {
		folder = nearest(folder)
		free, err := disk.Local{}.Free(folder)
		if e.o.Free != nil {
			free, err = e.o.Free(folder)
		}
		says := fmt.Sprintf("%d MB are free in %s", free>>20, folder)
		switch {
		case err != nil:
			e.Add("disk", doctor.Unknown, err.Error(), "")
		case free < minFree:
			e.Add("disk", doctor.Bad, fmt.Sprintf("%s, %d MB have to be", says, minFree>>20), "make room: until then the server only reads and deletes")
		case free < advised:
			e.Add("disk", doctor.Poor, says, "make room: with less than "+fmt.Sprint(2*minFree>>20)+" MB no code is taken, with less than "+fmt.Sprint(minFree>>20)+" MB nothing new")
		default:
			e.Add("disk", doctor.Good, says, "")
		}
	}
}

// descriptors compares the limit of open files with the cores that there are.
func (e *examiner) descriptors() {
	const subject = "open files"
	limit, of := inbound.Descriptors(), "this process, as of a server that is started from here"
	if n, err := descriptorsOf(e.pid); err == nil {
		limit, of = n, fmt.Sprintf("the server that runs (process %d)", e.pid)
	}
	shares := inbound.Share(limit)
	says := fmt.Sprintf("%d, the limit of %s: connections of %d callers, %d devices and cores over HTTPS, %d over MQTT", limit, of, shares.API, shares.Device, shares.MQTT)
	const remedy = "raise LimitNOFILE of the unit, or ulimit -n"
	cores := 0
	if e.database != nil {
		cores = e.database.Cores()
	}
	switch {
	case cores > shares.MQTT: // over HTTPS they come by turns, since those that are on MQTT wait there
		e.Add(subject, doctor.Bad, fmt.Sprintf("%s; there are %d cores", says, cores), remedy)
	case 2*cores > shares.MQTT || limit < 4096:
		e.Add(subject, doctor.Poor, fmt.Sprintf("%s; there are %d cores", says, cores), remedy)
	default:
		e.Add(subject, doctor.Good, says, "")
	}
}

// clock compares this machine's clock with what is at hand: the database's, what was
// written last, the build's date, and what the kernel says of whoever keeps it.
func (e *examiner) clock() {
	const subject, tolerance = "clock", 5 * time.Minute
	const set = "set it, or have a time service keep it: certificates look expired or not yet valid, and signatures are refused"
	now := time.Now()
	if e.o.Now != nil {
		now = e.o.Now()
	}
	checked, last := []string{}, time.Time{}
	for _, name := range []string{databaseName, databaseName + "-wal", authorityPEMName} {
		if info, err := os.Stat(filepath.Join(e.o.DataDir, name)); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	build, _ := time.Parse(time.RFC3339, fescue.ReadBuild().Date)
	for _, past := range []struct {
		what string
		at   time.Time
	}{{"what a server wrote last", last}, {"this version's commit", build}} {
		if past.at.IsZero() {
			continue
		}
		if past.at.After(now.Add(tolerance)) {
			e.Add(subject, doctor.Bad, fmt.Sprintf("it says %s, which is before %s (%s)", now.UTC().Format(time.RFC3339), past.what, past.at.UTC().Format(time.RFC3339)), set)
			return
		}
		checked = append(checked, "after "+past.what)
	}
	if d := e.database; d != nil && !d.Clock.IsZero() {
		offset := d.Clock.Sub(d.Asked).Abs()
		if offset > tolerance {
			e.Add(subject, doctor.Bad, fmt.Sprintf("%s from the database's", offset.Round(time.Second)), set)
			return
		}
		checked = append(checked, fmt.Sprintf("within %s of the database's", max(offset.Round(time.Second), time.Second)))
	}
	says := now.UTC().Format(time.RFC3339)
	if len(checked) > 0 {
		says += ", " + strings.Join(checked, ", ")
	}
	switch kept, known := clockKept(); {
	case !known:
		e.Add(subject, doctor.Good, says, "")
	case kept:
		e.Add(subject, doctor.Good, says+"; the kernel says that a time service keeps it", "")
	default:
		e.Add(subject, doctor.Poor, says+"; the kernel says that no time service keeps it", "install one, such as systemd-timesyncd or chrony; in a container or virtual machine see whether its host has one")
	}
}
