package mqttfront

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Quota names how many there may be of something at the front.
type Quota string

// What the front counts.
const (
	QuotaCertificateSessions Quota = "certificate-sessions"
	QuotaCertificateFilters  Quota = "certificate-filters"
	QuotaPartitionSessions   Quota = "partition-sessions"
	QuotaPartitionFilters    Quota = "partition-filters"
)

// QuotaFact is what is known of a quota.
type QuotaFact struct {
	Quota   Quota
	Default int
	// Counts ends "The certificate has 300 …".
	Counts string
}

// QuotaFacts are the quotas of the front. The original had none for a certificate,
// but one account was no one else's neighbour. A core alone may have 250 connections
// (AWS IoT Greengrass V1 developer guide, "Client IDs for MQTT connections with AWS
// IoT").
var QuotaFacts = []QuotaFact{
	{QuotaCertificateSessions, 300, "MQTT sessions of one certificate"},
	{QuotaCertificateFilters, 12_500, "subscriptions in the sessions of one certificate"},
	{QuotaPartitionSessions, 20_000, "MQTT sessions in one account and Region"},
	{QuotaPartitionFilters, 50_000, "subscriptions in the sessions of one account and Region"},
}

// Quotas are the quotas that differ from their default; 0 takes one away.
type Quotas map[Quota]int

// most is how many there may be, 0 for any number.
func (q Quotas) most(name Quota) int {
	if most, ok := q[name]; ok {
		return most
	}
	for _, f := range QuotaFacts {
		if f.Quota == name {
			return f.Default
		}
	}
	return 0
}

// Validate refuses names that are no quotas, and numbers below 0.
func (q Quotas) Validate() error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.ContainsFunc(QuotaFacts, func(f QuotaFact) bool { return f.Quota == name }) {
			var names []string
			for _, f := range QuotaFacts {
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

// ErrQuota means that a client asks for more than its certificate or its partition
// may have.
var ErrQuota = errors.New("quota exceeded")

// usage is how much a certificate or a partition has.
type usage struct{ sessions, filters int }

// owner is a certificate, in any partition, or a partition.
type owner struct{ certificate, partition string }

// quotas are the names of those of an owner.
func (o owner) quotas() (sessions, filters Quota) {
	if o.certificate != "" {
		return QuotaCertificateSessions, QuotaCertificateFilters
	}
	return QuotaPartitionSessions, QuotaPartitionFilters
}
