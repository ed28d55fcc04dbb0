package cloud

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/events"
	"github.com/fescue-edge/fescue/cloud/forward"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/inbound"
)

// metrics is what /metrics serves. It implements awsapi.Observer.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	// ended counts deployments by type, end and code.
	ended *prometheus.CounterVec

	// kinds are the metrics of each kind of request that there was: to find them by their
	// labels takes longer than to count.
	kindsMu sync.RWMutex
	kinds   map[requestKind]kindMetrics
	// observe is told how long each request took.
	observe func(took time.Duration)
}

// requestKind is what requests are counted by.
type requestKind struct {
	service, operation string
	status             int
}

type kindMetrics struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

func newMetrics() *metrics {
	m := &metrics{
		kinds:    make(map[requestKind]kindMetrics),
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fescue_api_requests_total", Help: "Answered API requests by service, operation and HTTP status.",
		}, []string{"service", "operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fescue_api_request_seconds", Help: "Time to answer an API request.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 4, 8),
		}, []string{"service"}),
	}
	m.ended = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fescue_deployments_ended_total", Help: "Deployments that this server saw end, by type, end (Success or Failure) and the code of the first error.",
	}, []string{"type", "end", "code"})
	m.registry.MustRegister(m.requests, m.seconds, m.ended, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ObserveRequest implements awsapi.Observer.
func (m *metrics) ObserveRequest(service, operation string, status int, took time.Duration) {
	of := m.of(requestKind{service, operation, status})
	of.requests.Inc()
	of.seconds.Observe(took.Seconds())
	m.observe(took)
}

// of finds the metrics of a kind of requests.
func (m *metrics) of(k requestKind) kindMetrics {
	m.kindsMu.RLock()
	found, ok := m.kinds[k]
	m.kindsMu.RUnlock()
	if ok {
		return found
	}
	found = kindMetrics{m.requests.WithLabelValues(k.service, k.operation, strconv.Itoa(k.status)), m.seconds.WithLabelValues(k.service)}
	m.kindsMu.Lock()
	defer m.kindsMu.Unlock()
	m.kinds[k] = found
	return found
}

// frontCounts are the MQTT front's counts; those without _total go up and down.
var frontCounts = []struct {
	name, help string
	value      func(mqttfront.Stats) uint64
}{
	{"fescue_mqtt_accepted_total", "MQTT connections accepted.", func(s mqttfront.Stats) uint64 { return s.Accepted }},
	{"fescue_mqtt_refused_total", "MQTT connections refused.", func(s mqttfront.Stats) uint64 { return s.Refused + s.Rejected }},
	{"fescue_mqtt_published_total", "Messages from clients.", func(s mqttfront.Stats) uint64 { return s.Published }},
	{"fescue_mqtt_delivered_total", "Messages to clients.", func(s mqttfront.Stats) uint64 { return s.Delivered }},
	{"fescue_mqtt_denied_total", "Packets that policies or topic rules forbade.", func(s mqttfront.Stats) uint64 {
		return s.DeniedPublish + s.DeniedSubscribe + s.DeniedReceive
	}},
	{"fescue_mqtt_dropped_total", "QoS 0 messages dropped for slow readers.", func(s mqttfront.Stats) uint64 { return s.Dropped }},
	{"fescue_mqtt_over_quota_total", "MQTT sessions and subscriptions refused because of a quota.", func(s mqttfront.Stats) uint64 { return s.OverQuota }},
	{"fescue_mqtt_unkept_total", "Messages not taken because there was no room to keep them.", func(s mqttfront.Stats) uint64 { return s.Unkept }},
	{"fescue_mqtt_stalled_total", "Sessions ended because the client read too slowly.", func(s mqttfront.Stats) uint64 { return s.Stalled }},
	{"fescue_mqtt_revoked_total", "Sessions ended because their certificate was.", func(s mqttfront.Stats) uint64 { return s.Revoked }},
}

// watchBroker adds how much the broker keeps, and what it did not.
func (m *metrics) watchBroker(b *broker.Broker) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fescue_mqtt_waiting_bytes", Help: "Messages with QoS 1 that are kept for MQTT sessions.",
	}, func() float64 { waiting, _ := b.Stored(); return float64(waiting) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fescue_mqtt_retained_bytes", Help: "Retained messages.",
	}, func() float64 { _, retained := b.Stored(); return float64(retained) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "fescue_mqtt_gave_way_total", Help: "Messages with QoS 1 removed because their account kept more than it may.",
	}, func() float64 { gaveWay, _ := b.Dropped(); return float64(gaveWay) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "fescue_mqtt_skipped_total", Help: "Messages not handed to a session because more waited for it than it may have.",
	}, func() float64 { _, skipped := b.Dropped(); return float64(skipped) }))
}

// watchFront adds the MQTT front's counts.
func (m *metrics) watchFront(stats func() mqttfront.Stats) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fescue_mqtt_connections", Help: "Open MQTT sessions.",
	}, func() float64 { return float64(stats().Connections) }))
	for _, c := range frontCounts {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help},
			func() float64 { return float64(c.value(stats())) }))
	}
}

