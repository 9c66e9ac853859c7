package tracing

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// wants are what a query asks of spans: each tag, and the text, must be met by
// some span of the trace, its resource or its note. What a trace still lacks is
// a set of bits, one a tag and the last for the text.
type wants struct {
	tags []Tag
	keys [][]byte
	text string // lower case
	all  uint64

	roots map[*byte]bool // resources that have the text
}

const (
	maxWanted = 62 // tags of a query; more fit nothing
	wantText  = 1 << 63
)

func newWants(q *Query) wants {
	w := wants{tags: q.Tags[:min(len(q.Tags), maxWanted)], text: strings.ToLower(q.Text), roots: map[*byte]bool{}}
	if len(q.Tags) > maxWanted {
		w.all = 1 << maxWanted // which nothing meets
	}
	for i := range w.tags {
		w.keys = append(w.keys, []byte(w.tags[i].key))
		w.all |= 1 << i
	}
	if w.text != "" {
		w.all |= wantText
	}
	return w
}

func (w *wants) none() bool { return w.all == 0 }

// tagged returns what is still open after the attributes.
func (w *wants) tagged(open uint64, attrs []otlp.KeyValue) uint64 {
	if open&^wantText == 0 {
		return open
	}
	for i := range attrs {
		open = w.tag(open, &attrs[i])
	}
	return open
}

// tag returns what is still open after one attribute, the text aside.
func (w *wants) tag(open uint64, a *otlp.KeyValue) uint64 {
	for t := range w.tags {
		if bit := uint64(1) << t; open&bit != 0 && w.tags[t].matches(a) {
			open &^= bit
		}
	}
	return open
}

// noted returns what is still open after a trace's note.
func (w *wants) noted(s *Store, open uint64, n *note) uint64 {
	for i := range n.metadata {
		a := n.metadata[i]
		s.veil(&a)
		open = w.attr(open, &a)
	}
	return open
}

// root returns what is still open after the resource of a trace's root: its
// text counts. Resources are the same for many traces, so it remembers them.
func (w *wants) root(s *Store, open uint64, resource []byte) uint64 {
	if open&wantText == 0 || len(resource) == 0 {
		return open
	}
	says, known := w.roots[&resource[0]]
	if !known {
		for _, a := range (&door{store: s}).resource(resource) {
			says = says || w.look(wantText, a.Value.Text()) == 0
		}
		w.roots[&resource[0]] = says
	}
	if says {
		open &^= wantText
	}
	return open
}

func (w *wants) attr(open uint64, a *otlp.KeyValue) uint64 {
	open = w.tag(open, a)
	if open&wantText != 0 && a.Value.Kind != otlp.KindEmpty {
		return w.look(open, a.Value.Text())
	}
	return open
}

// span returns what is still open after a span that came through the door.
func (w *wants) span(open uint64, sp *otlp.Span) uint64 {
	for i := range sp.Attrs {
		if open == 0 {
			return 0
		}
		open = w.attr(open, &sp.Attrs[i])
	}
	if open&wantText == 0 {
		return open
	}
	open = w.look(w.look(open, sp.Name), sp.StatusMessage)
	for i := range sp.Events {
		open = w.look(open, sp.Events[i].Name)
	}
	return open
}

// tagsOf returns what is still open after the attributes of an encoded span, of
// which only those asked for are decoded: 80 ns a span where the whole span
// takes 430.
func (w *wants) tagsOf(d *door, open uint64, message []byte) uint64 {
	wanted := func(key []byte) bool {
		for t := range w.keys {
			if string(key) == string(w.keys[t]) {
				return true
			}
		}
		return false
	}
	_ = otlp.SpanAttrs(message, d.store.opts.MaxAttrs, wanted, func(a otlp.KeyValue) { // it was decoded before it was kept
		d.store.veil(&a)
		open = w.attr(open, &a)
	})
	return open
}

// among returns the tags whose keys a chunk may have.
func (w *wants) among(keys *otlp.KeySet) (set uint64) {
	for t := range w.tags {
		if keys.Has(w.tags[t].key) {
			set |= 1 << t
		}
	}
	return set | w.all&wantText
}

func (w *wants) look(open uint64, s string) uint64 {
	if open&wantText != 0 && containsFold(s, w.text) {
		open &^= wantText
	}
	return open
}

// maybe tells by the bytes alone whether messages may meet something that is
// open: a key that is nowhere in them is no span's.
func (w *wants) maybe(open uint64, messages []byte) bool {
	return open&wantText != 0 || open&w.mentioned(messages) != 0
}

// mentioned returns the tags whose keys are in the messages.
func (w *wants) mentioned(messages []byte) (set uint64) {
	for t, key := range w.keys {
		if bytes.Contains(messages, key) {
			set |= 1 << t
		}
	}
	return set
}

// containsFold tells whether s has text, which is lower case, in whatever case.
// It allocates only if s is not ASCII.
func containsFold(s, text string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.Contains(strings.ToLower(s), text)
		}
	}
	for i := 0; i+len(text) <= len(s); i++ {
		if c := s[i]; (c == text[0] || c >= 'A' && c <= 'Z' && c|0x20 == text[0]) && strings.EqualFold(s[i:i+len(text)], text) {
			return true
		}
	}
	return false
}
