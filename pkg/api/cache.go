package api

// CacheStatus is the answer of GET /monitoring/cache/status.
type CacheStatus struct {
	Redis  RedisHealth  `json:"redis"`
	Memory MemoryHealth `json:"memory"`
}

// RedisHealth says how the Redis tier is and what it counted.
type RedisHealth struct {
	Status    string     `json:"status"` // healthy, degraded, failed, disabled
	Connected bool       `json:"connected"`
	Stats     RedisStats `json:"stats"`
}

// MemoryHealth says how the memory tier is and what it counted.
type MemoryHealth struct {
	Status string      `json:"status"`
	Stats  MemoryStats `json:"stats"`
}

// RedisStats counts the Redis tier's use and tells what Redis says of itself.
// Fields below RedisTotalCommands come from this project's servers only.
type RedisStats struct {
	Connected             bool    `json:"connected"`
	RedisURL              string  `json:"redis_url,omitempty"` // credentials as ***
	KeyPrefix             string  `json:"key_prefix,omitempty"`
	DefaultTTL            Seconds `json:"default_ttl,omitempty"`
	CacheHits             Count   `json:"cache_hits"`
	CacheMisses           Count   `json:"cache_misses"`
	CacheErrors           Count   `json:"cache_errors"`
	HitRate               float64 `json:"hit_rate"`               // 0…1
	RedisMemory           string  `json:"redis_memory,omitempty"` // as Redis writes it: 1.04M
	RedisConnectedClients *Count  `json:"redis_connected_clients,omitempty"`
	RedisTotalCommands    *Count  `json:"redis_total_commands,omitempty"`

	RedisVersion string        `json:"redis_version,omitempty"`
	Role         string        `json:"role,omitempty"`
	EvictedKeys  *Count        `json:"evicted_keys,omitempty"`
	Latency      *Seconds      `json:"latency,omitempty"` // of the last ping
	LastError    string        `json:"last_error,omitempty"`
	Prefixes     []CachePrefix `json:"prefixes,omitempty"`
}

// MemoryStats counts the memory tier's use. Fields below TotalRequests come
// from this project's servers only.
type MemoryStats struct {
	Size             Count   `json:"size"` // entries
	MaxSize          Count   `json:"max_size"`
	Hits             Count   `json:"hits"`
	Misses           Count   `json:"misses"`
	HitRate          float64 `json:"hit_rate"`          // 0…1
	Evictions        Count   `json:"evictions"`         // for want of room
	ExpiredEvictions Count   `json:"expired_evictions"` // for age
	TotalRequests    Count   `json:"total_requests"`

	Cleared  *Count        `json:"cleared,omitempty"` // by an operator
	Bytes    *Count        `json:"bytes,omitempty"`
	MaxBytes *Count        `json:"max_bytes,omitempty"`
	Prefixes []CachePrefix `json:"prefixes,omitempty"`
}

// CachePrefix counts the use of the keys that share the text before their
// first colon.
type CachePrefix struct {
	Prefix  string `json:"prefix"`
	Entries Count  `json:"entries"`
	Hits    Count  `json:"hits"`
	Misses  Count  `json:"misses"`
}

// CacheCleared is the answer of the two clear actions. A Python server sends
// the count only inside the message; [client.Client] reads it from there.
type CacheCleared struct {
	Message string `json:"message"`
	Pattern string `json:"pattern,omitempty"`
	Cleared *Count `json:"cleared,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
}
