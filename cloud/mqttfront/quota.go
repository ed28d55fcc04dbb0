package mqttfront

import (
	"errors"

	"github.com/fescue-edge/fescue/cloud/deploy"
)

// What the front counts. An access key counts as a certificate does, with
// its temporary keys.
const (
	QuotaCertificateSessions deploy.Quota = "certificate-sessions"
	QuotaCertificateFilters  deploy.Quota = "certificate-filters"
	QuotaPartitionSessions   deploy.Quota = "partition-sessions"
	QuotaPartitionFilters    deploy.Quota = "partition-filters"
)

// QuotaFacts are the quotas of the front. The original had none for a certificate,
// but there one account was no neighbour of another. A core alone may have 250
// connections of 50 subscriptions (AWS IoT Greengrass V1 developer guide, "Client
// IDs for MQTT connections with AWS IoT").
var QuotaFacts = []deploy.QuotaFact{
	{Quota: QuotaCertificateSessions, Default: 300, Counts: "MQTT sessions of one certificate or access key"},
	{Quota: QuotaCertificateFilters, Default: 12_500, Counts: "subscriptions in the sessions of one certificate or access key"},
	{Quota: QuotaPartitionSessions, Default: 20_000, Counts: "MQTT sessions in one account and Region"},
	{Quota: QuotaPartitionFilters, Default: 50_000, Counts: "subscriptions in the sessions of one account and Region"},
}

// ErrQuota means that a client asks for more than its certificate or its partition
// may have.
var ErrQuota = errors.New("quota exceeded")

// usage is how much a certificate or a partition has.
type usage struct{ sessions, filters int }

// owner is a certificate, in any partition, or a partition.
type owner struct{ certificate, partition string }

// quotas are those of an owner.
func (o owner) quotas() (sessions, filters deploy.QuotaFact) {
	if o.certificate != "" {
		return QuotaFacts[0], QuotaFacts[1]
	}
	return QuotaFacts[2], QuotaFacts[3]
}
