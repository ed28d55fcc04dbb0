package bulk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/backoff"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/lease"
)

// Pace of a run.
const (
	// idlePoll is how often bulk deployments are looked for that another server
	// accepted or stopped, or a dead one left.
	idlePoll = 250 * time.Millisecond
	// page is how many records are read at once.
	page = 500
	// maxBuilding is how many deployments may wait to be built before a run waits
	// for the builder: whoever deploys a single group must not wait behind it. Those whose
	// models are copied count for their own partition alone.
	maxBuilding = 100
	// buildPoll is how often it looks whether the builder has caught up.
	buildPoll = 20 * time.Millisecond
	// maxRound is how many deployments a run starts in one transaction, without a look
	// whether it is to stop.
	maxRound = 50
	// longestRound bounds that transaction, but for its commit, with what is read for it, and
	// then the one that writes down what came of it.
	longestRound = 6 * time.Second
	// maxRetries is how often a record is tried again (developer guide).
	maxRetries = 5
	// heldPauses is after how many pauses before a first retry a record is tried again whose
	// group another transaction has: whether it still has, takes a while to see.
	heldPauses = 10
	// maxReads is how often the input is tried to be read.
	maxReads = 5
)

// Run carries out bulk deployments until ctx ends. Of several servers that share
// a database one does at a time.
func (s *Service) Run(ctx context.Context) {
	l := lease.Lease{Store: s.o.Leases, Name: "bulk deployments", Now: s.o.Now, Logger: s.o.Logger}
	l.Run(ctx, s.carryAll)
}

// carryAll carries out all bulk deployments that have not ended, those of
// different partitions at the same time.
func (s *Service) carryAll(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for {
		list, err := s.o.Store.ActiveBulkDeployments(ctx, s.o.AWS)
		if err != nil && ctx.Err() == nil {
			s.o.Logger.Error("bulk deployments could not be read", "error", err)
		}
		for _, b := range list {
			if !s.begin(b.ID) {
				continue
			}
			running.Go(func() {
				defer s.end(b.ID)
				s.carry(ctx, b)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-tick.C:
		}
	}
}

func (s *Service) begin(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under[id] {
		return false
	}
	s.under[id] = true
	return true
}

func (s *Service) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under, id)
}

