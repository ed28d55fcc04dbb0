package deploy

import (
	"context"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Stores are what the engine needs of the database.
type Stores struct {
	Definitions DefinitionStore
	IAM         IAMRoleStore
	GroupRoles  GroupRoleStore
	Deployments DeploymentStore
	Offers      OfferStore
	Holdings    HoldingStore
	Cores       CoreStore
	Checks      CheckStore
}

// DefinitionStore keeps the groups and what they are made of.
type DefinitionStore interface {
	Definition(ctx context.Context, p fescue.Partition, k fescue.Kind, id string) (fescue.Definition, error)
	Version(ctx context.Context, p fescue.Partition, k fescue.Kind, definitionID, id string) (fescue.DefinitionVersion, error)
}

// IAMRoleStore keeps the roles that there are.
type IAMRoleStore interface {
	IAMRole(ctx context.Context, account, name string) (identity.IAMRole, error)
}

// GroupRoleStore keeps the roles that groups have; that of the group "" is the service's.
type GroupRoleStore interface {
	AssociatedRole(ctx context.Context, p fescue.Partition, groupID string) (string, time.Time, error)
}

// DeploymentStore keeps the deployments and their timelines.
type DeploymentStore interface {
	acceptedDeployments
	buildingDeployments
	trackedDeployments
}

// OfferStore keeps what is there for cores to take, and their epochs.
type OfferStore interface {
	offerer
	offered
}

// HoldingStore keeps what groups have by what was deployed.
type HoldingStore interface {
	Hold(ctx context.Context, d fescue.Deployment, arns []string) error
}

// CoreStore keeps what cores say of themselves, and whose they are.
type CoreStore interface {
	judgedCores
	reportingCores
	ownedCores
}

// CheckStore keeps what cores are asked to look at, and their answers.
type CheckStore interface {
	AskCheck(ctx context.Context, p fescue.Partition, thing, id string, request []byte, expires time.Time) error
	WaitingCheck(ctx context.Context, p fescue.Partition, thing string) (id string, request []byte, err error)
	AnswerCheck(ctx context.Context, p fescue.Partition, thing, id string, answer []byte) error
	CheckAnswer(ctx context.Context, p fescue.Partition, id string) ([]byte, error)
	ForgetCheck(ctx context.Context, p fescue.Partition, id string) error
}
