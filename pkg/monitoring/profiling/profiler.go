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
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
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

	// Thresholds are those of routes that differ, by pattern, with or without its
	// method. Route tells which pattern a request takes, "" for none; nil means
	// that routes are not known before a request ends, and Thresholds not used.
	Thresholds map[string]time.Duration
	Route      func(method, host, path string) string

	Budget       float64       // share of a core that snapshots may take; 0 means 0.02
	TableSize    int           // requests in flight at most; 0 means 4096
	MaxCaptures  int           // slow requests followed at once; 0 means 256
	MaxPerMinute int           // profiles of slow requests and recordings; 0 means 600
	RouteBurst   int           // profiles of one operation before it cools down; 0 means 64
	CoolDown     time.Duration // then only slower ones are kept for so long; 0 means 10s
	CPUWindow    time.Duration // length of the CPU windows, at most 10s; 0 means 5s
	TraceBytes   int           // that the flight recorder keeps in mode on; 0 means 8 MiB
	Targets      []Target      // that profiles can be pulled from
	Store        StoreOptions
	Log          *slog.Logger // nil discards
}

// Profiler watches requests, takes profiles and keeps them. It is safe for
// concurrent use.
type Profiler struct {
	opts  Options
	log   *slog.Logger
	store *Store
	base  time.Time // what the table's times count from

	readTraces func(context.Context, [][]byte, []exectrace.Request, exectrace.Options) ([]exectrace.Result, error)

	table *table
	cpu   *broker

	mode      atomic.Uint32 // index into modes
	threshold atomic.Int64  // nanoseconds
	running   atomic.Bool
	captures  chan struct{} // manual ones at work
	lookups   chan struct{} // profiles being read from the runtime
	jobs      chan func(context.Context)
	finished  chan *capture
	traced    chan *capture // ended ones that the recorder explains
	sampleNow chan struct{}
	traceNow  chan struct{}
	cost      cost
	budget    *budget // of snapshots

	background sync.WaitGroup // of jobs
	rates      rates
	stackBytes atomic.Int64 // that captures keep
	tracing    atomic.Bool  // while the flight recorder records
	traceBusy  atomic.Bool  // it was another's at the last try

	mu       sync.Mutex
	until    time.Time           // when mode on ends by itself; zero means never
	active   map[uint64]*capture // by key of their slot
	settling map[string]*capture // ended, not stored yet; by id
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
	o.CoolDown, o.CPUWindow = cmp.Or(o.CoolDown, 10*time.Second), cmp.Or(o.CPUWindow, 5*time.Second)
	o.TraceBytes = cmp.Or(o.TraceBytes, 8<<20)
	switch {
	case modeIndex(o.Mode) < 0:
		return nil, fmt.Errorf("profiling mode %q: want off, watch or on", o.Mode)
	case o.SlowThreshold < time.Millisecond:
		return nil, fmt.Errorf("slow threshold %v: want at least 1ms", o.SlowThreshold)
	case o.Budget < 0 || o.Budget > 1:
		return nil, fmt.Errorf("profiling budget %v: want a share of a core, 0 to 1", o.Budget)
	case o.TableSize < 1 || o.TableSize > 1<<16:
		return nil, fmt.Errorf("in-flight table of %d: want 1 to %d", o.TableSize, 1<<16)
	case o.MaxCaptures < 1 || o.MaxPerMinute < 1 || o.RouteBurst < 1 || o.CoolDown < 0:
		return nil, fmt.Errorf("profiling limits: want positive ones")
	case o.CPUWindow < 100*time.Millisecond || o.CPUWindow > 10*time.Second:
		return nil, fmt.Errorf("CPU windows of %v: want 100ms to 10s", o.CPUWindow)
	case o.TraceBytes < 1<<20 || o.TraceBytes > 64<<20:
		return nil, fmt.Errorf("flight recorder of %d bytes: want 1 MiB to 64 MiB", o.TraceBytes)
	}
	if err := o.checkLists(); err != nil {
		return nil, err
	}
	p := &Profiler{
		opts: o, log: o.Log, store: NewStore(o.Store), base: time.Now(), table: newTable(o.TableSize),
		captures: make(chan struct{}, maxCaptures), lookups: make(chan struct{}, maxLookups), jobs: make(chan func(context.Context), maxCaptures),
		finished: make(chan *capture, o.MaxCaptures), traced: make(chan *capture, o.MaxCaptures),
		sampleNow: make(chan struct{}, 1), traceNow: make(chan struct{}, 1), budget: newBudget(o.Budget, snapshotBurst), cpu: newBroker(o.CPUWindow),
		active: map[uint64]*capture{}, settling: map[string]*capture{}, manual: map[string]api.Profile{}, routes: map[string]*routeBurst{},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.cpu.slice, p.cpu.relabel, p.readTraces = p.sliceWindow, p.relabel, exectrace.ExplainAll
	p.threshold.Store(int64(o.SlowThreshold))
	p.setMode(o.Mode)
	return p, nil
}

// checkLists says what is wrong with the thresholds and targets.
func (o *Options) checkLists() error {
	for route, d := range o.Thresholds {
		if d < time.Millisecond {
			return fmt.Errorf("slow threshold of %s %v: want at least 1ms", route, d)
		}
	}
	if len(o.Targets) > maxTargets {
		return fmt.Errorf("%d profile targets: want at most %d", len(o.Targets), maxTargets)
	}
	names := map[string]bool{}
	for _, t := range o.Targets {
		if err := t.check(); err != nil {
			return err
		}
		if names[t.Name] {
			return fmt.Errorf("profile target %s: there are two of that name", t.Name)
		}
		names[t.Name] = true
	}
	return nil
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

// setMode is called under p.mu, as the mode and its end belong together.
func (p *Profiler) setMode(m Mode) {
	p.mode.Store(uint32(modeIndex(m)))
	p.cpu.always(m == ModeOn)
	p.pokeTrace()
}

// Recording tells whether the flight recorder runs, which it does some
// milliseconds after mode on began, unless another library has it.
func (p *Profiler) Recording() bool { return p.tracing.Load() }

// SlowThreshold returns how long a request takes before it is slow.
func (p *Profiler) SlowThreshold() time.Duration { return time.Duration(p.threshold.Load()) }

// thresholdOf returns the threshold of a route.
func (p *Profiler) thresholdOf(route string) time.Duration {
	if d, ok := p.opts.Thresholds[route]; ok {
		return d
	}
	if _, path, ok := strings.Cut(route, " "); ok {
		if d, ok := p.opts.Thresholds[path]; ok {
			return d
		}
	}
	return p.SlowThreshold()
}

// lowestThreshold is below which no request is slow, in nanoseconds.
func (p *Profiler) lowestThreshold() int64 {
	least := p.threshold.Load()
	for _, d := range p.opts.Thresholds {
		least = min(least, int64(d))
	}
	return least
}

// route returns the pattern that a request takes, as far as that is known.
func (p *Profiler) route(w who) string {
	if p.opts.Route == nil || w.Method == "" {
		return ""
	}
	return p.opts.Route(w.Method, w.Host, w.Path)
}

// Enable sets mode on for a duration, 0 meaning until Disable, then back to
// watch. A slowThreshold of 0 leaves the threshold as it is, and another leaves
// those of Options.Thresholds. It returns when the mode ends; zero means never.
func (p *Profiler) Enable(d, slowThreshold time.Duration) (until time.Time) {
	if d > 0 {
		until = time.Now().Add(d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slowThreshold > 0 {
		p.threshold.Store(int64(slowThreshold))
	}
	p.until = until
	p.setMode(ModeOn)
	return until
}

// Disable sets mode watch or off. The slow threshold is as configured again.
func (p *Profiler) Disable(m Mode) error {
	if m != ModeWatch && m != ModeOff {
		return fmt.Errorf("profiling mode %q: want watch or off", m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	p.threshold.Store(int64(p.opts.SlowThreshold))
	p.setMode(m)
	return nil
}

// lapse ends mode on when its time is over.
func (p *Profiler) lapse(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.until.IsZero() && now.After(p.until) {
		p.until = time.Time{}
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
	active, until := len(p.active)+len(p.settling)+len(p.manual), p.until
	p.mu.Unlock()
	if n := p.table.overflows.Load(); n > 0 {
		st.dropped["table_full"] = api.Count(n)
	}
	s := api.ProfilingStats{
		ProfilerEnabled: p.Mode() == ModeOn, ActiveProfiles: api.Count(active), CompletedProfiles: api.Count(st.added),
		TotalProfiles: api.Count(st.kept), AverageDuration: api.Seconds(st.average), RecentProfiles: p.store.List(Query{Limit: 5}),
		Mode: string(p.Mode()), SlowThreshold: &threshold, Overhead: &overhead, Bytes: api.CountOf(st.bytes), Dropped: st.dropped,
		Types: Types(), Targets: p.Targets(), Notes: p.notes(),
	}
	if !until.IsZero() {
		s.EnabledUntil = &api.Time{Time: until}
	}
	return s
}

// notes says what profiling cannot do at the moment, and what it does instead.
func (p *Profiler) notes() []string {
	var notes []string
	if p.cpu.held() {
		notes = append(notes, errCPUBusy.Error()+": slow requests are explained without CPU samples, CPU captures are refused, and it is tried again every second")
	}
	if p.traceBusy.Load() {
		notes = append(notes, errTraceBusy.Error()+": slow requests are explained by goroutine snapshots alone, and it is tried again every 5 s")
	}
	return notes
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
