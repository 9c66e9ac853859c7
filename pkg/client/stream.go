package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	silence  = 45 * time.Second // of a stream, that means it is dead: servers send a heartbeat each 15 s
	maxEvent = 1 << 20          // bytes of one event
)

// CodeEnded is the code of a stream that the server ended.
const CodeEnded = "ended"

// follow is followFrom the next event on, with the kind and the data of each.
func (c *Client) follow(ctx context.Context, path string, q url.Values, opened func(), f func(kind string, data []byte) error) error {
	return c.followFrom(ctx, path, q, "", opened, func(e event) error { return f(e.kind, e.data) })
}

// followFrom reads server-sent events and calls f with each, those after the
// event of the id last, if that is not empty. opened is called when the stream is
// there.
func (c *Client) followFrom(ctx context.Context, path string, q url.Values, last string, opened func(), f func(event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.opts.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer watch.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		header["Last-Event-ID"] = []string{last} // Set would write Last-Event-Id
	}
	resp, err := c.Send(ctx, http.MethodGet, path, q, header, nil)
	if err != nil {
		return streamError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what is there of it says enough
		return problem(resp, path, body)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return unreadable(0, "%s: the answer is no stream but %.100q", path, kind)
	}
	opened()
	watch.Reset(silence)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	for ev := (event{}); lines.Scan(); {
		watch.Reset(silence)
		if !ev.line(lines.Bytes()) {
			continue
		}
		if len(ev.data) > maxEvent {
			return unreadable(0, "%s: an event of the stream is larger than %d bytes", path, maxEvent)
		}
		if len(ev.data) > 0 {
			if err := f(ev); err != nil {
				return err
			}
		}
		ev = event{}
	}
	if err := lines.Err(); err != nil {
		return streamError(ctx, err)
	}
	return &api.Error{Code: CodeEnded, Detail: "the server ended the stream"}
}

// event is one that is being read.
type event struct {
	kind string
	id   string
	data []byte
}

// line takes one line and tells whether it ended the event. Of one that is too
// large no more is kept than shows it.
func (e *event) line(b []byte) (ended bool) {
	name, value, _ := bytes.Cut(b, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) { // a comment has an empty name
	case "event":
		e.kind = string(value)
	case "id":
		e.id = string(value)
	case "data":
		if len(e.data) > 0 {
			e.data = append(e.data, '\n')
		}
		if len(e.data) <= maxEvent {
			e.data = append(e.data, value...)
		}
	}
	return len(b) == 0
}

// streamError tells a stream that fell silent from one that the caller left.
func streamError(ctx context.Context, err error) error {
	var e *api.Error
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return &api.Error{Code: CodeTimeout, Detail: "no answer in time"}
	}
	if errors.As(err, &e) {
		return e
	}
	return transportError(err)
}
