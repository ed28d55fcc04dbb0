package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/changes"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/cloud/jobs"
	"github.com/fescue-edge/fescue/cloud/store"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit"
)

// following are the changes that one who looks again and again sees, each once.
type following struct {
	*testing.T
	store changes.Store
	next  changes.Cursor
	seen  map[int64]bool
}

// look returns the new changes, without their numbers.
func (f *following) look() (list []changes.Change) {
	f.Helper()
	page := must(f.store.Since(f.Context(), f.next))(f.T)
	if page.Lost {
		f.Fatal("changes are lost")
	}
	for _, c := range page.Changes {
		if !f.seen[c.Seq] {
			f.seen[c.Seq] = true
			c.Seq = 0
			list = append(list, c)
		}
	}
	f.next = page.Next
	return list
}

func follow(t *testing.T, s *store.DB) *following {
	t.Helper()
	f := &following{t, s.Changes("aws"), changes.Start, make(map[int64]bool)}
	if list := f.look(); len(list) > 0 {
		t.Fatalf("a first look finds %+v", list)
	}
	// PostgreSQL finds earlier changes again while an older transaction is under way, be
	// it in another database.
	f.look()
	return f
}

func testChanges(t *testing.T, open opener) {
	t.Parallel()
	s, ctx := open(t), t.Context()
	mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(1, fescue.CertificateActive)),
		s.Certificates().CreateCertificate(ctx, there, certificate(2, fescue.CertificateActive)))
	addThing(t, s, here, "mill")
	addPolicy(t, s, here, "p", `{}`, epoch)

	of := func(kind changes.Kind, p fescue.Partition, subject string) []changes.Change {
		return []changes.Change{{Kind: kind, Partition: p, Subject: subject}}
	}
	first := of(changes.Certificate, here, certID(1))
	account := fescue.Partition{AWS: "aws", Account: here.Account}
	key, role := identity.AccessKey{ID: "KEY", Account: here.Account, Sealed: []byte("x"), CreatedAt: epoch}, identity.IAMRole{Name: "role", Trust: `{}`, CreatedAt: epoch}
	places := func(host string) cores.Connectivity {
		return cores.Connectivity{Version: fescue.NewID(), Info: []fescue.ConnectivityInfo{{ID: "a", HostAddress: host, PortNumber: 8883}}, UpdatedAt: epoch}
	}
	group, cored := newGroup(t, s), newGroup(t, s)
	mustDo(t, s.GroupAuthorities().AddFirstGroupAuthority(ctx, homePartition, groupAuthority(cored, 1)))
	deploying(t, s, cored).offer("cored").step(fescue.EventClaimed).step(fescue.EventSucceeded)
	update := func(id string) error {
		_, _, err := s.Jobs().CreateJob(ctx, here, jobs.Job{ID: id, Document: `{}`, Targets: []string{here.ThingARN("mill")}, CreatedAt: epoch, UpdatedAt: epoch}, []string{"mill"}, fescue.Token{})
		return err
	}
	temporary := func(id string, ends time.Duration) identity.SessionKey {
		return identity.SessionKey{ID: id, Parent: key.ID, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(ends)}
	}
	r := deploying(t, s, "g")
	ofGroup := of(changes.Deployment, r.Partition, "g")
	seen := func(thing string, at cores.LastSeen) cores.Seen {
		return cores.Seen{Partition: here, Thing: thing, LastSeen: at, Core: true}
	}
	f := follow(t, s)
	start := f.next
	for _, c := range []struct {
		what string
		do   func() error
		want []changes.Change
	}{
		{"nothing", func() error { return nil }, nil},
		{"a thing attached", func() error { return s.Things().AttachThing(ctx, here, "mill", certID(1)) }, first},
		{"the same again", func() error { return s.Things().AttachThing(ctx, here, "mill", certID(1)) }, nil},
		{"a policy attached", func() error { return s.Policies().AttachPolicy(ctx, here, "p", certID(1), 10) }, first},
		{"a version that does not act", func() error {
			_, _, err := s.Policies().AddPolicyVersion(ctx, here, "p", `{"a":1}`, false, 5, epoch)
			return err
		}, nil},
		{"one that acts", func() error {
			_, err := s.Policies().SetDefaultPolicyVersion(ctx, here, "p", 2, epoch)
			return err
		}, of(changes.Policy, here, "p")},
		{"a status", func() error {
			return s.Certificates().SetCertificateStatus(ctx, here, certID(1), fescue.CertificateInactive, epoch)
		}, first},
		{"the same status", func() error {
			return s.Certificates().SetCertificateStatus(ctx, here, certID(1), fescue.CertificateInactive, epoch)
		}, nil},
		{"what is refused", func() error {
			if s.Certificates().DeleteCertificate(ctx, there, certID(2), true) == nil {
				t.Error("an active certificate is deleted")
			}
			return nil
		}, nil},
		{"a thing detached", func() error { return s.Things().DetachThing(ctx, here, "mill", certID(1)) }, first},
		{"a policy detached and the certificate gone", func() error {
			return s.Certificates().DeleteCertificate(ctx, here, certID(1), true)
		}, append(first, first...)},
		{"another partition's", func() error {
			return s.Certificates().SetCertificateStatus(ctx, there, certID(2), fescue.CertificateRevoked, epoch)
		}, of(changes.Certificate, there, certID(2))},
		{"a deployment offered", func() error { r = r.offer("core"); return nil }, append(of(changes.Core, r.Partition, "core"), ofGroup...)},
		{"claimed by its core", func() error { r = r.step(fescue.EventClaimed); return nil }, ofGroup},
		{"how far it is", func() error { return s.Deployments().SetProgress(ctx, r.Deployment, fescue.Progress{Fetched: 7}) }, ofGroup},
		{"the same", func() error { return s.Deployments().SetProgress(ctx, r.Deployment, fescue.Progress{Fetched: 7}) }, nil},
		{"ended", func() error { r = r.step(fescue.EventFailed); return nil }, append(of(changes.Core, r.Partition, "core"), ofGroup...)},
		{"a deployment made", func() error { deploying(t, s, "h"); return nil }, of(changes.Deployment, homePartition, "h")},
		{"cores that came and went", func() error {
			return s.Cores().See(ctx, []cores.Seen{seen("a", cores.LastSeen{ConnectedAt: epoch, SeenAt: epoch}), seen("b", cores.LastSeen{GoneAt: epoch})})
		}, of(changes.Presence, here, "")},
		{"one that is still there, and waits again", func() error {
			at := epoch.Add(cores.OnlineWindow - time.Second)
			return s.Cores().See(ctx, []cores.Seen{seen("a", cores.LastSeen{ConnectedAt: at, SeenAt: at})})
		}, nil},
		{"one that is still there", func() error {
			return s.Cores().See(ctx, []cores.Seen{seen("a", cores.LastSeen{SeenAt: epoch.Add(cores.OnlineWindow)})})
		}, nil},
		{"a core that went", func() error {
			return s.Cores().See(ctx, []cores.Seen{seen("a", cores.LastSeen{GoneAt: epoch.Add(time.Hour)})})
		}, of(changes.Presence, here, "")},
		{"one that is back", func() error {
			at := epoch.Add(2 * time.Hour)
			return s.Cores().See(ctx, []cores.Seen{seen("a", cores.LastSeen{ConnectedAt: at, SeenAt: at})})
		}, of(changes.Presence, here, "")},
		{"a device that came", func() error {
			device := seen("lamp", cores.LastSeen{ConnectedAt: epoch, SeenAt: epoch})
			device.Core = false
			return s.Cores().See(ctx, []cores.Seen{device})
		}, nil},
		{"where a core is reached", func() error { return s.Cores().PutConnectivity(ctx, here, "mill", places("10.0.0.1")) }, of(changes.Site, here, "mill")},
		{"the same", func() error { return s.Cores().PutConnectivity(ctx, here, "mill", places("10.0.0.1")) }, nil},
		{"another place", func() error { return s.Cores().PutConnectivity(ctx, here, "mill", places("10.0.0.2")) }, of(changes.Site, here, "mill")},
		{"a core's word on telemetry", func() error { return s.Cores().ReportTelemetry(ctx, here, "saw", fescue.TelemetryOn) }, nil},
		{"telemetry wanted", func() error { return s.Cores().DesireTelemetry(ctx, here, "saw", fescue.TelemetryOff) }, of(changes.Site, here, "saw")},
		{"the same", func() error { return s.Cores().DesireTelemetry(ctx, here, "saw", fescue.TelemetryOff) }, nil},
		{"telemetry of a core that never spoke", func() error { return s.Cores().DesireTelemetry(ctx, here, "mute", fescue.TelemetryOff) }, of(changes.Site, here, "mute")},
		{"an authority of a group without a core", func() error {
			return s.GroupAuthorities().AddFirstGroupAuthority(ctx, homePartition, groupAuthority(group, 1))
		}, nil},
		{"another authority", func() error {
			_, err := s.GroupAuthorities().RotateGroupAuthority(ctx, homePartition, groupAuthority(cored, 2), fescue.Token{})
			return err
		}, of(changes.Site, homePartition, "cored")},
		{"a software update", func() error { return update("GreengrassUpdateJob_1") }, of(changes.Site, here, "mill")},
		{"another job", func() error { return update("other") }, nil},
		{"a key made", func() error { return s.AccessKeys().PutAccessKey(ctx, key) }, nil},
		{"its secret", func() error { return s.AccessKeys().PutAccessKey(ctx, key) }, of(changes.Key, account, key.ID)},
		{"temporary keys", func() error {
			return errors.Join(s.AccessKeys().AddSessionKey(ctx, temporary("ASIAONE", time.Hour)), s.AccessKeys().AddSessionKey(ctx, temporary("ASIAOLD", -time.Hour)))
		}, nil},
		{"one that has ended removed", func() error { return s.AccessKeys().RemoveSessionKey(ctx, "ASIAOLD") }, nil},
		{"one removed before its end", func() error { return s.AccessKeys().RemoveSessionKey(ctx, "ASIAONE") }, of(changes.Key, fescue.Partition{AWS: "aws"}, "ASIAONE")},
		{"a key revoked", func() error { return s.AccessKeys().RevokeAccessKey(ctx, key.ID) }, of(changes.Key, account, key.ID)},
		{"a role", func() error { return s.IAM().CreateIAMRole(ctx, here.Account, role) }, nil},
		{"its policy", func() error { return s.IAM().PutIAMRolePolicy(ctx, here.Account, role.Name, "inline", `{}`) }, of(changes.Role, account, role.Name)},
		{"its policy, changed", func() error { return s.IAM().PutIAMRolePolicy(ctx, here.Account, role.Name, "inline", `{"a":1}`) }, of(changes.Role, account, role.Name)},
		{"its policy, gone", func() error { return s.IAM().DeleteIAMRolePolicy(ctx, here.Account, role.Name, "inline") }, of(changes.Role, account, role.Name)},
		{"a role gone", func() error { return s.IAM().DeleteIAMRole(ctx, here.Account, role.Name) }, of(changes.Role, account, role.Name)},
		{"a check", func() error {
			return s.Checks().AskCheck(ctx, here, "asked", fescue.NewID(), []byte(`{}`), time.Now().Add(time.Minute))
		}, of(changes.Core, here, "asked")},
	} {
		mustDo(t, c.do())
		got := f.look()
		slices.SortStableFunc(got, func(a, b changes.Change) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}

	t.Run("are lost for who has not seen them when they are removed", func(t *testing.T) {
		mustDo(t, f.store.Prune(ctx, time.Now().Add(-time.Hour)))
		if page := must(f.store.Since(ctx, start))(t); page.Lost || len(page.Changes) == 0 {
			t.Errorf("they are removed before they are old: %+v", page)
		}
		testkit.Until(t, "they are removed", func() bool {
			f.look()
			mustDo(t, f.store.Prune(ctx, time.Now().Add(time.Hour)))
			page := must(f.store.Since(ctx, start))(t)
			return page.Lost && len(page.Changes) == 0
		})
		if list := f.look(); len(list) > 0 {
			t.Errorf("%+v", list)
		}
		late := follow(t, s)
		mustDo(t, s.Checks().AskCheck(ctx, here, "asked", fescue.NewID(), []byte(`{}`), time.Now().Add(time.Minute)))
		for _, f := range []*following{f, late} {
			if list := f.look(); len(list) != 1 {
				t.Errorf("%+v", list)
			}
		}
	})
}

