// Package condition reads what `pulsectl wait` waits for, and tells how it
// stands by what a server said.
//
// It is pure. [Parse] makes a [Condition] of a text, [Condition.Judge] an
// [Outcome] of the condition and of what one server said, [Seen]. An outcome
// tells what is not as wanted, and whether waiting can ever help.
package condition

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Condition is one thing to wait for.
type Condition struct {
	text    string
	noun    noun
	pattern string   // of the names that it is about; "" for none
	states  []string // that meet it, or with not those that do not
	not     bool
	metric  comparison
}

type noun int

const (
	ready noun = iota
	health
	breaker
	check
	cache
	metric
)

// Forms says in one line which conditions there are.
const Forms = `breaker/NAME=closed, check/NAME=healthy, cache/redis=healthy, health=healthy, ready, or 'METRIC{LABEL="VALUE"}<0.1'`

// longest bounds the text of a condition.
const longest = 4096

// states are the words that a noun may be in.
var states = map[noun][]string{
	health:  {api.Healthy, api.Degraded, api.Unhealthy},
	check:   {api.Healthy, api.Degraded, api.Unhealthy},
	cache:   {api.Healthy, api.Degraded, api.Failed, api.Disabled},
	breaker: {string(api.StateClosed), string(api.StateOpen), "half-open"},
}

// Parse reads a condition: one of [Forms]. Several states with commas between
// them are each good enough, != means any other. NAME may be a pattern of *, ?
// and [a-z], where * is also what a slash is.
func Parse(text string) (*Condition, error) {
	if len(text) > longest {
		return nil, fmt.Errorf("condition of %d bytes: want at most %d", len(text), longest)
	}
	c := &Condition{text: strings.TrimSpace(text)}
	if c.text == "ready" {
		return c, nil
	}
	name, value, not := lastEquals(c.text)
	kind, pattern, slash := strings.Cut(name, "/")
	switch {
	case value == "": // not one of states
	case name == "health":
		return c, c.of(health, "", value, not)
	case slash && (kind == "breaker" || kind == "breakers"):
		return c, c.of(breaker, pattern, value, not)
	case slash && (kind == "check" || kind == "checks"):
		return c, c.of(check, pattern, value, not)
	case slash && (kind == "cache" || kind == "caches"):
		if pattern != "redis" && pattern != "memory" && pattern != "*" {
			return nil, fmt.Errorf("condition %q: there is no cache %q: want redis or memory", c.text, pattern)
		}
		return c, c.of(cache, pattern, value, not)
	}
	var err error
	if c.metric, err = parseComparison(c.text); err != nil {
		return nil, fmt.Errorf("condition %q: %w", c.text, err)
	}
	c.noun = metric
	return c, nil
}

// lastEquals parts a text at its last = or !=; a name may hold others.
func lastEquals(s string) (name, value string, not bool) {
	i := strings.LastIndexByte(s, '=')
	if i < 0 {
		return s, "", false
	}
	name, value = s[:i], strings.TrimSpace(s[i+1:])
	switch {
	case strings.HasSuffix(name, "!"):
		name, not = name[:len(name)-1], true
	case strings.HasSuffix(name, "="):
		name = name[:len(name)-1]
	}
	return strings.TrimSpace(name), value, not
}

// of makes it a condition of states.
func (c *Condition) of(n noun, pattern, value string, not bool) error {
	c.noun, c.pattern, c.not = n, pattern, not
	if n != health && pattern == "" {
		return fmt.Errorf("condition %q: it names nothing: want NAME or * behind the slash", c.text)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("condition %q: name %q: want a pattern of *, ? and [a-z]", c.text, pattern)
	}
	for word := range strings.SplitSeq(value, ",") {
		if word = strings.TrimSpace(word); word == "half_open" {
			word = "half-open"
		}
		if !slices.Contains(states[n], word) {
			return fmt.Errorf("condition %q: there is no state %q: want one of %s", c.text, word, strings.Join(states[n], ", "))
		}
		c.states = append(c.states, word)
	}
	return nil
}

// String is the condition as it was written.
func (c *Condition) String() string { return c.text }

// meets tells whether a state is as wanted.
func (c *Condition) meets(state string) bool { return slices.Contains(c.states, state) != c.not }

// about tells whether the condition is about a name.
func (c *Condition) about(name string) bool { return Matches(c.pattern, name) }

// every tells whether the condition is about all there is, be it nothing.
func (c *Condition) every() bool { return c.pattern == "*" }

