// Package bulk deploys to many groups at once: it reads a file of records from
// the object store, checks it, and makes each record a deployment by the rules of the
// API's call, many in one transaction and no faster than the builder
// keeps up. Each record is a row and has a client token of its own, so that another server,
// or this one after a crash, goes on where the last one was without doing anything twice.
package bulk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/definitions"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/keyed"
	"github.com/fescue-edge/fescue/cloud/lease"
)

// Store is what the service needs of the database.
type Store interface {
	// CreateBulkDeployment is fescue.ErrConflict while another of the partition has
	// not ended.
	CreateBulkDeployment(ctx context.Context, b BulkDeployment, token fescue.Token) (BulkDeployment, error)
	BulkDeployment(ctx context.Context, p fescue.Partition, id string) (BulkDeployment, error)
	BulkDeployments(ctx context.Context, p fescue.Partition, page fescue.Page) ([]BulkDeployment, error)
	ActiveBulkDeployments(ctx context.Context, aws string) ([]BulkDeployment, error)
	// MoveBulkDeployment is fescue.ErrConflict when the status is not b's any more.
	MoveBulkDeployment(ctx context.Context, b BulkDeployment, to BulkStatus, message string, details []fescue.ErrorDetail) error
	ReplaceBulkTags(ctx context.Context, p fescue.Partition, id string, old, tags map[string]string) error

	AddBulkRecords(ctx context.Context, b BulkDeployment, records []BulkRecord) error
	ClearBulkRecords(ctx context.Context, b BulkDeployment, limit int) (n int64, err error)
	DueBulkRecords(ctx context.Context, b BulkDeployment, limit int) (due []BulkRecord, pending bool, err error)
	FinishBulkRecords(ctx context.Context, b BulkDeployment, tries []BulkTry) error
	StartedBulkRecords(ctx context.Context, b BulkDeployment, operation string) (map[string]BulkRecord, error)
	BulkReports(ctx context.Context, p fescue.Partition, id string, page fescue.Page) ([]BulkReport, error)
	BulkProgress(ctx context.Context, p fescue.Partition, id string) (Progress, error)
	// BuildingDeployments counts the partition's, and those of others that no builder has had.
	BuildingDeployments(ctx context.Context, p fescue.Partition) (int64, error)
}

// Objects is the object store that input is read from.
type Objects interface {
	// Open opens an object and returns its size. What is not there is
	// fescue.ErrNotFound.
	Open(ctx context.Context, p fescue.Partition, bucket, key string) (io.ReadCloser, int64, error)
}

// Deployments is the deployment engine.
type Deployments interface {
	// CreateAll accepts what is requested; each is made or refused for itself.
	CreateAll(ctx context.Context, p fescue.Partition, requests []deploy.Request) []deploy.Answer
}

// Options is what a Service is made of. All but Rate, FirstRetry and SayWait are needed.
type Options struct {
	Store Store
	// Leases have one server carry out at a time.
	Leases      lease.Store
	Objects     Objects
	Deployments Deployments
	// AWS is the first part of every ARN.
	AWS string
	// Rate is how many deployments a second are started at most, in all
	// partitions together; zero means 100. After a pause it may be a quarter more at once.
	Rate float64
	// FirstRetry is the wait before a second try; it doubles with each further one.
	// Zero means a second.
	FirstRetry time.Duration
	// SayWait is after how long a wait for the builder is logged, again and again; zero
	// means 30 seconds.
	SayWait time.Duration
	Now     func() time.Time
	Logger  *slog.Logger
}

// Service starts, stops and runs bulk deployments.
type Service struct {
	o     Options
	pace  *rate.Limiter
	kick  chan struct{}
	mu    sync.Mutex
	under map[string]bool // the ids of those that are being carried out

	progress keyed.Recent[bulkKey, Progress]
}

// Defaults of the options.
const (
	defaultRate  = 100
	defaultRetry = time.Second
	defaultSay   = 30 * time.Second
	// madeUp is for how long what was started too slowly is made up for: a run goes as fast
	// as its rate while no round takes longer.
	madeUp = 250 * time.Millisecond
)

// New makes the service. Run carries out; everything else works without it.
func New(o Options) *Service {
	if o.Rate == 0 {
		o.Rate = defaultRate
	}
	if o.FirstRetry == 0 {
		o.FirstRetry = defaultRetry
	}
	if o.SayWait == 0 {
		o.SayWait = defaultSay
	}
	return &Service{o: o, pace: rate.NewLimiter(rate.Limit(o.Rate), max(1, int(o.Rate*madeUp.Seconds()))), kick: make(chan struct{}, 1), under: make(map[string]bool)}
}

