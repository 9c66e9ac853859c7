package snapshot

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Fleet writes the archives of several servers into one, a folder each.
type Fleet struct {
	gz       *gzip.Writer
	tar      *tar.Writer
	manifest FleetManifest
	folders  map[string]bool
}

// NewFleet returns a writer of the archive of a fleet.
func NewFleet(w io.Writer, created time.Time) *Fleet {
	gz := gzip.NewWriter(w)
	return &Fleet{gz: gz, tar: tar.NewWriter(gz), manifest: FleetManifest{Format: FleetFormat, Created: api.Time{Time: created}}, folders: map[string]bool{}}
}

// Add takes over what a server sent: an archive that has been opened. instance
// is what the client calls it.
func (f *Fleet) Add(instance string, s *Server) error {
	folder := f.folder(instance)
	f.manifest.Instances = append(f.manifest.Instances, FleetMember{Instance: instance, Folder: folder})
	for _, p := range s.Manifest.Parts {
		if err := writeMember(f.tar, folder+"/"+p.Name, s.Manifest.Created.Time, s.files[p.Name]); err != nil {
			return err
		}
	}
	return writeMember(f.tar, folder+"/"+manifestName, s.Manifest.Created.Time, encode(s.Manifest))
}

// Fail notes a server that did not answer.
func (f *Fleet) Fail(m FleetMember) { f.manifest.Instances = append(f.manifest.Instances, m) }

// Close writes the list of servers and ends the archive.
func (f *Fleet) Close() error {
	return errors.Join(writeMember(f.tar, fleetName, f.manifest.Created.Time, encode(f.manifest)), f.tar.Close(), f.gz.Close())
}

// folder makes a name for a server's folder that is a plain one, and no other's.
func (f *Fleet) folder(instance string) string {
	_, name, found := strings.Cut(instance, "://")
	if !found {
		name = instance
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, name)
	base := name[:min(len(name), 80)]
	name = base
	for n := 2; name == "" || f.folders[name]; n++ {
		name = base + "~" + strconv.Itoa(n)
	}
	f.folders[name] = true
	return name
}
