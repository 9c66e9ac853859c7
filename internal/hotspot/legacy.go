package hotspot

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/google/pprof/profile"
)

// maxLegacy bounds what is handed to pprof's own parser, which builds a graph
// of pointers, sixty times what it reads; real profiles of these formats are well
// under a megabyte.
const maxLegacy = 4 << 20

// isText tells whether b holds no control characters but white space.
func isText(b string) bool {
	for i := range len(b) {
		if c := b[i]; c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

// isLegacyCPU tells whether b begins like a gperftools CPU profile of a
// little-endian machine: a word 0, then 3, the number of header words to come.
func isLegacyCPU(raw string) bool {
	b := []byte(raw[:min(len(raw), 32)])
	le := binary.LittleEndian
	switch {
	case len(b) < 32:
		return false
	case le.Uint32(b) == 0 && le.Uint32(b[4:]) == 3:
		return true
	}
	return le.Uint64(b) == 0 && le.Uint64(b[8:]) == 3
}

// parseLegacy reads the formats before profile.proto with pprof's own parser:
// gperftools CPU, heap and contention, Java, and Go's text forms. Both callers'
// checks, [isText] and [isLegacyCPU], also keep that parser from first taking
// the input for a protobuf full of tiny messages that cost it much memory.
func parseLegacy(raw string, lim Limits) (p *Profile, err error) {
	if len(raw) > maxLegacy {
		return nil, fmt.Errorf("%w: %d bytes of a legacy format, want at most %d", ErrTooLarge, len(raw), maxLegacy)
	}
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, bad("legacy format: %v", r)
		}
	}()
	old, err := profile.ParseData([]byte(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var buf bytes.Buffer
	if err := old.WriteUncompressed(&buf); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if p, err = parseProto(buf.String(), lim); err == nil {
		p.form = formLegacy
	}
	return p, err
}
