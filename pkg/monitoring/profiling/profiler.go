// Package profiling catches slow requests while they run and keeps profiles.
//
// A [Profiler] has a table of requests in flight. [Profiler.Begin] takes a slot
// and puts the slot's prebuilt pprof label on the goroutine, without allocating;
// goroutines started by the request inherit it. [Profiler.Run] looks at the
// table every 25 ms: a request past the slow threshold is marked, and from then
// on goroutine snapshots, one for all marked requests, are searched for its
// label. What they show becomes a profile of its wall time when it ends.
//
// In mode watch, the default, that is all, and it stays inside a budget of the
// processor. In mode on, CPU windows of the whole process run as well and are
// cut up by label. The Profiler is the only user of the process's CPU profiler:
// everyone who wants a CPU profile shares its windows.
//
// Profiling never fails or delays a request. What cannot be kept is counted.
package profiling

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Mode says how much profiling goes on by itself.
type Mode string

// The modes of a [Profiler].
const (
	ModeOff   Mode = "off"   // nothing
	ModeWatch Mode = "watch" // slow requests, by goroutine snapshots
	ModeOn    Mode = "on"    // also CPU windows; recordings are kept however fast they are
)

// ErrNotRunning is wrapped by the errors of captures while Run does not run.
var ErrNotRunning = errors.New("profiling is not running")

// MaxUpload is the largest profile that [Profiler.AddUpload] takes, in bytes.
const MaxUpload = 64 << 20

// Options configures a [Profiler]. The zero value is ready to use.
type Options struct {
	Service       string        // on every profile made here
	Mode          Mode          // at the start; "" means watch
	SlowThreshold time.Duration // 0 means 1s
	Budget        float64       // share of a core that snapshots may take; 0 means 0.02
	TableSize     int           // requests in flight at most; 0 means 4096
	MaxCaptures   int           // slow requests followed at once; 0 means 256
	MaxPerMinute  int           // profiles of slow requests and recordings; 0 means 600
	RouteBurst    int           // profiles of one operation before it cools down; 0 means 64
	CoolDown      time.Duration // then only slower ones are kept for so long; 0 means 10s
	CPUWindow     time.Duration // length of the CPU windows; 0 means 2s
	Store         StoreOptions
	Log           *slog.Logger // nil discards
}

// Profiler watches requests, takes profiles and keeps them. It is safe for
// concurrent use.
type Profiler struct {
	opts  Options
	log   *slog.Logger
	store *Store
	base  time.Time // what the table's times count from
	table *table
	cpu   *broker

	mode      atomic.Uint32 // index into modes
	threshold atomic.Int64  // nanoseconds
	running   atomic.Bool
	captures  chan struct{} // manual ones at work
	finished  chan *capture
	sampleNow chan struct{}
	cost      cost

	mu       sync.Mutex
	until    time.Time           // when mode on ends by itself; zero means never
	active   map[uint64]*capture // by key of their slot
	ended    []*capture          // waiting for the CPU window they ended in
	manual   map[string]api.Profile
	minute   int64 // of the count below
	inMinute int
	routes   map[string]*routeBurst
}

var modes = [...]Mode{ModeOff, ModeWatch, ModeOn}

