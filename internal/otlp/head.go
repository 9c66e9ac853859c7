package otlp

import "slices"

// Head is all of a span but its repeated fields. See [Span] for their meaning.
type Head struct {
	TraceID    [16]byte
	SpanID     [8]byte
	ParentID   [8]byte
	Start, End uint64
	TraceState string
	Name       string
	Status     string // its message
	Flags      uint32
	Kind       int32
	Code       int32     // of the status
	Dropped    [3]uint32 // attributes, events, links
}

// AppendHead appends a Span message without its repeated fields. The name
// begins at out[name].
func AppendHead(dst []byte, h *Head) (out []byte, name int) {
	dst = slices.Grow(dst, h.Size())
	dst = append(append(dst, 1<<3|2, 16), h.TraceID[:]...)
	dst = append(append(dst, 2<<3|2, 8), h.SpanID[:]...)
	dst = appendText(dst, 3, h.TraceState)
	if h.ParentID != [8]byte{} {
		dst = append(append(dst, 4<<3|2, 8), h.ParentID[:]...)
	}
	dst = appendText(dst, 5, h.Name)
	name = len(dst) - len(h.Name)
	dst = appendVarint(dst, 6, uint64(h.Kind))
	dst = appendFixed64(dst, 7, h.Start)
	dst = appendFixed64(dst, 8, h.End)
	if h.Dropped != [3]uint32{} {
		dst = appendVarint(dst, 10, uint64(h.Dropped[0]))
		dst = appendVarint(dst, 12, uint64(h.Dropped[1]))
		dst = appendVarint(dst, 14, uint64(h.Dropped[2]))
	}
	if h.Code != 0 || h.Status != "" {
		n := textSize(h.Status)
		if h.Code != 0 {
			n += 1 + varintSize(uint64(h.Code))
		}
		dst = appendHead(dst, 15, n)
		dst = appendText(dst, 2, h.Status)
		dst = appendVarint(dst, 3, uint64(h.Code))
	}
	return appendFixed32(dst, 16, h.Flags), name
}

// Size returns at least as many bytes as AppendHead appends.
func (h *Head) Size() int { return len(h.Name) + len(h.Status) + len(h.TraceState) + 140 }
