package hotspot

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxFramesPattern bounds the patterns that a profile itself brings.
const maxFramesPattern = 64 << 10

// locator finds the nodes of each location of a view, applying the filters in
// the order of pprof: each sees what the one before left.
type locator struct {
	v        *view
	binaries []string
	byKey    map[nodeKey]uint32
	named    []int32 // node of each function where its name is all that counts, so that a name is hashed once; -1 unknown

	drop, below                         []bool // functions
	focus, ignore, hide, show, showFrom *matches
}

func newLocator(v *view) (*locator, error) {
	p := v.p
	l := &locator{v: v, byKey: make(map[nodeKey]uint32, len(p.functions)), named: make([]int32, len(p.functions))}
	for i := range l.named {
		l.named[i] = -1
	}
	for _, m := range p.mappings {
		l.binaries = append(l.binaries, m.binary())
	}
	var err error
	if l.drop, err = p.droppedFunctions(); err != nil {
		return nil, err
	}
	s := v.sel
	l.focus, l.ignore = p.match(s.Focus, l.binaries), p.match(s.Ignore, l.binaries)
	l.hide, l.show, l.showFrom = p.match(s.Hide, l.binaries), p.match(s.Show, l.binaries), p.match(s.ShowFrom, l.binaries)
	if s.PruneFrom != nil {
		l.below = p.simpleMatch(s.PruneFrom, nil)
	}
	v.cutting, v.from, v.below = l.drop != nil, l.showFrom != nil, l.below != nil
	v.naming = l.focus != nil || l.ignore != nil || l.hide != nil || l.show != nil
	if v.cutting || v.naming || v.from || v.below {
		v.flags = make([]uint8, len(p.locations))
	}
	return l, nil
}

// all works out every location.
func (l *locator) all() {
	v, p := l.v, l.v.p
	v.locEnd = make([]uint32, len(p.locations))
	v.locNodes = make([]uint32, 0, max(len(p.lines), len(p.locations)))
	for i, loc := range p.locations {
		lines := p.linesOf(uint32(i))
		if v.flags != nil {
			lines, v.flags[i] = l.filter(lines, loc)
		}
		if v.sel.NoInlines && len(lines) > 1 {
			lines = lines[len(lines)-1:]
		}
		for _, ln := range lines {
			v.locNodes = append(v.locNodes, l.node(loc, ln))
		}
		if len(lines) == 0 {
			v.locNodes = append(v.locNodes, l.node(loc, line{function: -1}))
		}
		v.locEnd[i] = uint32(len(v.locNodes))
	}
}

// filter returns the lines of a location that stay, and what it is to stacks.
func (l *locator) filter(lines []line, loc location) ([]line, uint8) {
	lines, flags := l.dropLines(lines)
	if l.v.naming {
		var f uint8
		lines, f = l.nameLines(lines, loc)
		flags |= f
	}
	if l.showFrom != nil {
		if l.showFrom.binary(loc) {
			flags |= flagFrom
		} else if i := lastIndex(lines, l.showFrom.line); i >= 0 {
			flags |= flagFrom
			lines = lines[:i+1]
		}
	}
	if l.below != nil {
		if i := slices.IndexFunc(lines, func(ln line) bool { return ln.function >= 0 && l.below[ln.function] }); i >= 0 {
			flags |= flagBelow
			lines = lines[i:]
		}
	}
	return lines, flags
}

func lastIndex(lines []line, match func(line) bool) int {
	i := len(lines) - 1
	for i >= 0 && !match(lines[i]) {
		i--
	}
	return i
}

// dropLines looks for the outermost line that drop_frames drops.
func (l *locator) dropLines(lines []line) ([]line, uint8) {
	if l.drop == nil {
		return lines, 0
	}
	switch i := lastIndex(lines, func(ln line) bool { return ln.function >= 0 && l.drop[ln.function] }); {
	case i < 0:
		return lines, 0
	case i == len(lines)-1:
		return lines, flagDrop
	default:
		return lines[i+1:], flagDropOut
	}
}

// nameLines applies focus, ignore, hide and show.
func (l *locator) nameLines(lines []line, loc location) ([]line, uint8) {
	var flags uint8
	switch {
	case l.ignore != nil && l.ignore.any(lines, loc):
		flags = flagIgnore
	case l.focus == nil || l.focus.any(lines, loc):
		flags = flagFocus
	}
	if h := l.hide; h != nil && h.any(lines, loc) {
		lines = without(lines, func(ln line) bool { return h.binary(loc) || h.line(ln) })
		if len(lines) == 0 {
			flags |= flagHide
		}
	}
	if s := l.show; s != nil {
		if !s.binary(loc) {
			lines = without(lines, func(ln line) bool { return ln.function >= 0 && !s.line(ln) })
		}
		if len(lines) == 0 {
			flags |= flagHide
		}
	}
	return lines, flags
}

