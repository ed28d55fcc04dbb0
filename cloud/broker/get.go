package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/periodic"
)

// What nats-server is asked for messages by, or to remove one (jetstream_api.go of nats-server 2.15), and how it
// ends what it sends: all were sent, or there is none.
const (
	getSubject    = "$JS.API.STREAM.MSG.GET." + messagesStream
	deleteSubject = "$JS.API.STREAM.MSG.DELETE." + messagesStream
	directSubject = "$JS.API.DIRECT.GET." + messagesStream
	statusHeader  = "Status"
	statusEnd     = "204"
	statusNone    = "404"
	// lastHeader is in a message that is one of several the place of the one sent before it.
	lastHeader = "Nats-Last-Sequence"
)

// errPart means that of several messages some did not come.
var errPart = errors.New("messages that nats-server sent are missing between two")

// getRequest asks for the first messages of a place or behind it, of a subject if it names one.
type getRequest struct {
	Seq      uint64 `json:"seq"`
	NextBy   string `json:"next_by_subj,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

// reached is up to where the node that leads the stream of messages is known to have it, on
// the connection of a number. One on a later connection may be cut off, and not know that
// others have gone on without it.
type reached struct {
	mu         sync.Mutex
	connection uint64
	seq        uint64
}

func (r *reached) learn(connection, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.connection != connection {
		r.connection, r.seq = connection, 0
	}
	r.seq = max(r.seq, seq)
}

func (r *reached) has(connection, seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connection == connection && r.seq >= seq
}

// message reads the message at a place, or the first of a subject there or behind it. That
// there is none is believed of a node that has the stream up to a place; it fails with errShort where
// none has.
func (b *Broker) message(seq uint64, subject string, upTo uint64) (*jetstream.RawStreamMsg, error) {
	for {
		connection := b.conn.Stats().Reconnects
		believed := b.server != nil || b.reached.has(connection, upTo)
		m, err := b.messageOfLeader(seq, subject)
		if believed || !errors.Is(err, jetstream.ErrMsgNotFound) {
			return m, err
		}
		if err := b.awaitEnd(upTo); err != nil {
			return nil, err
		}
	}
}

// behindPauses are those between two looks at how far the stream is.
var behindPauses = backoff.Policy{First: 10 * time.Millisecond, Most: 500 * time.Millisecond}

// awaitEnd waits until the node that leads the stream has it up to a place: it may store
// what others have stored already.
func (b *Broker) awaitEnd(upTo uint64) error {
	ctx, cancel := context.WithTimeout(b.ctx, answerTime)
	defer cancel()
	for failures := 1; ; failures++ {
		connection := b.conn.Stats().Reconnects
		end, err := b.lastMessage(ctx)
		if err == nil && end >= upTo {
			b.reached.learn(connection, end)
			return nil
		}
		if !periodic.Sleep(ctx, behindPauses.Pause(failures)) {
			return errors.Join(errShort, err)
		}
	}
}

// messageOfLeader asks the node that leads, which knows of all: the library would ask any,
// since the stream lets all answer.
func (b *Broker) messageOfLeader(seq uint64, subject string) (*jetstream.RawStreamMsg, error) {
	request, err := json.Marshal(getRequest{Seq: seq, NextBy: subject})
	if err != nil {
		return nil, err
	}
	return ask(b.ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		m, err := b.conn.RequestWithContext(ctx, getSubject, request)
		if err != nil {
			return nil, err
		}
		var answer struct {
			Error   *jetstream.APIError `json:"error"`
			Message *struct {
				Subject string    `json:"subject"`
				Seq     uint64    `json:"seq"`
				Data    []byte    `json:"data"`
				Time    time.Time `json:"time"`
			} `json:"message"`
		}
		switch err := json.Unmarshal(m.Data, &answer); {
		case err != nil:
			return nil, fmt.Errorf("read an answer of nats-server: %w", err)
		case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
			return nil, jetstream.ErrMsgNotFound
		case answer.Error != nil:
			return nil, answer.Error
		case answer.Message == nil:
			return nil, jetstream.ErrInvalidJetStreamResponse
		}
		return &jetstream.RawStreamMsg{Subject: answer.Message.Subject, Sequence: answer.Message.Seq, Data: answer.Message.Data, Time: answer.Message.Time}, nil
	})
}

// messagesOf reads the first messages of a subject at a place or behind it, so many and so
// many bytes. Any node that has the stream may answer: one that lags does not know of the
// last ones, so that there is none is to be asked of message.
func (b *Broker) messagesOf(seq uint64, subject string, most, bytes int) (list []*jetstream.RawStreamMsg, err error) {
	request, err := json.Marshal(getRequest{Seq: seq, NextBy: subject, Batch: most, MaxBytes: bytes})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, answerTime)
	defer cancel()
	inbox := b.conn.NewInbox()
	sub, err := b.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.conn.PublishRequest(directSubject, inbox, request); err != nil {
		return nil, err
	}
	for before := uint64(0); ; {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return list, err
		}
		if status := m.Header.Get(statusHeader); status != "" && len(m.Data) == 0 {
			if status != statusEnd && status != statusNone {
				err = errors.New("nats-server answers with status " + status)
			}
			return list, err
		}
		at, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return list, fmt.Errorf("nats-server sent a message without its place: %w", err)
		}
		// Where the connection broke meanwhile, what comes on the next one follows a gap.
		if m.Header.Get(lastHeader) != strconv.FormatUint(before, 10) {
			return list, errPart
		}
		before = at
		list = append(list, &jetstream.RawStreamMsg{Subject: m.Header.Get(jetstream.SubjectHeader), Sequence: at, Data: m.Data})
	}
}
