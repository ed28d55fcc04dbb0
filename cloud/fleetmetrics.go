package cloud

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/deploy"
)

// endings counts the deployments that end in what the engine writes.
type endings struct{ *prometheus.CounterVec }

func (e endings) count(list ...fescue.Deployment) {
	for _, d := range list {
		if !d.Status.Final() {
			continue
		}
		code := ""
		if len(d.ErrorDetails) > 0 {
			if code = d.ErrorDetails[0].DetailedErrorCode; !fescue.FailureCode(code).Known() {
				code = "other" // cores choose what they report
			}
		}
		e.WithLabelValues(string(d.Type), string(d.Status), code).Inc()
	}
}

type countedDeployments struct {
	deploy.DeploymentStore
	ended endings
}

// ApplyStep implements deploy.DeploymentStore.
func (c countedDeployments) ApplyStep(ctx context.Context, d fescue.Deployment, actor fescue.Actor, step fescue.DeploymentStep) (fescue.Deployment, error) {
	next, err := c.DeploymentStore.ApplyStep(ctx, d, actor, step)
	if err == nil && !d.Status.Final() {
		c.ended.count(next)
	}
	return next, err
}

type countedOffers struct {
	deploy.OfferStore
	ended endings
}

// Offer implements deploy.OfferStore.
func (c countedOffers) Offer(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, superseded fescue.DeploymentStep,
	sign func(epoch int64) (fescue.Offering, error),
) (fescue.Deployment, []fescue.Deployment, error) {
	next, replaced, err := c.OfferStore.Offer(ctx, d, coreThing, at, superseded, sign)
	if err == nil {
		c.ended.count(replaced...)
	}
	return next, replaced, err
}

// ForceReset implements deploy.OfferStore.
func (c countedOffers) ForceReset(ctx context.Context, d fescue.Deployment, coreThing string, at time.Time, ended fescue.DeploymentStep,
	sign func(epoch int64) (fescue.Offering, error),
) (fescue.Deployment, []fescue.Deployment, error) {
	next, replaced, err := c.OfferStore.ForceReset(ctx, d, coreThing, at, ended, sign)
	if err == nil {
		c.ended.count(append(replaced, next)...)
	}
	return next, replaced, err
}

// coreMetrics counts the cores of all servers on the database when /metrics is read.
type coreMetrics struct {
	count func(context.Context) (known, online int, err error)
}

var (
	coresKnown  = prometheus.NewDesc("fescue_cores", "Cores that were ever seen, by any server on the database.", nil, nil)
	coresOnline = prometheus.NewDesc("fescue_cores_connected", "Cores that are connected, to any server on the database.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m coreMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- coresKnown
	out <- coresOnline
}

// Collect implements prometheus.Collector.
func (m coreMetrics) Collect(out chan<- prometheus.Metric) {
	known, online, err := m.count(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(coresKnown, err)
		return
	}
	out <- prometheus.MustNewConstMetric(coresKnown, prometheus.GaugeValue, float64(known))
	out <- prometheus.MustNewConstMetric(coresOnline, prometheus.GaugeValue, float64(online))
}

// watchCores adds the counts of cores.
func (m *metrics) watchCores(count func(context.Context) (known, online int, err error)) {
	m.registry.MustRegister(coreMetrics{count})
}
