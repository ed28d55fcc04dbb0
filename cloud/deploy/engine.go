// Package deploy is the deployment engine. Engine accepts deployments (create.go,
// cancel.go); its builder takes them out of Building: it resolves and judges the group
// version, renders group.json, signs the manifest and offers it (build.go, resolve.go,
// render.go), with models copied beside what else is built (copy.go); its tracker gives
// what is offered to cores, takes their reports and ends what is overdue (track.go,
// catchup.go, deadlines.go); its checker does a dry run (check.go). Each part has the interfaces of the database that it needs.
//
// The rules of a deployment's life are in package fescue; this package drives them and
// keeps no state of its own that another server, or this one after a crash, could not
// take up from the database.
package deploy

import (
	"context"
	"crypto"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/cloud/cores"
	"github.com/fescue-edge/fescue/periodic"
)

// Functions resolves what a group says of a function to a published version.
type Functions interface {
	// Resolve takes an alias or version ARN. The errors are fescue.ErrNotFound,
	// and ErrUnpublished for $LATEST and for an ARN without a qualifier.
	Resolve(ctx context.Context, p fescue.Partition, functionARN string) (v fescue.FunctionVersion, versionARN string, err error)
}

// Principals finds the principal of a certificate.
type Principals interface {
	Principal(ctx context.Context, certificateID string) (fescue.Principal, error)
}

// Artifacts keeps content by hash.
type Artifacts interface {
	Put(ctx context.Context, hash string, content io.Reader) error
}

// Publisher sends an MQTT message from the cloud.
type Publisher interface {
	Publish(ctx context.Context, p fescue.Partition, topic string, payload []byte, qos byte, retain bool) error
}

// Signer signs manifests with the key that is in use now.
type Signer interface {
	// Sign makes an envelope for readers of the formats, as bundle.Sign does.
	Sign(ctx context.Context, m bundle.Manifest, formats ...int) ([]byte, error)
	// Renew signs again what Sign signed, perhaps with an earlier key, for readers
	// of the formats, and returns the id of the key in use; a nil envelope stays nil.
	Renew(ctx context.Context, envelope []byte, formats ...int) (renewed []byte, keyID string, err error)
	// SignSecrets seals secrets for a public key, as bundle.SealSecrets does.
	SignSecrets(ctx context.Context, of bundle.SecretsOf, list []bundle.Secret, to crypto.PublicKey) ([]byte, error)
}

// Presence reports when a core was last seen, and which are connected to this server.
type Presence interface {
	LastSeen(ctx context.Context, p fescue.Partition, thing string) (cores.LastSeen, error)
	Here(p fescue.Partition, thing string) bool
	EachHere(f func(p fescue.Partition, thing string))
}

// Changes reports whether changes are told, of a moment ago at the latest. While they are,
// a core that waits costs no look at the database.
type Changes interface{ Current() bool }

// unreported are the Changes of an engine to which none are reported: it looks by itself.
type unreported struct{}

func (unreported) Current() bool { return false }

// Options is what an engine is made of. All but Alone, MostDocument, RequireServiceRole, Quotas, Serves, Changes,
// Remind and Deadlines are needed.
type Options struct {
	Stores     Stores
	Functions  Functions
	Principals Principals
	Secrets    Secrets
	Artifacts  Artifacts
	// Alone says that no other server has the database. What was being built when this one ended,
	// or was killed, is built at once when Run begins.
	Alone bool
	// MostDocument is how large a group document may be, in bytes, that is kept in the database
	// with its manifest; larger ones are artifacts, as all are with 0. Cores fetch it from
	// whatever server they are connected to: each must know of it.
	MostDocument int
	Models       Models
	Publisher    Publisher
	// Signer signs manifests.
	Signer Signer
	// AWS is the first part of every ARN.
	AWS string
	// RequireServiceRole fails deployments of a partition without a service
	// role, as the original did. Fescue itself needs none.
	RequireServiceRole bool
	// Quotas bound what a group may have that is deployed.
	Quotas Quotas
	// Serves reports whether cores serve a feature that a group needs; nil is
	// fescue.Served.
	Serves func(fescue.Feature) bool
	// Presence reports when a core was last seen.
	Presence Presence
	// Changes reports whether Changed, SiteChanged, AllChanged, Look and LookAll are called
	// for everything that changes for cores which wait; nil for never.
	Changes Changes
	// Remind is after how long a core is woken again first that does not ask although
	// something changed for it; default 5 s.
	Remind    time.Duration
	Deadlines Deadlines
	Now       func() time.Time
	Logger    *slog.Logger
}

