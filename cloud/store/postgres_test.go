package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	t.Run("servers that start together on an empty database", func(t *testing.T) {
		t.Parallel()
		url := pgtest.Database(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := store.Open(t.Context(), url, logger)
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				if kept, err := s.Settings().Keep(t.Context(), "name", "value"); err != nil || kept != "value" {
					t.Errorf("%q, %v", kept, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("every text compares byte by byte", func(t *testing.T) {
		t.Parallel()
		url := pgtest.Database(t)
		s := storetest.OpenOn(t, url)
		db := must(sql.Open("pgx", url))(t)
		defer db.Close()
		rows := must(db.QueryContext(t.Context(), `
			SELECT table_name || '.' || column_name, coalesce(collation_name, '') FROM information_schema.columns
			WHERE table_schema = current_schema() AND data_type = 'text'`))(t)
		columns := 0
		for rows.Next() {
			var column, collation string
			if err := rows.Scan(&column, &collation); err != nil {
				t.Fatal(err)
			}
			if columns++; collation != "C" {
				t.Errorf("%s has the collation %q", column, collation)
			}
		}
		if err := rows.Err(); err != nil || columns < 50 {
			t.Errorf("%d columns, %v", columns, err)
		}
		// The test's own server sorts a before B.
		for _, name := range []string{"a", "B", "_", "é"} {
			addThing(t, s, here, name)
		}
		var names []string
		for _, thing := range must(s.Things().Things(t.Context(), here, "", fescue.Page{Limit: 9}))(t) {
			names = append(names, thing.Name)
		}
		if want := []string{"B", "_", "a", "é"}; !slices.Equal(names, want) {
			t.Errorf("%v, want %v", names, want)
		}
	})
}

// TestChangesOfAnotherCluster: a dump brings the numbers of transactions that the cluster which
// it is restored into has not come to yet.
func TestChangesOfAnotherCluster(t *testing.T) {
	t.Parallel()
	url, ctx := pgtest.Database(t), t.Context()
	s := storetest.OpenOn(t, url)
	db := must(sql.Open("pgx", url))(t)
	defer db.Close()
	const ahead = 1<<40 + 1000
	must(db.ExecContext(ctx, `UPDATE change_horizon SET pruned = $1, removed = $2::TEXT::PG_SNAPSHOT`, int64(ahead), fmt.Sprintf("%d:%[1]d:", ahead)))(t)
	must(db.ExecContext(ctx, `INSERT INTO change_mark (at, seen) VALUES (1, $1::TEXT::PG_SNAPSHOT), ($2, $1::TEXT::PG_SNAPSHOT)`,
		fmt.Sprintf("%d:%[1]d:", ahead+1), time.Now().UnixMilli()))(t)
	must(db.ExecContext(ctx, `INSERT INTO change (tx, kind, partition, subject, at) VALUES ($1::TEXT::XID8, 'certificate', 'p', 'theirs', 0)`, fmt.Sprint(ahead+1)))(t)

	f := follow(t, s)
	mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)),
		s.Certificates().SetCertificateStatus(ctx, here, certID(1), fescue.CertificateInactive, epoch))
	list := f.look()
	if len(list) == 0 {
		t.Error("a change is not seen")
	}
	for _, c := range list {
		if c.Subject != certID(1) {
			t.Errorf("%+v", c)
		}
	}

	// A change that came after a server's look is there for it, although the other cluster had
	// removed all up to a snapshot that lies ahead.
	start := f.next
	mustDo(t, s.Certificates().SetCertificateStatus(ctx, here, certID(1), fescue.CertificateActive, epoch))
	for range 2 {
		mustDo(t, f.store.Prune(ctx, time.Now().Add(-10*time.Minute)))
		if page := must(f.store.Since(ctx, start))(t); page.Lost || len(page.Changes) != 1 || page.Changes[0].Subject != certID(1) {
			t.Errorf("a change of a moment ago: %+v", page)
		}
	}
	var theirs int
	mustDo(t, db.QueryRowContext(ctx, `SELECT count(*) FROM change_mark WHERE pg_snapshot_xmax(seen)::TEXT::BIGINT >= $1`, int64(ahead)).Scan(&theirs))
	if theirs > 0 {
		t.Errorf("%d marks of the other cluster are left", theirs)
	}

	// What is removed of its own is noted, and what is theirs is not.
	start = must(f.store.Since(ctx, start))(t).Next
	mustDo(t, f.store.Prune(ctx, time.UnixMilli(1)))
	if page := must(f.store.Since(ctx, start))(t); page.Lost {
		t.Error("what the other cluster wrote counts")
	}
	mustDo(t, s.Certificates().SetCertificateStatus(ctx, here, certID(1), fescue.CertificateInactive, epoch))
	testkit.Until(t, "what was removed is lost, when no older transaction is under way", func() bool {
		mustDo(t, f.store.Prune(ctx, time.Now().Add(time.Hour)))
		return must(f.store.Since(ctx, start))(t).Lost
	})
}

// TestTaggedGroupsPlan: of the groups that have a tag, no others are read.
func TestTaggedGroupsPlan(t *testing.T) {
	t.Parallel()
	url, ctx := storetest.Postgres(t), t.Context()
	s := storetest.OpenOn(t, url)
	db := must(sql.Open("pgx", url))(t)
	defer db.Close()
	must(db.ExecContext(ctx, `
		INSERT INTO definition (partition, kind, id, name, latest_version, tags_json, created_at, updated_at)
		SELECT $1, 'groups', 'g' || i, 'g', '', CASE i % 1000 WHEN 7 THEN '{"site":"north"}' ELSE '{"site":"south"}' END, 0, 0 FROM generate_series(1, 5000) i`, homePartition.Key()))(t)
	must(db.ExecContext(ctx, `ANALYZE definition`))(t)
	list := must(s.Definitions().Groups(ctx, homePartition, definitions.GroupFilter{Tag: "site", Value: "north"}, fescue.Page{Limit: 50}))(t)
	if len(list) != 5 {
		t.Errorf("%d groups are found", len(list))
	}
	list = must(s.Definitions().Groups(ctx, homePartition, definitions.GroupFilter{Tag: "site", Value: "south"}, fescue.Page{Limit: 50}))(t)
	if len(list) != 50 {
		t.Errorf("%d groups of many are found", len(list))
	}
	steps := strings.Join(explainPostgres(t, db, store.PostgresTaggedGroups, homePartition.Key(), "", `"site":"north"`, 50), "\n")
	if !strings.Contains(steps, "definition_tags") || strings.Contains(steps, "Seq Scan") || strings.Contains(steps, "Removed by") {
		t.Errorf("others are read:\n%s", steps)
	}
}

// TestLockedDeployment: what another transaction has holds up nothing beside it.
func TestLockedDeployment(t *testing.T) {
	t.Parallel()
	url, ctx := storetest.Postgres(t), t.Context()
	s := storetest.OpenOn(t, url)
	db := must(sql.Open("pgx", url))(t)
	defer db.Close()
	locked := must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "locked"), fescue.Token{}))(t)
	hung := must(db.BeginTx(ctx, nil))(t)
	defer hung.Rollback()
	must(hung.ExecContext(ctx, `UPDATE deployment SET revision = revision WHERE id = $1`, locked.ID))(t)
	must(hung.ExecContext(ctx, `
		INSERT INTO client_token (partition, operation, value, request_hash, subject, created_at) VALUES ($1, 'o', 'locked', 'h', 's', 0)`, homePartition.Key()))(t)

	free := must(s.Deployments().CreateDeployment(ctx, newDeployment(homePartition, "free"), fescue.Token{}))(t)
	until := time.Now().Add(time.Hour)
	for _, want := range [][]string{{free.ID}, nil} {
		list, err := s.Deployments().LeaseBuilding(ctx, "aws", until, 1)
		if got := deploymentIDs(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("to be built: %v, %v, want %v", got, err, want)
		}
	}
	token := func(value string) fescue.Token { return fescue.Token{Operation: "o", Value: value, RequestHash: "h"} }
	requests := []deploy.Request{{Deployment: newDeployment(homePartition, "a"), Token: token("a")}, {Deployment: newDeployment(homePartition, "b"), Token: token("locked")}}
	_, err := s.Deployments().CreateDeployments(ctx, requests)
	refused(t, "with one that is locked", err, fescue.ErrLocked)
	_, err = s.Deployments().CreateDeployments(ctx, requests[:1])
	mustDo(t, err)

	mustDo(t, hung.Rollback())
	_, err = s.Deployments().CreateDeployments(ctx, requests[1:])
	mustDo(t, err)
	if list := must(s.Deployments().LeaseBuilding(ctx, "aws", until, 9))(t); len(list) != 3 {
		t.Errorf("%d to be built in the end", len(list))
	}
}

