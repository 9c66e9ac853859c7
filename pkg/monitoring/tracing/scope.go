package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// A scope of this process is known by a key: its name, and behind a NUL, where
// there is more to tell, the fields of its InstrumentationScope message beside
// the name.

// scopeKey returns the key of a scope.
func (s *Store) scopeKey(name, version string, attrs attribute.Set) string {
	more := otlp.Scope{Version: version}
	more.Attrs, more.Dropped = s.convert(nil, attrs.ToSlice())
	rest := otlp.AppendScope(nil, &more)
	name = strings.ReplaceAll(name, "\x00", "")
	if len(rest) == 0 || len(name)+len(rest) > maxScope {
		return name
	}
	return name + "\x00" + string(rest)
}

func scopeName(key string) string {
	name, _, _ := strings.Cut(key, "\x00")
	return name
}

// scopeMessage returns the InstrumentationScope message of a key.
func scopeMessage(key string) []byte {
	name, rest, _ := strings.Cut(key, "\x00")
	return append(otlp.AppendScope(nil, &otlp.Scope{Name: name}), rest...)
}
