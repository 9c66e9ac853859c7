package tracing

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// ErrTag is in the chain of each error of [ParseTag].
var ErrTag = errors.New("tag filter")

// Tag is a condition on an attribute of a span, its resource or its trace's
// metadata. The zero Tag fits nothing.
type Tag struct {
	key    string
	op     byte // '=', '!', '~', '>', '<', or 'p' for present
	value  string
	number float64
	re     *regexp.Regexp
}

// ParseTag parses "key=value", "key!=value", "key~regex" (RE2, anywhere in the
// value), "key>number", "key<number", or "key", which means present. The first
// operator in it counts. Its error wraps [ErrTag].
func ParseTag(s string) (Tag, error) {
	i := strings.IndexAny(s, "=!~<>")
	switch {
	case len(s) > 4096:
		return Tag{}, fmt.Errorf("%w: %d bytes long, want at most 4096", ErrTag, len(s))
	case i < 0 && s != "":
		return Tag{key: s, op: 'p'}, nil
	case i <= 0:
		return Tag{}, fmt.Errorf("%w %q: want key, key=value, key!=value, key~regex, key>number or key<number", ErrTag, s)
	}
	t := Tag{key: s[:i], op: s[i], value: s[i+1:]}
	var err error
	switch t.op {
	case '!':
		var found bool
		if t.value, found = strings.CutPrefix(t.value, "="); !found {
			return Tag{}, fmt.Errorf("%w %q: want key!=value", ErrTag, s)
		}
	case '~':
		if t.re, err = regexp.Compile(t.value); err != nil {
			return Tag{}, fmt.Errorf("%w %q: %w", ErrTag, s, err)
		}
	case '<', '>':
		if t.number, err = strconv.ParseFloat(t.value, 64); err != nil {
			return Tag{}, fmt.Errorf("%w %q: %q is no number", ErrTag, s, t.value)
		}
	}
	return t, nil
}

// String returns the text that ParseTag reads.
func (t Tag) String() string {
	switch t.op {
	case 'p':
		return t.key
	case '!':
		return t.key + "!=" + t.value
	case 0:
		return ""
	default:
		return t.key + string(t.op) + t.value
	}
}

// matches tells whether one attribute fits.
func (t *Tag) matches(a *otlp.KeyValue) bool {
	if a.Key != t.key {
		return false
	}
	switch t.op {
	case 'p':
		return true
	case '=':
		return a.Value.Text() == t.value
	case '!':
		return a.Value.Text() != t.value
	case '~':
		return t.re.MatchString(a.Value.Text())
	case '<':
		n, ok := number(a.Value)
		return ok && n < t.number
	case '>':
		n, ok := number(a.Value)
		return ok && n > t.number
	default:
		return false
	}
}

func number(v otlp.Value) (float64, bool) {
	switch v.Kind {
	case otlp.KindInt:
		return float64(v.Int()), true
	case otlp.KindFloat:
		return v.Float(), true
	case otlp.KindString:
		n, err := strconv.ParseFloat(v.Str, 64)
		return n, err == nil
	default:
		return 0, false
	}
}