// TestWrote: a transaction is known to have written, however its statements are read.
func TestWrote(t *testing.T) {
	t.Parallel()
	s := storetest.OpenOn(t, storetest.Postgres(t))
	const insert, conflict = `INSERT INTO server_setting (name, value) VALUES ('n', 'v')`, ` ON CONFLICT DO NOTHING RETURNING name`
	for _, c := range []struct {
		statements []string // the last one is read as a row, or none
		want       bool
	}{
		{[]string{`SELECT name FROM server_setting`}, false},
		{[]string{`SELECT pg_notify('c', '')`}, false},
		{[]string{insert + conflict}, true},
		{[]string{`UPDATE server_setting SET value = 'w' WHERE name = 'n' RETURNING name`}, false},
		{[]string{insert, insert + conflict}, true},
		{[]string{insert, `UPDATE server_setting SET value = 'w' WHERE name = 'n' RETURNING name`}, true},
		{[]string{`DELETE FROM server_setting WHERE name = 'n'`, `SELECT name FROM server_setting WHERE name = 'n'`}, false},
		{[]string{`WITH gone AS (DELETE FROM server_setting WHERE name = 'n' RETURNING name) INSERT INTO server_setting (name, value) VALUES ('m', '') RETURNING name`}, true},
	} {
		wrote, err := store.Wrote(t.Context(), s, func(tx store.Transaction) error {
			last := len(c.statements) - 1
			for _, statement := range c.statements[:last] {
				if _, err := tx.ExecContext(t.Context(), statement); err != nil {
					return err
				}
			}
			var text string
			if err := tx.QueryRowContext(t.Context(), c.statements[last]).Scan(&text); !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			return nil
		})
		if err != nil || wrote != c.want {
			t.Errorf("%q: %v, %v", c.statements, wrote, err)
		}
	}
}