// Matches tells whether a name is the one of a pattern, or fits it. A * is also
// what a slash is: breakers are named as people like.
func Matches(pattern, name string) bool {
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") } // to path.Match a slash is a border
	fits, err := path.Match(flat(pattern), flat(name))
	return name == pattern || fits && err == nil
}

// comparison is a condition on a metric's series.
type comparison struct {
	name     string
	matchers []matcher
	op       string
	limit    float64
}

// matcher is a condition on a label, as PromQL has it.
type matcher struct {
	label string
	want  string
	re    *regexp.Regexp // nil: want itself
	not   bool
}

func (m *matcher) matches(labels map[string]string) bool {
	v := labels[m.label]
	if m.re != nil {
		return m.re.MatchString(v) != m.not
	}
	return (v == m.want) != m.not
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*`)
	compared   = regexp.MustCompile(`^(<=|>=|==|!=|<|>)\s*(\S+)$`)
)

func parseComparison(s string) (c comparison, err error) {
	c.name = metricName.FindString(s)
	rest := strings.TrimSpace(s[len(c.name):])
	if inner, braced := strings.CutPrefix(rest, "{"); braced {
		if c.matchers, rest, err = parseMatchers(inner, &c.name); err != nil {
			return c, err
		}
		rest = strings.TrimSpace(rest)
	}
	m := compared.FindStringSubmatch(rest)
	if c.name == "" || m == nil {
		return c, fmt.Errorf("want %s", Forms)
	}
	c.op = m[1]
	if c.limit, err = strconv.ParseFloat(m[2], 64); err != nil {
		return c, fmt.Errorf("%q is no number to compare with", m[2])
	}
	return c, nil
}

// parseMatchers reads what is within braces, up to the closing one. A name in
// quotes without a value is the metric's own, where it has none yet.
func parseMatchers(s string, name *string) (out []matcher, rest string, err error) {
	for {
		s = strings.TrimSpace(s)
		if rest, closed := strings.CutPrefix(s, "}"); closed {
			return out, rest, nil
		}
		var m matcher
		if strings.HasPrefix(s, `"`) {
			if m.label, s, err = quoted(s); err != nil {
				return nil, "", err
			}
		} else if m.label = labelName.FindString(s); m.label == "" {
			return nil, "", fmt.Errorf(`want LABEL="VALUE" at %.40q`, s)
		} else {
			s = s[len(m.label):]
		}
		op, value := operator(strings.TrimSpace(s))
		switch {
		case op == "" && *name == "":
			*name = m.label
		case op == "":
			return nil, "", fmt.Errorf(`label %q: want =, !=, =~ or !~ and "VALUE"`, m.label)
		default:
			if m.want, value, err = quoted(strings.TrimSpace(value)); err != nil {
				return nil, "", fmt.Errorf("label %q: %w", m.label, err)
			}
			if m.not = op[0] == '!'; op[1:] == "~" {
				if m.re, err = regexp.Compile("^(?s:" + m.want + ")$"); err != nil {
					return nil, "", fmt.Errorf("label %q: %w", m.label, err)
				}
			}
			out = append(out, m)
			s = value
		}
		s = strings.TrimSpace(s)
		if after, more := strings.CutPrefix(s, ","); more {
			s = after
		} else if !strings.HasPrefix(s, "}") {
			return nil, "", fmt.Errorf("want a comma or a closing brace at %.40q", s)
		}
	}
}

// operator parts text at the operator that it begins with, "" for none.
func operator(s string) (op, rest string) {
	for _, op := range []string{"=~", "!~", "!=", "="} {
		if rest, found := strings.CutPrefix(s, op); found {
			return (op + " ")[:2], rest
		}
	}
	return "", s
}

// quoted reads a text in double or single quotes, or in backticks.
func quoted(s string) (text, rest string, err error) {
	if strings.HasPrefix(s, "'") {
		text, rest, closed := strings.Cut(s[1:], "'")
		if !closed {
			return "", "", fmt.Errorf("the quote at %.40q has no end", s)
		}
		return text, rest, nil
	}
	prefix, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", fmt.Errorf("want a text in quotes at %.40q", s)
	}
	text, err = strconv.Unquote(prefix)
	return text, s[len(prefix):], err
}

func (c *comparison) holds(v float64) bool {
	switch c.op {
	case "<":
		return v < c.limit
	case "<=":
		return v <= c.limit
	case ">":
		return v > c.limit
	case ">=":
		return v >= c.limit
	case "==":
		return v == c.limit
	}
	return v != c.limit
}
