package render

import (
	"strconv"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// The palette. Every colour has at least 5:1 against its background (#ffffff
// light, #16181d dark), faint excepted: it only draws guides.
var (
	muted  = grey("#5b6472", "#8d97a8", 241, 246, 8, 8)
	faint  = grey("#b4bbc6", "#59616f", 250, 240, 7, 8)
	accent = tone("#1d5fd1", "#7cb0ff", 4, 12)
	ok     = tone("#18794e", "#5fd38d", 2, 10)
	warn   = tone("#9a5b00", "#f2bf4e", 3, 11)
	bad    = tone("#c9252d", "#ff7b72", 1, 9)
)

// services are the colours of a trace's services, in the order of their first
// appearance.
var services = [...]lipgloss.CompleteAdaptiveColor{
	tone("#1d5fd1", "#7cb0ff", 4, 12), tone("#0b7a75", "#56d4cc", 6, 14), tone("#7a3fc4", "#c4a2ff", 5, 13),
	tone("#8a5a12", "#dcb67a", 3, 3), tone("#56700c", "#b4d455", 2, 10), tone("#a3316f", "#f29bcb", 5, 5),
}

// Flame frames are filled; their text is near-black, and has 7:1 against them.
// The package picks the tone.
var (
	flameTones = [...]lipgloss.CompleteAdaptiveColor{
		tone("#f7c58f", "#f0a860", 11, 11), tone("#f5dc94", "#e8c468", 11, 11), tone("#f4b49a", "#e88f6a", 9, 9),
		tone("#ead0b3", "#d9b38c", 9, 9), tone("#f8dcb5", "#f2c98f", 11, 11), tone("#f0c3a8", "#e0a07a", 9, 9),
	}
	flameRuntimeTone  = tone("#bcd4f6", "#8fb4e8", 14, 14)
	flameRootTone     = grey("#d5dae2", "#8d97a8", 253, 246, 7, 7)
	flameMatchedTone  = tone("#b48cf0", "#c4a2ff", 13, 13)
	flameInk          = tone("#1c1c1c", "#16181d", 0, 0)
	flameSelectedTone = tone("#1c1c1c", "#f4f6f9", 0, 15)
	flameSelectedInk  = tone("#ffffff", "#16181d", 15, 0)
)

// tone names one colour for both themes and every depth. The 16 colours are
// chosen by hand: a computed match turns greys into blue and pale fills white.
func tone(light, dark string, light16, dark16 int) lipgloss.CompleteAdaptiveColor {
	return grey(light, dark, nearest256(light), nearest256(dark), light16, dark16)
}

// grey is a tone whose 256-colour step is set by hand as well: the nearest
// match of a cool grey is lilac.
func grey(light, dark string, light256, dark256, light16, dark16 int) lipgloss.CompleteAdaptiveColor {
	return lipgloss.CompleteAdaptiveColor{Light: depths(light, light256, light16), Dark: depths(dark, dark256, dark16)}
}

func depths(hex string, c256, c16 int) lipgloss.CompleteColor {
	return lipgloss.CompleteColor{TrueColor: hex, ANSI256: strconv.Itoa(c256), ANSI: strconv.Itoa(c16)}
}

func nearest256(hex string) int {
	return int(termenv.ANSI256.Color(hex).(termenv.ANSI256Color))
}
