package api

// Snapshot is the manifest of an archive of everything that a server knows (GET
// /monitoring/snapshot).
type Snapshot struct {
	Format      string         `json:"format"`
	Service     string         `json:"service"`
	Version     string         `json:"version"`
	Environment string         `json:"environment"`
	Instance    string         `json:"instance"` // the process among its replicas
	Created     Time           `json:"created"`
	Cause       string         `json:"cause"` // request, crash, sigterm, periodic
	Detail      string         `json:"detail,omitempty"`
	Bytes       Count          `json:"bytes"`    // of all parts, unpacked
	Redacted    Count          `json:"redacted"` // secrets that were masked on the way in
	Parts       []SnapshotPart `json:"parts"`
	LeftOut     []LeftOut      `json:"left_out"`
}

// SnapshotPart is one file of an archive, and the request whose answer it is.
type SnapshotPart struct {
	Name        string `json:"name"`
	Path        string `json:"path,omitempty"` // of the request; "" for data that no one request answers
	Status      int    `json:"status,omitempty"`
	ContentType string `json:"content_type"`
	Bytes       Count  `json:"bytes"`
	SHA256      string `json:"sha256"` // hex
}

// LeftOut is something that an archive does not hold.
type LeftOut struct {
	What string `json:"what"`
	Why  string `json:"why"`
}
