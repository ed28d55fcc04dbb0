package store

import (
	"context"
	"errors"

	"github.com/fescue-edge/fescue"
)

// tokens are the client tokens of what is made once however often it is asked for;
// the aggregates that take them embed it.
type tokens struct{ db *DB }

// TokenSubject is the id of what an earlier call with the token made. A token
// that was not used is fescue.ErrNotFound, one that was used for another request
// fescue.ErrTokenReused.
func (s tokens) TokenSubject(ctx context.Context, p fescue.Partition, t fescue.Token) (id string, err error) {
	if id, err = tokenSubject(ctx, s.db.read, p, t); err == nil {
		err = s.db.settled(ctx) // that call may have been answered that it is uncertain
	}
	return id, err
}

func tokenSubject(ctx context.Context, q querier, p fescue.Partition, t fescue.Token) (id string, err error) {
	var hash string
	err = one(q.QueryRowContext(ctx, `
		SELECT request_hash, subject FROM client_token WHERE partition = $1 AND operation = $2 AND value = $3`,
		p.Key(), t.Operation, t.Value), &hash, &id)
	if err == nil && hash != t.RequestHash {
		err = fescue.ErrTokenReused
	}
	return id, err
}

// claimToken records a client token for what is about to be made. When the same
// request used it before it returns the id of what was made then.
func claimToken(ctx context.Context, tx transaction, p fescue.Partition, t fescue.Token, subject string, now int64) (id string, replayed bool, err error) {
	if t.Value == "" {
		return subject, false, nil
	}
	res, err := tx.ExecContext(ctx, `
		INSERT INTO client_token (partition, operation, value, request_hash, subject, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (partition, operation, value) DO NOTHING`,
		p.Key(), t.Operation, t.Value, t.RequestHash, subject, now)
	if err != nil {
		return "", false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return subject, false, err
	}
	id, err = tokenSubject(ctx, tx, p, t)
	if errors.Is(err, fescue.ErrNotFound) { // it was deleted for its age meanwhile
		err = errAgain
	}
	return id, true, err
}

// moveToken gives a claimed token to what is made in the place of what it stood
// for, if it still stands for that.
func moveToken(ctx context.Context, tx transaction, p fescue.Partition, t fescue.Token, from, to string) error {
	err := changed(ctx, tx, `
		UPDATE client_token SET subject = $1 WHERE partition = $2 AND operation = $3 AND value = $4 AND subject = $5`,
		to, p.Key(), t.Operation, t.Value, from)
	if errors.Is(err, fescue.ErrNotFound) {
		return errAgain
	}
	return err
}

// forgetToken takes a claimed token back from what was not made after all.
func forgetToken(ctx context.Context, tx transaction, p fescue.Partition, t fescue.Token, subject string) error {
	_, err := tx.ExecContext(ctx, `
		DELETE FROM client_token WHERE partition = $1 AND operation = $2 AND value = $3 AND subject = $4`,
		p.Key(), t.Operation, t.Value, subject)
	return err
}