// New returns a Profiler; nothing happens before Run. Nonsense in o is an error.
func New(o Options) (*Profiler, error) {
	o.Mode = cmp.Or(o.Mode, ModeWatch)
	o.SlowThreshold = cmp.Or(o.SlowThreshold, time.Second)
	o.Budget = cmp.Or(o.Budget, 0.02)
	o.TableSize, o.MaxCaptures = cmp.Or(o.TableSize, 4096), cmp.Or(o.MaxCaptures, 256)
	o.MaxPerMinute, o.RouteBurst = cmp.Or(o.MaxPerMinute, 600), cmp.Or(o.RouteBurst, 64)
	o.CoolDown, o.CPUWindow = cmp.Or(o.CoolDown, 10*time.Second), cmp.Or(o.CPUWindow, 2*time.Second)
	switch {
	case modeIndex(o.Mode) < 0:
		return nil, fmt.Errorf("profiling mode %q: want off, watch or on", o.Mode)
	case o.SlowThreshold < time.Millisecond:
		return nil, fmt.Errorf("slow threshold %v: want at least 1ms", o.SlowThreshold)
	case o.Budget < 0 || o.Budget > 1:
		return nil, fmt.Errorf("profiling budget %v: want a share of a core, 0 to 1", o.Budget)
	case o.TableSize < 1 || o.TableSize > 1<<16:
		return nil, fmt.Errorf("in-flight table of %d: want 1 to %d", o.TableSize, 1<<16)
	case o.MaxCaptures < 1 || o.MaxPerMinute < 1 || o.RouteBurst < 1 || o.CoolDown < 0 || o.CPUWindow < 100*time.Millisecond:
		return nil, fmt.Errorf("profiling limits: want positive ones, and CPU windows of at least 100ms")
	}
	p := &Profiler{
		opts: o, log: o.Log, store: NewStore(o.Store), base: time.Now(), table: newTable(o.TableSize),
		captures: make(chan struct{}, 4), finished: make(chan *capture, o.MaxCaptures), sampleNow: make(chan struct{}, 1),
		active: map[uint64]*capture{}, manual: map[string]api.Profile{}, routes: map[string]*routeBurst{},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.cpu = newBroker(o.CPUWindow, p.sliceWindow)
	p.threshold.Store(int64(o.SlowThreshold))
	p.setMode(o.Mode)
	return p, nil
}

func modeIndex(m Mode) int {
	for i, known := range modes {
		if m == known {
			return i
		}
	}
	return -1
}

// Mode returns the mode that is set.
func (p *Profiler) Mode() Mode { return modes[p.mode.Load()] }

func (p *Profiler) setMode(m Mode) {
	p.mode.Store(uint32(modeIndex(m)))
	p.cpu.always(m == ModeOn)
}

// SlowThreshold returns how long a request takes before it is slow.
func (p *Profiler) SlowThreshold() time.Duration { return time.Duration(p.threshold.Load()) }

// Enable sets mode on for a duration, 0 meaning until Disable, then back to
// watch. A slowThreshold of 0 leaves the threshold as it is. It returns when
// the mode ends; zero means never.
func (p *Profiler) Enable(d, slowThreshold time.Duration) (until time.Time) {
	if d > 0 {
		until = time.Now().Add(d)
	}
	if slowThreshold > 0 {
		p.threshold.Store(int64(slowThreshold))
	}
	p.mu.Lock()
	p.until = until
	p.mu.Unlock()
	p.setMode(ModeOn)
	return until
}

// Disable sets mode watch or off. The slow threshold is as configured again.
func (p *Profiler) Disable(m Mode) error {
	if m != ModeWatch && m != ModeOff {
		return fmt.Errorf("profiling mode %q: want watch or off", m)
	}
	p.mu.Lock()
	p.until = time.Time{}
	p.mu.Unlock()
	p.threshold.Store(int64(p.opts.SlowThreshold))
	p.setMode(m)
	return nil
}

// lapse ends mode on when its time is over.
func (p *Profiler) lapse(now time.Time) {
	p.mu.Lock()
	over := !p.until.IsZero() && now.After(p.until)
	if over {
		p.until = time.Time{}
	}
	p.mu.Unlock()
	if over {
		p.threshold.Store(int64(p.opts.SlowThreshold))
		p.setMode(ModeWatch)
	}
}

// Stats returns what is kept, what is going on and what it costs. Overhead is
// the share of a core that snapshots, cutting up windows and writing profiles
// took over the last minute; the kernel's profiling signals, about 1 % of a busy
// core at 100 Hz, are not in it.
func (p *Profiler) Stats() api.ProfilingStats {
	st := p.store.stats()
	overhead, threshold := p.cost.share(time.Now()), api.Seconds(p.threshold.Load())
	p.mu.Lock()
	active, until := len(p.active)+len(p.manual), p.until
	p.mu.Unlock()
	if n := p.table.overflows.Load(); n > 0 {
		st.dropped["table_full"] = api.Count(n)
	}
	s := api.ProfilingStats{
		ProfilerEnabled: p.Mode() == ModeOn, ActiveProfiles: api.Count(active), CompletedProfiles: api.Count(st.added),
		TotalProfiles: api.Count(st.kept), AverageDuration: api.Seconds(st.average), RecentProfiles: p.store.List(Query{Limit: 5}),
		Mode: string(p.Mode()), SlowThreshold: &threshold, Overhead: &overhead, Bytes: api.CountOf(st.bytes), Dropped: st.dropped,
	}
	if !until.IsZero() {
		s.EnabledUntil = &api.Time{Time: until}
	}
	return s
}

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

// Data returns the gzipped pprof of a profile, which is not to be changed. The
// error is an [*api.Error]: 404, or 409 for a profile that is still active.
func (p *Profiler) Data(id string) ([]byte, error) {
	for _, a := range p.Active() {
		if a.ProfileID == id {
			return nil, api.Errorf(409, "profile %s is still being taken: ask again when it is done", id)
		}
	}
	_, data, err := p.store.Get(id)
	return data, err
}

// Top returns the hottest functions of a profile. The error is an [*api.Error].
func (p *Profiler) Top(id string, o hotspot.TopOptions) (api.ProfileTop, error) {
	data, err := p.Data(id)
	if err != nil {
		return api.ProfileTop{}, err
	}
	summary, err := p.Get(id)
	if err != nil {
		return api.ProfileTop{}, err
	}
	parsed, err := hotspot.Parse(data, uploadLimits)
	if err != nil {
		return api.ProfileTop{}, api.Errorf(500, "profile %s: %v", id, err)
	}
	top, err := hotspot.Top(parsed, o)
	if err != nil {
		return api.ProfileTop{}, api.Invalid("sample_type", "%v", err)
	}
	top.ProfileID, top.Type = summary.ProfileID, summary.Type
	return top, nil
}

// Cleanup removes profiles older than maxAge, or with dryRun only tells which.
func (p *Profiler) Cleanup(maxAge time.Duration, dryRun bool) (removed int, freed int64) {
	return p.store.Cleanup(maxAge, dryRun)
}

var uploadLimits = hotspot.Limits{MaxInput: MaxUpload, MaxRaw: 256 << 20}

// AddUpload keeps a profile that was taken elsewhere: pprof in any form that
// [hotspot.Parse] reads. The error is an [*api.Error] and nothing is kept then.
func (p *Profiler) AddUpload(body []byte, operation, service string, labels map[string]string) (api.Profile, error) {
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

func newSummary(id, operation, trigger string, start time.Time) api.Profile {
	return api.Profile{
		ProfileID: id, OperationName: operation, Trigger: trigger, StartTime: &api.Time{Time: start},
		MemoryUsage: map[string]api.Count{}, CustomTimings: map[string]api.Seconds{}, TopFunctions: []api.TopFunction{},
	}
}

// keep stores a profile that was made here.
func (p *Profiler) keep(s api.Profile, data []byte) {
	parsed, err := hotspot.Parse(data, uploadLimits)
	if err == nil {
		err = describe(&s, parsed, len(data))
	}
	if err != nil {
		p.store.Drop("unreadable")
		p.log.Warn("profile unreadable", slog.String("profile_id", s.ProfileID), slog.Any("error", err))
		return
	}
	s.Service = cmp.Or(s.Service, p.opts.Service)
	p.store.Add(s, data)
}
