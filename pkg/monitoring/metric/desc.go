package metric

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

const (
	counterKind   = dto.MetricType_COUNTER
	gaugeKind     = dto.MetricType_GAUGE
	histogramKind = dto.MetricType_HISTOGRAM
)

// desc is what a family's series have in common, rendered where that helps.
type desc struct {
	name   string
	help   string
	kind   dto.MetricType
	unit   string      // the name's last word where that is a unit of OpenMetrics
	labels []string    // their names, in the order in which values are given
	sorted []int       // indices of labels, in the order of their names
	scale  *scale      // of a histogram
	header [2]string   // HELP and TYPE, and UNIT; for text and OpenMetrics
	heads  [][]byte    // a histogram's lines up to the labels: bucket, sum, count
	tails  [2][][]byte // its buckets' bounds, for text and OpenMetrics
}

func describe(kind dto.MetricType, name, help string, labels ...string) *desc {
	d := &desc{name: name, help: help, kind: kind, labels: labels}
	for i := range labels {
		d.sorted = append(d.sorted, i)
	}
	slices.SortFunc(d.sorted, func(a, b int) int { return strings.Compare(labels[a], labels[b]) })
	bare := strings.TrimSuffix(name, "_total")
	for _, unit := range []string{"seconds", "bytes"} {
		if strings.HasSuffix(bare, "_"+unit) {
			d.unit = unit
		}
	}
	word := strings.ToLower(kind.String())
	d.header[text] = "# HELP " + name + " " + help + "\n# TYPE " + name + " " + word + "\n"
	d.header[openMetrics] = "# HELP " + bare + " " + help + "\n# TYPE " + bare + " " + word + "\n"
	if d.unit != "" {
		d.header[openMetrics] += "# UNIT " + bare + " " + d.unit + "\n"
	}
	return d
}

func describeHistogram(s *scale, name, help string, labels ...string) *desc {
	d := describe(histogramKind, name, help, labels...)
	d.scale = s
	for _, suffix := range []string{"_bucket{", "_sum{", "_count{"} {
		d.heads = append(d.heads, []byte(name+suffix))
	}
	for i := range s.classic {
		d.tails[text] = append(d.tails[text], []byte(`,le="`+s.word(i, false)+`"} `))
		d.tails[openMetrics] = append(d.tails[openMetrics], []byte(`,le="`+s.word(i, true)+`"} `))
	}
	return d
}

// names are all that the family's lines and comments go by, in any format.
func (d *desc) names() []string {
	if d.kind == histogramKind {
		return []string{d.name, d.name + "_bucket", d.name + "_sum", d.name + "_count"}
	}
	return []string{d.name, strings.TrimSuffix(d.name, "_total")}
}

// appendLabels appends labels as the text formats have them between the braces.
func (d *desc) appendLabels(dst []byte, values []string) []byte {
	for n, i := range d.sorted {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, d.labels[i]...)
		dst = append(dst, '=', '"')
		dst = appendEscaped(dst, values[i])
		dst = append(dst, '"')
	}
	return dst
}

func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '"':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// The buckets' bounds in seconds.
var (
	requestScale  = newScale(.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10)
	dbScale       = newScale(.001, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5)
	externalScale = newScale(.1, .25, .5, 1, 2.5, 5, 10, 25, 60)
)

