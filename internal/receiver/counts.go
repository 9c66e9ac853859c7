package receiver

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// protocol is how a request came.
type protocol int

const (
	httpProtobuf protocol = iota
	httpJSON
	grpcProtobuf
	zipkinJSON
	numProtocols
)

func (p protocol) String() string {
	return [numProtocols]string{"http/protobuf", "http/json", "grpc", "zipkin"}[p]
}

// outcome is what became of a request.
type outcome int

const (
	accepted    outcome = iota
	partial             // some of its spans were rejected
	invalid             // broken
	tooLarge            // beyond MaxBytes
	full                // no memory for it now
	denied              // its caller may not
	unsupported         // a form, a compression or a signal that is not taken
	cutOff              // the sender went away, or was too slow
	looped              // this server had forwarded it
	numOutcomes
)

func (o outcome) String() string {
	return [numOutcomes]string{"accepted", "partial", "invalid", "too_large", "full", "denied", "unsupported", "cut_off", "loop"}[o]
}

// counts are the requests since the start.
type counts [numProtocols][numOutcomes]atomic.Int64

func (c *counts) add(p protocol, o outcome) { c[p][o].Add(1) }

var (
	descRequests = prometheus.NewDesc("pulse_api_receiver_requests_total", "Requests that brought spans, by protocol and outcome.", []string{"protocol", "outcome"}, nil)
	descInFlight = prometheus.NewDesc("pulse_api_receiver_in_flight_bytes", "Bytes of requests that are being read and kept.", nil, nil)
	descMaximum  = prometheus.NewDesc("pulse_api_receiver_in_flight_max_bytes", "From when on requests are answered with 429 or RESOURCE_EXHAUSTED.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (rc *Receiver) Describe(ch chan<- *prometheus.Desc) {
	ch <- descRequests
	ch <- descInFlight
	ch <- descMaximum
}

// Collect implements [prometheus.Collector].
func (rc *Receiver) Collect(ch chan<- prometheus.Metric) {
	for p := range numProtocols {
		for o := range numOutcomes {
			ch <- prometheus.MustNewConstMetric(descRequests, prometheus.CounterValue, float64(rc.counts[p][o].Load()), p.String(), o.String())
		}
	}
	ch <- prometheus.MustNewConstMetric(descInFlight, prometheus.GaugeValue, float64(rc.inflight.used.Load()))
	ch <- prometheus.MustNewConstMetric(descMaximum, prometheus.GaugeValue, float64(rc.inflight.max))
}

var (
	descForwarded  = prometheus.NewDesc("pulse_api_forward_spans_sent_total", "Spans that the endpoint of --otlp-forward took.", nil, nil)
	descLost       = prometheus.NewDesc("pulse_api_forward_spans_dropped_total", "Spans that were not forwarded, by reason.", []string{"reason"}, nil)
	descFailures   = prometheus.NewDesc("pulse_api_forward_failures_total", "Attempts to forward that failed.", nil, nil)
	descQueue      = prometheus.NewDesc("pulse_api_forward_queue_bytes", "Bytes of spans that wait to be forwarded.", nil, nil)
	descQueueLimit = prometheus.NewDesc("pulse_api_forward_queue_max_bytes", "From when on the oldest of those are dropped.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (f *Forwarder) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descForwarded, descLost, descFailures, descQueue, descQueueLimit} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (f *Forwarder) Collect(ch chan<- prometheus.Metric) {
	st := f.Stats()
	ch <- prometheus.MustNewConstMetric(descForwarded, prometheus.CounterValue, float64(st.Sent))
	for why, n := range st.Dropped {
		ch <- prometheus.MustNewConstMetric(descLost, prometheus.CounterValue, float64(n), why)
	}
	ch <- prometheus.MustNewConstMetric(descFailures, prometheus.CounterValue, float64(st.Failures))
	ch <- prometheus.MustNewConstMetric(descQueue, prometheus.GaugeValue, float64(st.QueueBytes))
	ch <- prometheus.MustNewConstMetric(descQueueLimit, prometheus.GaugeValue, float64(st.QueueMax))
}
