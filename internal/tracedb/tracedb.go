// Package tracedb keeps on disk what a monitoring server must find again after
// a restart: batches of spans, chunks of them, profiles, audit records.
//
// A [DB] is a directory of logs; a [Log] is a sequence of records in segment
// files that are only ever appended to and are deleted whole, oldest first. A
// record is framed by its length and a checksum, so a file that was cut off or
// damaged loses the records that are damaged and no others: opening reports
// them and steps over. What is appended is written before [Log.Append] returns,
// so that the death of the process loses nothing; [Options.Sync] says how much
// the death of the machine may take.
//
// It knows nothing of spans: kinds and payloads are its users'.
package tracedb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options configures a [DB]. The zero value is ready to use.
type Options struct {
	// Sync is how long an appended record may wait for the disk: a machine that
	// loses power loses at most what was appended in that time. 0 means that
	// Append waits until the record is there.
	Sync time.Duration
	// SegmentBytes is the size from which on a log begins a new file; 0 means
	// 32 MiB. Space is freed by whole segments.
	SegmentBytes int64
}

// ErrLocked is in the chain of the error about a directory that another
// process has open.
var ErrLocked = errors.New("in use by another process")

// DB is an open directory of logs. It is safe for concurrent use.
type DB struct {
	dir  string
	opts Options
	lock *os.File

	mu     sync.Mutex
	logs   []*Log
	closed bool
}

// Open opens the directory, made with mode 0700 if it is not there, for this
// process alone. It starts nothing: see [DB.Run].
func Open(dir string, o Options) (*DB, error) {
	if o.Sync < 0 || o.SegmentBytes < 0 {
		return nil, fmt.Errorf("open data directory %s: Sync is %s and SegmentBytes %d, want 0 or more", dir, o.Sync, o.SegmentBytes)
	}
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 32<<20)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return &DB{dir: dir, opts: o, lock: lock}, nil
}

// Run brings what was appended to the disk, every Options.Sync, until ctx is
// done, and then once more.
func (db *DB) Run(ctx context.Context) error {
	if db.opts.Sync == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(db.opts.Sync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return db.Sync()
		case <-tick.C:
			db.Sync() // the log's own next Append tells of a failure
		}
	}
}

// Sync brings everything that was appended to the disk.
func (db *DB) Sync() error {
	var errs []error
	for _, l := range db.open() {
		errs = append(errs, l.Sync())
	}
	return errors.Join(errs...)
}

// Bytes returns the size of all logs.
func (db *DB) Bytes() (n int64) {
	for _, l := range db.open() {
		n += l.Bytes()
	}
	return n
}

// Close syncs and closes the logs and gives the directory free.
func (db *DB) Close() error {
	err := db.Sync()
	for _, l := range db.open() {
		err = errors.Join(err, l.close())
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	return errors.Join(err, db.lock.Close())
}

func (db *DB) open() []*Log {
	db.mu.Lock()
	defer db.mu.Unlock()
	return append([]*Log(nil), db.logs...)
}

// syncDir makes the entries of a directory durable: a new file's name is not
// before.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) { // some file systems cannot
		return err
	}
	return nil
}
