package api

// The triggers of a profile.
const (
	TriggerSlow    = "slow"    // a request crossed the threshold
	TriggerRequest = "request" // a caller asked by header or query
	TriggerManual  = "manual"  // captured by an operator, or by monitoring.Profile
	TriggerScrape  = "scrape"  // pulled from a target that is polled
	TriggerUpload  = "upload"
)

// Profile is the summary of one profile. Fields below TopFunctions come from
// this project's servers only.
type Profile struct {
	ProfileID      string             `json:"profile_id"`
	OperationName  string             `json:"operation_name"`
	Duration       Seconds            `json:"duration"`
	MemoryUsage    map[string]Count   `json:"memory_usage"`    // bytes, by checkpoint
	CustomTimings  map[string]Seconds `json:"custom_timings"`  // by name
	TotalCalls     Count              `json:"total_calls"`     // samples, in a sampled profile
	PrimitiveCalls Count              `json:"primitive_calls"` // samples, in a sampled profile
	TopFunctions   []TopFunction      `json:"top_functions"`

	Type      string            `json:"type,omitempty"` // cpu, heap, goroutine, …
	StartTime *Time             `json:"start_time,omitempty"`
	TraceID   string            `json:"trace_id,omitempty"`
	Trigger   string            `json:"trigger,omitempty"`
	Samples   *Count            `json:"samples,omitempty"`
	Size      *Count            `json:"size,omitempty"` // bytes of the stored pprof
	Labels    map[string]string `json:"labels,omitempty"`
	Service   string            `json:"service,omitempty"`
	Target    string            `json:"target,omitempty"`
	State     string            `json:"state,omitempty"` // "active" until its data is there
	Note      string            `json:"note,omitempty"`  // what limits this profile, in a sentence

	Explanation *Explanation `json:"explanation,omitempty"` // of a slow request that has ended
}

// TopFunction is one row of a profile summary. A Python server writes its
// values as strings.
type TopFunction struct {
	NCalls           Count   `json:"ncalls"`
	TotTime          Seconds `json:"tottime"` // own
	PerCall          Seconds `json:"percall"`
	CumTime          Seconds `json:"cumtime"` // with callees
	PerCallCum       Seconds `json:"percall_cum"`
	FilenameFunction string  `json:"filename_function"`
}

// Profiles is the answer of GET /monitoring/profiling/profiles: by id.
type Profiles struct {
	Profiles      map[string]Profile `json:"profiles"`
	TotalProfiles Count              `json:"total_profiles"`
}

// ProfileGet is the answer of GET /monitoring/profiling/profiles?profile_id=ID.
type ProfileGet struct {
	Profile Profile `json:"profile"`
}

// ProfilingStats is the answer of GET /monitoring/profiling/stats. Fields below
// RecentProfiles come from this project's servers only.
type ProfilingStats struct {
	ProfilerEnabled   bool      `json:"profiler_enabled"`
	ActiveProfiles    Count     `json:"active_profiles"`
	CompletedProfiles Count     `json:"completed_profiles"`
	TotalProfiles     Count     `json:"total_profiles"`
	AverageDuration   Seconds   `json:"average_duration"`
	RecentProfiles    []Profile `json:"recent_profiles"`

	Mode          string           `json:"mode,omitempty"` // off, watch, on
	EnabledUntil  *Time            `json:"enabled_until,omitempty"`
	SlowThreshold *Seconds         `json:"slow_threshold,omitempty"`
	Overhead      *float64         `json:"overhead,omitempty"` // share of one core that profiling took, 0…1
	Bytes         *Count           `json:"bytes,omitempty"`
	Dropped       map[string]Count `json:"dropped,omitempty"` // profiles not kept, by reason
	Types         []string         `json:"types,omitempty"`   // that can be captured
	Targets       []string         `json:"targets,omitempty"` // that profiles can be pulled from
	Notes         []string         `json:"notes,omitempty"`   // what is not possible at the moment, a sentence each
}

// ProfilingSwitch is the answer of POST /monitoring/profiling/enable and
// /disable. A Python server sends the message alone.
type ProfilingSwitch struct {
	Message      string `json:"message"`
	Mode         string `json:"mode,omitempty"`
	EnabledUntil *Time  `json:"enabled_until,omitempty"` // absent if it stays until told otherwise
	DryRun       bool   `json:"dry_run,omitempty"`
}

// ProfileStarted is the answer of POST /monitoring/profiling/capture.
type ProfileStarted struct {
	ProfileID string `json:"profile_id"`
	DryRun    bool   `json:"dry_run,omitempty"`
}

// ProfileTop is the answer of GET /monitoring/profiling/profiles/{id}/top, and
// what `pulsectl profiles top` shows. Values are in Unit, as the profile has
// them.
type ProfileTop struct {
	ProfileID  string     `json:"profile_id,omitempty"`
	Type       string     `json:"type"`        // of the profile: cpu, heap, …
	SampleType string     `json:"sample_type"` // of the values: cpu, inuse_space, …
	Unit       string     `json:"unit"`        // nanoseconds, bytes, count, …
	Total      int64      `json:"total"`       // of all samples, before focus and ignore
	Duration   Seconds    `json:"duration"`    // wall time the profile covers; 0 where it has none
	Samples    Count      `json:"samples"`
	Functions  int        `json:"functions"` // there are, shown or not
	Rows       []TopEntry `json:"rows"`
}

// TopEntry is one function's share of a profile.
type TopEntry struct {
	Function  string  `json:"function"`
	File      string  `json:"file,omitempty"`
	Flat      int64   `json:"flat"`
	FlatRatio float64 `json:"flat_ratio"` // of Total, 0…1
	Cum       int64   `json:"cum"`
	CumRatio  float64 `json:"cum_ratio"`
}