// watchListener adds the connections of a listener.
func (m *metrics) watchListener(name string, l *inbound.Listener, most int) {
	labels := prometheus.Labels{"listener": name}
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fescue_connections", Help: "Open connections of a listener.", ConstLabels: labels},
			func() float64 { open, _ := l.Stats(); return float64(open) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fescue_connections_max", Help: "How many connections a listener may have.", ConstLabels: labels},
			func() float64 { return float64(most) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "fescue_connections_closed_total", Help: "Connections closed because a listener had all that it may have.", ConstLabels: labels},
			func() float64 { _, closed := l.Stats(); return float64(closed) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fescue_connections_idle", Help: "Connections of a listener that wait for another request over HTTP.", ConstLabels: labels},
			func() float64 { now, _, _ := l.Idle(); return float64(now) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fescue_connections_idle_max", Help: "How many connections of a listener may wait for another request over HTTP; 0 for any number.", ConstLabels: labels},
			func() float64 { _, most, _ := l.Idle(); return float64(most) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "fescue_connections_idle_closed_total", Help: "Connections closed because more waited for another request over HTTP than may.", ConstLabels: labels},
			func() float64 { _, _, closed := l.Idle(); return float64(closed) }))
}

// watchGate adds how devices' connections come to be set up.
func (m *metrics) watchGate(stats func() inbound.GateStats) {
	gauge := func(name, help string, value func(inbound.GateStats) int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value(stats())) }))
	}
	gauge("fescue_setups", "Connections of devices that are being set up.", func(s inbound.GateStats) int { return s.Inside })
	gauge("fescue_setups_waiting", "Connections of devices that wait to be set up.", func(s inbound.GateStats) int { return s.Waiting })
	for cause, value := range map[string]func(inbound.GateStats) uint64{
		"late": func(s inbound.GateStats) uint64 { return s.Late },
		"gone": func(s inbound.GateStats) uint64 { return s.Gone },
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fescue_setups_closed_total", Help: "Connections of devices closed before they were set up: late, because they had waited for too long; gone, because their clients had given up.",
			ConstLabels: prometheus.Labels{"cause": cause},
		}, func() float64 { return float64(value(stats())) }))
	}
}

// eventCounts are a destination's counts and its backlog.
var eventCounts = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(events.Status) float64
}{
	{eventDesc("delivered_total", "Events that the destination took."), prometheus.CounterValue, func(s events.Status) float64 { return float64(s.Delivered) }},
	{eventDesc("failed_total", "Attempts to deliver an event that failed."), prometheus.CounterValue, func(s events.Status) float64 { return float64(s.Failed) }},
	{eventDesc("dropped_total", "Events that grew too old before they could be delivered."), prometheus.CounterValue, func(s events.Status) float64 { return float64(s.Dropped) }},
	{eventDesc("pending", "Events that wait to be delivered."), prometheus.GaugeValue, func(s events.Status) float64 { return float64(s.Pending) }},
	{eventDesc("oldest_timestamp_seconds", "When the oldest event that waits was made; 0 when none does."), prometheus.GaugeValue, func(s events.Status) float64 {
		if s.Oldest.IsZero() {
			return 0
		}
		return float64(s.Oldest.UnixMilli()) / 1e3
	}},
}

func eventDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("fescue_events_"+name, help, []string{"destination"}, nil)
}

// eventMetrics asks for the state of the destinations when /metrics is read.
type eventMetrics struct {
	status func(context.Context) ([]events.Status, error)
}

// Describe implements prometheus.Collector.
func (m eventMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range eventCounts {
		out <- c.desc
	}
}

// Collect implements prometheus.Collector.
func (m eventMetrics) Collect(out chan<- prometheus.Metric) {
	list, err := m.status(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(eventCounts[0].desc, err)
		return
	}
	for _, s := range list {
		for _, c := range eventCounts {
			out <- prometheus.MustNewConstMetric(c.desc, c.kind, c.value(s), s.Destination)
		}
	}
}

// forwardCounts are a forward's counts and its backlog.
var forwardCounts = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(forward.Status) uint64
}{
	{forwardDesc("sent_total", "Messages that the target took."), prometheus.CounterValue, func(s forward.Status) uint64 { return s.Sent }},
	{forwardDesc("failed_total", "Attempts to forward a message that failed."), prometheus.CounterValue, func(s forward.Status) uint64 { return s.Failed }},
	{forwardDesc("dropped_total", "Messages that gave way to newer ones, or that the target refused for good."), prometheus.CounterValue, func(s forward.Status) uint64 { return s.Dropped }},
	{forwardDesc("unkept_total", "Messages that could not be queued: those with QoS 1 were not taken from their senders."), prometheus.CounterValue, func(s forward.Status) uint64 { return s.Unkept }},
	{forwardDesc("queued", "Messages that wait to be forwarded."), prometheus.GaugeValue, func(s forward.Status) uint64 { return s.Queued }},
}

func forwardDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("fescue_forward_"+name, help, []string{"target"}, nil)
}

// forwardMetrics asks for the state of the targets when /metrics is read.
type forwardMetrics struct {
	status func(context.Context) ([]forward.Status, error)
}

// Describe implements prometheus.Collector.
func (m forwardMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range forwardCounts {
		out <- c.desc
	}
}

// Collect implements prometheus.Collector.
func (m forwardMetrics) Collect(out chan<- prometheus.Metric) {
	list, err := m.status(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(forwardCounts[0].desc, err)
		return
	}
	for _, s := range list {
		for _, c := range forwardCounts {
			out <- prometheus.MustNewConstMetric(c.desc, c.kind, float64(c.value(s)), s.Target)
		}
	}
}

// watchForwards adds the targets of forwards.
func (m *metrics) watchForwards(status func(context.Context) ([]forward.Status, error)) {
	m.registry.MustRegister(forwardMetrics{status})
}

// watchEvents adds the destinations of events.
func (m *metrics) watchEvents(status func(context.Context) ([]events.Status, error)) {
	m.registry.MustRegister(eventMetrics{status})
}