// Engine is the deployment engine. It accepts deployments, resets and
// cancellations, and answers how they stand; what happens to a deployment after that
// is its parts' work.
type Engine struct {
	*builder
	*tracker
	*checker
	*sealer
	deployments acceptedDeployments
	definitions DefinitionStore
	presence    Presence
	deadlines   Deadlines
	waker       *waker
	reminders   *reminders
	statuses    *statuses
	now         func() time.Time
	logger      *slog.Logger
}

// New makes an engine. Run builds; everything else works without it.
func New(o Options) *Engine {
	o.Deadlines = o.Deadlines.withDefaults()
	if o.Serves == nil {
		o.Serves = fescue.Served
	}
	if o.Remind <= 0 {
		o.Remind = remindAfter
	}
	if o.Changes == nil {
		o.Changes = unreported{}
	}
	s, w := o.Stores, newWaker(o.Publisher, o.Remind, o.Now, o.Logger)
	b := &builder{
		definitions: s.Definitions, iam: s.IAM, groupRoles: s.GroupRoles, deployments: s.Deployments, offers: s.Offers, holdings: s.Holdings, cores: s.Cores,
		functions: o.Functions, principals: o.Principals, secrets: o.Secrets, artifacts: o.Artifacts, mostDocument: o.MostDocument, models: o.Models, signer: o.Signer,
		alone: o.Alone, aws: o.AWS, requireServiceRole: o.RequireServiceRole, quotas: o.Quotas, serves: o.Serves,
		waker: w, kick: make(chan struct{}, 1), now: o.Now, logger: o.Logger,
	}
	c := &checker{builder: b, definitions: s.Definitions, cores: s.Cores, checks: s.Checks, presence: o.Presence, waker: w, now: o.Now, logger: o.Logger}
	t := &tracker{
		deployments: s.Deployments, offers: s.Offers, cores: s.Cores, checks: c, signer: o.Signer, presence: o.Presence,
		aws: o.AWS, deadlines: o.Deadlines, waker: w, changes: o.Changes, now: o.Now, logger: o.Logger,
	}
	return &Engine{
		builder: b, tracker: t, checker: c, sealer: &sealer{b, s.Deployments, o.Logger}, deployments: s.Deployments, definitions: s.Definitions, presence: o.Presence, deadlines: o.Deadlines,
		waker: w, reminders: w.reminders, statuses: newStatuses(o.Now), now: o.Now, logger: o.Logger,
	}
}

// Run builds deployments, ends those that are past their deadline, and wakes cores
// for what other servers offer and those that have not heeded it, until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	var watches sync.WaitGroup
	watches.Go(func() { e.watchDeadlines(ctx) })
	watches.Go(func() { e.watchOffers(ctx) })
	watches.Go(func() { periodic.Every(ctx, e.reminders.after/remindLooks, func() { e.remind(ctx) }) })
	defer watches.Wait()
	e.builder.run(ctx)
}

// Status returns how it stands with a deployment of a group. It may have been read a
// moment ago if the deployment has ended, or nothing was written since.
func (e *Engine) Status(ctx context.Context, p fescue.Partition, groupID, id string) (fescue.CurrentStatus, error) {
	key := statusKey{p, groupID, id}
	before, known := e.deployments.State()
	if s, ok := e.statuses.find(key, before, known); ok {
		return s, nil
	}
	s, err := e.deployments.DeploymentStatus(ctx, p, groupID, id)
	if err == nil {
		after, still := e.deployments.State()
		e.statuses.keep(key, s, before, known && still && after == before)
	}
	return s, err
}

// Deployments lists the deployments of a group, newest first.
func (e *Engine) Deployments(ctx context.Context, p fescue.Partition, groupID string, page fescue.Page) ([]fescue.Deployment, error) {
	return e.deployments.Deployments(ctx, p, groupID, page)
}
