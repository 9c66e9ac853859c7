package tracedb

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// ErrFull is in the chain of errors about a disk that takes no more. Appending
// tries again a second later at the earliest.
var ErrFull = errors.New("the disk is full")

// ErrGone is in the chain of errors about a record that was dropped.
var ErrGone = errors.New("record was dropped")

// retryFull is how long a full disk is left alone.
const retryFull = time.Second

// Log is a sequence of records. It is safe for concurrent use.
type Log struct {
	name string
	dir  string
	opts Options

	mu       sync.Mutex
	segments []*segment // oldest first
	active   *segment   // the last one, while it takes records; nil before the first
	next     uint64     // sequence number of the next record
	bytes    int64
	fullAt   time.Time // when the disk was found full; zero if it is not
	closed   bool
	buf      []byte // of the record being written
	lost     span   // records that the last failed sync may have lost

	syncing sync.Mutex // held while the disk is waited for; taken before mu
	synced  uint64     // records before this one are on the disk, or lost; guarded by syncing
}

// span is a range of sequence numbers, the end excluded.
type span struct{ from, to uint64 }

// segment is one file. Its size and last are guarded by the log's mu.
type segment struct {
	first uint64
	last  uint64 // of its records; below first while it has none
	size  int64
	file  *os.File
}

func (s *segment) ref() Ref { return Ref{s.first, s.size} }

// Log opens the log of a name, one to a name. Each record that is there goes to
// replay, oldest first; its payload is good for the call. An error of replay
// ends the opening. What is damaged is stepped over and told in the Report.
// A segmentBytes of 0 means that of the DB.
func (db *DB) Log(name string, segmentBytes int64, replay func(Record) error) (*Log, Report, error) {
	l := &Log{name: name, dir: filepath.Join(db.dir, name), opts: db.opts, next: 1}
	l.opts.SegmentBytes = cmp.Or(segmentBytes, db.opts.SegmentBytes)
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, Report{}, fmt.Errorf("open log %s: %w", name, err)
	}
	report, err := l.load(replay)
	if err != nil {
		l.close()
		return nil, report, fmt.Errorf("open log %s: %w", name, err)
	}
	l.synced = l.next
	db.mu.Lock()
	defer db.mu.Unlock()
	db.logs = append(db.logs, l)
	return l, report, nil
}

// Append writes a record, its payload the parts one behind the other, and
// returns where it is. It has been written when Append returns, and with
// Options.Sync 0 it is on the disk. Its error means that the record is not in the log, or, after a sync that
// failed, that it may not survive the machine.
func (l *Log) Append(kind byte, parts ...[]byte) (Ref, uint64, error) {
	ref, seq, err := l.write(kind, parts)
	if err == nil && l.opts.Sync == 0 {
		err = l.settle(seq)
	}
	if err != nil {
		return Ref{}, 0, fmt.Errorf("append to log %s: %w", l.name, err)
	}
	return ref, seq, nil
}

func (l *Log) write(kind byte, parts [][]byte) (Ref, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.closed {
		return Ref{}, 0, os.ErrClosed
	}
	if !l.fullAt.IsZero() && now.Sub(l.fullAt) < retryFull {
		return Ref{}, 0, ErrFull
	}
	if err := l.compose(kind, now, parts); err != nil {
		return Ref{}, 0, err
	}
	if l.active != nil && l.active.size > 0 && l.active.size+int64(len(l.buf)) > l.opts.SegmentBytes {
		if err := l.seal(); err != nil {
			return Ref{}, 0, err
		}
	}
	if l.active == nil {
		if err := l.begin(); err != nil {
			return Ref{}, 0, l.full(err, now)
		}
	}
	s := l.active
	if _, err := s.file.WriteAt(l.buf, s.size); err != nil {
		if terr := s.file.Truncate(s.size); terr != nil { // it ends in half a record: no more behind that
			err = errors.Join(err, l.seal())
		}
		return Ref{}, 0, l.full(err, now)
	}
	ref, seq := s.ref(), l.next
	s.size += int64(len(l.buf))
	s.last = seq
	l.bytes += int64(len(l.buf))
	l.next++
	l.fullAt = time.Time{}
	if cap(l.buf) > 4<<20 {
		l.buf = nil
	}
	return ref, seq, nil
}

// compose puts the frame and its payload into buf.
func (l *Log) compose(kind byte, now time.Time, parts [][]byte) error {
	n, sum := 0, uint32(0)
	for _, p := range parts {
		n += len(p)
		sum = crc32.Update(sum, castagnoli, p)
	}
	if n > MaxPayload {
		return fmt.Errorf("record of %d bytes, want at most %d", n, MaxPayload)
	}
	f := frame{kind: kind, seq: l.next, at: now.UnixNano(), length: n, payload: sum}
	l.buf = f.append(slices.Grow(l.buf[:0], frameBytes+n))
	for _, p := range parts {
		l.buf = append(l.buf, p...)
	}
	return nil
}

// full notes that the disk is full, if that is what err says.
func (l *Log) full(err error, now time.Time) error {
	if !isFull(err) {
		return err
	}
	l.fullAt = now
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// begin starts a file for the next record.
func (l *Log) begin() error {
	s := &segment{first: l.next, last: l.next - 1}
	path := l.path(s.first)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(l.dir); err != nil {
		f.Close()
		os.Remove(path)
		return err
	}
	s.file = f
	l.segments = append(l.segments, s)
	l.active = s
	return nil
}

// seal ends the active file, on the disk before another is begun: the records
// of a later file never survive without those of an earlier one.
func (l *Log) seal() error {
	s := l.active
	l.active = nil
	err := s.file.Sync()
	if err != nil {
		l.lost = span{s.first, l.next}
	}
	return err
}

func (l *Log) path(first uint64) string { return filepath.Join(l.dir, fmt.Sprintf("%016x.seg", first)) }

// Read returns the record at ref, which the caller owns, or an error that wraps
// [ErrGone] or says what is wrong with it.
func (l *Log) Read(ref Ref) (Record, error) {
	l.mu.Lock()
	i, found := slices.BinarySearchFunc(l.segments, ref.Segment, func(s *segment, first uint64) int { return cmp.Compare(s.first, first) })
	var s *segment
	size := int64(0)
	if found {
		s, size = l.segments[i], l.segments[i].size
	}
	l.mu.Unlock()
	if s == nil {
		return Record{}, fmt.Errorf("read log %s: %w", l.name, ErrGone)
	}
	rec, _, err := readRecord(s.file, ref, size, nil)
	if errors.Is(err, os.ErrClosed) {
		err = ErrGone
	}
	if err != nil {
		return Record{}, fmt.Errorf("read log %s: segment %x at %d: %w", l.name, ref.Segment, ref.Offset, err)
	}
	return rec, nil
}

// Bytes returns the size of the log's files.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// Next returns the sequence number that the next record gets.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}
