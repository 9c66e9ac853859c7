package snapshot

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Form is how a part's bytes are to be read when secrets are looked for.
type Form int

// The forms.
const (
	Text    Form = iota // JSON, an exposition in text, any text in UTF-8
	OTLP                // an ExportTraceServiceRequest in protobuf
	Pprof               // a profile in protobuf, gzipped
	Metrics             // MetricFamily messages in protobuf, each after its length
)

const mask = "***"

// Redactor masks secrets: values that it was told, what stands under a name that
// is a secret's, passwords in URLs, credentials in headers, and tokens that show
// by their form what they are. The rooms of the server mask what they hand out;
// this is the second wall, for what nobody thought of. It is safe for concurrent
// use once it is made.
type Redactor struct {
	secret   func(name string) bool
	literals [][]byte // longest first
}

// leastLiteral is the shortest value that is masked wherever it stands: a
// shorter one is a word like any other.
const leastLiteral = 6

// NewRedactor returns a redactor. secret tells whether a value of that name is
// one; environ is the process's environment, of which the values under such
// names, and passwords in URLs, are masked wherever they stand; so are values,
// and the passwords of those that are URLs.
func NewRedactor(secret func(name string) bool, environ []string, values ...string) *Redactor {
	r := &Redactor{secret: secret}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if secret(name) && !strings.HasPrefix(value, "/") || strings.HasSuffix(name, "_KEY") || strings.HasSuffix(name, "_PASS") {
			values = append(values, value)
		}
		values = append(values, passwordsIn(value)...)
	}
	for _, v := range values {
		if strings.Contains(v, "://") {
			values = append(values, passwordsIn(v)...)
		}
	}
	for _, v := range values {
		if strings.Contains(v, "://") {
			continue // a place is no secret
		}
		forms := []string{v, url.QueryEscape(v), url.PathEscape(v)}
		if b, err := json.Marshal(v); err == nil {
			forms = append(forms, string(b[1:len(b)-1]))
		}
		if len(v) >= leastLiteral {
			for _, f := range forms {
				r.literals = append(r.literals, []byte(f))
			}
		}
	}
	slices.SortFunc(r.literals, func(a, b []byte) int { return len(b) - len(a) })
	r.literals = slices.CompactFunc(r.literals, bytes.Equal)
	return r
}

// passwordsIn returns the password of a URL, as it stands and as it is meant.
func passwordsIn(s string) []string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return nil
	}
	p, has := u.User.Password()
	if !has {
		return nil
	}
	_, raw, _ := strings.Cut(u.User.String(), ":")
	return []string{p, raw}
}

// Mask returns data without its secrets, and how many they were. data may be
// changed by it. The error says that it could not be read as its form.
func (r *Redactor) Mask(form Form, data []byte) ([]byte, int, error) {
	switch form {
	case OTLP:
		n, err := r.message(data, otlpRequest)
		return data, n, err
	case Metrics:
		n, err := r.families(data)
		return data, n, err
	case Pprof:
		return r.pprof(data)
	}
	out, n := r.text(data)
	return out, n, nil
}

// word matches a part of the name of a secret.
const word = `(?:password|passwd|passphrase|secret|token|authorization|api[_-]?key|access[_-]?key|private[_-]?key|cookie|credentials?|session[_-]?id|x-auth)`

// rule is a pattern whose last group is a secret.
type rule struct {
	*regexp.Regexp
	hint  func([]byte) bool // tells cheaply that it cannot match; nil for never
	named bool              // group 1 is a name
}

