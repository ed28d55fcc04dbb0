//go:build linux

package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/changes"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit"
)

// comesBack is within what time a store works again after another primary took over.
const comesBack = 15 * time.Second

func TestFailOver(t *testing.T) {
	t.Parallel()
	t.Run("what was acknowledged with a synchronous standby is there", func(t *testing.T) {
		t.Parallel()
		pair := pgtest.StartPair(t, true)
		s := storetest.OpenOn(t, pair.URL())
		const writers = 8
		var (
			made    [writers][]string
			refused atomic.Int64
			written atomic.Int64
			stop    = make(chan struct{})
			writing sync.WaitGroup
		)
		for w := range writers {
			writing.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					name := fmt.Sprintf("%d-%d", w, i)
					_, err := s.Things().CreateThing(t.Context(), here, fescue.Thing{Name: name, ID: fescue.NewID(), Version: 1}, epoch)
					switch {
					case err == nil:
						made[w] = append(made[w], name)
						written.Add(1)
					case errors.Is(err, fescue.ErrAway), errors.Is(err, fescue.ErrUncertain), errors.Is(err, fescue.ErrBusy):
						refused.Add(1)
					default:
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		testkit.Until(t, "things are made", func() bool { return written.Load() > 200 })
		pair.Primary.Kill()
		testkit.Until(t, "calls are refused", func() bool { return refused.Load() >= writers })
		pair.Standby.Promote(t)
		promoted, before := time.Now(), written.Load()
		testkit.Until(t, "things are made again", func() bool { return written.Load() > before })
		took := time.Since(promoted)
		testkit.Until(t, "by all writers", func() bool { return written.Load() > before+200 })
		close(stop)
		writing.Wait()
		t.Logf("%d were made, %d calls refused; the first thing was made %v after the promotion", written.Load(), refused.Load(), took)
		if took > comesBack {
			t.Errorf("not within %v", comesBack)
		}
		for _, list := range made {
			for _, name := range list {
				if _, err := s.Things().Thing(t.Context(), here, name); err != nil {
					t.Fatalf("%s was acknowledged: %v", name, err)
				}
			}
		}
	})
	t.Run("changes are not missed when numbers of transactions are given out again", func(t *testing.T) {
		t.Parallel()
		pair := pgtest.StartPair(t, false)
		s := storetest.OpenOn(t, pair.URL())
		addThing(t, s, here, "mill")
		f := follow(t, s)
		pair.Standby.Detach(t)
		primary := pair.Primary.Open(t)
		for range 50 {
			tx := must(primary.BeginTx(t.Context(), nil))(t)
			if _, err := tx.ExecContext(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
				t.Fatal(err)
			}
			tx.Rollback()
		}
		f.look()
		seen := f.next
		pair.Primary.Kill()
		pair.Standby.Promote(t)
		testkit.Eventually(t, "a change is made", func() error {
			return s.Checks().AskCheck(t.Context(), here, "asked", fescue.NewID(), []byte(`{}`), time.Now().Add(time.Minute))
		})
		var page changes.Page
		testkit.Eventually(t, "looked", func() (err error) {
			page, err = f.store.Since(t.Context(), seen)
			return err
		})
		if len(page.Changes) > 0 {
			t.Log("the number was not given out again; the test shows less than it could")
		}
		if !page.Lost || page.Next.At >= seen.At {
			t.Errorf("from %+v: %+v", seen, page)
		}
		f.next = page.Next
		mustDo(t, s.Checks().AskCheck(t.Context(), here, "again", fescue.NewID(), []byte(`{}`), time.Now().Add(time.Minute)))
		if list := f.look(); len(list) != 1 {
			t.Errorf("%+v", list)
		}
	})
	t.Run("what an asynchronous standby did not have is read again", func(t *testing.T) {
		t.Parallel()
		pair := pgtest.StartPair(t, false)
		s := storetest.OpenOn(t, pair.URL())
		mustDo(t, s.Certificates().CreateCertificate(t.Context(), here, certificate(1, fescue.CertificateActive)))
		testkit.Eventually(t, "the standby has it", func() error {
			var n int
			err := pair.Standby.Open(t).QueryRow(`SELECT 1 FROM certificate`).Scan(&n)
			return err
		})
		pair.Standby.Detach(t)
		f := follow(t, s)
		mustDo(t, s.Certificates().SetCertificateStatus(t.Context(), here, certID(1), fescue.CertificateInactive, epoch))
		if list := f.look(); len(list) != 1 {
			t.Fatalf("%+v", list)
		}
		pair.Primary.Kill()
		pair.Standby.Promote(t)
		testkit.Eventually(t, "lost", func() error {
			page, err := f.store.Since(t.Context(), f.next)
			if err == nil && !page.Lost {
				t.Fatalf("%+v", page)
			}
			return err
		})
		if c, err := s.Certificates().Certificate(t.Context(), here, certID(1)); err != nil || c.Status != fescue.CertificateActive {
			t.Errorf("%+v, %v", c, err)
		}
	})
	t.Run("changes are not missed by a crash", func(t *testing.T) {
		t.Parallel()
		pair := pgtest.StartPair(t, false)
		s := storetest.OpenOn(t, pair.URL())
		f := follow(t, s)
		pair.Primary.Kill()
		if _, err := f.store.Since(t.Context(), f.next); !errors.Is(err, fescue.ErrAway) {
			t.Errorf("without a database: %v", err)
		}
		pair.Primary.Start(t)
		testkit.Eventually(t, "lost", func() error {
			page, err := f.store.Since(t.Context(), f.next)
			if err == nil && !page.Lost {
				t.Fatalf("%+v", page)
			}
			return err
		})
	})
	t.Run("nobody sees what the synchronous standby does not have, although its caller has gone", func(t *testing.T) {
		t.Parallel()
		pair := pgtest.StartPair(t, true)
		s := storetest.OpenOn(t, pair.URL())
		thaw := pair.Standby.Freeze()
		t.Cleanup(thaw)
		ctx, leave := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		go func() {
			_, err := s.Things().CreateThing(ctx, here, fescue.Thing{Name: "mill", ID: fescue.NewID(), Version: 1}, epoch)
			answered <- err
		}()
		primary := pair.Primary.Open(t)
		testkit.Eventually(t, "the commit waits", func() error {
			var n int
			return primary.QueryRowContext(t.Context(), `SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).Scan(&n)
		})
		leave()
		for range 50 {
			if _, err := s.Things().Thing(t.Context(), here, "mill"); !errors.Is(err, fescue.ErrNotFound) {
				t.Fatalf("it is seen: %v", err)
			}
			select {
			case err := <-answered:
				t.Fatalf("it is answered: %v", err)
			case <-time.After(10 * time.Millisecond): // nothing can be waited for
			}
		}
		thaw()
		mustDo(t, <-answered)
		_, err := s.Things().Thing(t.Context(), here, "mill")
		mustDo(t, err)
	})
	t.Run("what takes connections and does not answer is not waited for", func(t *testing.T) {
		t.Parallel()
		const patience = 15 * time.Second // the waits for a connection and for an answer, and some
		pair := pgtest.StartPair(t, false)
		s := storetest.OpenOn(t, pair.URL())
		within := func(what string, ctx context.Context, limit time.Duration, f func(tx store.Transaction) error) error {
			answered, began := make(chan error, 1), time.Now()
			go func() { answered <- s.Update(ctx, f) }()
			err := testkit.Receive(t, what, answered)
			if took := time.Since(began); took > limit {
				t.Errorf("%s: it took %v", what, took)
			}
			return err
		}
		nothing := func(store.Transaction) error { return nil }
		mustDo(t, within("before", t.Context(), patience, nothing))
		thaw := pair.Primary.Freeze()
		if err := within("to begin", t.Context(), patience, nothing); !errors.Is(err, fescue.ErrAway) && !errors.Is(err, fescue.ErrBusy) {
			t.Error(err)
		}
		leaving, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer leave()
		if err := within("to begin, for a caller who leaves", leaving, 4*time.Second, nothing); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		thaw()
		testkit.Eventually(t, "it answers", func() error { return s.Update(t.Context(), nothing) })
		failed := errors.New("failed")
		err := within("to undo", t.Context(), patience, func(tx store.Transaction) error {
			thaw = pair.Primary.Freeze()
			return failed
		})
		if thaw(); !errors.Is(err, failed) {
			t.Error(err)
		}
	})
	t.Run("statements that nobody waits for end when they are not answered", func(t *testing.T) {
		t.Parallel()
		node := pgtest.StartNode(t)
		s := storetest.OpenOn(t, node.URL())
		store.AnswerWithin(s, time.Second)
		ctx := context.WithoutCancel(t.Context())
		await := func(what string, f func() error) {
			t.Helper()
			answered := make(chan error, 1)
			go func() { answered <- f() }()
			if err := testkit.Receive(t, what, answered); !errors.Is(err, fescue.ErrAway) && !errors.Is(err, fescue.ErrBusy) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, statement := range []func(tx store.Transaction) error{
			func(tx store.Transaction) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO change (kind, partition, subject) VALUES ('core', 'p', 'x')`)
				return err
			},
			func(tx store.Transaction) error {
				var seq int64
				return tx.QueryRowContext(ctx, `INSERT INTO change (kind, partition, subject) VALUES ('core', 'p', 'x') RETURNING seq`).Scan(&seq)
			},
		} {
			var thaw func()
			runs := 0
			await("a transaction", func() error {
				return s.Update(ctx, func(tx store.Transaction) error {
					runs++
					thaw = node.Freeze()
					return statement(tx)
				})
			})
			if runs != 1 {
				t.Errorf("a transaction that got no answer was begun %d times", runs)
			}
			await("a read", func() error { return s.Ping(ctx) })
			await("what removes changes", func() error { return s.Changes("aws").Prune(ctx, time.Now()) })
			thaw()
			testkit.Eventually(t, "it answers", func() error { return s.Ping(ctx) })
		}
		var n int
		if err := node.Open(t).QueryRowContext(ctx, `SELECT count(*) FROM change`).Scan(&n); err != nil || n > 0 {
			t.Errorf("%d were written, %v", n, err)
		}
	})
	t.Run("commits that hang with the old primary keep nobody from writing to the new one", func(t *testing.T) {
		t.Parallel()
		const places = 6 // three quarters of the connections
		pair := pgtest.StartPair(t, false)
		s := storetest.OpenOn(t, pair.URL()+"&pool_max_conns=8")
		store.AnswerCommitsWithin(s, 2*time.Second)
		write := func(committing func()) error {
			return s.Update(t.Context(), func(tx store.Transaction) error {
				_, err := tx.ExecContext(t.Context(), `INSERT INTO change (kind, partition, subject) VALUES ('core', $1, 'mill')`, here.Key())
				if err == nil {
					committing()
				}
				return err
			})
		}
		wrote, frozen, answers := make(chan struct{}, places), make(chan struct{}), make(chan error, places)
		for range places {
			go func() {
				answers <- write(func() {
					wrote <- struct{}{}
					<-frozen
				})
			}()
		}
		for range places {
			testkit.Receive(t, "a write", wrote)
		}
		t.Cleanup(pair.Primary.Freeze())
		close(frozen)
		for range places {
			if err := testkit.Receive(t, "answer", answers); !errors.Is(err, fescue.ErrUncertain) {
				t.Error(err)
			}
		}
		pair.Standby.Promote(t)
		promoted := time.Now()
		testkit.Eventually(t, "another write", func() error { return write(func() {}) })
		t.Logf("it was written %v after the promotion", time.Since(promoted))
	})
	t.Run("a standby alone is refused, and says why", func(t *testing.T) {
		t.Parallel()
		pair := pgtest.StartPair(t, false)
		db, err := store.Open(t.Context(), pair.Standby.URL(), slog.New(slog.DiscardHandler))
		if err == nil {
			db.Close()
			t.Fatal("it opens")
		}
		t.Log(err)
		if !errors.Is(err, fescue.ErrAway) {
			t.Error(err)
		}
	})
}
