package render

import (
	"io"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// asciiWriter writes what is drawn in ASCII alone, each cell in its place, for
// terminals and logs that cannot show more.
type asciiWriter struct {
	w    io.Writer
	left []byte // the beginning of a character whose end has not come
}

// asciiSigns are the signs of the drawings; of other characters nothing is known
// but their width.
var asciiSigns = map[rune]byte{
	'●': '*', '◐': 'o', '✗': 'x', '✓': 'v', '▲': '^', '▼': 'v', '↑': '^', '↓': 'v', '→': '>', '←': '<', '▶': '>', '◀': '<', '▸': '>', '▾': 'v',
	'…': '~', '·': '.', '–': '-', '—': '-', '×': 'x', '≤': '<', '≥': '>', '±': '~', 'µ': 'u', '∅': '0', '’': '\'', '“': '"', '”': '"',
	'─': '-', '│': '|', '├': '|', '└': '`', '┌': '.', '┐': '.', '┘': '\'', '┤': '|', '┬': '-', '┴': '-', '┼': '+', '╵': '|', '╷': '|', '╌': '-', '┄': '-', '━': '=', '╺': '-', '╸': '-',
	'█': '#', '▓': '#', '▒': '+', '░': '.', '▏': '|', '▎': '|', '▍': '=', '▌': '=', '▋': '=', '▊': '#', '▉': '#', '▐': '=',
	'▁': '_', '▂': '_', '▃': '.', '▄': '-', '▅': '=', '▆': '+', '▇': '#',
}

func (a *asciiWriter) Write(p []byte) (int, error) {
	in := append(a.left, p...)
	a.left = nil
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		r, n := utf8.DecodeRune(in[i:])
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r == utf8.RuneError && !utf8.FullRune(in[i:]):
			a.left = append(a.left, in[i:]...)
			n = len(in) - i
		case asciiSigns[r] != 0:
			out = append(out, asciiSigns[r])
		default:
			for range ansi.StringWidth(string(r)) {
				out = append(out, '?')
			}
		}
		i += n
	}
	if _, err := a.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
