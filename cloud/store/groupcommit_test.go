package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

// tallied is a store on SQLite with a table of its own, and the file as others see it.
type tallied struct {
	*testing.T
	*store.DB
	outside *sql.DB
}

// tally opens a store that the test closes at its end, at the latest.
func tally(t *testing.T, path string) *tallied {
	t.Helper()
	s := &tallied{T: t, DB: must(store.OpenSQLite(t.Context(), path, slog.New(slog.DiscardHandler)))(t)}
	s.outside = must(sql.Open("sqlite", path))(t)
	mustDo(t, s.Update(t.Context(), func(tx store.Transaction) error {
		return statements(t.Context(), tx,
			`CREATE TABLE done (name TEXT PRIMARY KEY, number INTEGER NOT NULL)`,
			`CREATE TABLE parent (name TEXT PRIMARY KEY)`,
			`CREATE TABLE child (name TEXT REFERENCES parent (name))`)
	}))
	return s
}

func (s *tallied) end() {
	s.Helper()
	if err := errors.Join(s.DB.Close(), s.outside.Close()); err != nil {
		s.Error(err)
	}
}

func statements(ctx context.Context, tx store.Transaction, statements ...string) error {
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// insert writes a name with the next number, which it returns.
func insert(ctx context.Context, tx store.Transaction, name string) (number int64, err error) {
	err = tx.QueryRowContext(ctx, `
		INSERT INTO done (name, number) SELECT $1, coalesce(max(number), 0) + 1 FROM done RETURNING number`, name).Scan(&number)
	return number, err
}

// names are those that were written, as others see it, in the order of their numbers.
func (s *tallied) names() (list []string) {
	s.Helper()
	rows := must(s.outside.Query(`SELECT name, number FROM done ORDER BY number`))(s.T)
	defer rows.Close()
	for rows.Next() {
		var name string
		var number int
		mustDo(s.T, rows.Scan(&name, &number))
		if list = append(list, name); number != len(list) {
			s.Errorf("%s has the number %d, and is at %d", name, number, len(list))
		}
	}
	mustDo(s.T, rows.Err())
	return list
}

// held runs pieces of work in one transaction: while the first is under way the others
// come to wait, one after the other.
func (s *tallied) held(pieces ...func() error) []error {
	errs := make([]error, len(pieces))
	var all sync.WaitGroup
	release := make(chan struct{})
	all.Go(func() {
		s.Update(context.Background(), func(store.Transaction) error { <-release; return nil })
	})
	for i, piece := range pieces {
		synctest.Wait()
		all.Go(func() {
			errs[i] = errors.New("it panicked")
			defer func() { recover() }()
			errs[i] = piece()
		})
	}
	time.Sleep(time.Second) // the bubble's: contexts end
	close(release)
	all.Wait()
	return errs
}

// writes is a piece of work that writes a name.
func (s *tallied) writes(name string, more ...func(tx store.Transaction) error) func() error {
	return func() error {
		ctx := context.Background()
		return s.Update(ctx, func(tx store.Transaction) error {
			if _, err := insert(ctx, tx, name); err != nil {
				return err
			}
			for _, f := range more {
				if err := f(tx); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "fescue.db")
		storetest.WriteSQLite(t, path)
		return path
	}
	t.Run("one commit is for all that wait, and answers nobody before", func(t *testing.T) {
		t.Parallel()
		path := file(t)
		synctest.Test(t, func(t *testing.T) {
			s := tally(t, path)
			defer s.end()
			var pieces []func() error
			var want []string
			for i := range 20 {
				name := fmt.Sprint(i)
				write := s.writes(name, func(store.Transaction) error {
					if seen := s.names(); len(seen) > 0 {
						t.Errorf("%q are committed while %s is written", seen, name)
					}
					return nil
				})
				pieces, want = append(pieces, func() error {
					err := write()
					if len(s.names()) != 20 {
						t.Errorf("%s is answered before all are there", name)
					}
					return err
				}), append(want, name)
			}
			mustDo(t, s.held(pieces...)...)
			if got := s.names(); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	})

	mine := errors.New("mine")
	for _, c := range []struct {
		name string
		bad  func(s *tallied) func() error
		is   error // nil for one that says nothing
	}{
		{"fails", func(s *tallied) func() error {
			return s.writes("bad", func(store.Transaction) error { return mine })
		}, mine},
		{"finds its name taken", func(s *tallied) func() error { return s.writes("before") }, nil},
		{"panics", func(s *tallied) func() error {
			return s.writes("bad", func(store.Transaction) error { panic("mine") })
		}, nil},
		{"ends its goroutine", func(s *tallied) func() error {
			return s.writes("bad", func(store.Transaction) error { runtime.Goexit(); return nil })
		}, nil},
		{"has its context end while it waits", func(s *tallied) func() error {
			return func() error {
				ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
				defer cancel()
				return s.Update(ctx, func(tx store.Transaction) error { s.Error("it has its turn"); return nil })
			}
		}, context.DeadlineExceeded},
		{"has its context end at work", func(s *tallied) func() error {
			return func() error {
				ctx, cancel := context.WithCancel(context.Background())
				return s.Update(ctx, func(tx store.Transaction) error {
					if _, err := insert(ctx, tx, "bad"); err != nil {
						return err
					}
					cancel()
					_, err := tx.QueryContext(ctx, `SELECT 1`)
					_, execErr := tx.ExecContext(ctx, `DELETE FROM done`)
					if !errors.Is(err, context.Canceled) || !errors.Is(execErr, context.Canceled) {
						s.Errorf("statements go on: %v, %v", err, execErr)
					}
					_, err = insert(ctx, tx, "worse")
					return err
				})
			}
		}, context.Canceled},
		{"takes too long", func(s *tallied) func() error {
			return s.writes("bad", func(tx store.Transaction) error {
				time.Sleep(time.Minute)
				statements(context.Background(), tx, `DELETE FROM done`)
				if _, err := insert(context.Background(), tx, "worse"); err == nil {
					s.Error("it writes after its time is over")
				}
				return nil
			})
		}, nil},
		{"breaks the transaction", func(s *tallied) func() error {
			return s.writes("bad", func(tx store.Transaction) error { return statements(context.Background(), tx, `ROLLBACK`) })
		}, nil},
		{"breaks it and fails", func(s *tallied) func() error {
			return s.writes("bad", func(tx store.Transaction) error {
				statements(context.Background(), tx, `ROLLBACK`)
				return mine
			})
		}, mine},
		{"cannot be committed", func(s *tallied) func() error {
			return s.writes("bad", func(tx store.Transaction) error {
				return statements(context.Background(), tx, `PRAGMA defer_foreign_keys = ON`, `INSERT INTO child (name) VALUES ('nobody')`)
			})
		}, nil},
		{"finds the disk full", func(s *tallied) func() error {
			return s.writes("bad", func(tx store.Transaction) error {
				err := statements(context.Background(), tx, `PRAGMA max_page_count = 1`, `INSERT INTO parent (name) VALUES (hex(zeroblob(1000000)))`)
				statements(context.Background(), tx, `PRAGMA max_page_count = 4294967294`)
				return err
			})
		}, fescue.ErrDiskFull},
	} {
		t.Run("one that "+c.name+" is undone alone", func(t *testing.T) {
			t.Parallel()
			path := file(t)
			synctest.Test(t, func(t *testing.T) {
				s := tally(t, path)
				defer s.end()
				errs := s.held(s.writes("before"), c.bad(s), s.writes("after"), s.writes("last"))
				if err := errs[1]; err == nil || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("it says %v, want %v", err, c.is)
				}
				mustDo(t, errs[0], errs[2], errs[3])
				if got := s.names(); !slices.Equal(got, []string{"before", "after", "last"}) {
					t.Errorf("%q are there", got)
				}
				mustDo(t, s.writes("and then")())
			})
		})
	}
	t.Run("one that failed for what another did is done again without that", func(t *testing.T) {
		t.Parallel()
		path := file(t)
		synctest.Test(t, func(t *testing.T) {
			s := tally(t, path)
			defer s.end()
			runs := 0
			errs := s.held(s.writes("taken", func(tx store.Transaction) error {
				return statements(context.Background(), tx, `PRAGMA defer_foreign_keys = ON`, `INSERT INTO child (name) VALUES ('nobody')`)
			}), func() error {
				return s.Update(context.Background(), func(tx store.Transaction) error {
					runs++
					_, err := insert(context.Background(), tx, "taken")
					return err
				})
			})
			if errs[0] == nil || errs[1] != nil || runs != 2 || len(s.names()) != 1 {
				t.Errorf("%v; %v after %d runs; %q", errs[0], errs[1], runs, s.names())
			}
		})
	})
	t.Run("another process that writes is waited for, as long as the context allows", func(t *testing.T) {
		t.Parallel()
		s := tally(t, file(t))
		defer s.end()
		other := must(s.outside.Conn(t.Context()))(t)
		defer other.Close()
		must(other.ExecContext(t.Context(), `BEGIN IMMEDIATE`))(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		refused(t, "held", s.Update(ctx, func(store.Transaction) error { t.Error("it has its turn"); return nil }), context.DeadlineExceeded)
		waiting := make(chan error)
		go func() { waiting <- s.writes("waiting")() }()
		must(other.ExecContext(t.Context(), `COMMIT`))(t)
		mustDo(t, <-waiting)
	})
	t.Run("closing finishes what is under way and refuses what waits", func(t *testing.T) {
		t.Parallel()
		path := file(t)
		synctest.Test(t, func(t *testing.T) {
			s := tally(t, path)
			defer s.outside.Close()
			release, first, second, closed := make(chan struct{}), make(chan error), make(chan error), make(chan error)
			go func() { first <- s.writes("first", func(store.Transaction) error { <-release; return nil })() }()
			synctest.Wait()
			go func() { closed <- s.DB.Close() }()
			synctest.Wait()
			go func() { second <- s.writes("second")() }()
			if err := <-second; err == nil {
				t.Error("work is taken while it closes")
			}
			close(release)
			mustDo(t, <-first, <-closed)
			if err := s.writes("third")(); err == nil {
				t.Error("work is taken after it closed")
			}
			if got := s.names(); !slices.Equal(got, []string{"first"}) {
				t.Errorf("%q", got)
			}
		})
	})
}

// TestGroupCommitAtOnce: whatever becomes of some pieces of work, and of whole commits,
// each that succeeds is done once, as its caller was told.
func TestGroupCommitAtOnce(t *testing.T) {
	t.Parallel()
	const writers, each = 24, 60
	path := filepath.Join(t.TempDir(), "fescue.db")
	storetest.WriteSQLite(t, path)
	s := tally(t, path)
	defer s.end()
	told := make([]map[string]int64, writers)
	var all errgroup.Group
	for w := range writers {
		random := rand.New(rand.NewPCG(uint64(w), 2))
		told[w] = make(map[string]int64)
		write := func(name string) (err error) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			kind := random.IntN(64)
			if kind == 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(int(2*time.Millisecond))))
				defer cancel()
			}
			panics := errors.New("it panics")
			defer func() {
				if recover() != nil {
					err = panics
				}
			}()
			var number int64
			err = s.Update(ctx, func(tx store.Transaction) (err error) {
				if number, err = insert(ctx, tx, name); err != nil {
					return err
				}
				switch kind {
				case 1:
					return errors.New("it fails")
				case 2:
					panic("it panics")
				case 3:
					cancel()
					return statements(ctx, tx, `DELETE FROM done`)
				case 4:
					return statements(ctx, tx, `PRAGMA defer_foreign_keys = ON`, `INSERT INTO child (name) VALUES ('nobody')`)
				case 5:
					statements(ctx, tx, `ROLLBACK`)
					return errors.New("it breaks everything")
				}
				return nil
			})
			if err == nil {
				told[w][name] = number
			}
			if bad := kind > 0 && kind < 6; bad == (err == nil) && kind > 0 {
				return fmt.Errorf("%s, of kind %d: %v", name, kind, err)
			}
			return nil
		}
		all.Go(func() error {
			for i := range each {
				if err := write(fmt.Sprintf("%d/%d", w, i)); err != nil && !strings.Contains(err.Error(), "it panics") {
					return err
				}
			}
			return nil
		})
	}
	mustDo(t, all.Wait())
	names := s.names()
	for i, name := range names {
		var w int
		must(fmt.Sscanf(name, "%d/", &w))(t)
		if told[w][name] != int64(i+1) {
			t.Errorf("%s is there as %d, its writer was told %d", name, i+1, told[w][name])
		}
		delete(told[w], name)
	}
	for _, missing := range told {
		if len(missing) > 0 {
			t.Errorf("not there, though their writers were told so: %v", missing)
		}
	}
	if len(names) < writers*each/2 {
		t.Errorf("only %d are there", len(names))
	}
}

// killedVariable is the file that TestKilledWriter writes in a process that is killed.
const killedVariable = "FESCUE_TEST_KILLED_WRITER"

// TestKilledWriter: what a process that is killed was told to be written is there.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	if path := os.Getenv(killedVariable); path != "" {
		writeUntilKilled(t, path)
	}
	for range 3 {
		path := filepath.Join(t.TempDir(), "fescue.db")
		storetest.WriteSQLite(t, path)
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWriter$")
		child.Env = append(os.Environ(), killedVariable+"="+path)
		out := must(child.StdoutPipe())(t)
		mustDo(t, child.Start())
		told, lines := []string{}, bufio.NewScanner(out)
		for enough := 200 + rand.IntN(300); lines.Scan(); {
			if told = append(told, lines.Text()); len(told) == enough {
				child.Process.Kill()
			}
		}
		child.Wait()
		s := tallied{T: t, outside: must(sql.Open("sqlite", path))(t)}
		names := s.names()
		s.outside.Close()
		if len(told) < 200 {
			t.Fatalf("%q", told)
		}
		for _, name := range told {
			if !slices.Contains(names, name) {
				t.Errorf("%s is lost", name)
			}
		}
	}
}

