package mqttfront

import (
	"errors"
	"slices"

	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// What the front counts. An access key counts as a certificate does, with
// its temporary keys.
const (
	QuotaCertificateSessions deploy.Quota = "certificate-sessions"
	QuotaCertificateFilters  deploy.Quota = "certificate-filters"
	QuotaPartitionSessions   deploy.Quota = "partition-sessions"
	QuotaPartitionFilters    deploy.Quota = "partition-filters"

	// What the broker keeps to, in MB but for the number of topics.
	QuotaPartitionWaiting  deploy.Quota = "partition-waiting-mb"
	QuotaSessionWaiting    deploy.Quota = "session-waiting-mb"
	QuotaPartitionRetained deploy.Quota = "partition-retained-mb"
	QuotaPartitionTopics   deploy.Quota = "partition-retained-topics"
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
	{Quota: QuotaPartitionWaiting, Default: 0, Counts: "MB of messages with QoS 1 that are kept for one account and Region"},
	{Quota: QuotaSessionWaiting, Default: 256, Counts: "MB of messages that wait for one session"},
	{Quota: QuotaPartitionRetained, Default: 64, Counts: "MB of retained messages of one account and Region"},
	{Quota: QuotaPartitionTopics, Default: 100_000, Counts: "topics of one account and Region with a retained message"},
}

// Bound has the broker keep to those quotas that are its.
func Bound(q deploy.Quotas, o *broker.Options) {
	of := func(name deploy.Quota) int {
		i := slices.IndexFunc(QuotaFacts, func(f deploy.QuotaFact) bool { return f.Quota == name })
		return q.Most(QuotaFacts[i])
	}
	o.MaxPartitionWaiting = int64(of(QuotaPartitionWaiting)) << 20
	o.MaxSessionWaiting = int64(of(QuotaSessionWaiting)) << 20
	o.MaxPartitionRetained = int64(of(QuotaPartitionRetained)) << 20
	o.MaxPartitionTopics = of(QuotaPartitionTopics)
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
