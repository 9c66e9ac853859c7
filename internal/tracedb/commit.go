package tracedb

import (
	"errors"
	"fmt"
)

// Sync brings what was appended to the disk.
func (l *Log) Sync() error {
	l.mu.Lock()
	last := l.next - 1
	l.mu.Unlock()
	if err := l.settle(last); err != nil {
		return fmt.Errorf("sync log %s: %w", l.name, err)
	}
	return nil
}

// settle waits until the record seq is on the disk. Whoever comes first syncs
// for all who have written by then; the others find theirs done.
func (l *Log) settle(seq uint64) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	s, upto, lost := l.active, l.next, l.lost
	l.mu.Unlock()
	switch {
	case lost.from <= seq && seq < lost.to:
		return errLost
	case seq < l.synced:
		return nil
	}
	var err error
	if s != nil { // else the file was sealed, and synced by that
		err = s.file.Sync()
	}
	l.synced = upto
	if err == nil {
		return nil
	}
	// The kernel may have forgotten the pages that it could not write: a second
	// sync of this file would succeed and mean nothing.
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active == s {
		l.active = nil
	}
	l.lost = span{s.first, upto}
	return err
}

var errLost = errors.New("the disk did not take what was written before")

func (l *Log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed, l.active = true, nil
	var err error
	for _, s := range l.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
