package mqttfront

import (
	"maps"
	"slices"

	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/policy"
)

// clientVariables add to a connection's variables what its client id says. The
// variables of a thing resolve only when the client id is the name of a thing
// that the certificate is attached to.
func clientVariables(connection map[string][]string, clientID string, p *identity.Principal) map[string][]string {
	vars := maps.Clone(connection)
	vars[policy.KeyClientID] = []string{clientID}
	if !slices.Contains(p.Things, clientID) {
		vars[policy.KeyIsAttached] = []string{"false"}
		return vars
	}
	vars[policy.KeyThingName] = []string{clientID}
	vars[policy.KeyIsAttached] = []string{"true"}
	return vars
}
