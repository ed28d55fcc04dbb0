//go:build linux

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit"
)

// TestUncertain: a synchronous standby is away at a commit, which is answered as uncertain.
func TestUncertain(t *testing.T) {
	t.Parallel()
	const soon = 200 * time.Millisecond
	token := fescue.Token{Operation: "CreateGroup", Value: "once", RequestHash: "h"}
	create := func(ctx context.Context, s *store.DB) (fescue.Definition, error) {
		d := fescue.Definition{Kind: fescue.GroupKind, ID: fescue.NewID(), CreatedAt: epoch, UpdatedAt: epoch}
		return s.Definitions().CreateDefinition(ctx, here, d, nil, token)
	}
	start := func(t *testing.T) (s *store.DB, primary *sql.DB, thaw func()) {
		pair := pgtest.StartPair(t, true)
		s = storetest.OpenOn(t, pair.URL())
		addThing(t, s, here, "mill")
		mustDo(t, s.Certificates().CreateCertificate(t.Context(), here, certificate(1, fescue.CertificateActive)))
		thaw = pair.Standby.Freeze()
		t.Cleanup(thaw)
		return s, pair.Primary.Open(t), thaw
	}
	count := func(t *testing.T, primary *sql.DB, query string) (n int) {
		t.Helper()
		if err := primary.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const (
		committing = `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`
		locked     = `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`
		groups     = `SELECT count(*) FROM definition`
	)

	t.Run("nobody sees it before the standby has it, and who asks again waits", func(t *testing.T) {
		t.Parallel()
		s, primary, thaw := start(t)
		store.AnswerCommitsWithin(s, soon)
		if _, err := create(t.Context(), s); !errors.Is(err, fescue.ErrUncertain) {
			t.Fatal(err)
		}
		again := make(chan error, 1)
		go func() {
			_, err := create(t.Context(), s)
			again <- err
		}()
		testkit.Until(t, "the other call waits", func() bool { return count(t, primary, locked) == 1 })
		if n := count(t, primary, groups); n != 0 || count(t, primary, committing) != 1 {
			t.Errorf("%d groups are seen", n)
		}
		store.AnswerCommitsWithin(s, time.Minute)
		thaw()
		mustDo(t, testkit.Receive(t, "answer", again))
		if n := count(t, primary, groups); n != 1 {
			t.Errorf("%d groups", n)
		}
	})
	t.Run("a connection that is given up does not end the wait", func(t *testing.T) {
		t.Parallel()
		s, primary, thaw := start(t)
		store.AnswerCommitsWithin(s, soon)
		if _, err := create(t.Context(), s); !errors.Is(err, fescue.ErrUncertain) {
			t.Fatal(err)
		}
		began := time.Now()
		mustDo(t, s.Close())
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v to close", took)
		}
		if n := count(t, primary, groups); n != 0 || count(t, primary, committing) != 1 {
			t.Errorf("%d groups are seen", n)
		}
		thaw()
		testkit.Until(t, "the group is there", func() bool { return count(t, primary, groups) == 1 })
	})
	t.Run("whoever reads is served", func(t *testing.T) {
		t.Parallel()
		s, _, _ := start(t)
		store.AnswerCommitsWithin(s, soon)
		for i := range 100 {
			err := s.Settings().Put(t.Context(), fescue.NewID(), "x")
			if errors.Is(err, fescue.ErrBusy) {
				t.Logf("%d commits wait", i)
				break
			} else if !errors.Is(err, fescue.ErrUncertain) {
				t.Fatal(err)
			}
		}
		must(s.Things().Thing(t.Context(), here, "mill"))(t)
	})
	t.Run("what somebody else had shown before is not acknowledged to who asks again", func(t *testing.T) {
		t.Parallel()
		s, primary, thaw := start(t)
		record := audit.Record{Partition: here, At: epoch, ID: "r", Operation: "CreateGroup"}
		var made fescue.Definition
		calls := []struct {
			name  string
			call  func() error
			again error
		}{
			{"create with a token", func() (err error) {
				made, err = create(t.Context(), s)
				return err
			}, nil},
			{"write an audit record", func() error { return s.Audit().AddAuditRecords(t.Context(), record) }, nil},
			{"attach", func() error { return s.Things().AttachThing(t.Context(), here, "mill", certID(1)) }, nil},
			{"make a thing", func() error {
				_, err := s.Things().CreateThing(t.Context(), here, fescue.Thing{Name: "gate", ID: fescue.NewID(), Version: 1}, epoch)
				return err
			}, fescue.ErrExists},
			{"make a role", func() error {
				return s.IAM().CreateIAMRole(t.Context(), here.Account, identity.IAMRole{Name: "r", ID: "AROA", CreatedAt: epoch})
			}, fescue.ErrExists},
			{"make a certificate", func() error {
				return s.Certificates().CreateCertificate(t.Context(), here, certificate(2, fescue.CertificateActive))
			}, fescue.ErrExists},
		}
		for _, c := range calls {
			answer := make(chan error, 1)
			go func() { answer <- c.call() }()
			testkit.Until(t, c.name+": the commit waits", func() bool { return count(t, primary, committing) == 1 })
			count(t, primary, `SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
			if err := testkit.Receive(t, "answer", answer); !errors.Is(err, fescue.ErrUncertain) {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if n := count(t, primary, groups); n != 1 {
			t.Fatalf("%d groups are seen", n)
		}
		store.AnswerCommitsWithin(s, soon)
		for _, c := range calls {
			if err := c.call(); !errors.Is(err, fescue.ErrUncertain) {
				t.Errorf("%s again: %v", c.name, err)
			}
		}
		if _, err := s.Definitions().TokenSubject(t.Context(), here, token); !errors.Is(err, fescue.ErrUncertain) {
			t.Errorf("the token: %v", err)
		}
		thaw()
		testkit.Until(t, "no commit waits", func() bool { return count(t, primary, committing) == 0 })
		store.AnswerCommitsWithin(s, time.Minute)
		for _, c := range calls {
			if err := c.call(); !errors.Is(err, c.again) {
				t.Errorf("%s afterwards: %v", c.name, err)
			}
		}
		if id, err := s.Definitions().TokenSubject(t.Context(), here, token); err != nil || id != made.ID {
			t.Errorf("%s, %v", id, err)
		}
	})
}
