package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Quota names how many there may be of something, as of those below in a group that
// is deployed.
type Quota string

// What a deployment counts.
const (
	QuotaDevices            Quota = "devices"
	QuotaFunctions          Quota = "functions"
	QuotaResources          Quota = "resources"
	QuotaFunctionResources  Quota = "function-resources"
	QuotaSubscriptions      Quota = "subscriptions"
	QuotaCloudSubscriptions Quota = "cloud-subscriptions"
	QuotaCoreName           Quota = "core-name"
)

// QuotaFact is what is known of a quota.
type QuotaFact struct {
	Quota Quota
	// Default is the original's (AWS General Reference, "AWS IoT Greengrass V1
	// endpoints and quotas"), but for QuotaCloudSubscriptions, which was 50 there
	// and 10,000 in the developer guide ("AWS IoT Greengrass core"): Fescue lets
	// pass what either did.
	Default int
	// Counts ends "The group has 201 …".
	Counts string
}

// QuotaFacts are the quotas of a group, in the order of problems.
var QuotaFacts = []QuotaFact{
	{QuotaDevices, 2500, "client devices"},
	{QuotaFunctions, 200, "functions"},
	{QuotaResources, 200, "resources"},
	{QuotaFunctionResources, 20, "resources of one function"},
	{QuotaSubscriptions, 10000, "subscriptions"},
	{QuotaCloudSubscriptions, 10000, "subscriptions with the source cloud"},
	{QuotaCoreName, 124, "bytes in the name of the core's thing"},
}

// Quotas are the quotas that differ from their default; 0 takes one away.
type Quotas map[Quota]int

// Most is how many there may be, 0 for any number.
func (q Quotas) Most(f QuotaFact) int {
	if most, ok := q[f.Quota]; ok {
		return most
	}
	return f.Default
}

// Validate refuses names that are no quotas of these facts, and numbers below 0.
func (q Quotas) Validate(facts []QuotaFact) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.ContainsFunc(facts, func(f QuotaFact) bool { return f.Quota == name }) {
			var names []string
			for _, f := range facts {
				names = append(names, string(f.Quota))
			}
			return fmt.Errorf("no quota has the name %.64q; there are %s", name, strings.Join(names, ", "))
		}
		if q[name] < 0 {
			return fmt.Errorf("quota %s: %d is negative; 0 takes the quota away", name, q[name])
		}
	}
	return nil
}
