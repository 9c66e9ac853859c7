package profiling

import (
	"cmp"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// List returns the profiles that match, active ones first, then newest first.
func (p *Profiler) List(q Query) []api.Profile {
	limit := cmp.Or(q.Limit, 10)
	var out []api.Profile
	for _, a := range p.Active() {
		if q.match(&a) && len(out) < limit {
			out = append(out, a)
		}
	}
	if q.Limit = limit - len(out); q.Limit > 0 {
		out = append(out, p.store.List(q)...)
	}
	return out
}

// Get returns the summary of a profile, kept or active, by its id or a unique
// prefix of it. The error is an [*api.Error] with status 404.
func (p *Profiler) Get(id string) (api.Profile, error) {
	for _, a := range p.Active() {
		if a.ProfileID == id {
			return a, nil
		}
	}
	s, _, err := p.store.Get(id)
	return s, err
}

// Data returns the gzipped pprof of a profile, which is not to be changed, or of
// the type trace the execution trace itself. The error is an [*api.Error]: 404,
// or 409 for a profile that is still active.
func (p *Profiler) Data(id string) ([]byte, error) {
	for _, a := range p.Active() {
		if a.ProfileID == id {
			return nil, api.Errorf(409, "profile %s is still being taken: ask again when it is done", id)
		}
	}
	s, data, err := p.store.Get(id)
	if err != nil || s.Type != typeTrace {
		return data, err
	}
	if data, err = plainTrace(data); err != nil {
		return nil, api.Errorf(500, "profile %s: %v", id, err)
	}
	return data, nil
}

// TopOptions says what [Profiler.Top] returns. The zero value gives all rows of
// the profile itself.
type TopOptions struct {
	hotspot.TopOptions
	Base string              // id of the profile that is taken off; "" for none
	Diff hotspot.DiffOptions // how
}

// Top returns the hottest functions of a profile, or of what it has more than
// another. The error is an [*api.Error].
func (p *Profiler) Top(id string, o TopOptions) (api.ProfileTop, error) {
	summary, parsed, err := p.parsed(id)
	if err != nil {
		return api.ProfileTop{}, err
	}
	if o.Base != "" {
		_, base, err := p.parsed(o.Base)
		if err != nil {
			return api.ProfileTop{}, err
		}
		if parsed, err = hotspot.Diff(parsed, base, o.Diff); err != nil {
			return api.ProfileTop{}, api.Invalid("base", "%v", err)
		}
	}
	top, err := hotspot.Top(parsed, o.TopOptions)
	if err != nil {
		return api.ProfileTop{}, api.Invalid(blamed(err), "%v", err)
	}
	top.ProfileID, top.Type = summary.ProfileID, summary.Type
	for i := range top.Rows {
		r := &top.Rows[i]
		r.Function, r.File = r.Function[:min(len(r.Function), maxFunction)], r.File[:min(len(r.File), maxFunction)]
	}
	return top, nil
}

// blamed names the part of a selection that an error is about.
func blamed(err error) string {
	for _, name := range []string{"tagfocus", "tagignore"} {
		if strings.HasPrefix(err.Error(), name) {
			return name
		}
	}
	return "sample_type"
}

// parsed returns a profile's summary and what its data says.
func (p *Profiler) parsed(id string) (s api.Profile, parsed *hotspot.Profile, err error) {
	data, err := p.Data(id)
	if err != nil {
		return s, nil, err
	}
	if s, err = p.Get(id); err != nil {
		return s, nil, err
	}
	if s.Type == typeTrace {
		return s, nil, api.Errorf(409, "profile %s is a Go execution trace, which has no samples to add up: go tool trace reads it", s.ProfileID)
	}
	if parsed, err = hotspot.Parse(data, uploadLimits); err != nil {
		return s, nil, api.Errorf(500, "profile %s: %v", id, err)
	}
	return s, parsed, nil
}

// Cleanup removes profiles older than maxAge, or with dryRun only tells which.
func (p *Profiler) Cleanup(maxAge time.Duration, dryRun bool) (removed int, freed int64) {
	return p.store.Cleanup(maxAge, dryRun)
}