// writeUntilKilled says what it wrote.
func writeUntilKilled(t *testing.T, path string) {
	s := tally(t, path)
	var out sync.Mutex
	var all sync.WaitGroup
	for w := range 16 {
		all.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d/%d", w, i)
				mustDo(t, s.writes(name)())
				out.Lock()
				fmt.Println(name)
				out.Unlock()
			}
		})
	}
	all.Wait()
}

// BenchmarkWriters measures transactions of a deployment that is made and fails: two for
// each, the second a compare-and-set.
func BenchmarkWriters(b *testing.B) {
	for _, writers := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := storetest.OpenOn(b, storetest.SQLite(b))
			ctx := b.Context()
			took := make([]time.Duration, 2*b.N)
			var next atomic.Int64
			var all errgroup.Group
			b.ResetTimer()
			for range writers {
				all.Go(func() error {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						start := time.Now()
						d, err := s.Deployments().CreateDeployment(ctx, fescue.Deployment{
							Partition: here, ID: fescue.NewID(), GroupID: fescue.NewID(), GroupVersionID: fescue.NewID(),
							Type: fescue.NewDeployment, Status: fescue.Building, CreatedAt: start, UpdatedAt: start,
						}, fescue.Token{})
						if err != nil {
							return err
						}
						half := time.Now()
						_, err = s.Deployments().ApplyStep(ctx, d, fescue.CloudActor, fescue.DeploymentStep{
							Event: fescue.EventBuildFailed, At: half, Message: "It is not built here.",
						})
						if err != nil {
							return err
						}
						took[2*i], took[2*i+1] = half.Sub(start), time.Since(half)
					}
					return nil
				})
			}
			if err := all.Wait(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "transactions/s")
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
