package otlp

import (
	"github.com/VictoriaMetrics/easyproto"
)

// Decoder decodes requests. Its zero value is ready; it is for one goroutine
// at a time and keeps its memory from one call to the next.
type Decoder struct {
	res   Resource
	scope Scope
	span  Span
}

// Decode calls each for every span of an ExportTraceServiceRequest, in order,
// valid or not. What each is given belongs to the Decoder and aliases body. An
// error means that body is malformed from there on; spans before it have been
// handed out.
func (d *Decoder) Decode(body []byte, each func(*Resource, *Scope, *Span)) error {
	return d.Split(body, func(r *Resource, scope *Scope, span []byte) error {
		if err := d.span.Decode(span); err != nil {
			return err
		}
		each(r, scope, &d.span)
		return nil
	})
}

// Split is Decode for one who looks at the spans himself: it calls each with
// the messages as they are, until that returns an error.
func (d *Decoder) Split(body []byte, each func(*Resource, *Scope, []byte) error) error {
	d.res.Ordinal = 0
	return fields(body, "request", func(fc *easyproto.FieldContext) error {
		if fc.FieldNum != 1 {
			return nil
		}
		data, err := message(fc, "resource_spans")
		if err != nil {
			return err
		}
		return d.resourceSpans(data, each)
	})
}

// resourceSpans goes over its message twice, since the resource may stand
// after the spans that belong to it.
func (d *Decoder) resourceSpans(src []byte, each func(*Resource, *Scope, []byte) error) error {
	d.res = Resource{Attrs: d.res.Attrs[:0], Ordinal: d.res.Ordinal + 1}
	err := fields(src, "resource_spans", func(fc *easyproto.FieldContext) error {
		if fc.FieldNum != 1 {
			return nil
		}
		data, err := message(fc, "resource")
		if err != nil {
			return err
		}
		return d.res.decode(data)
	})
	if err != nil {
		return err
	}
	return fields(src, "resource_spans", func(fc *easyproto.FieldContext) error {
		if fc.FieldNum != 2 {
			return nil
		}
		data, err := message(fc, "scope_spans")
		if err != nil {
			return err
		}
		return d.scopeSpans(data, each)
	})
}

func (d *Decoder) scopeSpans(src []byte, each func(*Resource, *Scope, []byte) error) error {
	d.scope = Scope{Attrs: d.scope.Attrs[:0]}
	err := fields(src, "scope_spans", func(fc *easyproto.FieldContext) error {
		if fc.FieldNum != 1 {
			return nil
		}
		data, err := message(fc, "scope")
		if err != nil {
			return err
		}
		return d.scope.decode(data)
	})
	if err != nil {
		return err
	}
	return fields(src, "scope_spans", func(fc *easyproto.FieldContext) error {
		if fc.FieldNum != 2 {
			return nil
		}
		data, err := message(fc, "span")
		if err != nil {
			return err
		}
		return each(&d.res, &d.scope, data)
	})
}

// DecodeResource decodes a Resource message, as [AppendResource] writes it.
func DecodeResource(src []byte) (Resource, error) {
	var r Resource
	err := r.decode(src)
	return r, err
}

// DecodeScope decodes an InstrumentationScope message, as [AppendScope] writes it.
func DecodeScope(src []byte) (Scope, error) {
	var s Scope
	err := s.decode(src)
	return s, err
}

func (r *Resource) decode(src []byte) error {
	err := fields(src, "resource", func(fc *easyproto.FieldContext) (err error) {
		switch fc.FieldNum {
		case 1:
			r.Attrs, err = appendAttr(r.Attrs, &r.Dropped, fc)
		case 2:
			err = addUint32(fc, &r.Dropped, "dropped_attributes_count")
		}
		return err
	})
	for _, a := range r.Attrs {
		if a.Key == "service.name" && a.Value.Kind == KindString {
			r.Service = a.Value.Str
		}
	}
	return err
}

func (s *Scope) decode(src []byte) error {
	return fields(src, "scope", func(fc *easyproto.FieldContext) (err error) {
		switch fc.FieldNum {
		case 1:
			s.Name, err = str(fc, "scope name")
		case 2:
			s.Version, err = str(fc, "scope version")
		case 3:
			s.Attrs, err = appendAttr(s.Attrs, &s.Dropped, fc)
		case 4:
			err = addUint32(fc, &s.Dropped, "dropped_attributes_count")
		}
		return err
	})
}

// Decode decodes a Span message into s, using its slices again. It goes over
// the message twice, so that a span's attributes and those of its events lie
// together whatever their order is.
func (s *Span) Decode(src []byte) error {
	s.reset()
	s.Raw = src
	var fc easyproto.FieldContext
	var err error
	for rest := src; len(rest) > 0; {
		if rest, err = next(&fc, rest, "span"); err != nil {
			return err
		}
		if err = s.plainField(&fc); err != nil {
			return err
		}
	}
	sent := s.DroppedAttrs
	for rest := src; len(rest) > 0; {
		if rest, err = next(&fc, rest, "span"); err != nil {
			return err
		}
		if err = s.repeatedField(&fc); err != nil {
			return err
		}
	}
	s.Cropped = s.Cropped || s.DroppedAttrs != sent
	return nil
}

