package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	heartbeat  = 15 * time.Second // between signs of life on a stream where nothing happens
	writeTime  = 10 * time.Second // for a reader to take an event
	maxStreams = 64               // at once
)

// message is one server-sent event: a kind, and what goes with it as JSON.
type message struct {
	kind string
	data any
}

// stream answers with server-sent events (WHATWG HTML, section 9.2): first with
// those of the past, then with what shown makes of each of live, until that is
// closed, the reader leaves or the server stops. A reader that takes none for
// writeTime is left: whoever fills live must not wait for it.
func stream[T any](s *Server, w http.ResponseWriter, r *http.Request, past []message, live <-chan T, shown func(T) (message, bool)) {
	conn := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // a proxy must not collect them
	h.Set(gzhttp.HeaderNoCompression, "1")
	send := func(b []byte) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(writeTime)) // a writer that has none is no connection
		_, err := w.Write(b)
		return err == nil && conn.Flush() == nil
	}
	going := send([]byte(": stream\n\n"))
	for _, m := range past {
		going = going && send(m.encode())
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for going {
		select {
		case v, more := <-live:
			if !more {
				return
			}
			if m, ok := shown(v); ok {
				going = send(m.encode())
			}
		case <-beat.C:
			going = send([]byte(": heartbeat\n\n"))
		case <-r.Context().Done():
			return
		case <-s.stopping:
			send(message{"end", map[string]string{"reason": "the server stops"}}.encode())
			return
		}
	}
}

// encode writes the event; JSON has no newlines that would end a line of it.
func (m message) encode() []byte {
	var b bytes.Buffer
	b.WriteString("event: " + m.kind + "\ndata: ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m.data); err != nil {
		return []byte(": an event could not be encoded\n\n")
	}
	b.WriteByte('\n') // Encode ended the line; this ends the event
	return b.Bytes()
}

// enterStream takes a place among the streams; leave gives it back.
func (s *Server) enterStream() (leave func(), err error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		wait := api.Seconds(10 * time.Second)
		e := api.Errorf(http.StatusServiceUnavailable, "%d streams are open, the most at once", maxStreams)
		e.RetryAfter = &wait
		return nil, e
	}
}

// EndStreams ends the streams that are open, and those to come at once: they
// would hold up a shutdown that waits for requests in flight.
func (s *Server) EndStreams() { s.stopOnce.Do(func() { close(s.stopping) }) }
