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
// cut up by label, and the flight recorder keeps the execution trace, from which
// a slow request is explained state by state. The Profiler is the only user of
// the process's CPU profiler and flight recorder: everyone who wants a CPU
// profile shares its windows.
//
// Profiling never fails or delays a request. What cannot be kept is counted.
package profiling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// ErrNotRunning is wrapped by the errors of captures while Run does not run.
var ErrNotRunning = errors.New("profiling is not running")

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

// Recording tells whether the flight recorder runs, which it does some
// milliseconds after mode on began, unless another library has it.
func (p *Profiler) Recording() bool { return p.tracing.Load() }

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
