package tracing

import (
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// What a trace here has and OTLP has no place for goes along as attributes, so
// that an exported trace that is taken in again is the same trace: those of the
// trace as a whole on its first span, and how a span ended where that is neither
// ok nor error.
const (
	carryStatus   = otlp.OwnPrefix + "status"
	carryRequest  = otlp.OwnPrefix + "request_id"
	carryUser     = otlp.OwnPrefix + "user_id"
	carryMetadata = otlp.OwnPrefix + "metadata"
	carryProfiles = otlp.OwnPrefix + "profile_ids"
)

// carried is what a foreign span brought for its trace and its index entry.
type carried struct {
	outcome  outcome // unset if it brought none
	note     note
	message  []byte // the span without it, nil if it brought nothing and is not huge
	nameAt   int    // in message
	nameSize int
}

// lift takes such attributes off a span that comes in, and brings one that is
// larger than Options.MaxSpanBytes within the limits that readers would see it
// by, so that one huge value does not cost the span. What it returns shares no
// memory with the span.
func (s *Store) lift(raw []byte) (c carried) {
	var sp otlp.Span
	if sp.Decode(raw) != nil {
		return c // it was decoded before
	}
	others := sp.Attrs[:0]
	for _, a := range sp.Attrs {
		if !strings.HasPrefix(a.Key, otlp.OwnPrefix) || !s.liftOne(a, &c) {
			others = append(others, a)
		}
	}
	huge := len(raw) > s.opts.MaxSpanBytes
	if huge || len(others) < len(sp.Attrs) {
		sp.Attrs = others
		if huge {
			(&door{store: s}).restrict(&sp)
		}
		c.message = otlp.AppendSpan(nil, &sp)
		c.nameAt, c.nameSize = otlp.FindName(c.message)
	}
	return c
}

func (s *Store) liftOne(a otlp.KeyValue, c *carried) bool {
	isText := a.Value.Kind == otlp.KindString
	switch {
	case a.Key == carryStatus && isText:
		for o := timedOut; o <= aborted; o++ {
			if string(o.status()) == a.Value.Str {
				c.outcome = o
			}
		}
		return c.outcome != unset
	case a.Key == carryRequest && isText:
		c.note.requestID = otlp.Text(clip(a.Value.Str, maxName))
	case a.Key == carryUser && isText:
		c.note.userID = otlp.Text(clip(a.Value.Str, maxName))
	case a.Key == carryMetadata && a.Value.Kind == otlp.KindMap:
		for kv := range a.Value.Pairs() {
			if len(c.note.metadata) < s.opts.MaxAttrs {
				s.veil(&kv)
				kv.Key, kv.Value.Str = strings.Clone(clip(kv.Key, maxName)), strings.Clone(kv.Value.Str)
				c.note.metadata = append(c.note.metadata, kv)
			}
		}
	case a.Key == carryProfiles && a.Value.Kind == otlp.KindArray:
		for v := range a.Value.Items() {
			if v.Kind == otlp.KindString && len(c.note.profiles) < maxProfiles {
				c.note.profiles = append(c.note.profiles, otlp.Text(clip(v.Str, 256)))
			}
		}
	default:
		return false
	}
	return true
}

// carry returns the attributes for a span that goes out: those of its outcome
// and, on the first span, those of the trace.
func (v *view) carry(dst []byte, o outcome, first bool) []byte {
	add := func(key string, v otlp.Value) {
		dst = otlp.AppendAttr(dst, otlp.FieldAttrs, otlp.KeyValue{Key: key, Value: v})
	}
	if o == timedOut || o == aborted {
		add(carryStatus, otlp.String(string(o.status())))
	}
	if !first {
		return dst
	}
	if v.note.requestID != "" {
		add(carryRequest, otlp.String(v.note.requestID))
	}
	if v.note.userID != "" {
		add(carryUser, otlp.String(v.note.userID))
	}
	if len(v.note.metadata) > 0 {
		add(carryMetadata, otlp.Map(v.note.metadata...))
	}
	if len(v.note.profiles) > 0 {
		var ids []otlp.Value
		for _, id := range v.note.profiles {
			ids = append(ids, otlp.String(id))
		}
		add(carryProfiles, otlp.Array(ids...))
	}
	return dst
}
