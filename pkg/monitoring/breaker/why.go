package breaker

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// episode is why a breaker opened last.
type episode struct {
	cause          api.BreakerThreshold
	reason         string
	actor, traceID string
	openedAt       time.Time
	rejectedBefore int64
}

// errorKinds bounds the kinds of errors that are kept.
const errorKinds = 8

// errorLog is the last error of each kind, the newest kind last.
type errorLog struct{ kinds []errorKind }

type errorKind struct {
	kind, message string
	count         int64
	last          time.Time
}

func (l *errorLog) add(r result, now time.Time) {
	e := errorKind{kind: clip(r.kind, 64)}
	if i := slices.IndexFunc(l.kinds, func(k errorKind) bool { return k.kind == e.kind }); i >= 0 {
		e = l.kinds[i]
		l.kinds = slices.Delete(l.kinds, i, i+1)
	} else if len(l.kinds) == errorKinds {
		l.kinds = slices.Delete(l.kinds, 0, 1)
	}
	e.message, e.last = clip(r.why, maxWords), now
	e.count++
	l.kinds = append(l.kinds, e)
}

func (l *errorLog) last() string {
	if len(l.kinds) == 0 {
		return ""
	}
	return l.kinds[len(l.kinds)-1].message
}

// api lists the kinds, the newest first.
func (l *errorLog) api() []api.BreakerError {
	out := make([]api.BreakerError, 0, len(l.kinds))
	for _, k := range slices.Backward(l.kinds) {
		out = append(out, api.BreakerError{Kind: k.kind, Message: k.message, Count: api.Count(k.count), Last: instant(k.last)})
	}
	return out
}

// kind sorts errors into a few words that an operator can act on. An error may
// tell its HTTP status by a method StatusCode() int.
func kind(o Outcome, err error) string {
	var coded interface{ StatusCode() int }
	var dns *net.DNSError
	switch {
	case err == nil:
		return o.kind()
	case errors.As(err, &coded):
		return "http_" + strconv.Itoa(coded.StatusCode())
	case o == Timeout, errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection_refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection_reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	}
	return "error"
}

// StatusError is an HTTP answer that counts as a failure.
type StatusError struct{ Status int }

// Error is the status as it is written: "503 Service Unavailable".
func (e StatusError) Error() string { return statusLine(e.Status) }

// StatusCode returns the HTTP status.
func (e StatusError) StatusCode() int { return e.Status }

// message is the text of err for the breaker's last error. The query and the
// user of a URL in it are left out: they hold keys, and a viewer reads this.
func message(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	var ue *url.Error
	if errors.As(err, &ue) && ue.URL != "" {
		text = strings.ReplaceAll(text, ue.URL, bare(ue.URL))
		text = strings.ReplaceAll(text, strconv.Quote(ue.URL), strconv.Quote(bare(ue.URL)))
	}
	return clip(text, maxWords)
}

func bare(address string) string {
	address, _, _ = strings.Cut(address, "?")
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	host, path, _ := strings.Cut(rest, "/")
	return scheme + "://" + host[strings.LastIndexByte(host, '@')+1:] + "/" + path
}

// clip cuts s to at most n bytes at a character's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// describeWhy tells why the breaker is not closed; nil if it is, by itself.
func (b *Breaker) describeWhy() *api.BreakerWhy {
	if b.state == api.StateClosed {
		return nil
	}
	w := &api.BreakerWhy{
		Reason: b.why.reason, Actor: b.why.actor, TraceID: b.why.traceID, OpenedAt: instant(b.why.openedAt),
		Rejected: api.Count(b.calls.rejected() - b.why.rejectedBefore), Failed: api.Count(b.failedRecoveries),
	}
	if b.why.cause.Kind != "" {
		cause := b.why.cause
		w.Threshold = &cause
	}
	return w
}

func statusLine(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}
