package cache

import "strings"

// Match reports whether a key fits a pattern of [KeyQuery].
func Match(pattern, key string) bool { return match(pattern, key) }

// match reports whether s matches a glob pattern as Redis has it: * for any
// text, ? for one byte, [a-z] and [^a-z] for one of a set, \ before a literal.
// Its time is at most the product of the two lengths.
func match(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0 // the last *, and what it covers up to
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if next, ok := matchOne(pattern, p, s[i]); ok {
			p, i = next, i+1
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches c against the element of pattern at p and returns where the
// next one begins.
func matchOne(pattern string, p int, c byte) (next int, ok bool) {
	if p >= len(pattern) {
		return p, false
	}
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return matchSet(pattern, p+1, c)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, pattern[p] == c
}

// matchSet matches c against a set whose text begins at p. A set that does not
// end reaches to the pattern's end.
func matchSet(pattern string, p int, c byte) (next int, ok bool) {
	negated := p < len(pattern) && pattern[p] == '^'
	if negated {
		p++
	}
	for ; ; p++ {
		switch {
		case p >= len(pattern):
			return len(pattern), ok != negated
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			ok = ok || pattern[p] == c
		case pattern[p] == ']':
			return p + 1, ok != negated
		case p+2 < len(pattern) && pattern[p+1] == '-':
			low, high := min(pattern[p], pattern[p+2]), max(pattern[p], pattern[p+2])
			ok = ok || low <= c && c <= high
			p += 2
		default:
			ok = ok || pattern[p] == c
		}
	}
}

// escape returns s as a pattern that matches s alone.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
