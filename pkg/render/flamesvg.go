package render

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

// The measures of an SVG flame graph, in its pixels. Places are computed in
// tenths of them, so that a frame of a tenth is the narrowest that is drawn.
const (
	svgWidth  = 1200
	svgMargin = 10
	svgRow    = 18
	svgChar   = 7 // of the monospaced 12 px letters that frames are named in
	svgTenth  = 10
)

// svgTones are the flame colours of the light theme; a package picks its tone.
var svgTones = [...]string{"#f7c58f", "#f5dc94", "#f4b49a", "#ead0b3", "#f8dcb5", "#f0c3a8"}

const (
	svgRuntime = "#bcd4f6"
	svgRoot    = "#d5dae2"
)

// FlameSVG draws a flame graph as a picture that needs nothing else: the root
// at the top, each frame's full name, share and value where the pointer rests.
func FlameSVG(w io.Writer, g *hotspot.FlameGraph, title string) error {
	boxes := g.Layout(0, (svgWidth-2*svgMargin)*svgTenth, 0)
	rows := int32(0)
	for _, b := range boxes {
		rows = max(rows, b.Depth+1)
	}
	top := svgMargin + 2*svgRow
	height := top + int(rows)*svgRow + svgMargin
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="12">
<style>rect{stroke:#fff;stroke-width:.5}g:hover>rect{stroke:#1d5fd1;stroke-width:1}text{pointer-events:none;fill:#1b1f24}</style>
<rect width="100%%" height="100%%" fill="#fff" style="stroke:none"/>
<text x="%d" y="%d" font-weight="bold">%s</text>
<text x="%d" y="%d" text-anchor="end">%s</text>
`, svgWidth, height, svgMargin, svgMargin+svgRow-4, svgText(title), svgWidth-svgMargin, svgMargin+svgRow-4, svgText(svgScope(g)))
	for _, b := range boxes {
		svgFrame(out, g, b, top)
	}
	out.WriteString("</svg>\n")
	return out.Flush()
}

// svgScope says what the whole width is, and what is not drawn.
func svgScope(g *hotspot.FlameGraph) string {
	s := amount(g.Nodes[0].Value, g.Unit) + " " + strings.ReplaceAll(g.SampleType, "_", " ")
	if g.SampleType != "samples" {
		s += "  " + count(g.Samples) + " samples"
	}
	if g.Cut > 0 {
		s += fmt.Sprintf("  callees of %s small frames left out", count(int64(g.Cut)))
	}
	return s
}

func svgFrame(out *bufio.Writer, g *hotspot.FlameGraph, b hotspot.Box, top int) {
	n := g.Nodes[b.Node]
	name := g.Name(b.Node)
	ratio := 0.0
	if g.Width > 0 {
		ratio = float64(n.Width) / float64(g.Width)
	}
	width := b.X1 - b.X0
	x, y := float64(b.X0)/svgTenth+svgMargin, top+int(b.Depth)*svgRow
	fmt.Fprintf(out, `<g><title>%s (%s, %s)</title><rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>`,
		svgText(name), share(ratio), svgText(amount(n.Value, g.Unit)), x, y, float64(width)/svgTenth, svgRow-1, svgTone(g, b.Node))
	if room := (width/svgTenth - 6) / svgChar; room >= 3 {
		fmt.Fprintf(out, `<text x="%.1f" y="%d">%s</text>`, x+3, y+svgRow-5, svgText(shortened(hotspot.ShortName(name), room)))
	}
	out.WriteString("</g>\n")
}

// svgTone picks a frame's colour by the package it is of.
func svgTone(g *hotspot.FlameGraph, node int32) string {
	name := g.Name(node)
	pkg := hotspot.PackageOf(name)
	switch {
	case g.Nodes[node].Frame < 0:
		return svgRoot
	case pkg == "runtime" || strings.HasPrefix(pkg, "runtime/") || strings.HasPrefix(pkg, "internal/runtime/"):
		return svgRuntime
	case pkg == "":
		pkg = name
	}
	h := fnv.New32a()
	io.WriteString(h, pkg)
	return svgTones[h.Sum32()%uint32(len(svgTones))]
}

// shortened cuts a name at its end to as many letters.
func shortened(name string, room int) string {
	if utf8.RuneCountInString(name) <= room {
		return name
	}
	runes := []rune(name)
	return string(runes[:room-1]) + "…"
}

// svgText makes text from a profile safe between and inside of tags.
func svgText(s string) string { return svgEscaper.Replace(clean(s)) }

var svgEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")
