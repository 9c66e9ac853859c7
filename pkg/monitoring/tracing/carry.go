package tracing

import (
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// What a trace here has and OTLP has no place for goes along as attributes, so
// that an exported trace that is taken in again is the same trace: those of the
// trace as a whole on its first span, and how a span ended where that is neither
// ok nor error.
const (
	carryPrefix   = "pulsectl."
	carryStatus   = carryPrefix + "status"
	carryRequest  = carryPrefix + "request_id"
	carryUser     = carryPrefix + "user_id"
	carryMetadata = carryPrefix + "metadata"
	carryProfiles = carryPrefix + "profile_ids"
)

// carried is what a foreign span brought for its trace and its index entry.
type carried struct {
	outcome               outcome // unset if it brought none
	requestID, userID     string
	metadata              []otlp.KeyValue
	profiles              []string
	anything, ofTheRecord bool
}

// carrier tells whether an attribute may be one of those.
func carrier(key string) bool { return strings.HasPrefix(key, carryPrefix) }

// lift takes such attributes off a span that comes in. What it returns shares
// no memory with the span.
func (s *Store) lift(sp *otlp.Span) (c carried) {
	kept := sp.Attrs[:0]
	for _, a := range sp.Attrs {
		if !carrier(a.Key) || !s.liftOne(a, &c) {
			kept = append(kept, a)
		}
	}
	c.anything = len(kept) < len(sp.Attrs)
	sp.Attrs = kept
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
		c.requestID = otlp.Text(clip(a.Value.Str, maxName))
	case a.Key == carryUser && isText:
		c.userID = otlp.Text(clip(a.Value.Str, maxName))
	case a.Key == carryMetadata && a.Value.Kind == otlp.KindMap:
		for kv := range a.Value.Pairs() {
			if len(c.metadata) < s.opts.MaxAttrs {
				kv = s.fit(kv)
				kv.Key, kv.Value.Str = strings.Clone(clip(kv.Key, maxName)), strings.Clone(kv.Value.Str)
				c.metadata = append(c.metadata, kv)
			}
		}
	case a.Key == carryProfiles && a.Value.Kind == otlp.KindArray:
		for v := range a.Value.Items() {
			if v.Kind == otlp.KindString && len(c.profiles) < maxProfiles {
				c.profiles = append(c.profiles, otlp.Text(clip(v.Str, 256)))
			}
		}
	default:
		return false
	}
	c.ofTheRecord = c.ofTheRecord || a.Key != carryStatus
	return true
}

// maxProfiles is how many profiles a trace names.
const maxProfiles = 16

// settle gives the record what came for it, unless it has its own. The caller
// holds its mu.
func (c *carried) settle(r *record) {
	if r.requestID == "" {
		r.requestID = c.requestID
		r.size += int64(len(c.requestID))
	}
	if r.userID == "" {
		r.userID = c.userID
		r.size += int64(len(c.userID))
	}
	if len(r.metadata) == 0 {
		r.metadata = c.metadata
		for i := range c.metadata {
			r.size += int64(48 + len(c.metadata[i].Key) + len(c.metadata[i].Value.Str))
		}
	}
	for _, id := range c.profiles {
		if len(r.profiles) < maxProfiles && !slices.Contains(r.profiles, id) {
			r.profiles = append(r.profiles, id)
			r.size += int64(len(id))
		}
	}
	r.sum = nil
}

// carry returns the attributes for a span that goes out: those of its outcome
// and, on the first span, those of the trace.
func (r *record) carry(dst []byte, o outcome, first bool) []byte {
	add := func(key string, v otlp.Value) {
		dst = otlp.AppendAttr(dst, otlp.FieldAttrs, otlp.KeyValue{Key: key, Value: v})
	}
	if o == timedOut || o == aborted {
		add(carryStatus, otlp.String(string(o.status())))
	}
	if !first {
		return dst
	}
	if r.requestID != "" {
		add(carryRequest, otlp.String(r.requestID))
	}
	if r.userID != "" {
		add(carryUser, otlp.String(r.userID))
	}
	if len(r.metadata) > 0 {
		add(carryMetadata, otlp.Map(r.metadata...))
	}
	if len(r.profiles) > 0 {
		var ids []otlp.Value
		for _, id := range r.profiles {
			ids = append(ids, otlp.String(id))
		}
		add(carryProfiles, otlp.Array(ids...))
	}
	return dst
}
