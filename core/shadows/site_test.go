package shadows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/shadows"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// memory is a store that forgets nothing, in the form in which a disk has it.
type memory struct {
	mu      sync.Mutex
	records map[shadow.ID]kept
	// fault is asked before and after a write; an error is a power cut.
	fault func() error
}

type kept struct {
	document, synced string
	version          int64
	deleted          time.Time
}

func newMemory() *memory {
	return &memory{records: make(map[shadow.ID]kept), fault: func() error { return nil }}
}

func (m *memory) Shadow(_ context.Context, id shadow.ID) (r shadows.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.records[id]
	if !ok {
		return r, nil
	}
	if r.Document, err = shadow.Decode([]byte(k.document)); err == nil {
		r.Synced, err = shadow.DecodeSynced([]byte(k.synced))
	}
	r.Document.Version, r.Document.Deleted = k.version, k.deleted
	return r, err
}

func (m *memory) PutShadows(_ context.Context, list []shadows.Kept, most shadows.Bounds) (refused []error, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault(); err != nil {
		return nil, err
	}
	refused = make([]error, len(list))
	for i, one := range list {
		id, r := one.ID, one.Record
		if _, ok := m.records[id]; !ok && len(m.records) >= most.All {
			refused[i] = shadows.ErrTooMany
			continue
		}
		m.records[id] = kept{string(r.Document.Encode()), string(r.Synced.Encode()), r.Document.Version, r.Document.Deleted}
		if r.Zero() {
			delete(m.records, id)
		}
	}
	return refused, m.fault()
}

func (m *memory) SyncedShadows(ctx context.Context, things []string, each func(shadow.ID, shadows.Record, error)) error {
	m.mu.Lock()
	ids := slices.Collect(maps.Keys(m.records))
	m.mu.Unlock()
	for _, id := range ids {
		if slices.Contains(things, id.Thing) {
			r, err := m.Shadow(ctx, id)
			each(id, r, err)
		}
	}
	return nil
}

func (m *memory) UnsyncShadows(_ context.Context, but []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, k := range m.records {
		if !slices.Contains(but, id.Thing) {
			k.synced = "{}"
			m.records[id] = k
		}
	}
	return nil
}

func (m *memory) ForgetShadows(_ context.Context, before time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.records, func(_ shadow.ID, k kept) bool {
		synced, err := shadow.DecodeSynced([]byte(k.synced))
		return !k.deleted.IsZero() && k.deleted.Before(before) && err == nil && synced.Zero()
	})
	return nil
}

func (m *memory) ClearShadows(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.records)
	return nil
}

// errCut is a line that is cut, or a core without power.
var errCut = errors.New("cut")

// sky is the cloud's shadow service.
type sky struct {
	mu        sync.Mutex
	now       func() time.Time
	documents map[shadow.ID]shadow.Document
	// fault is asked before a request arrives and before its answer does.
	fault func() error
	// between is called around each request.
	between func()
	// old is a control plane that knows nothing of marks and batches. reads counts the
	// documents that were read, batches the requests for several.
	old     bool
	reads   int
	batches int
	// slow is how long the line takes for what is asked of one shadow.
	slow time.Duration
	// refusal is the status of all answers; 0 for none.
	refusal int
	// unwanted is what updates are refused with; nil if they are not. There were so
	// many.
	unwanted *shadow.Error
	updates  int
	writes   int
}

func newSky(now func() time.Time) *sky {
	return &sky{now: now, documents: make(map[shadow.ID]shadow.Document), fault: func() error { return nil }, between: func() {}}
}

// ask carries a request out.
func (s *sky) ask(f func() error) error {
	s.between()
	defer s.between()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fault(); err != nil {
		return err
	}
	if s.refusal != 0 {
		return &corelink.StatusError{HTTPStatus: s.refusal, Message: http.StatusText(s.refusal)}
	}
	err := f()
	if cut := s.fault(); cut != nil {
		return cut
	}
	return said(err)
}

// said is an error as it comes over the wire.
func said(err error) error {
	var refusal *shadow.Error
	if errors.As(err, &refusal) {
		return &corelink.StatusError{HTTPStatus: refusal.Code, Message: refusal.Message}
	}
	return err
}

// carry takes as long as the line does for so many shadows, five seconds at most.
func (s *sky) carry(ctx context.Context, shadows int) error {
	s.mu.Lock()
	takes := time.Duration(shadows) * s.slow
	s.mu.Unlock()
	if takes <= 0 {
		return nil
	}
	line, end := context.WithTimeout(ctx, min(takes, 5*time.Second))
	defer end()
	<-line.Done()
	if takes > 5*time.Second {
		return fmt.Errorf("no answer: %w", line.Err())
	}
	return ctx.Err()
}

func (s *sky) Shadow(ctx context.Context, id shadow.ID) (d shadow.Document, err error) {
	if err := s.carry(ctx, 1); err != nil {
		return shadow.Document{}, err
	}
	err = s.ask(func() error {
		d, err = s.get(id)
		return err
	})
	return d, err
}

func (s *sky) get(id shadow.ID) (shadow.Document, error) {
	s.reads++
	if s.documents[id].Exists() {
		return shadow.ParseGot(s.documents[id].Got(s.now(), ""))
	}
	var deleted *shadow.DeletedError
	if errors.As(s.documents[id].Missing(id, s.now()), &deleted) {
		return shadow.Document{Version: deleted.Version, Deleted: time.Unix(0, 0)}, nil
	}
	return shadow.Document{}, nil
}

func (s *sky) UpdateShadow(ctx context.Context, id shadow.ID, u shadow.Update) (version int64, err error) {
	if err := s.carry(ctx, 1); err != nil {
		return 0, err
	}
	err = s.ask(func() error {
		version, err = s.put(id, u)
		return err
	})
	return version, err
}

