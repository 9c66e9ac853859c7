package render

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// fact is one labelled line of a screen about a single thing.
type fact struct{ label, text string }

// facts writes labels in a muted column and their texts beside it, wrapped to
// the width.
func (s *screen) facts(fs []fact) {
	w := 0
	for _, f := range fs {
		w = max(w, cells(f.label))
	}
	for _, f := range fs {
		text, label := f.text, fit(f.label, w)
		if room := s.Width - w - gutter; !s.Wide && room > 0 {
			text = ansi.Wrap(text, room, " ")
		}
		for line := range strings.SplitSeq(text, "\n") {
			s.line(s.muted.Render(label), blanks(gutter), line)
			label = blanks(w)
		}
	}
}
