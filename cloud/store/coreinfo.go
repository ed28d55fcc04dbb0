package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
)

// CoreInfo reads what a core last said of itself, and when; nothing, without an
// error, of one that never did.
func (s Cores) CoreInfo(ctx context.Context, p fescue.Partition, thing string) (info fescue.CoreInfo, at time.Time, err error) {
	var text string
	var said int64
	err = one(s.db.read.QueryRowContext(ctx, `
		SELECT info_json, info_at FROM core WHERE partition = $1 AND thing = $2`, p.Key(), thing), &text, &said)
	if errors.Is(err, fescue.ErrNotFound) || err == nil && text == "" {
		return info, at, nil
	}
	if err == nil {
		err = fromJSON(text, &info)
	}
	if err != nil {
		return info, at, fmt.Errorf("what core %s is: %w", thing, err)
	}
	return info, fromMillis(said), nil
}

// SetCoreInfo keeps what a core says of itself.
func (s Cores) SetCoreInfo(ctx context.Context, p fescue.Partition, thing string, info fescue.CoreInfo, at time.Time) error {
	return s.db.update(ctx, func(tx transaction) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO core (partition, thing, epoch, group_id, info_json, info_at) VALUES ($1, $2, 0, '', $3, $4)
			ON CONFLICT (partition, thing) DO UPDATE SET info_json = excluded.info_json, info_at = excluded.info_at`,
			p.Key(), thing, toJSON(info), millis(at))
		return err
	})
}
