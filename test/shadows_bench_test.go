//go:build linux

package test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	"golang.org/x/sync/errgroup"

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

// BenchmarkSiteAfterACut is how long a server's and a core's programs take for 2,499 client
// devices, from the return of the line until the cloud has what it is to have of each, and
// until the core says that all are in step.
func BenchmarkSiteAfterACut(b *testing.B) {
	const things = 2499 // and the one that speaks for them
	h := startServer(b).site(region)
	l := h.serveDevices(b, "Shadow_Core")
	line := l.through(b)
	l.run(b)
	lamp := h.provision(b, "Lamp")
	devices := append(h.things(b, "Device", things), lamp)
	l.deployWith(b, nil, []route{{lamp.thingARN, "$aws/things/#", "GGShadowService"}, {"GGShadowService", "$aws/things/+/shadow/update/accepted", lamp.thingARN}}, devices...)
	lit := l.join(b, lamp)
	lit.listen(b, "$aws/things/#")
	client := corelink.NewClient(h.device, lamp.tls(b))
	b.Cleanup(client.Close)
	cloud := corelink.Shadows{Client: client, Core: "Lamp", Timeout: patience}
	// together makes a call for each device, fifty with a request.
	together := func(b *testing.B, devices []*gateway, operation shadow.Operation, u shadow.Update) (all []corelink.ShadowAnswer) {
		b.Helper()
		for some := range slices.Chunk(devices, corelink.MaxShadowBatch) {
			var calls []corelink.ShadowCall
			for _, d := range some {
				calls = append(calls, corelink.ShadowCall{ID: shadow.ID{Thing: d.thing}, Operation: operation, Update: u})
			}
			answers, err := cloud.ShadowBatch(b.Context(), calls)
			for _, a := range answers {
				err = errors.Join(err, a.Err)
			}
			if err != nil || len(answers) < len(calls) {
				b.Fatal(len(answers), err)
			}
			all = append(all, answers...)
		}
		return all
	}
	// reports has each device's shadow be changed on the core, fifty at a time.
	reports := func(b *testing.B, value string) {
		b.Helper()
		for some := range slices.Chunk(devices[:things], 50) {
			for _, d := range some {
				await(b, "publish", lit.Publish(shadow.ID{Thing: d.thing}.Topic("update"), 1, false, `{"clientToken":"`+value+`","state":{"reported":{"round":"`+value+`"}}}`))
			}
			for range some {
				for !strings.Contains(string(lit.nextAny(b).Payload()), `"clientToken":"`+value+`"`) {
				}
			}
		}
	}
	says := func(b *testing.B, reported, desired string) {
		b.Helper()
		rest := devices[:things] // those that have it are not asked for again
		eventually(b, "the cloud has what each device says", func() error {
			for len(rest) > 0 {
				some := rest[:min(len(rest), corelink.MaxShadowBatch)]
				for i, a := range together(b, some, shadow.OpGet, shadow.Update{}) {
					if r, d := fmt.Sprint(a.Document.Reported["round"]), fmt.Sprint(a.Document.Desired["round"]); r != reported || d != desired {
						return fmt.Errorf("%s says %s and %s", some[i].thing, r, d)
					}
				}
				rest = rest[len(some):]
			}
			return nil
		})
	}
	logged := func(text string) int {
		data, err := os.ReadFile(filepath.Join(l.root, "ggc/var/log/system/GGShadowSyncManager.log"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.Fatal(err)
		}
		return strings.Count(string(data), text)
	}
	reported, desired, round := "first", "first", 0
	u, err := shadow.ParseUpdate([]byte(`{"state":{"desired":{"round":"first"}}}`), shadow.CloudLimits)
	if err != nil {
		b.Fatal(err)
	}
	together(b, devices[:things], shadow.OpUpdate, u)
	reports(b, reported)
	says(b, reported, desired)
	for _, bc := range []struct {
		by          string
		here, there bool
	}{{"devices", true, false}, {"cloud", false, true}, {"both", true, true}} {
		b.Run("changed="+bc.by, func(b *testing.B) {
			var inCloud, inStep time.Duration
			for b.Loop() {
				round++
				down, back := logged("cannot be reached"), logged("in step with the cloud again")
				line.pull()
				value := fmt.Sprint("round ", round)
				if bc.here {
					reported = value
					reports(b, value)
				}
				if bc.there {
					desired = value
					u.Desired.Values["round"] = value
					together(b, devices[:things], shadow.OpUpdate, u)
				}
				eventually(b, "the core notices that it is cut off", func() error {
					if logged("cannot be reached") == down {
						return errors.New("it has said nothing of it")
					}
					return nil
				})
				began := time.Now()
				line.plug(b)
				says(b, reported, desired)
				inCloud += time.Since(began)
				eventually(b, "all are in step", func() error {
					if logged("in step with the cloud again") == back {
						return errors.New("the core has not said so")
					}
					return nil
				})
				inStep += time.Since(began)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(inCloud.Seconds()/float64(b.N), "s/cloud")
			b.ReportMetric(inStep.Seconds()/float64(b.N), "s/in-step")
		})
	}
}

// things registers client devices that are kept in step and never connect.
func (h *site) things(b *testing.B, name string, n int) []*gateway {
	b.Helper()
	ctx := b.Context()
	made := make([]*gateway, n)
	var all errgroup.Group
	all.SetLimit(8)
	for i := range made {
		all.Go(func() error {
			thing := fmt.Sprintf("%s%04d", name, i)
			registered, err := h.iot.RegisterCertificateWithoutCA(ctx, &iot.RegisterCertificateWithoutCAInput{
				CertificatePem: aws.String(selfSigned(b)), Status: iottypes.CertificateStatusActive,
			})
			if err != nil {
				return err
			}
			created, err := h.iot.CreateThing(ctx, &iot.CreateThingInput{ThingName: &thing})
			if err != nil {
				return err
			}
			made[i] = &gateway{site: h, thing: thing, thingARN: *created.ThingArn, certARN: *registered.CertificateArn, syncShadow: true}
			_, err = h.iot.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: &thing, Principal: registered.CertificateArn})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
	return made
}
