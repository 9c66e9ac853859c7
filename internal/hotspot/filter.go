package hotspot

import (
	"fmt"
	"regexp"
	"strings"
)

// maxFramesPattern bounds the patterns that a profile itself brings.
const maxFramesPattern = 64 << 10

// focus marks each location as wanted or unwanted; its names, its files and its
// binary count.
func (a *aggregate) focus(focus, ignore *regexp.Regexp) {
	if focus == nil && ignore == nil {
		return
	}
	p := a.p
	match := func(re *regexp.Regexp) func(l uint32) bool {
		byFunction := make([]bool, len(p.functions))
		for i, f := range p.functions {
			byFunction[i] = re.MatchString(p.strings[f.name]) || re.MatchString(p.strings[f.file])
		}
		byMapping := make([]bool, len(p.mappings))
		for i, m := range p.mappings {
			byMapping[i] = re.MatchString(m)
		}
		return func(l uint32) bool {
			for _, ln := range a.lines(l) {
				if ln.function >= 0 && byFunction[ln.function] {
					return true
				}
			}
			m := p.locations[l].mapping
			return m >= 0 && byMapping[m]
		}
	}
	focused := func(uint32) bool { return true }
	ignored := func(uint32) bool { return false }
	if focus != nil {
		focused = match(focus)
	}
	if ignore != nil {
		ignored = match(ignore)
	}
	a.verdict = make([]int8, len(p.locations))
	for l := range p.locations {
		if ignored(uint32(l)) {
			a.verdict[l] = -1
		} else if focused(uint32(l)) {
			a.verdict[l] = 1
		}
	}
}

// wanted tells whether a stack has a focused location and no ignored one.
func (a *aggregate) wanted(stack []uint32) bool {
	found := false
	for _, l := range stack {
		switch a.verdict[l] {
		case -1:
			return false
		case 1:
			found = true
		}
	}
	return found
}

// prune finds the locations that the profile's own drop_frames pattern asks to
// leave out, with everything they call.
func (a *aggregate) prune() error {
	p := a.p
	if p.dropFrames == "" {
		return nil
	}
	if len(p.dropFrames)+len(p.keepFrames) > maxFramesPattern {
		return fmt.Errorf("%w: its frame patterns are longer than %d bytes", ErrTooLarge, maxFramesPattern)
	}
	drop, err := regexp.Compile("^(" + p.dropFrames + ")$")
	if err != nil {
		return bad("drop_frames: %v", err)
	}
	keep := (*regexp.Regexp)(nil)
	if p.keepFrames != "" {
		if keep, err = regexp.Compile("^(" + p.keepFrames + ")$"); err != nil {
			return bad("keep_frames: %v", err)
		}
	}
	unwanted := make([]bool, len(p.functions))
	for i, f := range p.functions {
		if name := simpleName(p.strings[f.name]); p.strings[f.name] != "" && drop.MatchString(name) {
			unwanted[i] = keep == nil || !keep.MatchString(name)
		}
	}
	a.dropped, a.trim = make([]int8, len(p.locations)), make([]uint32, len(p.locations))
	for l := range p.locations {
		a.pruneLocation(uint32(l), unwanted)
	}
	return nil
}

// pruneLocation looks for the outermost unwanted line of location l.
func (a *aggregate) pruneLocation(l uint32, unwanted []bool) {
	lines := a.p.linesOf(l)
	for i := len(lines) - 1; i >= 0; i-- {
		if fn := lines[i].function; fn < 0 || !unwanted[fn] {
			continue
		}
		if a.dropped[l] = 1; i == len(lines)-1 {
			a.dropped[l] = 2
		} else {
			a.trim[l] = uint32(i + 1)
		}
		return
	}
}

// cut takes from a stack what pruning drops: from the root on, after the first
// frame that stays.
func (a *aggregate) cut(stack []uint32) []uint32 {
	user := false
	for i := len(stack) - 1; i >= 0; i-- {
		switch d := a.dropped[stack[i]]; {
		case d == 0:
			user = true
		case user && d == 2:
			return stack[i+1:]
		case user:
			return stack[i:]
		}
	}
	return stack
}

// simpleName removes what pprof ignores in a C++ name before it matches
// drop_frames: a leading dot and the argument list.
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
