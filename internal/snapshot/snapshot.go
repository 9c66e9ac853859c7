// Package snapshot is the archive of everything that a server knows at one
// moment: a tar.gz to look at when its process is gone.
//
// Its members are answers of the API, a file each, and last a manifest that
// says which request each of them answers, how large it is, its SHA-256, and
// what was left out and why. A [Writer] makes one as a stream, a part at a time
// and never more bytes than it is allowed; everything goes through its
// [Redactor] on the way in, so that no secret is in it whatever an answer held.
// A [Fleet] holds the archives of several servers, a folder each. [Open] reads
// both, and believes nothing that they say of themselves before it has checked
// it.
package snapshot

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// The formats that this package writes and reads.
const (
	Format      = "pulsectl-snapshot/1"
	FleetFormat = "pulsectl-snapshot-fleet/1"
)

const (
	manifestName = "manifest.json"
	fleetName    = "fleet.json"
)

// DefaultBytes is how many bytes the parts of a snapshot have at most, unpacked,
// unless told otherwise.
const DefaultBytes = 64 << 20

// MaxPart bounds one part, for it is made in memory.
const MaxPart = 32 << 20

// What an archive of one server holds is the API's to tell.
type (
	Manifest = api.Snapshot
	Part     = api.SnapshotPart
	LeftOut  = api.LeftOut
)

// FleetManifest says which servers an archive is of.
type FleetManifest struct {
	Format    string        `json:"format"`
	Created   api.Time      `json:"created"`
	Instances []FleetMember `json:"instances"`
}

// FleetMember is one server of a fleet. One that could not be asked has no
// folder and says why.
type FleetMember struct {
	Instance string `json:"instance"` // as the client named it: its URL
	Folder   string `json:"folder,omitempty"`
	Status   int    `json:"status,omitempty"` // HTTP, of the failure
	Code     string `json:"code,omitempty"`   // of a failure without one
	Detail   string `json:"detail,omitempty"`
}

// checkName refuses what is no plain path below the archive's root.
func checkName(name string) error {
	if !fs.ValidPath(name) || name == "." || len(name) > 300 || strings.ContainsAny(name, "\\:\x00") {
		return fmt.Errorf("the name %.100q is no path inside of it", name)
	}
	return nil
}

// check refuses a manifest that makes no sense.
func check(m *Manifest) error {
	switch {
	case m.Format != Format:
		return fmt.Errorf("the manifest's format is %.60q, want %q", m.Format, Format)
	case m.Created.IsZero():
		return fmt.Errorf("the manifest does not say when it was created")
	}
	seen := map[string]bool{}
	for _, p := range m.Parts {
		if err := checkName(p.Name); err != nil {
			return fmt.Errorf("the manifest: %w", err)
		}
		if seen[p.Name] {
			return fmt.Errorf("the manifest lists %.100q twice", p.Name)
		}
		seen[p.Name] = true
		if p.Path != "" && (p.Status < 200 || p.Status > 599) {
			return fmt.Errorf("the manifest gives %.100q the status %d", p.Name, p.Status)
		}
	}
	return nil
}

func encode(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // texts, numbers and times alone
	}
	return append(b, '\n')
}
