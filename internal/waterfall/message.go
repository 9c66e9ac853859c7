package waterfall

import (
	"fmt"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Message returns why a span failed, from the first place that says so: its
// status, its exception, its error logs, its tags. It is "" if nothing does.
func Message(s *api.Span) string {
	if s.StatusMessage != "" {
		return s.StatusMessage
	}
	for _, l := range s.Logs {
		if m, ok := l.Fields["exception.message"]; ok {
			return fmt.Sprint(m)
		}
	}
	for _, l := range s.Logs {
		if l.Level == "error" || l.Level == "ERROR" {
			return l.Message
		}
	}
	for _, key := range []string{"error.message", "exception.message", "error", "error.type"} {
		switch v := s.Tags[key].(type) {
		case nil, bool:
		default:
			return fmt.Sprint(v)
		}
	}
	return ""
}
