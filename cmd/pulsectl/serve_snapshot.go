package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// What makes the server write a snapshot by itself.
const (
	onCrash   = "crash"
	onSigterm = "sigterm"
)

const (
	keptSnapshots  = 5           // the last ones
	snapshotsApart = time.Minute // at least, from one panic's to the next's
	lastSnapshot   = 10 * time.Second

	periodicName = "last.tar.gz" // of a server that runs, or died
	crashName    = "crash.txt"   // what Go says when it dies
	stampForm    = "20060102T150405Z"
)

// ownSnapshots writes snapshots by itself, below the data directory: when a
// request has panicked, when the server is told to end, and now and then, for a
// death that nothing survives. Of the latter Go's own words go into a file beside
// it; the next start gives both their names.
type ownSnapshots struct {
	dir     string
	crash   bool
	sigterm bool
	every   time.Duration
	write   func(context.Context, io.Writer, monitoring.SnapshotOptions) error
	log     *slog.Logger
	panics  chan string
}

// ownSnapshots returns nil where the server writes none by itself.
func (o *serveOptions) ownSnapshots(log *slog.Logger) (*ownSnapshots, error) {
	if len(o.SnapshotOn) == 0 {
		return nil, nil
	}
	for _, on := range o.SnapshotOn {
		if on != onCrash && on != onSigterm {
			return nil, fmt.Errorf("snapshot-on %q: want %s, %s or both", on, onCrash, onSigterm)
		}
	}
	switch {
	case o.DataDir == "":
		return nil, errors.New("snapshot-on: the snapshots are kept in the data directory, name it with --data-dir")
	case o.SnapshotEvery < time.Second:
		return nil, fmt.Errorf("snapshot-every %s: want 1s or more", o.SnapshotEvery)
	}
	return &ownSnapshots{
		dir: filepath.Join(o.DataDir, "snapshots"), every: o.SnapshotEvery, log: log, panics: make(chan string, 1),
		crash: slices.Contains(o.SnapshotOn, onCrash), sigterm: slices.Contains(o.SnapshotOn, onSigterm),
	}, nil
}

// begin finds what a run before left behind, and takes Go's last words.
func (s *ownSnapshots) begin() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := s.inherit(); err != nil {
		return err
	}
	if !s.crash {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(s.dir, crashName), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // the runtime has its own copy
	return debug.SetCrashOutput(f, debug.CrashOptions{})
}

// inherit gives the last snapshot and the last words of a run that died the time
// of its death as a name.
func (s *ownSnapshots) inherit() error {
	last, words := filepath.Join(s.dir, periodicName), filepath.Join(s.dir, crashName)
	said, err := os.Stat(words)
	died := err == nil && said.Size() > 0
	kept, err := os.Stat(last)
	if err != nil && !died {
		return nil // it ended as it should, or there was none
	}
	at := time.Now()
	switch {
	case died:
		at = said.ModTime()
	case err == nil:
		at = kept.ModTime()
	}
	stamp := filepath.Join(s.dir, at.UTC().Format(stampForm)+"-death")
	if err == nil {
		if err := os.Rename(last, stamp+".tar.gz"); err != nil {
			return err
		}
	}
	if died {
		if err := maskFile(words, stamp+".txt"); err != nil {
			return err
		}
	}
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "the run before died; what is known of it is kept",
		slog.String("path", stamp), slog.Bool("snapshot", err == nil), slog.Bool("crash", died))
	return s.prune()
}

// maskFile moves a text and leaves its secrets behind. Of a long one the
// beginning is kept: why, and the goroutine that failed.
func maskFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, 8<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	text, _, err = snapshot.NewRedactor(tracing.SecretName, os.Environ()).Mask(snapshot.Text, text)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, text, 0o600), os.Remove(from))
}

// panicked is told of each panic that was recovered. It never waits.
func (s *ownSnapshots) panicked(what string) {
	if !s.crash {
		return
	}
	select {
	case s.panics <- what:
	default: // one is on its way
	}
}

// Run writes snapshots until ctx is done.
func (s *ownSnapshots) Run(ctx context.Context) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	var last time.Time // of a panic's
	periodic := func() {
		if s.crash {
			s.save(ctx, periodicName, monitoring.SnapshotOptions{Cause: "periodic"})
		}
	}
	periodic()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			periodic()
		case what := <-s.panics:
			if time.Since(last) < snapshotsApart {
				continue
			}
			last = time.Now()
			s.saveAs(ctx, monitoring.SnapshotOptions{Cause: onCrash, Detail: what})
		}
	}
}

// end writes the last snapshot of a server that was told to end; one that fails
// ends without.
func (s *ownSnapshots) end(ctx context.Context) {
	if s.sigterm && ctx.Err() != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSnapshot)
		defer cancel()
		s.saveAs(ctx, monitoring.SnapshotOptions{Cause: onSigterm})
	}
}

// close is the end of a run that did not die: it leaves nothing that looks so.
func (s *ownSnapshots) close() {
	if s.crash {
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{}) // never an error without a file
	}
	for _, name := range []string{periodicName, crashName} {
		_ = os.Remove(filepath.Join(s.dir, name)) // it may not be there
	}
}

func (s *ownSnapshots) saveAs(ctx context.Context, o monitoring.SnapshotOptions) {
	s.save(ctx, time.Now().UTC().Format(stampForm)+"-"+o.Cause+".tar.gz", o)
	if err := s.prune(); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "old snapshots cannot be removed", slog.Any("error", err))
	}
}

// save writes a snapshot that is there under its name only as a whole.
func (s *ownSnapshots) save(ctx context.Context, name string, o monitoring.SnapshotOptions) {
	begun := time.Now()
	err := func() error {
		f, err := os.CreateTemp(s.dir, ".writing-*")
		if err != nil {
			return err
		}
		err = errors.Join(s.write(ctx, f, o), f.Close())
		if err == nil {
			err = os.Rename(f.Name(), filepath.Join(s.dir, name))
		}
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}()
	switch {
	case err != nil && ctx.Err() == nil:
		s.log.LogAttrs(ctx, slog.LevelError, "snapshot cannot be written", slog.String("cause", o.Cause), slog.Any("error", err))
	case err == nil && name != periodicName:
		s.log.LogAttrs(ctx, slog.LevelInfo, "snapshot written", slog.String("path", filepath.Join(s.dir, name)),
			slog.String("cause", o.Cause), slog.Int64("duration_ms", time.Since(begun).Milliseconds()))
	}
}

// prune removes all but the last snapshots, with what belongs to them, and what
// a run that died was writing.
func (s *ownSnapshots) prune() error {
	all, err := os.ReadDir(s.dir) // by name: by time
	if err != nil {
		return err
	}
	var stamps []string
	for _, f := range all {
		stamp, _, ok := strings.Cut(f.Name(), "-")
		if _, err := time.Parse(stampForm, stamp); ok && err == nil {
			stamps = append(stamps, stamp)
		}
	}
	stamps = slices.Compact(stamps)
	oldest := ""
	if n := len(stamps); n > keptSnapshots {
		oldest = stamps[n-keptSnapshots]
	}
	var errs []error
	for _, f := range all {
		stamp, _, _ := strings.Cut(f.Name(), "-")
		if slices.Contains(stamps, stamp) && stamp < oldest {
			errs = append(errs, os.Remove(filepath.Join(s.dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}
