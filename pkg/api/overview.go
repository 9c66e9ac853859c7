package api

// Overview is a server at a glance: the parts of several answers that say
// whether to worry. It is what `pulsectl status` shows; no route answers it.
// A part is absent where the server has or tells none.
type Overview struct {
	Service     string          `json:"service"` // "python" for a Python server
	Version     string          `json:"version"`
	Environment string          `json:"environment"`
	Health      Health          `json:"health"`
	Breakers    Breakers        `json:"breakers"`
	Traces      *TraceOverview  `json:"traces,omitempty"`
	Profiling   *ProfilingStats `json:"profiling,omitempty"`
	System      *System         `json:"system,omitempty"`

	Findings []Finding         `json:"findings"`          // what one look tells, the worst first; `pulsectl doctor` finds more
	Missing  map[string]string `json:"missing,omitempty"` // why a part is absent, by its name
}

// TraceOverview counts traces and names those to look at first.
type TraceOverview struct {
	Active  Count  `json:"active"`            // running now
	Kept    *Count `json:"kept,omitempty"`    // finished ones that can be read
	Failed  *Count `json:"failed,omitempty"`  // of those
	Slowest *Trace `json:"slowest,omitempty"` // a summary
	Error   *Trace `json:"error,omitempty"`   // the newest failed one, a summary
}
