package api

import "encoding/json"

// The verdicts of health; checks and the whole use Healthy, Degraded and
// Unhealthy, circuits and caches Failed instead of the last.
const (
	Healthy   = "healthy"
	Degraded  = "degraded"
	Unhealthy = "unhealthy"
	Failed    = "failed"
	Disabled  = "disabled"
)

// Health is the answer of GET /monitoring/health/detailed.
type Health struct {
	Status           string           `json:"status"`
	Timestamp        string           `json:"timestamp"` // ISO 8601
	Version          string           `json:"version"`
	Environment      string           `json:"environment"`
	TotalCheckTimeMS float64          `json:"total_check_time_ms"`
	Uptime           *Seconds         `json:"uptime,omitempty"`
	Checks           map[string]Check `json:"checks"`
	CircuitBreakers  *HealthBreakers  `json:"circuit_breakers,omitempty"`
	Cache            *CacheStatus     `json:"cache,omitempty"`
	Monitoring       *HealthFeatures  `json:"monitoring,omitempty"`
}

// HealthBreakers sums up the circuit breakers.
type HealthBreakers struct {
	Status   string                   `json:"status"`
	Summary  HealthSummary            `json:"summary"`
	Circuits map[string]HealthCircuit `json:"circuits"`
}

// HealthSummary counts circuits by verdict.
type HealthSummary struct {
	Healthy  Count `json:"healthy"`
	Degraded Count `json:"degraded"`
	Failed   Count `json:"failed"`
	Total    Count `json:"total"`
}

// HealthCircuit is one breaker as health sees it.
type HealthCircuit struct {
	Status              string  `json:"status"`
	State               State   `json:"state"`
	FailureRate         float64 `json:"failure_rate"`
	TotalRequests       Count   `json:"total_requests"`
	ConsecutiveFailures Count   `json:"consecutive_failures"`
}

// HealthFeatures says what the server records.
type HealthFeatures struct {
	TracingEnabled   bool `json:"tracing_enabled"`
	MetricsEnabled   bool `json:"metrics_enabled"`
	ProfilingEnabled bool `json:"profiling_enabled"`
}

// Check is the outcome of one health check. A check may carry fields of its
// own; they stand beside the named ones in the JSON object.
type Check struct {
	Status    string
	LatencyMS float64
	Error     string // empty unless failed
	Critical  bool
	LastOK    Time
	Bare      bool // a Python server's, which tells neither Critical nor LastOK
	Fields    map[string]any
}

type wireCheck struct {
	Status    string  `json:"status"`
	LatencyMS float64 `json:"latency_ms"`
	Error     string  `json:"error,omitempty"`
	Critical  *bool   `json:"critical,omitempty"`
	LastOK    *Time   `json:"last_ok,omitempty"`
}

// MarshalJSON writes the named members and the check's own fields as one
// object; a field of a named member's name does not reach the wire.
func (c Check) MarshalJSON() ([]byte, error) {
	named := wireCheck{Status: c.Status, LatencyMS: c.LatencyMS, Error: c.Error}
	if !c.Bare {
		named.Critical, named.LastOK = &c.Critical, &c.LastOK
	}
	if len(c.Fields) == 0 {
		return json.Marshal(named)
	}
	m := make(map[string]any, len(c.Fields)+5)
	for k, v := range c.Fields {
		m[k] = v
	}
	delete(m, "error")
	b, err := json.Marshal(named)
	if err != nil {
		return nil, err
	}
	var own map[string]json.RawMessage
	if err := json.Unmarshal(b, &own); err != nil {
		return nil, err
	}
	for k, v := range own {
		m[k] = v
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Check) UnmarshalJSON(b []byte) error {
	var named struct {
		wireCheck
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(b, &named); err != nil {
		return err
	}
	if len(named.Error) > 0 && json.Unmarshal(named.Error, &named.wireCheck.Error) != nil {
		named.wireCheck.Error = string(named.Error) // no text, but it says something
	}
	*c = Check{Status: named.Status, LatencyMS: named.LatencyMS, Error: named.wireCheck.Error, Bare: named.Critical == nil && named.LastOK == nil}
	if named.Critical != nil {
		c.Critical = *named.Critical
	}
	if named.LastOK != nil {
		c.LastOK = *named.LastOK
	}
	if err := json.Unmarshal(b, &c.Fields); err != nil {
		return err
	}
	for _, k := range []string{"status", "latency_ms", "error", "critical", "last_ok"} {
		delete(c.Fields, k)
	}
	if len(c.Fields) == 0 {
		c.Fields = nil
	}
	return nil
}

// Probe is the answer of GET /health: what a load balancer may see.
type Probe struct {
	Status      string           `json:"status"`
	Timestamp   string           `json:"timestamp"`
	Version     string           `json:"version"`
	Environment string           `json:"environment"`
	Checks      map[string]Check `json:"checks"`
}

// Ready is the answer of GET /health/ready.
type Ready struct {
	Ready       bool    `json:"ready"`
	Timestamp   string  `json:"timestamp"`
	CheckTimeMS float64 `json:"check_time_ms"`
}

// Live is the answer of GET /health/live.
type Live struct {
	Alive     bool   `json:"alive"`
	Timestamp string `json:"timestamp"`
	Version   string `json:"version"`
}
