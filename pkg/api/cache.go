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
	Reason    string     `json:"reason,omitempty"` // why it is degraded or failed; ours only
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

	Mode            string       `json:"mode,omitempty"` // standalone, sentinel, cluster
	Keys            *Count       `json:"keys,omitempty"` // of the database, others' too
	ExpiredKeys     *Count       `json:"expired_keys,omitempty"`
	Cleared         *Count       `json:"cleared,omitempty"`    // by an operator
	Garbled         *Count       `json:"garbled,omitempty"`    // values that could not be read, counted as misses
	MaxMemory       *Count       `json:"max_memory,omitempty"` // bytes; 0 for no bound
	MaxMemoryPolicy string       `json:"max_memory_policy,omitempty"`
	Recent          *CacheRecent `json:"recent,omitempty"`
	Nodes           []RedisNode  `json:"nodes,omitempty"` // the masters of a Cluster
}

// RedisNode is one master of a Cluster.
type RedisNode struct {
	Addr    string   `json:"addr"`
	Status  string   `json:"status"` // healthy, failed
	Error   string   `json:"error,omitempty"`
	Keys    *Count   `json:"keys,omitempty"`
	Memory  *Count   `json:"memory,omitempty"` // bytes
	Latency *Seconds `json:"latency,omitempty"`
}

// CacheRecent counts a tier's use over the last minutes, at most five.
type CacheRecent struct {
	Seconds Seconds `json:"seconds"`
	Hits    Count   `json:"hits"`
	Misses  Count   `json:"misses"`
	HitRate float64 `json:"hit_rate"` // 0…1
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
	Recent   *CacheRecent  `json:"recent,omitempty"`
	Prefixes []CachePrefix `json:"prefixes,omitempty"`
}

// CachePrefix counts the use of the keys that share the text before their
// first colon.
type CachePrefix struct {
	Prefix  string `json:"prefix"`
	Entries Count  `json:"entries"`
	Hits    Count  `json:"hits"`
	Misses  Count  `json:"misses"`

	Bytes   *Count `json:"bytes,omitempty"`   // of the memory tier, as are evicted and expired
	Evicted *Count `json:"evicted,omitempty"` // for want of room
	Expired *Count `json:"expired,omitempty"` // for age
	Cleared *Count `json:"cleared,omitempty"` // by an operator
	Errors  *Count `json:"errors,omitempty"`  // of the Redis tier
}

// CacheKeys is a page of a tier's keys. Where Next is not null there may be
// more, even behind a page that has none.
type CacheKeys struct {
	Pattern string     `json:"pattern"`
	Keys    []CacheKey `json:"keys"`
	Next    *string    `json:"next"`
}

// CacheKey is what a tier tells of one of its keys; never the value.
type CacheKey struct {
	Key  string   `json:"key"`
	Size Count    `json:"size"`           // bytes, with what the tier needs beside the value
	TTL  *Seconds `json:"ttl"`            // left to live; null for no end
	Hits *Count   `json:"hits"`           // null where the tier does not count them
	Idle *Seconds `json:"idle,omitempty"` // since its last use; of Redis
}

// CacheCleared is the answer of the two clear actions. A Python server sends
// the count only inside the message; [client.Client] reads it from there.
type CacheCleared struct {
	Message  string   `json:"message"`
	Pattern  string   `json:"pattern,omitempty"`
	Cleared  *Count   `json:"cleared,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"`
	Progress *float64 `json:"progress,omitempty"` // 0…1, about, where a budget ended it
	Next     string   `json:"next,omitempty"`     // the cursor to go on from; "" at the end
}