// testChangesAtOnce: what follows the changes is right in the end, however many write at
// the same time.
func testChangesAtOnce(t *testing.T, open opener) {
	t.Parallel()
	const writers, certificates, steps, policies = 16, 400, 60, 4
	s, ctx := open(t), t.Context()
	for i := range certificates {
		mustDo(t, s.Certificates().CreateCertificate(ctx, here, certificate(i, fescue.CertificateInactive)))
	}
	addThing(t, s, here, "mill")
	for i := range policies {
		name := fmt.Sprint("p", i)
		addPolicy(t, s, here, name, `{"n":1}`, epoch)
		_, _, err := s.Policies().AddPolicyVersion(ctx, here, name, `{"n":2}`, false, 5, epoch)
		mustDo(t, err)
	}

	feed := must(changes.New(ctx, changes.Options{
		Store: s.Changes("aws"), Interval: time.Millisecond, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}))(t)
	// cache is read through: what was read is kept until it is told to have changed.
	var (
		mu    sync.Mutex
		cache = make(map[string]fescue.Principal)
		told  int // a read that was under way meanwhile is not kept
	)
	feed.Follow(changes.Certificate, func(_ context.Context, list []changes.Change) {
		mu.Lock()
		defer mu.Unlock()
		told++
		for _, c := range list {
			delete(cache, c.Subject)
		}
	}, func(context.Context) { t.Error("changes were lost") })
	feed.Follow(changes.Policy, func(context.Context, []changes.Change) {
		mu.Lock()
		defer mu.Unlock()
		told++
		clear(cache)
	}, func(context.Context) {})
	fill := func(ctx context.Context, id string) {
		mu.Lock()
		_, kept := cache[id]
		before := told
		mu.Unlock()
		if kept {
			return
		}
		p, err := s.Certificates().Principal(ctx, "aws", id)
		if err != nil {
			return // it is at its end
		}
		mu.Lock()
		defer mu.Unlock()
		if told == before {
			cache[id] = p
		}
	}
	writing, wrote := context.WithCancel(ctx)
	following, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { feed.Run(following) })
	for range 2 {
		running.Go(func() {
			for writing.Err() == nil {
				fill(writing, certID(rand.IntN(certificates)))
			}
		})
	}
	defer running.Wait()
	defer wrote()
	defer stop()

	var all errgroup.Group
	for w := range writers {
		random := rand.New(rand.NewPCG(uint64(w), 1))
		all.Go(func() error {
			for step := range steps {
				id, policy := certID(random.IntN(certificates)), fmt.Sprint("p", random.IntN(policies))
				var err error
				// Policies, for which all is read again, change at first only: they would hide
				// what was lost.
				kinds := 12
				if step > steps/3 {
					kinds--
				}
				switch random.IntN(kinds) {
				case 0, 1, 2:
					err = s.Certificates().SetCertificateStatus(ctx, here, id, fescue.CertificateActive, epoch)
				case 3, 4:
					err = s.Certificates().SetCertificateStatus(ctx, here, id, fescue.CertificateInactive, epoch)
				case 5, 6:
					err = s.Things().AttachThing(ctx, here, "mill", id)
				case 7:
					err = s.Things().DetachThing(ctx, here, "mill", id)
				case 8, 9:
					err = s.Policies().AttachPolicy(ctx, here, policy, id, policies)
				case 10:
					err = s.Policies().DetachPolicy(ctx, here, policy, id)
				case 11:
					_, err = s.Policies().SetDefaultPolicyVersion(ctx, here, policy, 1+random.Int64N(2), epoch)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	mustDo(t, all.Wait())
	wrote()
	for i := range certificates {
		fill(ctx, certID(i))
	}
	testkit.Eventually(t, "what is kept is right", func() error {
		for i := range certificates {
			want := must(s.Certificates().Principal(ctx, "aws", certID(i)))(t)
			mu.Lock()
			got, kept := cache[certID(i)]
			mu.Unlock()
			got.Certificate.UpdatedAt = want.Certificate.UpdatedAt // no right depends on it
			if diff := cmp.Diff(want, got); kept && diff != "" {
				return fmt.Errorf("certificate %d: %s", i, diff)
			}
		}
		return nil
	})
}

// soon is within what time one server learns of another's change at its best.
const soon = 50 * time.Millisecond

// TestLongTransaction: one that is under way for long, in whichever database, makes no look find
// again what one before found, or lose anything.
func TestLongTransaction(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	s := storetest.OpenOn(t, database)
	db := must(sql.Open("pgx", database))(t)
	defer db.Close()
	long := must(db.BeginTx(t.Context(), nil))(t)
	defer long.Rollback()
	// Its own number is taken before all others, and its change comes after them.
	must(long.ExecContext(t.Context(), `INSERT INTO change (kind, partition, subject) VALUES ('core', $1, 'late')`, here.Key()))(t)
	feed := s.Changes("aws")
	next := must(feed.Since(t.Context(), changes.Start))(t).Next
	look := func() int {
		t.Helper()
		page := must(feed.Since(t.Context(), next))(t)
		if page.Lost {
			t.Error("changes are lost")
		}
		next = page.Next
		return len(page.Changes)
	}
	for range 3 {
		must(db.ExecContext(t.Context(), `INSERT INTO change (kind, partition, subject) SELECT 'core', $1, 'x' FROM generate_series(1, 6000)`, here.Key()))(t)
		if n := look(); n != 6000 {
			t.Errorf("%d changes are found", n)
		}
	}
	if n := look(); n != 0 {
		t.Errorf("%d changes are found again", n)
	}
	must(db.ExecContext(t.Context(), `INSERT INTO change (kind, partition, subject) SELECT 'core', $1, 'x' FROM generate_series(1, 100000)`, here.Key()))(t)
	next = must(feed.Since(t.Context(), next))(t).Next
	must(db.ExecContext(t.Context(), `ANALYZE change`))(t)
	for _, step := range explainPostgres(t, db, store.PostgresLook, next.At, 10_000, next.Seen) {
		if strings.Contains(step, "Removed by") || strings.Contains(step, "Seq Scan on change ") {
			t.Errorf("changes of before are read again: %s", step)
		}
	}
	// All but its own are removed when they are old, as are those that its number came before.
	count := func() (n int) {
		t.Helper()
		mustDo(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM change`).Scan(&n))
		return n
	}
	behind := next
	prune := func(before time.Duration) {
		t.Helper()
		mustDo(t, feed.Prune(t.Context(), time.Now().Add(before)))
	}
	if prune(-time.Hour); count() != 118_000 {
		t.Errorf("%d changes are left that nobody may have seen", count())
	}
	if n := look(); n != 0 {
		t.Errorf("%d changes are found again", n)
	}
	if prune(-time.Hour); count() != 118_000 {
		t.Errorf("%d changes are left of those that were there a moment ago", count())
	}
	if prune(time.Minute); count() != 0 {
		t.Errorf("%d changes are left", count())
	}
	if n := look(); n != 0 {
		t.Errorf("%d changes are found again", n)
	}
	if page := must(feed.Since(t.Context(), behind))(t); !page.Lost {
		t.Error("who has not looked since then is not told that changes were removed")
	}
	must(db.ExecContext(t.Context(), `INSERT INTO change (kind, partition, subject) VALUES ('core', $1, 'x')`, here.Key()))(t)
	if n := look(); n != 1 {
		t.Errorf("%d changes are found", n)
	}
	mustDo(t, long.Commit())
	// What it did is there for as long as if it had done it now.
	if prune(time.Minute); count() != 2 {
		t.Errorf("%d changes are left, with that of the transaction that ended", count())
	}
	if n := look(); n != 1 {
		t.Errorf("%d changes of the transaction that ended", n)
	}
	if prune(time.Minute); count() != 0 {
		t.Errorf("%d changes are left in the end", count())
	}
}

// explainPostgres carries a statement out and returns how PostgreSQL went about it.
func explainPostgres(t *testing.T, db *sql.DB, query string, args ...any) (steps []string) {
	t.Helper()
	rows := must(db.QueryContext(t.Context(), `EXPLAIN ANALYZE `+query, args...))(t)
	defer rows.Close()
	for rows.Next() {
		var step string
		mustDo(t, rows.Scan(&step))
		steps = append(steps, step)
	}
	mustDo(t, rows.Err())
	return steps
}

// TestHints: a change is told at once, on this server and on others, and not by the look that
// comes at the latest.
func TestHints(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (mine, theirs *store.DB){
		"SQLite": func(t *testing.T) (*store.DB, *store.DB) {
			s := storetest.OpenOn(t, storetest.SQLite(t))
			return s, s
		},
		"PostgreSQL": func(t *testing.T) (*store.DB, *store.DB) {
			url := storetest.Postgres(t)
			return storetest.OpenOn(t, url), storetest.OpenOn(t, url)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine, theirs := open(t)
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			defer running.Wait()
			defer stop()
			told := make(chan string, 100)
			run := func(s *store.DB, followed bool) {
				feed := must(changes.New(ctx, changes.Options{Store: s.Changes("aws"), Interval: time.Hour, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}))(t)
				if followed {
					feed.Follow(changes.Core, func(_ context.Context, list []changes.Change) {
						for _, c := range list {
							told <- c.Subject
						}
					}, func(context.Context) { t.Error("changes were lost") })
				}
				running.Go(func() { feed.Run(ctx) })
				testkit.Until(t, "it looks", feed.Current)
			}
			run(theirs, true)
			if mine != theirs {
				run(mine, false)
			}
			var took []time.Duration
			for i := range 20 {
				core := fmt.Sprint("core ", i)
				mustDo(t, mine.Checks().AskCheck(ctx, here, core, fescue.NewID(), []byte(`{}`), time.Now().Add(time.Minute)))
				began, late := time.Now(), time.After(testkit.Patience)
				for told := told; told != nil; {
					select {
					case subject := <-told:
						if subject == core {
							told = nil
						}
					case <-late:
						t.Fatalf("%s is not told of", core)
					}
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			t.Logf("from the commit until a follower is told: %v at best, half within %v, all within %v", took[0], took[len(took)/2], took[len(took)-1])
			if took[0] > soon {
				t.Errorf("never within %v", soon)
			}
		})
	}
}

// TestManyHints: one look is for all hints that have come until then.
func TestManyHints(t *testing.T) {
	t.Parallel()
	const hints, looks = 1000, 20
	database := storetest.Postgres(t)
	mine, theirs := storetest.OpenOn(t, database).Changes("aws"), storetest.OpenOn(t, database).Changes("aws")
	next := must(mine.Since(t.Context(), changes.Start))(t).Next
	must(theirs.Since(t.Context(), changes.Start))(t)
	for range hints {
		mustDo(t, theirs.Tell(t.Context()))
	}
	told := 0
	for range looks {
		next = must(mine.Since(t.Context(), next))(t).Next
		waiting, done := context.WithTimeout(t.Context(), soon)
		if _, hinted := mine.Await(waiting); hinted {
			told++
		}
		done()
	}
	// They may come by and by.
	if told == 0 || told > looks/2 {
		t.Errorf("%d of %d looks are for hints", told, looks)
	}
}
