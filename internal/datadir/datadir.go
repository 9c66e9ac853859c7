// Package datadir keeps a monitoring server's traces, profiles and audit
// records in a directory, so that a restart finds them again.
//
// A [Dir] is a [tracedb.DB] with a log for each of them: [Dir.Traces],
// [Dir.Profiles] and [Dir.Audit] are what the stores write to and begin with.
// The stores stay bounded by their own limits and tell the directory what they
// let go. A disk that is full or fails costs durability and nothing else: what
// comes then is in memory alone, which [Dir.Check] says.
package datadir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/tracedb"
)

// Options configures a [Dir].
type Options struct {
	// Sync is how much the death of the machine may cost: what was written in
	// that time. 0 means nothing, at the price of a wait for the disk in each
	// acknowledgement. The death of the process alone never costs anything.
	Sync time.Duration
	Log  *slog.Logger // nil discards
}

// Dir is an open data directory. It is safe for concurrent use.
type Dir struct {
	path string
	db   *tracedb.DB
	log  *slog.Logger

	traces   *Traces
	profiles *Profiles
	audit    *Audit

	mu      sync.Mutex
	failing error // of the last write; nil if it succeeded
	damaged int64 // bytes stepped over at the start
}

// Open opens the directory, made if it is not there. What is damaged in it is
// logged and stepped over; an error means that the directory cannot be used at
// all, or that another process has it.
func Open(path string, o Options) (*Dir, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	db, err := tracedb.Open(path, tracedb.Options{Sync: o.Sync})
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, db: db, log: o.Log}
	for _, open := range []func() error{d.openTraces, d.openProfiles, d.openAudit} {
		if err := open(); err != nil {
			return nil, errors.Join(fmt.Errorf("data directory %s: %w", path, err), db.Close())
		}
	}
	return d, nil
}

// found logs what opening a log found.
func (d *Dir) found(name string, r tracedb.Report) {
	d.damaged += r.Damaged
	if r.Damaged > 0 {
		d.log.LogAttrs(context.Background(), slog.LevelError, "data directory is damaged; what is damaged was stepped over",
			slog.String("path", d.path), slog.String("log", name), slog.Int64("damaged_bytes", r.Damaged), slog.Any("where", r.Where))
	}
	d.log.LogAttrs(context.Background(), slog.LevelDebug, "data directory read", slog.String("path", d.path), slog.String("log", name),
		slog.Int("records", r.Records), slog.Int64("bytes", r.Bytes), slog.Int64("torn_bytes", r.Torn))
}

// unreadable logs a record that its store could not make sense of.
func (d *Dir) unreadable(name string, err error) {
	d.log.LogAttrs(context.Background(), slog.LevelError, "data directory has a record that cannot be read; it was stepped over",
		slog.String("path", d.path), slog.String("log", name), slog.Any("error", err))
}

// wrote notes how a write went, logs where that changes, and returns err.
func (d *Dir) wrote(err error) error {
	d.mu.Lock()
	before := d.failing
	d.failing = err
	d.mu.Unlock()
	switch {
	case err != nil && before == nil:
		d.log.LogAttrs(context.Background(), slog.LevelError, "data directory takes nothing more; what comes is kept in memory alone",
			slog.String("path", d.path), slog.Any("error", err))
	case err == nil && before != nil:
		d.log.LogAttrs(context.Background(), slog.LevelInfo, "data directory takes records again", slog.String("path", d.path))
	}
	return err
}

// Check is a health check: its error is that of the last write. Its facts are
// the bytes on disk, and those that were damaged at the start.
func (d *Dir) Check(context.Context) (map[string]any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	facts := map[string]any{"bytes": d.db.Bytes(), "damaged_bytes": d.damaged}
	if d.failing != nil {
		return facts, fmt.Errorf("what comes is kept in memory alone: %w", d.failing)
	}
	return facts, nil
}

// Run brings what was written to the disk until ctx is done.
func (d *Dir) Run(ctx context.Context) error { return d.db.Run(ctx) }

// Close syncs and gives the directory free. What is written later is an error.
func (d *Dir) Close() error { return d.db.Close() }

// Bytes returns what the directory's files have in all.
func (d *Dir) Bytes() int64 { return d.db.Bytes() }

// Traces returns the log of a trace store.
func (d *Dir) Traces() *Traces { return d.traces }

// Profiles returns the log of a profile store.
func (d *Dir) Profiles() *Profiles { return d.profiles }

// Audit returns the log of audit records.
func (d *Dir) Audit() *Audit { return d.audit }
