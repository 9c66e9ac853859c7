package tracing

import (
	"math"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// budget is how many bytes of JSON an answer may still have.
type budget int

// newBudget returns a budget of n bytes, of any number for 0.
func newBudget(n int) budget {
	if n == 0 {
		return math.MaxInt
	}
	return budget(n)
}

// take takes a span off the budget, and says whether there was enough.
func (b *budget) take(sp *api.Span) bool {
	n := 360 + jsonText(sp.OperationName) + jsonText(sp.Service) + jsonText(sp.StatusMessage) + jsonText(sp.Scope) + jsonValue(sp.Tags)
	for i := range sp.Logs {
		n += 80 + jsonText(sp.Logs[i].Message) + jsonText(sp.Logs[i].Level) + jsonValue(sp.Logs[i].Fields)
	}
	for i := range sp.Links {
		n += 90 + jsonValue(sp.Links[i].Tags)
	}
	*b -= budget(n)
	return *b >= 0
}

// jsonValue returns about how long v is in JSON, rather too long.
func jsonValue(v any) int {
	switch v := v.(type) {
	case string:
		return jsonText(v)
	case []any:
		n := 2
		for _, item := range v {
			n += 1 + jsonValue(item)
		}
		return n
	case map[string]any:
		n := 2
		for k, item := range v {
			n += 2 + jsonText(k) + jsonValue(item)
		}
		return n
	default:
		return 24 // the longest number
	}
}

// jsonText counts a character that JSON escapes with six bytes.
func jsonText(s string) int {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20 || c == 0xe2: // of U+2028 and U+2029, and of others
			n += 5
		case c == '"' || c == '\\':
			n++
		}
	}
	return n
}
