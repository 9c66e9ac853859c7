package server

// isProbe tells whether a path is one of the health probes at the root.
func isProbe(path string) bool {
	return path == "/health" || path == "/health/live" || path == "/health/ready"
}
