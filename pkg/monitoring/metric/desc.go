package metric

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// described is a family's name with its description for the registry.
type described struct {
	name   string
	labels []string
	desc   *prometheus.Desc
}

func describe(name, help string, labels ...string) described {
	return described{name, labels, prometheus.NewDesc(name, help, labels, nil)}
}

var (
	requestBounds  = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	dbBounds       = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5}
	externalBounds = []float64{.1, .25, .5, 1, 2.5, 5, 10, 25, 60}
)

// The families, in the order of the API's table.
var (
	descInfo               = describe("pulse_api_info", "Build and environment of the service; the value is always 1.", "version", "environment", "go_version", "service")
	descRequests           = describe("pulse_api_requests_total", "Requests answered, by route pattern.", "method", "endpoint", "status_code")
	descRequestDuration    = describe("pulse_api_request_duration_seconds", "Time from a request's arrival to the end of its answer.", "method", "endpoint")
	descErrors             = describe("pulse_api_errors_total", "Requests that failed, by kind of error or HTTP status.", "method", "endpoint", "error_type")
	descExceptions         = describe("pulse_api_exceptions_total", "Panics recovered while serving requests.", "exception_type", "endpoint")
	descActive             = describe("pulse_api_active_connections", "Requests in flight.")
	descDBDuration         = describe("pulse_api_db_query_duration_seconds", "Time of database queries.", "query_type", "table")
	descDBActive           = describe("pulse_api_db_connections_active", "Connections of a database pool in use.", "pool")
	descDBIdle             = describe("pulse_api_db_connections_idle", "Idle connections of a database pool.", "pool")
	descDBMax              = describe("pulse_api_db_connections_max", "Connections a database pool may open; 0 means any number.", "pool")
	descDBWait             = describe("pulse_api_db_connections_wait_seconds_total", "Time spent waiting for a connection of a database pool.", "pool")
	descExternalDuration   = describe("pulse_api_external_duration_seconds", "Time of calls to external services.", "service", "endpoint", "status_code")
	descExternalErrors     = describe("pulse_api_external_errors_total", "Calls to external services that failed.", "service", "error_type")
	descMemory             = describe("pulse_api_memory_usage_bytes", "Resident set of the process.")
	descCPU                = describe("pulse_api_cpu_usage_percent", "Processor use of the process, in percent of one core.")
	descPriority           = describe("pulse_api_priority_recommendations_total", "Priority recommendations made.", "context_type", "model_used")
	descFeedback           = describe("pulse_api_feedback_submissions_total", "Feedback received on recommendations.", "recommendation_type", "feedback_score")
	descIngested           = describe("pulse_api_events_ingested_total", "Events ingested.", "source", "event_type")
	descBreakerState       = describe("pulse_api_circuit_breaker_state", "State of a circuit breaker: 0 closed, 1 open, 2 half-open.", "name")
	descBreakerCalls       = describe("pulse_api_circuit_breaker_calls_total", "Calls through a circuit breaker, by outcome.", "name", "outcome")
	descBreakerTransitions = describe("pulse_api_circuit_breaker_transitions_total", "State changes of a circuit breaker.", "name", "from", "to")
	descCacheRequests      = describe("pulse_api_cache_requests_total", "Lookups in a cache, by result.", "cache", "result")
	descCacheEntries       = describe("pulse_api_cache_entries", "Entries in a cache.", "cache")
	descCacheEvictions     = describe("pulse_api_cache_evictions_total", "Entries removed from a cache, by cause.", "cache", "reason")
	descTracesStored       = describe("pulse_api_traces_stored", "Traces kept.")
	descSpansReceived      = describe("pulse_api_spans_received_total", "Spans offered to the trace store.")
	descSpansDropped       = describe("pulse_api_spans_dropped_total", "Spans not kept, by reason.", "reason")
	descSpansUnlogged      = describe("pulse_api_spans_unlogged_total", "Spans that the data directory did not take: kept in memory alone.")
	descProfilesStored     = describe("pulse_api_profiles_stored", "Profiles kept.")
	descProfilingEnabled   = describe("pulse_api_profiling_enabled", "1 while profiling is on, else 0.")
	descRefused            = describe("pulse_api_series_refused_total", "Observations refused because their family has all the series it may have.", "family")
)

// allDescs lists every family, for the registry's consistency checks.
func allDescs() []described {
	return slices.Concat(
		[]described{descInfo, descRequests, descRequestDuration, descErrors, descExceptions, descActive},
		[]described{descDBDuration, descDBActive, descDBIdle, descDBMax, descDBWait},
		[]described{descExternalDuration, descExternalErrors, descMemory, descCPU},
		[]described{descPriority, descFeedback, descIngested},
		[]described{descBreakerState, descBreakerCalls, descBreakerTransitions},
		[]described{descCacheRequests, descCacheEntries, descCacheEvictions},
		[]described{descTracesStored, descSpansReceived, descSpansDropped, descSpansUnlogged, descProfilesStored, descProfilingEnabled, descRefused},
	)
}

// sample is a finished series on its way to the registry.
type sample struct {
	desc  *prometheus.Desc
	write func(*dto.Metric)
}

func (s sample) Desc() *prometheus.Desc { return s.desc }

func (s sample) Write(out *dto.Metric) error {
	s.write(out)
	return nil
}
