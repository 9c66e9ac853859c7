package tracedb

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report says what opening a log found.
type Report struct {
	Records int
	Bytes   int64    // of the files
	Torn    int64    // bytes of a record that was being written when the process or machine died
	Damaged int64    // bytes stepped over
	Where   []string // of the damage, in words, at most 16
}

const maxWhere = 16

func (r *Report) damage(n int64, format string, args ...any) {
	r.Damaged += n
	if len(r.Where) < maxWhere {
		r.Where = append(r.Where, fmt.Sprintf(format, args...))
	}
}

// load reads the files that are there. None of them is written to again: the
// next record begins a new one.
func (l *Log) load(replay func(Record) error) (Report, error) {
	var report Report
	files, err := filepath.Glob(filepath.Join(l.dir, "*.seg"))
	if err != nil {
		return report, err
	}
	slices.Sort(files) // names have one length
	for i, path := range files {
		first, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".seg"), 16, 64)
		if err != nil || filepath.Base(l.path(first)) != filepath.Base(path) || first == 0 {
			continue // none of ours
		}
		s, err := openSegment(path, first)
		if err != nil {
			report.damage(0, "%v", err)
			l.next = max(l.next, first+1)
			continue
		}
		l.segments = append(l.segments, s)
		l.bytes += s.size
		report.Bytes += s.size
		r := reader{log: l, segment: s, report: &report, replay: replay, tail: i == len(files)-1}
		if err := r.run(); err != nil {
			return report, err
		}
		l.next = max(l.next, s.last+1, first+1)
	}
	return report, nil
}

func openSegment(path string, first uint64) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segment{first: first, last: first - 1, size: st.Size(), file: f}, nil
}

// reader goes through one file.
type reader struct {
	log     *Log
	segment *segment
	report  *Report
	replay  func(Record) error
	tail    bool // the last file, which may end in half a record
	buf     []byte
}

func (r *reader) run() error {
	s := r.segment
	for at := int64(0); at < s.size; {
		rec, n, err := readRecord(s.file, Ref{s.first, at}, s.size, &r.buf)
		if err != nil {
			at = r.skip(at, err)
			continue
		}
		at += n
		if rec.Seq <= s.last || rec.Seq < s.first { // a copy of an older record
			r.report.damage(n, "%s: record %d again at %d", r.path(), rec.Seq, at-n)
			continue
		}
		s.last = rec.Seq
		r.report.Records++
		if err := r.replay(rec); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) path() string { return filepath.Base(r.log.path(r.segment.first)) }

// skip returns where the next frame after at begins, or the end.
func (r *reader) skip(at int64, why error) int64 {
	next := r.find(at + 1)
	if r.tail && next == r.segment.size && errors.Is(why, errShort) {
		r.report.Torn += next - at
		return next
	}
	r.report.damage(next-at, "%s: %v at %d, %d bytes stepped over", r.path(), why, at, next-at)
	return next
}

// find looks for a whole frame from at on.
func (r *reader) find(at int64) int64 {
	window := make([]byte, 64<<10)
	for at < r.segment.size {
		n, err := r.segment.file.ReadAt(window, at)
		if n < frameBytes || err != nil && err != io.EOF {
			break
		}
		for i := 0; ; i++ {
			j := bytes.Index(window[i:n], magic[:])
			if j < 0 || i+j+frameBytes > n {
				break
			}
			i += j
			if _, ok := parseFrame(window[i:n]); ok {
				return at + int64(i)
			}
		}
		at += int64(n - frameBytes + 1) // a frame may lie across the window's end
	}
	return r.segment.size
}

// errShort says that the file ends within the record.
var errShort = errors.New("the file ends within a record")

// readRecord reads the record at ref of a file with size bytes, and returns
// the bytes that it takes. The payload is read into *buf if that is not nil.
func readRecord(file *os.File, ref Ref, size int64, buf *[]byte) (Record, int64, error) {
	var head [frameBytes]byte
	if ref.Offset < 0 || size-ref.Offset < frameBytes {
		return Record{}, 0, errShort
	}
	if _, err := file.ReadAt(head[:], ref.Offset); err != nil {
		return Record{}, 0, err
	}
	f, ok := parseFrame(head[:])
	switch {
	case !ok:
		return Record{}, 0, errors.New("no record")
	case size-ref.Offset-frameBytes < int64(f.length):
		return Record{}, 0, errShort
	}
	if buf == nil {
		buf = new([]byte)
	}
	*buf = slices.Grow((*buf)[:0], f.length)[:f.length]
	if _, err := file.ReadAt(*buf, ref.Offset+frameBytes); err != nil {
		return Record{}, 0, err
	}
	if crc32.Checksum(*buf, castagnoli) != f.payload {
		return Record{}, 0, errors.New("a damaged record")
	}
	rec := Record{Ref: ref, Seq: f.seq, Time: time.Unix(0, f.at).UTC(), Kind: f.kind, Payload: *buf}
	return rec, int64(frameBytes + f.length), nil
}