func (s *Span) plainField(fc *easyproto.FieldContext) (err error) {
	switch fc.FieldNum {
	case 1:
		err = s.id(fc, s.TraceID[:], "trace_id")
	case 2:
		err = s.id(fc, s.SpanID[:], "span_id")
	case 3:
		s.TraceState, err = str(fc, "trace_state")
	case 4:
		err = s.parent(fc)
	case 5:
		s.Name, err = str(fc, "name")
	case 6:
		s.Kind, err = enum(fc, "kind")
	case 7:
		s.Start, err = fixed64(fc, "start_time_unix_nano")
	case 8:
		s.End, err = fixed64(fc, "end_time_unix_nano")
	case 10:
		err = setUint32(fc, &s.DroppedAttrs, "dropped_attributes_count")
	case 12:
		err = setUint32(fc, &s.DroppedEvents, "dropped_events_count")
	case 14:
		err = setUint32(fc, &s.DroppedLinks, "dropped_links_count")
	case 15:
		var data []byte
		if data, err = message(fc, "status"); err == nil {
			err = s.status(data)
		}
	case 16:
		s.Flags, err = fixed32(fc, "flags")
	}
	return err
}

func (s *Span) repeatedField(fc *easyproto.FieldContext) (err error) {
	switch fc.FieldNum {
	case 9:
		s.Attrs, err = appendAttr(s.Attrs, &s.DroppedAttrs, fc)
	case 11:
		var data []byte
		if data, err = message(fc, "event"); err == nil {
			err = s.event(data)
		}
	case 13:
		var data []byte
		if data, err = message(fc, "link"); err == nil {
			err = s.link(data)
		}
	}
	return err
}

// id copies an id. One of the wrong length does not break the message: it
// makes the span invalid.
func (s *Span) id(fc *easyproto.FieldContext, dst []byte, what string) error {
	b, ok := fc.Bytes()
	if !ok {
		return wrongType(what)
	}
	clear(dst)
	if len(b) != len(dst) {
		s.badIDs = s.badIDs || len(b) > 0
		return nil
	}
	copy(dst, b)
	return nil
}

func (s *Span) parent(fc *easyproto.FieldContext) error {
	return s.id(fc, s.ParentID[:], "parent_span_id")
}

func (s *Span) status(src []byte) error {
	return fields(src, "status", func(fc *easyproto.FieldContext) (err error) {
		switch fc.FieldNum {
		case 2:
			s.StatusMessage, err = str(fc, "status message")
		case 3:
			s.Status, err = enum(fc, "status code")
		}
		return err
	})
}

func (s *Span) event(src []byte) error {
	if len(s.Events) == MaxEvents {
		s.DroppedEvents++
		s.Cropped = true
		return nil
	}
	s.Events = grow(s.Events)
	e := &s.Events[len(s.Events)-1]
	*e = Event{Attrs: e.Attrs[:0]}
	sent := uint32(0)
	var fc easyproto.FieldContext
	var err error
	for len(src) > 0 && err == nil {
		if src, err = next(&fc, src, "event"); err != nil {
			break
		}
		switch fc.FieldNum {
		case 1:
			e.Time, err = fixed64(&fc, "time_unix_nano")
		case 2:
			e.Name, err = str(&fc, "event name")
		case 3:
			e.Attrs, err = appendAttr(e.Attrs, &e.Dropped, &fc)
		case 4:
			err = setUint32(&fc, &sent, "dropped_attributes_count")
		}
	}
	s.Cropped = s.Cropped || e.Dropped > 0
	e.Dropped += sent
	return err
}

func (s *Span) link(src []byte) error {
	if len(s.Links) == MaxLinks {
		s.DroppedLinks++
		s.Cropped = true
		return nil
	}
	s.Links = grow(s.Links)
	l := &s.Links[len(s.Links)-1]
	*l = Link{Attrs: l.Attrs[:0]}
	sent := uint32(0)
	var fc easyproto.FieldContext
	var err error
	for len(src) > 0 && err == nil {
		if src, err = next(&fc, src, "link"); err != nil {
			break
		}
		switch fc.FieldNum {
		case 1:
			err = s.id(&fc, l.TraceID[:], "link trace_id")
		case 2:
			err = s.id(&fc, l.SpanID[:], "link span_id")
		case 3:
			l.TraceState, err = str(&fc, "link trace_state")
		case 4:
			l.Attrs, err = appendAttr(l.Attrs, &l.Dropped, &fc)
		case 5:
			err = setUint32(&fc, &sent, "dropped_attributes_count")
		case 6:
			l.Flags, err = fixed32(&fc, "link flags")
		}
	}
	s.Cropped = s.Cropped || l.Dropped > 0
	l.Dropped += sent
	return err
}

// grow makes s one longer, keeping what lies behind its end for use again.
func grow[T any](s []T) []T {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var zero T
	return append(s, zero)
}

// FindName returns where the name stands in an encoded Span: n bytes from lo.
func FindName(span []byte) (lo, n int) {
	var fc easyproto.FieldContext
	for rest := span; len(rest) > 0; {
		var err error
		if rest, err = next(&fc, rest, "span"); err != nil {
			return 0, 0
		}
		if fc.FieldNum != 5 {
			continue
		}
		if name, ok := fc.String(); ok {
			lo, n = len(span)-len(rest)-len(name), len(name)
		}
	}
	return lo, n
}
