package cache

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// control is a Cache-Control header: directives by name in lower case, with
// their argument where they have one.
type control map[string]string

// maxDirectives bounds what is read of a header that a client wrote.
const maxDirectives = 64

// parseControl reads the fields of Cache-Control (RFC 9111, section 5.2). What
// is malformed is skipped; of a directive that comes twice the smaller number
// counts, for the rule is to err on the side of not caching.
func parseControl(fields []string) control {
	c := control{}
	for _, field := range fields {
		for rest := field; rest != "" && len(c) < maxDirectives; {
			var name, arg string
			name, arg, rest = nextDirective(rest)
			if name == "" {
				continue
			}
			if old, twice := c[name]; twice && seconds(old) < seconds(arg) {
				continue
			}
			c[name] = arg
		}
	}
	return c
}

// nextDirective takes one directive off the front of s; its argument may be a
// quoted string that holds commas.
func nextDirective(s string) (name, arg, rest string) {
	end := strings.IndexAny(s, ",=")
	if end < 0 {
		return strings.ToLower(strings.TrimSpace(s)), "", ""
	}
	name = strings.ToLower(strings.TrimSpace(s[:end]))
	if s[end] == ',' {
		return name, "", s[end+1:]
	}
	s = strings.TrimLeft(s[end+1:], " \t")
	if !strings.HasPrefix(s, `"`) {
		arg, rest, _ = strings.Cut(s, ",")
		return name, strings.TrimSpace(arg), rest
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			arg = s[1:i]
			_, rest, _ = strings.Cut(s[i:], ",")
			return name, arg, rest
		}
	}
	return name, s[1:], "" // a quote that does not end takes the rest
}

func (c control) has(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { _, ok := c[n]; return ok })
}

// duration reads a directive's seconds; one that is no number is 0, which is
// stale.
func (c control) duration(name string) (d time.Duration, ok bool) {
	arg, ok := c[name]
	if !ok {
		return 0, false
	}
	return time.Duration(seconds(arg)) * time.Second, true
}

// seconds reads a number as RFC 9111, section 1.2.2, has it: what is too large
// is very long, what is none is 0.
func seconds(s string) int64 {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case s == "":
		return 0
	case err != nil:
		return math.MaxInt32
	}
	return min(n, math.MaxInt32)
}

// requestControl reads what a request asks of caches.
func requestControl(h http.Header) control {
	c := parseControl(h.Values("Cache-Control"))
	if len(c) == 0 && parseControl(h.Values("Pragma")).has("no-cache") {
		c["no-cache"] = ""
	}
	return c
}

// keepable are the statuses of answers that are kept if they say for how long.
var keepable = []int{
	http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent, http.StatusMultipleChoices, http.StatusMovedPermanently,
	http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusGone, http.StatusRequestURITooLong, http.StatusNotImplemented,
}

// heuristic are those that may be kept though they do not say so (RFC 9110,
// section 15.1), if ResponseOptions.TTL asks for it.
func heuristic(status int) bool {
	return slices.Contains(keepable, status) && status != http.StatusFound && status != http.StatusTemporaryRedirect
}

// lifetime says how long an answer to r is fresh in a shared cache, 0 for one
// that must not be kept (RFC 9111, sections 3 and 4.2.1).
func lifetime(r *http.Request, status int, h http.Header, now time.Time, unsaid time.Duration) time.Duration {
	cc := parseControl(h.Values("Cache-Control"))
	switch {
	case !slices.Contains(keepable, status),
		cc.has("no-store", "private", "no-cache"),
		len(h.Values("Set-Cookie")) > 0,
		len(h.Values("Trailer")) > 0,
		r.Header.Get("Authorization") != "" && !forAll(cc):
		return 0
	}
	if names, ok := varyNames(h); !ok || len(names) > maxVary {
		return 0
	}
	if d, ok := cc.duration("s-maxage"); ok {
		return d
	}
	if d, ok := cc.duration("max-age"); ok {
		return d
	}
	if expires := h.Values("Expires"); len(expires) > 0 {
		at, err := http.ParseTime(expires[0])
		if err != nil {
			return 0
		}
		return max(at.Sub(dateOf(h, now)), 0)
	}
	if heuristic(status) && !cc.has("must-understand") {
		return unsaid
	}
	return 0
}

// forAll tells whether an answer says that it may be kept though its request
// was authorized (RFC 9111, section 3.5).
func forAll(cc control) bool { return cc.has("public", "s-maxage", "must-revalidate") }

// dateOf is when an answer was made.
func dateOf(h http.Header, now time.Time) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at
	}
	return now
}

// maxVary bounds the request headers that an answer may depend on.
const maxVary = 16

// varyNames returns the request headers that an answer depends on, in order;
// ok is false for one that depends on what no header tells.
func varyNames(h http.Header) (names []string, ok bool) {
	for _, field := range h.Values("Vary") {
		for name := range strings.SplitSeq(field, ",") {
			switch name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name {
			case "":
			case "*":
				return nil, false
			default:
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}
