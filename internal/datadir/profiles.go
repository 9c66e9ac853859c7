package datadir

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// Profiles is the log of a profile store: a table by profile id. It implements
// [profiling.Log].
type Profiles struct {
	dir   *Dir
	table *table
}

var _ profiling.Log = (*Profiles)(nil)

func (d *Dir) openProfiles() error {
	t, err := d.openTable("profiles")
	d.profiles = &Profiles{d, t}
	return err
}

// Keep writes a profile: the length of its summary, the summary as JSON, its
// data.
func (p *Profiles) Keep(summary api.Profile, data []byte) error {
	head, err := json.Marshal(summary)
	if err != nil {
		return err
	}
	value := append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	return p.dir.wrote(p.table.put(summary.ProfileID, append(value, data...), 0))
}

// Forget removes a profile.
func (p *Profiles) Forget(id string) error { return p.dir.wrote(p.table.remove(id)) }

// Replay calls f with each profile, oldest first.
func (p *Profiles) Replay(f func(summary api.Profile, data []byte, stored time.Time)) {
	for _, id := range p.table.keys() {
		value, stored, err := p.table.get(id)
		var summary api.Profile
		if err == nil {
			summary, value, err = splitProfile(value)
		}
		if err != nil {
			p.dir.unreadable("profiles", err)
			continue
		}
		f(summary, value, stored)
	}
}

func splitProfile(value []byte) (summary api.Profile, data []byte, err error) {
	n, size := binary.Uvarint(value)
	if size <= 0 || n > uint64(len(value)-size) {
		return summary, nil, fmt.Errorf("profile of %d bytes: %w", len(value), errRecord)
	}
	value = value[size:]
	return summary, value[n:], json.Unmarshal(value[:n], &summary)
}
