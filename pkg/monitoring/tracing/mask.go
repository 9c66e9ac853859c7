package tracing

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// masked stands where a secret was.
const masked = "***"

// SecretName tells whether an attribute or URL parameter of this name is
// likely to hold a credential. It is the default of Options.Mask.
func SecretName(name string) bool {
	for i := range len(name) {
		for _, w := range secretWords[name[i]|0x20] {
			if len(name)-i >= len(w) && strings.EqualFold(name[i:i+len(w)], w) {
				return true
			}
		}
	}
	return false
}

// secretWords are parts of secret names by their first letter.
var secretWords = func() (t [256][]string) {
	for _, w := range []string{
		"password", "passwd", "passphrase", "secret", "token", "authorization", "api_key", "apikey", "api-key",
		"access_key", "private_key", "cookie", "credential", "session_id", "x-auth",
	} {
		t[w[0]] = append(t[w[0]], w)
	}
	return t
}()

// masker remembers for the names seen last whether they are secret, because
// SecretName takes 40 ns a name and the names of a program are few.
type masker struct {
	secret func(string) bool
	names  [512]atomic.Pointer[maskedName]
}

type maskedName struct {
	name   string
	secret bool
	url    bool
	text   bool
}

// plain tells whether a text under the name is kept as it is.
func (n *maskedName) plain() bool { return !n.secret && !n.url && !n.text }

func newMasker(secret func(string) bool) *masker {
	if secret == nil {
		secret = SecretName
	}
	return &masker{secret: secret}
}

// value returns the value to keep for the attribute: masked where its name is
// a secret's, with the secrets in a URL masked where it holds one. Numbers stay:
// a count of tokens is no token.
func (m *masker) value(name string, v otlp.Value) otlp.Value {
	switch v.Kind {
	case otlp.KindEmpty, otlp.KindBool, otlp.KindInt, otlp.KindFloat:
		return v
	}
	n := m.lookup(name)
	switch {
	case n.secret:
		return otlp.String(masked)
	case n.url && v.Kind == otlp.KindString:
		v.Str = m.url(v.Str)
	case n.text && v.Kind == otlp.KindString:
		v.Str = m.text(v.Str)
	case v.Kind == otlp.KindMap || v.Kind == otlp.KindArray:
		return m.inside(v)
	}
	return v
}

// inside masks what a composite value holds. It returns the value itself if
// there is nothing to mask.
func (m *masker) inside(v otlp.Value) otlp.Value {
	changed := false
	if v.Kind == otlp.KindMap {
		var pairs []otlp.KeyValue
		for kv := range v.Pairs() {
			was := kv.Value
			kv.Value = m.value(kv.Key, was)
			changed = changed || kv.Value != was
			pairs = append(pairs, kv)
		}
		if changed {
			return otlp.Map(pairs...)
		}
		return v
	}
	var items []otlp.Value
	for item := range v.Items() {
		was := item
		if was.Kind == otlp.KindMap || was.Kind == otlp.KindArray {
			item = m.inside(was)
		}
		changed = changed || item != was
		items = append(items, item)
	}
	if changed {
		return otlp.Array(items...)
	}
	return v
}

func (m *masker) lookup(name string) *maskedName {
	if len(name) > 128 {
		return &maskedName{secret: m.secret(name)}
	}
	slot := &m.names[place(name)%uint64(len(m.names))]
	if n := slot.Load(); n != nil && n.name == name {
		return n
	}
	n := &maskedName{name: strings.Clone(name), secret: m.secret(name), url: holdsURL(name), text: holdsText(name)}
	slot.Store(n)
	return n
}

// place mixes the length with both ends of a name, which tells the names of a
// program apart; two that meet take each other's place. It takes 1.7 ns a name
// where maphash takes 8.
func place(name string) uint64 {
	var head, tail uint64
	if n := len(name); n >= 8 {
		b := unsafe.Slice(unsafe.StringData(name), n)
		head, tail = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	} else {
		for i := range n {
			head = head<<8 | uint64(name[i])
		}
	}
	return (head ^ bits.RotateLeft64(tail, 23) ^ uint64(len(name))) * 0x9e3779b97f4a7c15 >> 40
}

// holdsURL knows the names of the semantic conventions, old and new.
func holdsURL(name string) bool {
	switch name {
	case "http.url", "http.target", "url.full", "url.query", "url.original", "server.url", "db.connection_string":
		return true
	}
	return false
}

// holdsText knows the names under which errors put their text, in which clients
// quote the URL they asked.
func holdsText(name string) bool {
	return name == "exception.message" || name == "exception.stacktrace" || name == "error.message"
}

// MaskText masks the secrets of each URL in a text, as in the message of an
// error.
func (s *Store) MaskText(text string) string { return s.masker.text(text) }

// text masks the secrets of each URL in a text.
func (m *masker) text(s string) string {
	at := strings.Index(s, "://")
	if at < 0 {
		return s
	}
	var out strings.Builder
	for ; at >= 0; at = strings.Index(s, "://") {
		start := strings.LastIndexFunc(s[:at], func(r rune) bool { return !strings.ContainsRune(schemeRunes, r|0x20) }) + 1
		end := len(s)
		if i := strings.IndexAny(s[at:], " \t\r\n\"'`<>|\\"); i >= 0 {
			end = at + i
		}
		out.WriteString(s[:start])
		out.WriteString(m.url(s[start:end]))
		s = s[end:]
	}
	out.WriteString(s)
	return out.String()
}

const schemeRunes = "abcdefghijklmnopqrstuvwxyz" // enough: a sign in a scheme is left before it

// url masks the user's password, or the user who has none, and the secret
// parameters in a URL, a request target or a query, and leaves each other byte as
// it is.
func (m *masker) url(s string) string {
	if strings.IndexByte(s, '=') < 0 && strings.IndexByte(s, '@') < 0 {
		return s // neither a parameter nor a user
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		host := rest
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			host = rest[:i]
		}
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			user, _, both := strings.Cut(host[:at], ":")
			if user += ":"; !both {
				user = "" // a token stands alone
			}
			s = scheme + "://" + user + masked + rest[at:]
		}
	}
	if strings.IndexByte(s, '=') < 0 {
		return s
	}
	return m.params(s)
}

// params masks the secret ones of what looks like parameters: of a query, of a
// fragment, and of a URL that is itself a parameter and not escaped.
func (m *masker) params(s string) string {
	var out strings.Builder
	for s != "" {
		param, rest := s, ""
		if i := strings.IndexAny(s, "?&;#"); i >= 0 {
			param, rest = s[:i], s[i:]
		}
		name, _, found := strings.Cut(param, "=")
		if out.WriteString(name); found && m.secret(name) {
			out.WriteString("=" + masked)
		} else {
			out.WriteString(param[len(name):])
		}
		if s = ""; rest != "" {
			out.WriteByte(rest[0])
			s = rest[1:]
		}
	}
	return out.String()
}
