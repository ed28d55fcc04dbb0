package store

import (
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/registry"
)

// Registry is what the registry needs.
func (db *DB) Registry() registry.Stores {
	return registry.Stores{
		Things: db.Things(), ThingTypes: db.ThingTypes(), Certificates: db.Certificates(), Policies: db.Policies(), RoleAliases: db.RoleAliases(),
	}
}

// Engine is what the deployment engine needs.
func (db *DB) Engine() deploy.Stores {
	return deploy.Stores{
		Definitions: db.Definitions(), IAM: db.IAM(), GroupRoles: db.GroupRoles(), Deployments: db.Deployments(),
		Offers: db.Offers(), Holdings: db.Holdings(), Cores: db.Cores(), Checks: db.Checks(),
	}
}