// What the service refuses, beside fescue.ErrNotFound.
var (
	// ErrActive means that another bulk deployment of the partition has not ended.
	ErrActive = errors.New("another bulk deployment has not ended")
	// ErrFinished means that what is to be stopped has ended.
	ErrFinished = errors.New("the bulk deployment has ended")
	// ErrRole means that the execution role is not a role's ARN.
	ErrRole = errors.New("not the ARN of a role")
)

// Start accepts a bulk deployment: it is Initializing when Start returns.
// Whether the object is there is found out later. The role must have a role's
// form; it is not assumed, the caller's own rights count.
func (s *Service) Start(ctx context.Context, p fescue.Partition, roleARN, inputURI string, tags map[string]string, token fescue.Token) (BulkDeployment, error) {
	if !fescue.ValidRoleARN(roleARN) {
		return BulkDeployment{}, ErrRole
	}
	bucket, key, err := ParseInputURI(inputURI, p.Region)
	if err != nil {
		return BulkDeployment{}, err
	}
	if err := definitions.CheckTags(tags); err != nil {
		return BulkDeployment{}, err
	}
	b, err := s.o.Store.CreateBulkDeployment(ctx, BulkDeployment{
		Partition: p, ID: fescue.NewID(), Status: BulkInitializing, ExecutionRoleARN: roleARN,
		Bucket: bucket, Key: key, Tags: tags, CreatedAt: s.o.Now().UTC(),
	}, token)
	if errors.Is(err, fescue.ErrConflict) {
		err = ErrActive
	}
	if err == nil {
		s.wake()
	}
	return b, err
}

// Stop ends a bulk deployment: nothing is started a second after Stop returned.
// What was started goes on. To stop it twice is no error.
func (s *Service) Stop(ctx context.Context, p fescue.Partition, id string) error {
	for {
		b, err := s.BulkDeployment(ctx, p, id)
		switch {
		case err != nil:
			return err
		case b.Status == BulkStopping:
			return nil
		case b.Status.Final():
			return ErrFinished
		}
		err = s.o.Store.MoveBulkDeployment(ctx, b, BulkStopping, "", nil)
		if !errors.Is(err, fescue.ErrConflict) {
			s.wake()
			return err
		}
	}
}

func (s *Service) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// BulkDeployment reads a bulk deployment.
func (s *Service) BulkDeployment(ctx context.Context, p fescue.Partition, id string) (BulkDeployment, error) {
	if !fescue.ValidID(id) {
		return BulkDeployment{}, fmt.Errorf("bulk deployment %q: %w", id, fescue.ErrNotFound)
	}
	return s.o.Store.BulkDeployment(ctx, p, id)
}

// BulkDeployments lists those of a partition, newest first.
func (s *Service) BulkDeployments(ctx context.Context, p fescue.Partition, page fescue.Page) ([]BulkDeployment, error) {
	return s.o.Store.BulkDeployments(ctx, p, page)
}

// Reports lists the records that have become deployments or have failed, newest
// first. The page's key is a report's number.
func (s *Service) Reports(ctx context.Context, p fescue.Partition, id string, page fescue.Page) ([]BulkReport, error) {
	if _, err := s.BulkDeployment(ctx, p, id); err != nil {
		return nil, err
	}
	return s.o.Store.BulkReports(ctx, p, id, page)
}

// Progress is how far a bulk deployment has come, as of three seconds ago or later: it reads
// every record.
func (s *Service) Progress(ctx context.Context, p fescue.Partition, id string) (Progress, error) {
	return s.progress.Get(bulkKey{p, id}, func() (Progress, error) {
		progress, err := s.o.Store.BulkProgress(ctx, p, id)
		slices.SortStableFunc(progress.Failures, func(a, b FailureCount) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Code, b.Code)) })
		return progress, err
	})
}

// bulkKey is which bulk deployment.
type bulkKey struct {
	p  fescue.Partition
	id string
}

// Tagged is a bulk deployment as a resource that has tags.
func (s *Service) Tagged(p fescue.Partition, id string) definitions.Tagged { return tagged{s, p, id} }

type tagged struct {
	s  *Service
	p  fescue.Partition
	id string
}

// Tags implements definitions.Tagged.
func (t tagged) Tags(ctx context.Context) (map[string]string, error) {
	b, err := t.s.BulkDeployment(ctx, t.p, t.id)
	return b.Tags, err
}

// ReplaceTags implements definitions.Tagged.
func (t tagged) ReplaceTags(ctx context.Context, old, tags map[string]string) error {
	return t.s.o.Store.ReplaceBulkTags(ctx, t.p, t.id, old, tags)
}