// without copies the lines that drop does not name.
func without(lines []line, drop func(line) bool) []line {
	return slices.DeleteFunc(slices.Clone(lines), drop)
}

// node finds the node of one line of a location.
func (l *locator) node(loc location, ln line) uint32 {
	v, fn := l.v, ln.function
	plain := fn >= 0 && (v.sel.Granularity == ByFunction || v.sel.Granularity == ByFileFunction)
	if plain && l.named[fn] >= 0 {
		return uint32(l.named[fn])
	}
	k := l.key(loc, ln)
	n, ok := l.byKey[k]
	if !ok {
		n = uint32(len(v.nodes))
		l.byKey[k] = n
		v.nodes = append(v.nodes, node{k, fn})
	}
	if plain && k.name != "" {
		l.named[fn] = int32(n)
	}
	return n
}

// key says what tells the node of a line from others.
func (l *locator) key(loc location, ln line) (k nodeKey) {
	g, p := l.v.sel.Granularity, l.v.p
	if g == ByAddress {
		k.address = loc.address
	}
	objfile := ""
	if loc.mapping >= 0 {
		objfile = l.binaries[loc.mapping]
	}
	if ln.function < 0 {
		k.objfile = objfile
		return k
	}
	f := p.functions[ln.function]
	if g != ByFile {
		k.name = p.strings[f.name]
	}
	if g != ByFunction {
		k.file = cleanPath(p.strings[f.file])
	}
	if g == ByLine || g == ByAddress {
		k.line = ln.line
	}
	if g == ByAddress && !l.v.sel.NoInlines {
		k.column = ln.column
	}
	if k.name == "" {
		k.objfile, k.startLine = objfile, f.startLine
	}
	return k
}

// cleanPath returns a source file as pprof shows it.
func cleanPath(file string) string {
	if f, ok := strings.CutPrefix(file, "/proc/self/cwd/./"); ok {
		file = f
	} else {
		file = strings.TrimPrefix(file, "/proc/self/cwd/")
	}
	if file == "" {
		return ""
	}
	return filepath.Clean(file)
}

// droppedFunctions finds the functions that the profile's own drop_frames
// pattern leaves out, with everything they call; nil if there is none. A pattern
// that does not compile drops nothing, as in pprof.
func (p *Profile) droppedFunctions() ([]bool, error) {
	if p.dropFrames == "" {
		return nil, nil
	}
	if len(p.dropFrames)+len(p.keepFrames) > maxFramesPattern {
		return nil, fmt.Errorf("%w: its frame patterns are longer than %d bytes", ErrTooLarge, maxFramesPattern)
	}
	drop, err := regexp.Compile("^(" + p.dropFrames + ")$")
	if err != nil {
		return nil, nil
	}
	var keep *regexp.Regexp
	if p.keepFrames != "" {
		if keep, err = regexp.Compile("^(" + p.keepFrames + ")$"); err != nil {
			return nil, nil
		}
	}
	return p.simpleMatch(drop, keep), nil
}

// simpleMatch tells which functions' simple names match re and not except.
func (p *Profile) simpleMatch(re, except *regexp.Regexp) []bool {
	found := make([]bool, len(p.functions))
	for i, f := range p.functions {
		if name := simpleName(p.strings[f.name]); p.strings[f.name] != "" && re.MatchString(name) {
			found[i] = except == nil || !except.MatchString(name)
		}
	}
	return found
}

// simpleName removes what pprof ignores in a C++ name before it matches frame
// patterns: a leading dot and the argument list.
func simpleName(name string) string {
	name = strings.TrimPrefix(name, ".")
	for at := 0; ; {
		i := strings.IndexByte(name[at:], '(')
		if i < 0 {
			return name
		}
		i += at
		switch {
		case strings.HasPrefix(name[i:], "(anonymous namespace)"):
			at = i + len("(anonymous namespace)")
		case strings.HasPrefix(name[i:], "()") && strings.HasSuffix(name[:i], "operator"):
			at = i + len("()")
		default:
			return name[:i]
		}
	}
}
