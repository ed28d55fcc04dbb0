//go:build linux

package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store/pgtest"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/testkit"
)

// TestHintsHoldNothingUp: while a commit that notifies waits for a standby, no other one that
// does can be. What waits for cores is offered all the same, and others are told of it then.
func TestHintsHoldNothingUp(t *testing.T) {
	t.Parallel()
	pair := pgtest.StartPair(t, true)
	url := pair.URL() + "&synchronous_commit=off"
	mine, theirs := storetest.OpenOn(t, url), storetest.OpenOn(t, url)
	primary := pair.Primary.Open(t)
	noticed := watching(t, theirs)
	r := deploying(t, mine, "g")
	noticesAnew(t, noticed, func() fescue.Deployment { return deploying(t, mine, fescue.NewID()).offer("first").Deployment })

	thaw := pair.Standby.Freeze()
	t.Cleanup(thaw)
	held := make(chan error, 1)
	go func() {
		tx, err := primary.BeginTx(context.Background(), nil)
		if err == nil {
			_, err = tx.Exec(`CREATE TABLE held (n INT); NOTIFY held`)
		}
		if err == nil {
			err = tx.Commit()
		}
		held <- err
	}()
	testkit.Until(t, "a commit waits for the standby", func() bool {
		var n int
		err := primary.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).Scan(&n)
		return err == nil && n == 1
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	next, _, err := mine.Offers().Offer(ctx, r.Deployment, "core", time.Now(), fescue.DeploymentStep{Event: fescue.EventSuperseded, At: time.Now()}, signed)
	mustDo(t, err)
	mustDo(t, mine.Checks().AskCheck(ctx, homePartition, "core", fescue.NewID(), []byte(`{}`), time.Now().Add(time.Minute)))
	thaw()
	mustDo(t, <-held)
	notices(t, noticed, next)
}