func (s *sky) put(id shadow.ID, u shadow.Update) (version int64, err error) {
	if s.updates++; s.unwanted != nil {
		return 0, s.unwanted
	}
	u, err = shadow.ParseUpdate(u.Encode(), shadow.CloudLimits)
	if err == nil {
		version, err = s.update(id, u)
	}
	return version, err
}

func (s *sky) ShadowBatch(ctx context.Context, calls []corelink.ShadowCall) (answers []corelink.ShadowAnswer, err error) {
	if err := s.carry(ctx, len(calls)); err != nil {
		return nil, err
	}
	err = s.ask(func() error {
		if s.old {
			return &shadow.Error{Code: http.StatusNotFound, Message: "no operation"}
		}
		s.batches++
		// Not all may go with one request.
		answers = make([]corelink.ShadowAnswer, min(len(calls), 3))
		for i := range answers {
			c, a := calls[i], &answers[i]
			switch c.Operation {
			case shadow.OpUpdate:
				a.Document.Version, a.Err = s.put(c.ID, c.Update)
			case shadow.OpDelete:
				a.Err = s.drop(c.ID, c.Update.Version)
			default:
				a.Document, a.Err = s.get(c.ID)
			}
			a.Err = said(a.Err)
		}
		return nil
	})
	return answers, err
}

func (s *sky) update(id shadow.ID, u shadow.Update) (int64, error) {
	d, err := s.documents[id].Apply(u, s.now(), shadow.CloudLimits)
	if err == nil {
		s.documents[id] = d
		s.writes++
	}
	return d.Version, err
}

func (s *sky) DeleteShadow(_ context.Context, id shadow.ID, version int64) error {
	return s.ask(func() error { return s.drop(id, version) })
}

// drop deletes a version, if there is a document.
func (s *sky) drop(id shadow.ID, version int64) error {
	if !s.documents[id].Exists() {
		return nil
	}
	return s.delete(id, shadow.Request{Version: version})
}

func (s *sky) delete(id shadow.ID, r shadow.Request) error {
	d, err := s.documents[id].Delete(id, r, s.now())
	if err == nil {
		s.documents[id] = d
		s.writes++
	}
	return err
}

func (s *sky) ShadowNames(_ context.Context, thing string) (names []string, err error) {
	err = s.ask(func() error {
		for id, d := range s.documents {
			if id.Thing == thing && id.Name != "" && d.Exists() {
				names = append(names, id.Name)
			}
		}
		return nil
	})
	return names, err
}

func (s *sky) ShadowMarks(_ context.Context, things []string) (marks map[string]map[string]shadow.Mark, err error) {
	err = s.ask(func() error {
		if s.old {
			return &shadow.Error{Code: http.StatusNotFound, Message: "no operation"}
		}
		marks = make(map[string]map[string]shadow.Mark)
		for _, thing := range things {
			marks[thing] = make(map[string]shadow.Mark)
		}
		for id, d := range s.documents {
			if of := marks[id.Thing]; of != nil && d.Exists() {
				of[id.Name] = d.Mark()
			}
		}
		return nil
	})
	return marks, err
}

// change is another one's update in the cloud.
func (s *sky) change(t testing.TB, id shadow.ID, payload string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := shadow.ParseUpdate([]byte(payload), shadow.CloudLimits)
	if err == nil {
		_, err = s.update(id, u)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *sky) remove(id shadow.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.delete(id, shadow.Request{})
}

// lose is the cloud's restoration from before there was a document.
func (s *sky) lose(id shadow.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.documents, id)
}

func (s *sky) state(id shadow.ID) (shadow.State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.documents[id]
	return d.State(), d.Exists()
}

// site is a core's shadows beside the cloud's.
type site struct {
	*shadows.Service
	store  *memory
	cloud  *sky
	syncer *shadows.Syncer

	mu        sync.Mutex
	published []shadow.Message
	clock     time.Time
	notified  bool
	reachable func() error
}

var lamp = shadow.ID{Thing: "lamp"}

func newSite(t testing.TB) *site {
	r := &site{store: newMemory(), clock: time.Unix(1000, 0), notified: true, reachable: func() error { return nil }}
	r.cloud = newSky(r.now)
	r.restart(t)
	return r
}

func (r *site) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clock
}

func (r *site) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = r.clock.Add(d)
}

// restart begins anew with what is on the disk.
func (r *site) restart(t testing.TB) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	r.Service = shadows.New(shadows.Options{Store: r.store, Now: r.now, Logger: quiet, Publish: func(m shadow.Message) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.published = append(r.published, m)
	}})
	r.syncer = shadows.NewSyncer(shadows.SyncOptions{
		Service: r.Service, Cloud: r.cloud, Logger: quiet, Notified: func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.notified
		},
		Reach: func(context.Context) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.reachable()
		},
		Times: shadows.Times{Probe: time.Second},
	})
	if err := r.syncer.Set(t.Context(), []string{"lamp", "core"}); err != nil {
		t.Fatal(err)
	}
}

// change is a device's update.
func (r *site) change(t testing.TB, id shadow.ID, payload string) {
	t.Helper()
	u, err := shadow.ParseUpdate([]byte(payload), shadow.CoreLimits)
	if err == nil {
		_, err = r.Update(t.Context(), id, u)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *site) state(t testing.TB, id shadow.ID) (shadow.State, bool) {
	t.Helper()
	record, err := r.store.Shadow(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return record.Document.State(), record.Document.Exists()
}

func (r *site) messages() []shadow.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.published
	r.published = nil
	return all
}

func text(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}
