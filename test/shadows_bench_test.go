//go:build linux

package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/shadows"
	"github.com/fescue-edge/fescue/core/store"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/shadow"
)

// distantCloud is a cloud at the end of a line on which a request takes 20 ms at least.
type distantCloud struct {
	shadows.Cloud
	// single has each document be asked for by itself, out is a cut line.
	single, out atomic.Bool
}

var errCut = errors.New("the line is cut")

func (c *distantCloud) reach(ctx context.Context) error {
	if c.out.Load() {
		return errCut
	}
	distance, end := context.WithTimeout(ctx, 20*time.Millisecond)
	defer end()
	<-distance.Done()
	return ctx.Err()
}

func (c *distantCloud) Shadow(ctx context.Context, id shadow.ID) (shadow.Document, error) {
	if err := c.reach(ctx); err != nil {
		return shadow.Document{}, err
	}
	return c.Cloud.Shadow(ctx, id)
}

func (c *distantCloud) UpdateShadow(ctx context.Context, id shadow.ID, u shadow.Update) (int64, error) {
	if err := c.reach(ctx); err != nil {
		return 0, err
	}
	return c.Cloud.UpdateShadow(ctx, id, u)
}

func (c *distantCloud) ShadowNames(ctx context.Context, thing string) ([]string, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	return c.Cloud.ShadowNames(ctx, thing)
}

func (c *distantCloud) ShadowMarks(ctx context.Context, things []string) (map[string]map[string]shadow.Mark, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	if c.single.Load() {
		return nil, &corelink.StatusError{HTTPStatus: http.StatusNotFound}
	}
	return c.Cloud.ShadowMarks(ctx, things)
}

func (c *distantCloud) ShadowBatch(ctx context.Context, calls []corelink.ShadowCall) ([]corelink.ShadowAnswer, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	if c.single.Load() {
		return nil, &corelink.StatusError{HTTPStatus: http.StatusNotFound}
	}
	return c.Cloud.ShadowBatch(ctx, calls)
}

// BenchmarkShadowsAfterACut is how long the shadows of 2,500 client devices take to be in
// step when the line is back, where none, a tenth or all of them were changed meanwhile, by
// the devices, in the cloud, or on both sides. "single" asks the cloud for each by itself,
// as where it has no marks and no batches.
func BenchmarkShadowsAfterACut(b *testing.B) {
	const things = 2500
	h := startServer(b).site(region)
	core := h.provision(b, "Shadow_Core")
	client := corelink.NewClient(h.device, core.tls(b))
	b.Cleanup(client.Close)
	quiet := slog.New(slog.DiscardHandler)
	db := store.New(filepath.Join(b.TempDir(), "core.db"), quiet)
	b.Cleanup(func() { db.Close() })
	service := shadows.New(shadows.Options{Store: db.Shadows(), Now: time.Now, Publish: func(shadow.Message) {}, Logger: quiet})
	cloud := &distantCloud{Cloud: corelink.Shadows{Client: client, Core: core.thing, Timeout: patience}}
	cloud.out.Store(true)
	down, back := make(chan struct{}, 1), make(chan struct{})
	syncer := shadows.NewSyncer(shadows.SyncOptions{
		Service: service, Cloud: cloud, Logger: quiet, Notified: func() bool { return true },
		Reach: func(ctx context.Context) error {
			err := cloud.reach(ctx)
			if err != nil {
				select {
				case down <- struct{}{}:
				default:
				}
			}
			return err
		},
		Reached: func() { back <- struct{}{} }, Times: shadows.Times{Probe: 10 * time.Millisecond},
	})
	var names []string
	for n := range things {
		names = append(names, fmt.Sprintf("Device%04d", n))
	}
	if err := syncer.Set(b.Context(), names); err != nil {
		b.Fatal(err)
	}
	ctx, end := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { syncer.Run(ctx) })
	b.Cleanup(func() {
		end()
		running.Wait()
	})
	// cut has so many shadows be changed without a line, and returns how long all take.
	round := 0
	cut := func(changed int, here, there bool) time.Duration {
		round++
		cloud.out.Store(true)
		syncer.Line()
		<-down
		for some := range slices.Chunk(names[:changed], corelink.MaxShadowBatch) {
			var calls []corelink.ShadowCall
			for _, thing := range some {
				id := shadow.ID{Thing: thing}
				u, err := shadow.ParseUpdate(fmt.Appendf(nil, `{"state":{"reported":{"round":%d,"text":"what a device says of itself"}}}`, round), shadow.CoreLimits)
				if err == nil && here {
					_, err = service.Update(b.Context(), id, u)
				}
				if err != nil {
					b.Fatal(err)
				}
				wanted, err := shadow.ParseUpdate(fmt.Appendf(nil, `{"state":{"desired":{"round":%d,"text":"what it is to be"}}}`, round), shadow.CloudLimits)
				if err != nil {
					b.Fatal(err)
				}
				calls = append(calls, corelink.ShadowCall{ID: id, Operation: shadow.OpUpdate, Update: wanted})
			}
			if !there {
				continue
			}
			answers, err := cloud.Cloud.ShadowBatch(b.Context(), calls)
			for _, a := range answers {
				err = errors.Join(err, a.Err)
			}
			if err != nil || len(answers) < len(calls) {
				b.Fatal(len(answers), err)
			}
		}
		began := time.Now()
		cloud.out.Store(false)
		<-back
		took := time.Since(began)
		select {
		case <-down: // it was said again and again
		default:
		}
		for _, i := range []int{0, changed - 1} {
			if changed == 0 {
				break
			}
			id := shadow.ID{Thing: names[i]}
			r, err := db.Shadows().Shadow(b.Context(), id)
			d, readErr := cloud.Cloud.Shadow(b.Context(), id)
			if err = errors.Join(err, readErr); err != nil || !d.State().Equal(r.Document.State()) {
				b.Fatalf("%s: the core has %v, the cloud %v, %v", id.Thing, r.Document, d, err)
			}
		}
		return took
	}
	cut(things, true, false) // for the first time
	for _, bc := range []struct {
		changed     int
		here, there bool
		by          string
	}{
		{0, false, false, "nobody"},
		{things / 10, true, false, "devices"},
		{things, true, false, "devices"},
		{things, false, true, "cloud"},
		{things, true, true, "both"},
	} {
		for _, single := range []bool{false, true} {
			b.Run(fmt.Sprintf("changed=%d/by=%s/single=%t", bc.changed, bc.by, single), func(b *testing.B) {
				cloud.single.Store(single)
				var took time.Duration
				for b.Loop() {
					took += cut(bc.changed, bc.here, bc.there)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(took.Seconds()/float64(b.N), "s/cut")
			})
		}
	}
}