// The families, in the order in which they are exposed.
var (
	descInfo               = describe(gaugeKind, "pulse_api_info", "Build and environment of the service; the value is always 1.", "version", "environment", "go_version", "service")
	descRequests           = describe(counterKind, "pulse_api_requests_total", "Requests answered, by route pattern.", "method", "endpoint", "status_code")
	descRequestDuration    = describeHistogram(requestScale, "pulse_api_request_duration_seconds", "Time from a request's arrival to the end of its answer.", "method", "endpoint")
	descErrors             = describe(counterKind, "pulse_api_errors_total", "Requests that failed, by kind of error or HTTP status.", "method", "endpoint", "error_type")
	descExceptions         = describe(counterKind, "pulse_api_exceptions_total", "Panics recovered while serving requests.", "exception_type", "endpoint")
	descActive             = describe(gaugeKind, "pulse_api_active_connections", "Requests in flight.")
	descDBDuration         = describeHistogram(dbScale, "pulse_api_db_query_duration_seconds", "Time of database queries.", "query_type", "table")
	descDBActive           = describe(gaugeKind, "pulse_api_db_connections_active", "Connections of a database pool in use.", "pool")
	descDBIdle             = describe(gaugeKind, "pulse_api_db_connections_idle", "Idle connections of a database pool.", "pool")
	descDBMax              = describe(gaugeKind, "pulse_api_db_connections_max", "Connections a database pool may open; 0 means any number.", "pool")
	descDBWait             = describe(counterKind, "pulse_api_db_connections_wait_seconds_total", "Time spent waiting for a connection of a database pool.", "pool")
	descExternalDuration   = describeHistogram(externalScale, "pulse_api_external_duration_seconds", "Time of calls to external services.", "service", "endpoint", "status_code")
	descExternalErrors     = describe(counterKind, "pulse_api_external_errors_total", "Calls to external services that failed.", "service", "error_type")
	descMemory             = describe(gaugeKind, "pulse_api_memory_usage_bytes", "Resident set of the process.")
	descCPU                = describe(gaugeKind, "pulse_api_cpu_usage_percent", "Processor use of the process, in percent of one core.")
	descPriority           = describe(counterKind, "pulse_api_priority_recommendations_total", "Priority recommendations made.", "context_type", "model_used")
	descFeedback           = describe(counterKind, "pulse_api_feedback_submissions_total", "Feedback received on recommendations.", "recommendation_type", "feedback_score")
	descIngested           = describe(counterKind, "pulse_api_events_ingested_total", "Events ingested.", "source", "event_type")
	descBreakerState       = describe(gaugeKind, "pulse_api_circuit_breaker_state", "State of a circuit breaker: 0 closed, 1 open, 2 half-open.", "name")
	descBreakerCalls       = describe(counterKind, "pulse_api_circuit_breaker_calls_total", "Calls through a circuit breaker, by outcome.", "name", "outcome")
	descBreakerTransitions = describe(counterKind, "pulse_api_circuit_breaker_transitions_total", "State changes of a circuit breaker.", "name", "from", "to")
	descCacheRequests      = describe(counterKind, "pulse_api_cache_requests_total", "Lookups in a cache, by result.", "cache", "result")
	descCacheEntries       = describe(gaugeKind, "pulse_api_cache_entries", "Entries in a cache.", "cache")
	descCacheEvictions     = describe(counterKind, "pulse_api_cache_evictions_total", "Entries removed from a cache, by cause.", "cache", "reason")
	descTracesStored       = describe(gaugeKind, "pulse_api_traces_stored", "Traces kept.")
	descSpansReceived      = describe(counterKind, "pulse_api_spans_received_total", "Spans offered to the trace store.")
	descSpansDropped       = describe(counterKind, "pulse_api_spans_dropped_total", "Spans not kept, by reason.", "reason")
	descSpansUnlogged      = describe(counterKind, "pulse_api_spans_unlogged_total", "Spans that the data directory did not take: kept in memory alone.")
	descProfilesStored     = describe(gaugeKind, "pulse_api_profiles_stored", "Profiles kept.")
	descProfilingEnabled   = describe(gaugeKind, "pulse_api_profiling_enabled", "1 while profiling is on, else 0.")
	descRefused            = describe(counterKind, "pulse_api_series_refused_total", "Observations refused because their family has all the series it may have.", "family")
)

// allDescs lists every family: their names are taken.
func allDescs() []*desc {
	return slices.Concat(
		[]*desc{descInfo, descRequests, descRequestDuration, descErrors, descExceptions, descActive},
		[]*desc{descDBDuration, descDBActive, descDBIdle, descDBMax, descDBWait},
		[]*desc{descExternalDuration, descExternalErrors, descMemory, descCPU},
		[]*desc{descPriority, descFeedback, descIngested},
		[]*desc{descBreakerState, descBreakerCalls, descBreakerTransitions},
		[]*desc{descCacheRequests, descCacheEntries, descCacheEvictions},
		[]*desc{descTracesStored, descSpansReceived, descSpansDropped, descSpansUnlogged, descProfilesStored, descProfilingEnabled, descRefused},
	)
}
