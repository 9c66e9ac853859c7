package profiling

import (
	"cmp"
	"errors"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// MaxUpload is the largest profile that [Profiler.AddUpload] takes, in bytes.
const MaxUpload = 64 << 20

var uploadLimits = hotspot.Limits{MaxInput: MaxUpload, MaxRaw: 256 << 20}

// AddUpload keeps a profile that was taken elsewhere: pprof in any form that
// [hotspot.Parse] reads, folded stacks, or a Go execution trace. The error is an
// [*api.Error] and nothing is kept then.
func (p *Profiler) AddUpload(body []byte, operation, service string, labels map[string]string) (api.Profile, error) {
	if isTrace(body) {
		return p.addTrace(body, operation, service, labels)
	}
	parsed, err := hotspot.Parse(body, uploadLimits)
	if err == nil {
		body, err = hotspot.Gzipped(body, parsed)
	}
	if errors.Is(err, hotspot.ErrTooLarge) {
		return api.Profile{}, api.Errorf(413, "%v", err)
	} else if err != nil {
		return api.Profile{}, api.Errorf(400, "%v", err)
	}
	start := parsed.Time
	if start.IsZero() {
		start = time.Now()
	}
	s := newSummary(NewID(), operation, api.TriggerUpload, start)
	s.Service, s.Labels, s.Duration = service, labels, api.Seconds(parsed.Duration)
	if err := describe(&s, parsed, len(body)); err != nil {
		return api.Profile{}, api.Errorf(400, "%v", err)
	}
	s.OperationName = cmp.Or(s.OperationName, s.Type)
	if !p.store.Add(s, body) {
		return api.Profile{}, api.Errorf(413, "the profile takes %d bytes, more than the whole store of profiles", len(body))
	}
	return s, nil
}

func (p *Profiler) addTrace(body []byte, operation, service string, labels map[string]string) (api.Profile, error) {
	if len(body) > MaxUpload {
		return api.Profile{}, api.Errorf(413, "the trace is larger than %d MiB", MaxUpload>>20)
	}
	s := newSummary(NewID(), cmp.Or(operation, typeTrace), api.TriggerUpload, time.Now())
	s.Service, s.Labels = service, labels
	if !p.keepTrace(s, body) {
		return api.Profile{}, api.Errorf(413, "the trace takes more than the whole store of profiles")
	}
	return p.Get(s.ProfileID)
}