// carry brings one bulk deployment to its end. What fails inside is tried again.
func (s *Service) carry(ctx context.Context, b BulkDeployment) {
	for ctx.Err() == nil {
		b, err := s.o.Store.BulkDeployment(ctx, b.Partition, b.ID)
		if err == nil {
			switch b.Status {
			case BulkInitializing:
				err = s.load(ctx, b)
			case BulkRunning:
				err = s.process(ctx, b)
			case BulkStopping:
				err = s.finishStop(ctx, b)
			default:
				s.o.Logger.Info("bulk deployment ended", "bulk", b.ID, "status", b.Status,
					"records", b.RecordsProcessed, "invalid", b.InvalidRecords, "error", b.ErrorMessage)
				return
			}
		}
		if err != nil && !errors.Is(err, fescue.ErrConflict) && ctx.Err() == nil {
			s.o.Logger.Error("bulk deployment held up; it is tried again", "bulk", b.ID, "error", err)
			pause(ctx, s.o.FirstRetry)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// load reads the input: it brings a bulk deployment from Initializing to Running,
// or to Failed.
func (s *Service) load(ctx context.Context, b BulkDeployment) error {
	for attempt := range maxReads {
		if attempt > 0 {
			if err := s.rest(ctx, b, s.retries().Pause(attempt)); err != nil {
				return err
			}
		}
		var bad *InputError
		err := s.read(ctx, b)
		switch {
		case err == nil:
			return s.o.Store.MoveBulkDeployment(ctx, b, BulkRunning, "", nil)
		case errors.As(err, &bad):
			return s.fail(ctx, b, "400", bad.Text)
		case errors.Is(err, fescue.ErrNotFound):
			return s.fail(ctx, b, "404", fmt.Sprintf("The input file s3://%s/%s does not exist in this account and Region.", b.Bucket, b.Key))
		case errors.Is(err, fescue.ErrConflict) || ctx.Err() != nil: // stopped
			return err
		}
		s.o.Logger.Warn("input of a bulk deployment not read; it is tried again", "bulk", b.ID, "error", err)
	}
	return s.fail(ctx, b, "500", fmt.Sprintf("The input file s3://%s/%s could not be read. The server's log has the cause.", b.Bucket, b.Key))
}

// fail ends a bulk deployment that has processed nothing.
func (s *Service) fail(ctx context.Context, b BulkDeployment, code, message string) error {
	if err := s.clear(ctx, b); err != nil {
		return err
	}
	return s.o.Store.MoveBulkDeployment(ctx, b, BulkFailed, message,
		[]fescue.ErrorDetail{{DetailedErrorCode: code, DetailedErrorMessage: message}})
}

// batch is how many rows one transaction writes.
const batch = 500

// clear forgets what an earlier reading left: the object may have been another.
func (s *Service) clear(ctx context.Context, b BulkDeployment) error {
	for {
		if n, err := s.o.Store.ClearBulkRecords(ctx, b, batch); n == 0 || err != nil {
			return err
		}
	}
}

func (s *Service) read(ctx context.Context, b BulkDeployment) error {
	if err := s.clear(ctx, b); err != nil {
		return err
	}
	object, size, err := s.o.Objects.Open(ctx, b.Partition, b.Bucket, b.Key)
	if err != nil {
		return err
	}
	defer object.Close()
	if size >= maxInput {
		return badInput("InvalidInputFile: The file has %d bytes. It must have less than %d.", size, maxInput)
	}
	records, total := make([]BulkRecord, 0, batch), 0
	flush := func() error {
		if err := s.stillIn(ctx, b); err != nil {
			return err
		}
		total += len(records)
		err := s.o.Store.AddBulkRecords(ctx, b, records)
		records = records[:0]
		return err
	}
	err = ReadInput(object, func(r BulkRecord) error {
		if records = append(records, r); len(records) == batch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil && total == 0 {
		return badInput("InvalidInputFile: The file has no records.")
	}
	return err
}

// stillIn is fescue.ErrConflict when the bulk deployment has left its status.
func (s *Service) stillIn(ctx context.Context, b BulkDeployment) error {
	now, err := s.o.Store.BulkDeployment(ctx, b.Partition, b.ID)
	if err == nil && now.Status != b.Status {
		return fescue.ErrConflict
	}
	return err
}

// rest waits, as long as the bulk deployment stays where it is.
func (s *Service) rest(ctx context.Context, b BulkDeployment, d time.Duration) error {
	for until := time.Now().Add(d); ; {
		if err := s.stillIn(ctx, b); err != nil || !time.Now().Before(until) {
			return err
		}
		pause(ctx, min(idlePoll, time.Until(until)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// process makes records deployments until none is left, or the bulk deployment is
// not Running any more, which is fescue.ErrConflict.
func (s *Service) process(ctx context.Context, b BulkDeployment) error {
	for {
		due, pending, err := s.o.Store.DueBulkRecords(ctx, b, page)
		switch {
		case err != nil:
			return err
		case !pending:
			return s.o.Store.MoveBulkDeployment(ctx, b, BulkCompleted, "", nil)
		case len(due) == 0:
			if err := s.rest(ctx, b, idlePoll); err != nil {
				return err
			}
		}
		for len(due) > 0 {
			room, err := s.turn(ctx, b)
			if err != nil {
				return err
			}
			var round []BulkRecord
			round, due = s.choose(due, room)
			if err := s.finish(ctx, b, round); err != nil {
				return err
			}
		}
	}
}

// finish makes records deployments, and writes down what was made even when this server is
// to stop. It leaves out those of which nothing can be said now, with the error that says why.
func (s *Service) finish(ctx context.Context, b BulkDeployment, round []BulkRecord) error {
	lasting := context.WithoutCancel(ctx)
	making, cancel := context.WithTimeout(lasting, longestRound)
	defer cancel()
	tries, held := s.try(making, b, round)
	writing, cancel := context.WithTimeout(lasting, longestRound)
	defer cancel()
	if err := s.o.Store.FinishBulkRecords(writing, b, tries); err != nil {
		return err
	}
	return held
}

// turn waits until the next deployment may be started, and returns how many may be before
// the builder has enough to do. It is fescue.ErrConflict when none may any more.
func (s *Service) turn(ctx context.Context, b BulkDeployment) (room int, err error) {
	if err := s.pace.Wait(ctx); err != nil {
		return 0, err
	}
	for began, say := time.Now(), s.o.SayWait; ; {
		if err := s.stillIn(ctx, b); err != nil {
			return 0, err
		}
		building, err := s.o.Store.BuildingDeployments(ctx, b.Partition)
		if err != nil || building < maxBuilding {
			return min(int(maxBuilding-building), maxRound), err
		}
		if waited := time.Since(began); waited >= say {
			say = waited + s.o.SayWait
			s.o.Logger.Warn("bulk deployment waits, as so many deployments are being built: its account's, whose timelines say what they wait for, and others' that no server has come to; it goes on by itself",
				"bulk", b.ID, "partition", b.Partition, "building", building, "waited", waited.Round(time.Millisecond))
		}
		pause(ctx, buildPoll)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}

// choose takes those of the due records that may be tried now: the first, for which turn
// has waited, and as many more as there is room for and the rate allows. Of two records of
// a group the second waits for the first.
func (s *Service) choose(due []BulkRecord, room int) (chosen, rest []BulkRecord) {
	groups := make(map[string]bool)
	for i, r := range due {
		if len(chosen) == room || len(chosen) > 0 && !groups[r.GroupID] && !s.pace.Allow() {
			return chosen, append(rest, due[i:]...)
		}
		if groups[r.GroupID] {
			rest = append(rest, r)
			continue
		}
		groups[r.GroupID] = true
		chosen = append(chosen, r)
	}
	return chosen, rest
}

// tokenOperation is what the client tokens of records are for.
const tokenOperation = "BulkDeployment"

// refusals are why a record can never become a deployment.
var refusals = []struct {
	err  error
	code string
	text func(r BulkRecord) string
}{
	{deploy.ErrUnknownGroup, "404", func(r BulkRecord) string { return fmt.Sprintf("Group %s does not exist.", r.GroupID) }},
	{deploy.ErrUnknownVersion, "404", func(r BulkRecord) string {
		return fmt.Sprintf("Version %s of Group Definition %s does not exist.", r.GroupVersionID, r.GroupID)
	}},
	{deploy.ErrNoCore, "GG-303", func(BulkRecord) string {
		return "You need a Greengrass Core in this Group before you can deploy."
	}},
}

// try makes records deployments, and returns what came of them. A record that was tried
// before by a server that died has its deployment already, which its token finds. An error
// is why nothing can be said of those that are left out.
func (s *Service) try(ctx context.Context, b BulkDeployment, records []BulkRecord) (tries []BulkTry, err error) {
	requests := make([]deploy.Request, len(records))
	for i, r := range records {
		requests[i] = deploy.Request{
			Deployment: fescue.Deployment{GroupID: r.GroupID, GroupVersionID: r.GroupVersionID},
			Token: fescue.Token{
				Operation: tokenOperation, Value: fmt.Sprintf("%s/%d", b.ID, r.Line), RequestHash: r.GroupID + "/" + r.GroupVersionID,
			},
		}
	}
	for i, answer := range s.o.Deployments.CreateAll(ctx, b.Partition, requests) {
		if fescue.Passing(answer.Err) && !errors.Is(answer.Err, fescue.ErrLocked) {
			err = answer.Err
			continue
		}
		tries = append(tries, BulkTry{records[i], s.outcome(b, records[i], answer)})
	}
	return tries, err
}

// outcome is what an answer means for a record.
func (s *Service) outcome(b BulkDeployment, r BulkRecord, answer deploy.Answer) BulkOutcome {
	now, err := s.o.Now().UTC(), answer.Err
	if err == nil {
		return BulkOutcome{DeploymentID: answer.Deployment.ID, At: now}
	}
	if errors.Is(err, fescue.ErrLocked) {
		s.o.Logger.Warn("record not deployed, as another transaction of the database has what belongs to its group; it is tried again", "bulk", b.ID, "line", r.Line, "error", err)
		return BulkOutcome{RetryAt: now.Add(heldPauses * s.o.FirstRetry), Held: true, At: now}
	}
	for _, refusal := range refusals {
		if errors.Is(err, refusal.err) {
			return failure(now, true, refusal.code, fmt.Sprintf("Line %d: %s", r.Line, refusal.text(r)))
		}
	}
	if r.Attempts < maxRetries {
		if !errors.Is(err, deploy.ErrConcurrent) {
			s.o.Logger.Warn("record not deployed; it is tried again", "bulk", b.ID, "line", r.Line, "error", err)
		}
		return BulkOutcome{RetryAt: now.Add(s.retries().Pause(r.Attempts + 1)), At: now}
	}
	if errors.Is(err, deploy.ErrConcurrent) {
		return failure(now, false, "ConcurrentDeployment",
			fmt.Sprintf("Line %d: another deployment of the group was being built, also after %d retries.", r.Line, maxRetries))
	}
	s.o.Logger.Error("record not deployed", "bulk", b.ID, "line", r.Line, "error", err)
	return failure(now, false, "500", fmt.Sprintf("Line %d: the server could not start the deployment. Its log has the cause.", r.Line))
}

// retries are the pauses before further tries.
func (s *Service) retries() backoff.Policy {
	return backoff.Policy{First: s.o.FirstRetry, Most: time.Hour}
}

func failure(at time.Time, invalid bool, code, message string) BulkOutcome {
	return BulkOutcome{
		ErrorMessage: message, ErrorDetails: []fescue.ErrorDetail{{DetailedErrorCode: code, DetailedErrorMessage: message}},
		Invalid: invalid, At: at,
	}
}

// finishStop brings a bulk deployment from Stopping to Stopped. What a server
// that died had started and not written down is written down first; the rest of
// the records is forgotten.
func (s *Service) finishStop(ctx context.Context, b BulkDeployment) error {
	started, err := s.o.Store.StartedBulkRecords(ctx, b, tokenOperation)
	if err != nil {
		return err
	}
	var tries []BulkTry
	for deployment, r := range started {
		tries = append(tries, BulkTry{r, BulkOutcome{DeploymentID: deployment, At: s.o.Now().UTC()}})
	}
	slices.SortFunc(tries, func(x, y BulkTry) int { return cmp.Compare(x.Line, y.Line) })
	if err := s.o.Store.FinishBulkRecords(ctx, b, tries); err != nil {
		return err
	}
	if err := s.clear(ctx, b); err != nil {
		return err
	}
	return s.o.Store.MoveBulkDeployment(ctx, b, BulkStopped, "", nil)
}
