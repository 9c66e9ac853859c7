package api

// System is the answer of GET /monitoring/system/info.
type System struct {
	Process ProcessInfo `json:"process"`
	System  HostInfo    `json:"system"`
	Uptime  Seconds     `json:"uptime"`
}

// ProcessInfo describes the server's own process; sizes are bytes. Fields below
// Connections come from this project's servers only.
type ProcessInfo struct {
	PID         int     `json:"pid"`
	MemoryRSS   Count   `json:"memory_rss"`
	MemoryVMS   Count   `json:"memory_vms"`
	CPUPercent  float64 `json:"cpu_percent"` // of one core, over at least the last second
	Threads     Count   `json:"threads"`
	OpenFiles   Count   `json:"open_files"`
	Connections Count   `json:"connections"`

	Goroutines        *Count   `json:"goroutines,omitempty"`
	HeapAlloc         *Count   `json:"heap_alloc,omitempty"`
	HeapObjects       *Count   `json:"heap_objects,omitempty"`
	GCPauseP99        *Seconds `json:"gc_pause_p99,omitempty"`
	GOMAXPROCS        *Count   `json:"gomaxprocs,omitempty"`
	CgroupMemoryLimit *Count   `json:"cgroup_memory_limit,omitempty"` // bytes; absent without a limit
	CgroupCPUQuota    *float64 `json:"cgroup_cpu_quota,omitempty"`    // cores; absent without a quota
	CgroupThrottled   *Seconds `json:"cgroup_throttled,omitempty"`    // held back by the quota so far; absent without one
	CPUWait           *Seconds `json:"cpu_wait,omitempty"`            // its threads were ready and had no processor, so far; Linux only
}

// HostInfo describes the machine; sizes are bytes. The text fields and
// LoadAverage come from this project's servers only.
type HostInfo struct {
	Hostname        string    `json:"hostname,omitempty"`
	OS              string    `json:"os,omitempty"`
	Arch            string    `json:"arch,omitempty"`
	CPUCount        Count     `json:"cpu_count"`
	MemoryTotal     Count     `json:"memory_total"`
	MemoryAvailable Count     `json:"memory_available"`
	MemoryPercent   float64   `json:"memory_percent"`
	LoadAverage     []float64 `json:"load_average,omitempty"` // over 1, 5 and 15 minutes
	DiskUsage       DiskUsage `json:"disk_usage"`
}

// DiskUsage is the file system that holds the server's working directory.
type DiskUsage struct {
	Total Count `json:"total"`
	Used  Count `json:"used"`
	Free  Count `json:"free"`
}

// Config is the answer of GET /monitoring/debug/config: groups of settings,
// secrets as "***".
type Config map[string]any

// Index is the answer of GET /monitoring/.
type Index struct {
	Service      string            `json:"service"`
	Version      string            `json:"version"`
	Commit       string            `json:"commit"`
	StartedAt    Time              `json:"started_at"`
	Instance     string            `json:"instance"`
	Capabilities []string          `json:"capabilities"`
	Listeners    map[string]string `json:"listeners,omitempty"` // addresses, by what they are for
	Endpoints    []Endpoint        `json:"endpoints"`
}

// Endpoint is one route of a server.
type Endpoint struct {
	Method  string `json:"method"`
	Path    string `json:"path"`
	Summary string `json:"summary"`
}
