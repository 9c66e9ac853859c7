package main

// A goal is a row of the table. Zero limits are not set.
type goal struct {
	row     string
	bench   string // the benchmark, without its implementation
	ours    string // implementation; "" means pulsectl
	less    string // implementation whose cost is subtracted from all, for what stands around a handler
	ns      float64
	allocs  float64 // at most; -1 means not set
	ratio   float64 // of the best peer's time to ours, at least
	rss     float64 // bytes at most
	exclude string  // peers that do less than the row says, with spaces around each
}

var goals = []goal{
	{row: "metrics middleware, over the bare handler", bench: "MetricsMiddleware", less: "bare", ns: 130, allocs: 0, ratio: 8},
	{row: "child span, 5 attributes, native API", bench: "ChildSpan", ns: 250, allocs: 1, ratio: 7},
	{row: "child span, 5 attributes, set one by one by name", bench: "ChildSpan", ours: "pulsectl-by-name", allocs: -1},
	{row: "child span through OpenTelemetry's API", bench: "ChildSpan", ours: "pulsectl-by-otel", ns: 900, allocs: 2, ratio: 2},
	{row: "request trace, 5 spans, 25 attributes", bench: "RequestTrace", ns: 1500, allocs: 5, ratio: 6},
	{row: "request trace through OpenTelemetry's API", bench: "RequestTrace", ours: "pulsectl-by-otel", allocs: -1},
	{row: "HTTP middleware, all of it, over the bare handler (the peer only traces)", bench: "HTTPMiddleware", less: "bare", ns: 1200, allocs: 6, ratio: 9},
	{row: "HTTP middleware, all of it (the peer counts and traces)", bench: "HTTPMiddleware", less: "bare", allocs: -1, exclude: " otelhttp "},
	{row: "HTTP middleware with a JSON log line a request", bench: "HTTPMiddleware", ours: "pulsectl-json-log", less: "bare", allocs: -1},
	{row: "traceparent", bench: "Traceparent", ns: 40, allocs: 0},
	{row: "slow-request watch", bench: "Watch", ns: 70, allocs: 0},
	{row: "breaker closed, statistics on, panic-safe", bench: "BreakerClosed", ns: 12, allocs: 0, exclude: " eapache failsafe-permit "},
	{row: "breaker closed, from all cores", bench: "BreakerClosedParallel", allocs: -1, exclude: " eapache failsafe-permit "},
	{row: "breaker closed, time window and slow calls", bench: "BreakerWindow", ns: 75, allocs: 0},
	{row: "breaker open, rejection", bench: "BreakerOpen", ns: 5, allocs: 0},
	{row: "breaker open, from all cores", bench: "BreakerOpenParallel", allocs: -1},
	{row: "scrape of 100,000 series, ours of histograms", bench: "Scrape/of=histograms", ns: 5e6, allocs: 1000},
	{row: "scrape of 5,000 counters", bench: "Scrape/of=counters", allocs: -1},
	{row: "cache in memory, hit (otter keeps no statistics there)", bench: "CacheHit", allocs: -1, exclude: " otter-stats pulsectl-bytes "},
	{row: "cache in memory, set", bench: "CacheSet", allocs: -1, exclude: " otter-stats pulsectl-bytes "},
	{row: "cache in memory, load of a key that is there", bench: "CacheLoadHit", allocs: -1},
	{row: "cache in memory, load of one that is not", bench: "CacheLoadMiss", allocs: -1},
	{row: "disk of five batches and their chunk, oldest dropped", bench: "Disk", allocs: -1},
	{row: "a whole request: metrics, 5 spans, watch, breaker", bench: "WholeRequest", ns: 3000, allocs: -1},
	{row: "`profiles top`, 20,000 samples, whole process", bench: "ProfilesTop/samples=20000", ns: 40e6, allocs: -1},
	{row: "`profiles top`, 800,000 samples, whole process", bench: "ProfilesTop/samples=800000", ns: 1.2e9, allocs: -1, ratio: 100, rss: 400e6},
	{row: "flame tree of 250,000 samples, 14 million nodes", bench: "FlameTree/nodes=whole", ns: 1.5e9, allocs: -1},
}
