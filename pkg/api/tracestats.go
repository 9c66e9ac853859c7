package api

// StatsWindow says what a statistic is of: spans that began from From to To.
type StatsWindow struct {
	From Time `json:"from"` // of the oldest span if no since was asked for and for no longer is kept
	To   Time `json:"to"`
}

// TraceStats is the answer of GET /monitoring/traces/stats.
type TraceStats struct {
	StatsWindow
	Operations []OperationStats `json:"operations"` // by service, then by operation
	Store      Retention        `json:"store"`
}

// OperationStats are the rate, errors and durations of one operation of one
// service. Spans that still run are not counted. Percentiles are within 1 % of
// the exact ones, max is exact.
type OperationStats struct {
	Service          string   `json:"service"`
	Operation        string   `json:"operation"`
	Kinds            []string `json:"kinds"` // of its spans, sorted
	Count            Count    `json:"count"`
	Rate             float64  `json:"rate"` // a second, over the window
	Errors           Count    `json:"errors"`
	ErrorRate        float64  `json:"error_rate"` // of count, 0 to 1
	P50              Seconds  `json:"p50"`
	P90              Seconds  `json:"p90"`
	P95              Seconds  `json:"p95"`
	P99              Seconds  `json:"p99"`
	Max              Seconds  `json:"max"`
	LastErrorTraceID string   `json:"last_error_trace_id,omitempty"`
	SlowestTraceID   string   `json:"slowest_trace_id,omitempty"`

	Series []StatsPoint `json:"series,omitempty"` // of intervals with spans, the oldest first; only where an interval was asked for
}

// StatsPoint is one interval of a series.
type StatsPoint struct {
	Start  Time    `json:"start"`
	Count  Count   `json:"count"`
	Errors Count   `json:"errors"`
	P50    Seconds `json:"p50"`
	P95    Seconds `json:"p95"`
}

// ServiceGraph is the answer of GET /monitoring/traces/services: who calls whom.
type ServiceGraph struct {
	StatsWindow
	Nodes []ServiceNode `json:"nodes"` // by name
	Edges []ServiceEdge `json:"edges"` // by from, then by to
}

// ServiceNode is a service. An external one sends no spans itself: it is known
// from the spans of those that call it.
type ServiceNode struct {
	Name     string  `json:"name"`
	Spans    Count   `json:"spans"`
	Calls    Count   `json:"calls"` // served: roots, calls from other services, server and consumer spans
	Errors   Count   `json:"errors"`
	P95      Seconds `json:"p95"` // of the calls
	External bool    `json:"external,omitempty"`
}

// ServiceEdge sums up the calls of one service to another.
type ServiceEdge struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	Calls  Count   `json:"calls"`
	Errors Count   `json:"errors"`
	Rate   float64 `json:"rate"` // a second, over the window
	P95    Seconds `json:"p95"`
}

// TruncatedHeader is on the answer of an exported trace that is not whole, "true".
const TruncatedHeader = "X-Pulsectl-Truncated"

// TracesLost is an event of GET /monitoring/traces/stream: so many traces that
// fit finished too fast to be told.
type TracesLost struct {
	Count Count `json:"count"`
}
