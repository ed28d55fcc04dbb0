package retention_test

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }

func TestSweep(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	s := storetest.Open(t)
	p := fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	const each = 300 // more than one piece
	token := func(age time.Duration, i int) fescue.Token {
		return fescue.Token{Operation: "CreateCoreDefinition", Value: age.String() + string(rune('a'+i%26)) + time.Duration(i).String(), RequestHash: "h"}
	}
	ages := []time.Duration{day, 3 * day, 30 * day}
	for _, age := range ages {
		for i := range each {
			_, err := s.Definitions().CreateDefinition(t.Context(), p, fescue.Definition{
				Kind: fescue.CoreKind, ID: fescue.NewID(), CreatedAt: now.Add(-age - time.Duration(i)*time.Second),
			}, nil, token(age, i))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	kept := func() (n int) {
		t.Helper()
		for _, age := range ages {
			for i := range each {
				if _, err := s.Definitions().TokenSubject(t.Context(), p, token(age, i)); err == nil {
					n++
				}
			}
		}
		return n
	}
	for _, tc := range []struct {
		name string
		age  time.Duration
		want int
	}{{"for ever", 0, 3 * each}, {"a week", 7 * day, 2 * each}, {"two days", 2 * day, each}, {"an hour", time.Hour, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			retention.New(retention.Options{
				Store: s.Retention(), Leases: s.Leases(), Ages: retention.Ages{retention.RetainedTokens: tc.age}, Now: func() time.Time { return now }, Logger: logger,
			}).Sweep(t.Context())
			if got := kept(); got != tc.want {
				t.Errorf("%d tokens are kept, want %d", got, tc.want)
			}
		})
	}
}

// TestAttempts: tokens of calls that brought none go after an hour, and those of callers stay.
func TestAttempts(t *testing.T) {
	t.Parallel()
	s, logger := storetest.Open(t), slog.New(slog.DiscardHandler)
	p := fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	hash := strings.Repeat("0", 64)
	sent := fescue.Token{Operation: "CreateGroup", Value: fescue.AttemptPrefix + "of a caller's own", RequestHash: hash}
	attempt := fescue.AttemptToken("CreateGroup", hash)
	made := now
	for _, token := range []fescue.Token{sent, attempt} {
		_, err := s.Definitions().CreateDefinition(t.Context(), p, fescue.Definition{Kind: fescue.GroupKind, ID: fescue.NewID(), CreatedAt: made}, nil, token)
		if err != nil {
			t.Fatal(err)
		}
	}
	sweeper := retention.New(retention.Options{
		Store: s.Retention(), Leases: s.Leases(), Ages: retention.DefaultAges(), Now: func() time.Time { return now }, Logger: logger,
	})
	kept := func(token fescue.Token) bool {
		_, err := s.Definitions().TokenSubject(t.Context(), p, token)
		return err == nil
	}
	for _, c := range []struct {
		age     time.Duration
		attempt bool
	}{{0, true}, {time.Hour, true}, {time.Hour + time.Millisecond, false}, {24 * time.Hour, false}} {
		now = made.Add(c.age)
		sweeper.Sweep(t.Context())
		if kept(attempt) != c.attempt || !kept(sent) {
			t.Errorf("after %s: that of an attempt is kept: %t, the caller's: %t", c.age, kept(attempt), kept(sent))
		}
	}
}