// TestUnanswered: a statement that is too much work ends, and nothing else with it.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	s, ctx := storetest.OpenOn(t, storetest.Postgres(t)), t.Context()
	connect := func(n int) { // each has a connection while all have
		var all sync.WaitGroup
		for arrived := make(chan struct{}, n); n > 0; n-- {
			all.Go(func() {
				err := s.Update(ctx, func(store.Transaction) error {
					arrived <- struct{}{}
					testkit.Until(t, "all have one", func() bool { return len(arrived) == cap(arrived) })
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	connect(3)
	made := store.Connections(s)
	store.AnswerWithin(s, 2*time.Second)
	err := s.Update(ctx, func(tx store.Transaction) error {
		_, err := tx.ExecContext(ctx, `SELECT pg_sleep(600)`)
		return err
	})
	refused(t, "too much work", err, fescue.ErrAway)
	store.AnswerWithin(s, time.Minute)
	connect(2)
	if n := store.Connections(s); n != made {
		t.Errorf("%d connections were made anew", n-made)
	}
}

// TestTooMuchToRemove: what is too old is removed little by little where the database does not
// answer in time otherwise.
func TestTooMuchToRemove(t *testing.T) {
	t.Parallel()
	url, ctx := storetest.Postgres(t), t.Context()
	s := storetest.OpenOn(t, url)
	db := must(sql.Open("pgx", url))(t)
	defer db.Close()
	for _, table := range []string{"change", "audit_record"} {
		must(db.ExecContext(ctx, `
			CREATE FUNCTION slow_`+table+`() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF (SELECT count(*) FROM gone) > 2000 THEN PERFORM pg_sleep(600); END IF;
				RETURN NULL;
			END $$;
			CREATE TRIGGER slow AFTER DELETE ON `+table+` REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION slow_`+table+`()`))(t)
	}
	must(db.ExecContext(ctx, `INSERT INTO change (kind, partition, subject) SELECT 'core', $1, 'x' FROM generate_series(1, 3000)`, here.Key()))(t)
	must(db.ExecContext(ctx, `INSERT INTO audit_record (partition, at, id, key_id, key_name, source, service, operation, resource, status, code)
		SELECT 'p', i, '', '', '', '', '', '', '', 200, '' FROM generate_series(1, 3000) i`))(t)
	feed := s.Changes("aws")
	mustDo(t, feed.Prune(ctx, time.UnixMilli(1))) // leaves a mark
	store.AnswerWithin(s, 2*time.Second)
	mustDo(t, feed.Prune(ctx, time.Now().Add(time.Hour)))
	var left int
	mustDo(t, db.QueryRowContext(ctx, `SELECT count(*) FROM change WHERE subject = 'x'`).Scan(&left))
	if left > 0 {
		t.Errorf("%d changes are left", left)
	}
	removed, upTo, err := s.Retention().Expire(ctx, retention.RetainedAudit, time.Time{}, time.UnixMilli(3000), 3000)
	if err != nil || removed != 1500 || upTo.UnixMilli() != 1500 {
		t.Errorf("%d records are removed, up to %v, %v", removed, upTo, err)
	}
}

// TestBusyPostgres: whoever comes to no connection, or to no lock, learns that in time.
func TestBusyPostgres(t *testing.T) {
	t.Parallel()
	s := storetest.OpenOn(t, pgtest.Database(t)+"&pool_max_conns=2&lock_timeout=100")
	hold := func(statement string) (release func()) {
		held, end := make(chan struct{}), make(chan struct{})
		var holding sync.WaitGroup
		holding.Go(func() {
			err := s.Update(t.Context(), func(tx store.Transaction) error {
				_, err := tx.ExecContext(t.Context(), statement)
				close(held)
				<-end
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-held
		return func() { close(end); holding.Wait() }
	}
	lock := hold(`LOCK TABLE server_setting IN ACCESS EXCLUSIVE MODE`)
	_, err := s.Settings().Kept(t.Context(), "name")
	refused(t, "a locked table", err, fescue.ErrBusy)

	second := hold(`SELECT 1`)
	refused(t, "a write", s.Settings().Put(t.Context(), "name", "value"), fescue.ErrBusy)
	_, err = s.Definitions().Definition(t.Context(), homePartition, fescue.GroupKind, "g")
	refused(t, "a read", err, fescue.ErrBusy)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Definitions().Definition(gone, homePartition, fescue.GroupKind, "g")
	refused(t, "who has gone", err, context.Canceled)
	second()
	lock()
	mustDo(t, s.Settings().Put(t.Context(), "name", "value"))
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, database, says string }{
		{"another engine", "mysql://u:secret@host/db", "postgres://"},
		{"a malformed URL", "postgres://u:secret@host:port/db", "database URL"},
		{"an unknown option", "postgres://u:secret@127.0.0.1/db?sslmode=none", "sslmode"},
		{"nobody there", "postgres://u:secret@127.0.0.1:1/db", "127.0.0.1"},
		{"no folder", filepath.Join(t.TempDir(), "none", "x.db"), "none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), tc.database, slog.New(slog.DiscardHandler))
			if err == nil {
				s.Close()
				t.Fatal("it opens")
			}
			if !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
	}
}

// TestClose: a transaction that began before is finished, and none begins any more.
func TestClose(t *testing.T) {
	t.Parallel()
	s := must(store.Open(t.Context(), storetest.Postgres(t), slog.New(slog.DiscardHandler)))(t)
	store.CloseWithin(s, time.Minute)
	wrote, finish, answer, closed := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1), make(chan error, 1)
	go func() {
		answer <- s.Update(t.Context(), func(tx store.Transaction) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO change (kind, partition, subject) VALUES ('core', $1, 'mill')`, here.Key())
			wrote <- struct{}{}
			<-finish
			return err
		})
	}()
	testkit.Receive(t, "a write", wrote)
	go func() { closed <- s.Close() }()
	testkit.Until(t, "no other begins", func() bool {
		return s.Update(t.Context(), func(store.Transaction) error { return nil }) != nil
	})
	close(finish)
	mustDo(t, testkit.Receive(t, "answer", answer))
	mustDo(t, testkit.Receive(t, "end", closed))
}