var rules = []rule{
	{Regexp: regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(.+?)(?:-----END|$)`), hint: contains("PRIVATE KEY")},
	{Regexp: regexp.MustCompile(`://[^/?#\s"'@:\\]*:([^/\s"'\\]+)@`), hint: contains("://")},
	{Regexp: regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([a-z0-9._~+/=-]{6,})`), hint: contains("earer", "asic", "EARER", "ASIC")},
	{Regexp: regexp.MustCompile(`(?i)"([^"\\]*` + word + `[^"\\]*)"\s*:\s*"((?:[^"\\]|\\.)+)"`), named: true},
	{Regexp: regexp.MustCompile(`(?i)\b([\w.]*` + word + `\w*)=\\?"((?:[^"\\]|\\[^"])+)\\?"`), named: true},
	{Regexp: regexp.MustCompile(`(?i)(` + word + `[\w-]*)(?:\s*=\s*|:\s*)([^\s"'&,;<>\\)]+)`), named: true},
	{Regexp: regexp.MustCompile(`(?i)--?[\w-]*(` + word + `[\w-]*)\s+([^\s"'&,;<>\\)-][^\s"'&,;<>\\)]*)`), named: true},
	{Regexp: regexp.MustCompile(`\b((?:gh[pousr]_|github_pat_|sk-|xox[abprs]-|lin_api_|pctl_|glpat-|AKIA|ASIA)[A-Za-z0-9_-]{12,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})`),
		hint: contains("gh", "sk-", "xox", "lin_api_", "pctl_", "glpat-", "AKIA", "ASIA", "eyJ")},
}

// contains tells whether one of some texts is in another; github_pat_ begins
// with gh too.
func contains(all ...string) func([]byte) bool {
	var texts [][]byte
	for _, s := range all {
		texts = append(texts, []byte(s))
	}
	return func(b []byte) bool {
		return slices.ContainsFunc(texts, func(s []byte) bool { return bytes.Contains(b, s) })
	}
}

// text masks the secrets in a text.
func (r *Redactor) text(b []byte) ([]byte, int) {
	spans := r.find(b)
	if len(spans) == 0 {
		return b, 0
	}
	out, at := make([]byte, 0, len(b)), 0
	for _, s := range spans {
		out, at = append(append(out, b[at:s[0]]...), mask...), s[1]
	}
	return append(out, b[at:]...), len(spans)
}

// inPlace masks the secrets in a text with as many stars, so that what stands
// around it keeps its place.
func (r *Redactor) inPlace(b []byte) int {
	spans := r.find(b)
	for _, s := range spans {
		stars(b[s[0]:s[1]])
	}
	return len(spans)
}

func stars(b []byte) {
	for i := range b {
		b[i] = '*'
	}
}

// find returns where the secrets of a text are, in order and apart.
func (r *Redactor) find(b []byte) (spans [][2]int) {
	for _, l := range r.literals {
		for at := 0; ; {
			i := bytes.Index(b[at:], l)
			if i < 0 {
				break
			}
			spans = append(spans, [2]int{at + i, at + i + len(l)})
			at += i + len(l)
		}
	}
	named := r.secret(string(b))
	for _, rule := range rules {
		if rule.named && !named || rule.hint != nil && !rule.hint(b) {
			continue
		}
		for _, m := range rule.FindAllSubmatchIndex(b, -1) {
			from, to := m[len(m)-2], m[len(m)-1]
			if rule.named {
				to = from + len(bytes.TrimRight(b[from:to], ":.")) // of the sentence around it
			}
			if rule.named && harmless(b[m[2]:m[3]], b[from:to]) || bytes.Trim(b[from:to], "*") == nil {
				continue
			}
			spans = append(spans, [2]int{from, to})
		}
	}
	return apart(spans)
}

// harmless tells of a name like a secret's that its value is none: where a file
// is, how many there are, whether there is one.
func harmless(name, value []byte) bool {
	lower := strings.ToLower(string(name))
	if strings.HasSuffix(lower, "file") || strings.HasSuffix(lower, "path") {
		return true
	}
	switch v := strings.ToLower(string(value)); v {
	case "bearer", "basic": // what comes after it is one
		return true
	case mask, "", "true", "false", "null", "nil", "none":
		return true
	}
	return false
}

// apart sorts spans and joins those that overlap.
func apart(spans [][2]int) [][2]int {
	slices.SortFunc(spans, func(a, b [2]int) int { return a[0] - b[0] })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s[0] < out[n-1][1] {
			out[n-1][1] = max(out[n-1][1], s[1])
			continue
		}
		out = append(out, s)
	}
	return out
}
