package plan

import (
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
	"github.com/fescue-edge/fescue/core/secrets"
)

// secrets opens those of the group, or finds out whether there could be any.
func (c *checker) secrets(g bundle.Group) (set *secrets.Set) {
	var err error
	switch {
	case len(secrets.Wanted(g)) == 0:
	case c.dry:
		err = c.Secrets.Check()
	default:
		set, err = c.Secrets.Load(c.manifest, g)
	}
	if err != nil {
		c.problems = append(c.problems, failure.Of(err)...)
	}
	return set
}

// given are the secrets that a function lists.
func given(l bundle.Lambda, g bundle.Group, set *secrets.Set) map[string]string {
	var list map[string]string
	for _, r := range secrets.Wanted(g) {
		for _, a := range l.DeploymentConfiguration.Environment.ResourceAccessPolicies {
			if a.ResourceId != r.Id {
				continue
			}
			if list == nil {
				list = make(map[string]string)
			}
			list[r.Data.ARN] = set.Versions(r.Data.ARN)
		}
	}
	return list
}
