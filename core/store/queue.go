package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
)

// Message is a message on its way to the cloud, or from it.
type Message struct {
	Topic   string
	Payload []byte
}

// overhead is what a queued message costs beside its topic and payload, in bytes.
const overhead = 64

// Size is what the message counts for in a queue, in bytes.
func (m Message) Size() int64 { return int64(len(m.Topic)+len(m.Payload)) + overhead }

// sizeOf is Size of a row.
const sizeOf = `octet_length(topic) + octet_length(payload) + 64`

// Numbered is a message of the queue with its number, which no other one gets, ever.
// Numbers rise; they need not be consecutive.
type Numbered struct {
	Number uint64
	Message
}

// Change is what one transaction does to the queue.
type Change struct {
	// Done are the numbers of messages that are taken out.
	Done []uint64
	// Add are put behind all others.
	Add []Message
	// Flying are the numbers of messages that give way to none, because they are being
	// sent.
	Flying []uint64
	// Room is how many bytes may be left; the oldest give way.
	Room int64
}

// Queued is the queue after a Change.
type Queued struct {
	// Messages are there, of so many Bytes, up to the number Newest.
	Messages int
	Bytes    int64
	Newest   uint64
	// First is the number of the first of what was added; the others follow it
	// without a gap.
	First uint64
	// GaveWay is how many messages, those just added among them, gave way, and
	// Until the highest of their numbers.
	GaveWay int
	Until   uint64
	// Anew says that the file was damaged, or gone, since the last Change: what had
	// been queued is lost, and numbers begin anew. Done and Flying had no effect.
	Anew bool
}

// Queue holds messages for the cloud in the order of their arrival. Its methods may be
// called from any goroutine.
type Queue struct {
	db *DB

	mu sync.Mutex
	// known is what is in the file of a generation; nothing if that is 0.
	generation uint64
	known      Queued
}

// Queue makes the queue of the file. There is to be one.
func (db *DB) Queue() *Queue { return &Queue{db: db} }

// Exists reports whether there may be messages of an earlier start.
func (q *Queue) Exists() (bool, error) { return q.db.Exists() }

// Apply makes a change, all of it or nothing, and has it on the disk when it returns.
// The errors are those of the package.
func (q *Queue) Apply(ctx context.Context, c Change) (Queued, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var now Queued
	var of uint64
	err := q.db.update(ctx, func(tx *sql.Tx, generation uint64) error {
		of, now = generation, Queued{Messages: q.known.Messages, Bytes: q.known.Bytes, Newest: q.known.Newest}
		if generation != q.generation {
			now = Queued{Anew: q.generation != 0}
			row := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(`+sizeOf+`), 0), coalesce(max(number), 0) FROM queue`)
			if err := row.Scan(&now.Messages, &now.Bytes, &now.Newest); err != nil {
				return fmt.Errorf("count the queue: %w", err)
			}
		}
		return now.apply(ctx, tx, c)
	})
	if err != nil {
		return Queued{}, err
	}
	q.generation, q.known = of, now
	return now, nil
}

func (q *Queued) apply(ctx context.Context, tx *sql.Tx, c Change) error {
	if q.Anew {
		c.Done, c.Flying = nil, nil
	}
	for _, number := range c.Done {
		if _, err := q.remove(ctx, tx, `number = ?`, int64(number)); err != nil {
			return err
		}
	}
	if err := q.add(ctx, tx, c.Add); err != nil {
		return err
	}
	if q.Bytes > c.Room {
		if err := q.shrink(ctx, tx, c.Flying, c.Room); err != nil {
			return err
		}
	}
	return q.giveBack(ctx, tx)
}

func (q *Queued) add(ctx context.Context, tx *sql.Tx, list []Message) error {
	if len(list) == 0 {
		return nil
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO queue (topic, payload) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for i, m := range list {
		payload := m.Payload
		if payload == nil {
			payload = []byte{}
		}
		result, err := insert.ExecContext(ctx, m.Topic, payload)
		if err != nil {
			return fmt.Errorf("queue a message: %w", err)
		}
		number, err := result.LastInsertId()
		if err != nil {
			return err
		}
		q.Newest = uint64(number)
		if i == 0 {
			q.First = q.Newest
		}
		q.Messages++
		q.Bytes += m.Size()
	}
	return nil
}

// remove takes out the messages for which a condition holds.
func (q *Queued) remove(ctx context.Context, tx *sql.Tx, where string, args ...any) (n int, err error) {
	rows, err := tx.QueryContext(ctx, `DELETE FROM queue WHERE `+where+` RETURNING `+sizeOf, args...)
	if err != nil {
		return 0, fmt.Errorf("remove messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var size int64
		if err := rows.Scan(&size); err != nil {
			return 0, err
		}
		n++
		q.Messages--
		q.Bytes -= size
	}
	return n, finish(rows)
}

// shrink removes the oldest, but not those that are flying, until the rest fits.
func (q *Queued) shrink(ctx context.Context, tx *sql.Tx, flying []uint64, room int64) error {
	list, err := json.Marshal(append([]uint64{}, flying...))
	if err != nil {
		return err
	}
	const grounded = `number NOT IN (SELECT value FROM json_each(?))`
	rows, err := tx.QueryContext(ctx, `SELECT number, `+sizeOf+` FROM queue WHERE `+grounded+` ORDER BY number`, string(list))
	if err != nil {
		return fmt.Errorf("look for the oldest messages: %w", err)
	}
	defer rows.Close()
	for left := q.Bytes; left > room && rows.Next(); {
		var number, size int64
		if err := rows.Scan(&number, &size); err != nil {
			return err
		}
		left -= size
		q.Until = uint64(number)
	}
	if err := finish(rows); err != nil || q.Until == 0 {
		return err
	}
	q.GaveWay, err = q.remove(ctx, tx, `number <= ? AND `+grounded, int64(q.Until), string(list))
	return err
}

// finish ends reading.
func finish(rows *sql.Rows) error {
	err := rows.Err()
	if closed := rows.Close(); err == nil {
		err = closed
	}
	return err
}

// Pages that are free, of 4 KB: keptFree stay in the file for what comes next, and
// givenBack at most go to the disk with one change.
const (
	keptFree  = 256
	givenBack = 512
)

// giveBack lets the disk have room that a long queue has left.
func (q *Queued) giveBack(ctx context.Context, tx *sql.Tx) error {
	var free int
	if err := tx.QueryRowContext(ctx, `PRAGMA freelist_count`).Scan(&free); err != nil || free <= 2*keptFree {
		return err
	}
	// The statement frees a page with each step, so all of them are to be made.
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, min(free-keptFree, givenBack)))
	if err != nil {
		return fmt.Errorf("give room back: %w", err)
	}
	for rows.Next() {
	}
	return finish(rows)
}

// Read returns the oldest messages with numbers above after, in order: as many as have
// bytes together, but at least one if there are any.
func (q *Queue) Read(ctx context.Context, after uint64, bytes int64) (list []Numbered, err error) {
	err = q.db.view(ctx, func(tx *sql.Tx) error {
		list = nil
		rows, err := tx.QueryContext(ctx, `SELECT number, topic, payload FROM queue WHERE number > ? ORDER BY number`, int64(after))
		if err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		defer rows.Close()
		for left := bytes; left > 0 && rows.Next(); {
			var n Numbered
			var number int64
			if err := rows.Scan(&number, &n.Topic, &n.Payload); err != nil {
				return fmt.Errorf("read the queue: %w", err)
			}
			n.Number = uint64(number)
			list = append(list, n)
			left -= n.Size()
		}
		return finish(rows)
	})
	return list, err
}
