package store

import (
	"context"
	"database/sql"
	"encoding/json"
)

// Sessions keep what the core's persistent sessions in the cloud may be subscribed to,
// which nobody can ask the cloud; it is a cloudlink.Sessions.
type Sessions struct{ db *DB }

// Sessions is that part of the file.
func (db *DB) Sessions() Sessions { return Sessions{db} }

// Filters implements cloudlink.Sessions.
func (s Sessions) Filters(ctx context.Context) (all map[string][]string, err error) {
	if there, err := s.db.Exists(); err != nil || !there {
		return nil, err
	}
	err = s.db.view(ctx, func(tx *sql.Tx) error {
		all = make(map[string][]string)
		rows, err := tx.QueryContext(ctx, `SELECT client, filter FROM session ORDER BY client, filter`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var client, filter string
			if err := rows.Scan(&client, &filter); err != nil {
				return err
			}
			all[client] = append(all[client], filter)
		}
		return rows.Err()
	})
	return all, err
}

// Add implements cloudlink.Sessions.
func (s Sessions) Add(ctx context.Context, client string, filters []string) error {
	return s.exec(ctx, `INSERT OR IGNORE INTO session (client, filter) SELECT $1, value FROM json_each($2)`, client, filters)
}

// Remove implements cloudlink.Sessions.
func (s Sessions) Remove(ctx context.Context, client string, filters []string) error {
	return s.exec(ctx, `DELETE FROM session WHERE client = $1 AND filter IN (SELECT value FROM json_each($2))`, client, filters)
}

func (s Sessions) exec(ctx context.Context, statement, client string, filters []string) error {
	list, err := json.Marshal(filters)
	if err != nil {
		return err
	}
	return s.db.update(ctx, func(tx *sql.Tx, _ uint64) error {
		_, err := tx.ExecContext(ctx, statement, client, string(list))
		return err
	})
}
