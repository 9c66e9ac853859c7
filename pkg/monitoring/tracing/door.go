package tracing

import (
	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// door is the one way out for what the store keeps as it was sent: a span that
// goes through has its secrets masked, its long texts cut and what is beyond
// the limits left out and counted. Filters look at what comes out of it, so
// nobody learns a secret by asking for it. A door is one reader's.
type door struct {
	store *Store
	read  otlp.Span
}

// open decodes a message. What it returns is the door's and aliases the message.
func (d *door) open(message []byte) (*otlp.Span, bool) {
	if message == nil || d.read.Decode(message) != nil {
		return nil, false
	}
	d.restrict(&d.read)
	return &d.read, true
}

// span makes the api value of an ended span.
func (d *door) span(sp *viewSpan, message []byte) (api.Span, bool) {
	read, ok := d.open(message)
	if !ok {
		return api.Span{}, false
	}
	return convertSpan(read, sp.outcome, otlp.Text(sp.from.service), sp.from.scope), true
}

// running makes the api value of a span without an end.
func (d *door) running(sp *runningSpan) api.Span {
	read := sp.Span
	d.restrict(&read)
	out := convertSpan(&read, sp.outcome, d.store.resource.service, scopeName(sp.scope))
	out.EndTime, out.Duration = api.Time{}, nil
	return out
}

// resource returns the attributes of a Resource message.
func (d *door) resource(raw []byte) []otlp.KeyValue {
	r, err := otlp.DecodeResource(raw)
	if err != nil {
		return nil // it was decoded before it was kept
	}
	d.attrs(&r.Attrs, &r.Dropped)
	return r.Attrs
}

// restrict masks secrets and drops what is beyond the limits. A text that it
// cuts counts as dropped too: as an attribute or an event, whose it is.
func (d *door) restrict(sp *otlp.Span) {
	s, o := d.store, &d.store.opts
	if n := o.MaxEvents; len(sp.Events) > n {
		sp.DroppedEvents += uint32(len(sp.Events) - n)
		sp.Events = sp.Events[:n]
	}
	if n := o.MaxLinks; len(sp.Links) > n {
		sp.DroppedLinks += uint32(len(sp.Links) - n)
		sp.Links = sp.Links[:n]
	}
	sp.Name = clip(sp.Name, maxName)
	sp.StatusMessage = s.masker.text(sp.StatusMessage)
	d.cut(&sp.StatusMessage, &sp.DroppedAttrs)
	d.attrs(&sp.Attrs, &sp.DroppedAttrs)
	for i := range sp.Events {
		e := &sp.Events[i]
		d.cut(&e.Name, &e.Dropped)
		d.attrs(&e.Attrs, &e.Dropped)
	}
	for i := range sp.Links {
		d.attrs(&sp.Links[i].Attrs, &sp.Links[i].Dropped)
	}
}

func (d *door) attrs(attrs *[]otlp.KeyValue, dropped *uint32) {
	if n := d.store.opts.MaxAttrs; len(*attrs) > n {
		*dropped += uint32(len(*attrs) - n)
		*attrs = (*attrs)[:n]
	}
	for i := range *attrs {
		a := &(*attrs)[i]
		if d.store.veil(a) {
			*dropped++
		}
		a.Key = clip(a.Key, maxName)
	}
}

func (d *door) cut(text *string, dropped *uint32) {
	if n := d.store.opts.MaxValueBytes; len(*text) > n {
		*text = clip(*text, n)
		*dropped++
	}
}

// veil masks the value of a secret and cuts a long text, which it says.
func (s *Store) veil(a *otlp.KeyValue) (cut bool) {
	a.Value = s.masker.value(a.Key, a.Value)
	if len(a.Value.Str) <= s.opts.MaxValueBytes {
		return false
	}
	switch a.Value.Kind {
	case otlp.KindArray, otlp.KindMap: // cut inside it would be broken: its beginning as text
		a.Value = otlp.String(clip(a.Value.Text(), s.opts.MaxValueBytes))
	default:
		a.Value.Str = clip(a.Value.Str, s.opts.MaxValueBytes)
	}
	return true
}
