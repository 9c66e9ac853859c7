package tracedb

import (
	"errors"
	"os"
)

// DropBefore deletes the files all of whose records come before seq, and says
// with which record the log begins then. The file that takes records stays.
func (l *Log) DropBefore(seq uint64) (first uint64, err error) {
	return l.drop(func(s *segment, _ int64) bool { return s.last < seq })
}

// Shrink deletes the oldest files until the log has at most max bytes.
func (l *Log) Shrink(max int64) (first uint64, err error) {
	return l.drop(func(_ *segment, bytes int64) bool { return bytes > max })
}

// drop deletes the oldest files while old says so of one and the log's bytes.
func (l *Log) drop(old func(s *segment, bytes int64) bool) (first uint64, err error) {
	l.mu.Lock()
	var gone []*segment
	for len(l.segments) > 0 && l.segments[0] != l.active && old(l.segments[0], l.bytes) {
		s := l.segments[0]
		gone = append(gone, s)
		l.segments = l.segments[1:]
		l.bytes -= s.size
	}
	first = l.next
	if len(l.segments) > 0 {
		first = l.segments[0].first
	}
	l.mu.Unlock()
	for _, s := range gone {
		err = errors.Join(err, s.file.Close(), os.Remove(l.path(s.first)))
	}
	return first, err
}
