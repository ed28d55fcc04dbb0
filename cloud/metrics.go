package cloud

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/fescue-edge/fescue/cloud/mqttfront"
)

// metrics is what /metrics tells. It implements awsapi.Observer.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fescue_api_requests_total", Help: "Answered API requests by service, operation and HTTP status.",
		}, []string{"service", "operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fescue_api_request_seconds", Help: "Time to answer an API request.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 4, 8),
		}, []string{"service"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ObserveRequest implements awsapi.Observer.
func (m *metrics) ObserveRequest(service, operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(service, operation, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(service).Observe(took.Seconds())
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
	{"fescue_mqtt_stalled_total", "Sessions ended because the client read too slowly.", func(s mqttfront.Stats) uint64 { return s.Stalled }},
	{"fescue_mqtt_revoked_total", "Sessions ended because their certificate was.", func(s mqttfront.Stats) uint64 { return s.Revoked }},
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
