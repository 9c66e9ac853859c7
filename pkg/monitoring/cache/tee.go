package cache

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"strconv"
	"time"
)

// teeWriter gives an answer to its caller as it is written, and keeps a copy as
// long as it looks like one that may be kept.
type teeWriter struct {
	http.ResponseWriter
	cache  *Responses
	ask    ask
	before http.Header // that stood there before the handler ran

	status    int
	streaming bool // no copy is kept, or no longer
	hijacked  bool
	silent    bool // the caller gets nothing of this answer: it has its own
	still     bool // the handler said that the stale answer holds
	fresh     time.Duration
	header    http.Header // to be kept
	full      http.Header // as the handler set it
	vary      []string
	body      bytes.Buffer
}

// inner is the request that the handler gets: the caller's own conditions are
// left out, for the cache wants the whole answer, and instead it may be asked
// whether the stale one holds.
func (t *teeWriter) inner() *http.Request {
	r := t.ask.r
	if r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == "" && t.ask.stale == nil {
		return r
	}
	inner := new(http.Request)
	*inner = *r
	inner.Header = r.Header.Clone()
	inner.Header.Del("If-None-Match")
	inner.Header.Del("If-Modified-Since")
	if s := t.ask.stale; s != nil {
		if etag := s.Header.Get("Etag"); etag != "" {
			inner.Header.Set("If-None-Match", etag)
		} else {
			inner.Header.Set("If-Modified-Since", s.Header.Get("Last-Modified"))
		}
	}
	return inner
}

// Unwrap is for [http.ResponseController].
func (t *teeWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *teeWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols || t.status != 0 {
		t.ResponseWriter.WriteHeader(status) // of a second one net/http complains
		return
	}
	t.status = status
	if t.streaming || t.hijacked {
		t.ResponseWriter.WriteHeader(status)
		return
	}
	now, h := time.Now(), t.Header()
	t.full = h.Clone()
	if t.ask.stale != nil && status == http.StatusNotModified {
		t.still, t.silent = true, true
		return
	}
	if t.fresh = lifetime(t.ask.r, status, h, now, t.cache.opts.TTL); t.fresh <= 0 || tooLong(h, t.cache.opts.MaxBody) {
		t.giveUp()
	} else {
		t.header = keptHeader(h, t.before)
		t.vary, _ = varyNames(h)
		h.Add("Cache-Status", "pulsectl; fwd=miss; stored")
	}
	if status == http.StatusOK && unchanged(t.ask.r, h) {
		t.silent = true
		h.Del("Content-Length")
		h.Del("Content-Type")
		h.Del("Content-Encoding")
		status = http.StatusNotModified
	}
	t.ResponseWriter.WriteHeader(status)
}

// tooLong tells of a body that says so itself.
func tooLong(h http.Header, most int64) bool {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	return err == nil && n > most
}

// giveUp keeps no copy: whoever waits for one need not.
func (t *teeWriter) giveUp() {
	t.streaming = true
	t.body = bytes.Buffer{}
	if t.ask.at != "" {
		t.cache.urls.pass(t.ask.at)
	}
	t.ask.leave()
}

func (t *teeWriter) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	if !t.streaming && !t.still {
		if int64(t.body.Len()+len(p)) > t.cache.opts.MaxBody {
			t.giveUp()
		} else {
			t.body.Write(p)
		}
	}
	if t.silent {
		return len(p), nil
	}
	return t.ResponseWriter.Write(p)
}

// Flush sends what is written so far: an answer that is flushed is a stream,
// and not kept.
func (t *teeWriter) Flush() { _ = t.FlushError() } // [http.Flusher] has no place for the error

// FlushError is Flush for [http.ResponseController].
func (t *teeWriter) FlushError() error {
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	if !t.streaming && !t.still {
		t.giveUp()
	}
	if t.silent {
		return nil
	}
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// Hijack takes the connection over, where the server can.
func (t *teeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err == nil {
		t.hijacked = true
		t.giveUp()
	}
	return conn, buf, err
}

// finish keeps the answer when the handler has returned. A part of one is not
// kept: its caller has gone, or it has said more than it wrote.
func (t *teeWriter) finish() {
	if t.hijacked {
		return
	}
	if t.status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	now, r := time.Now(), t.ask.r
	if t.still {
		t.finishStill(now)
		return
	}
	declared, err := strconv.Atoi(t.full.Get("Content-Length"))
	whole := err != nil && r.Context().Err() == nil || err == nil && declared == t.body.Len()
	if t.streaming || !whole {
		return
	}
	e := keep(t.status, t.header, t.full, bytes.Clone(t.body.Bytes()), t.fresh, now)
	t.cache.save(t.ask, e, t.vary)
	t.ask.leave()
}

// finishStill gives the caller the stale answer, fresh again.
func (t *teeWriter) finishStill(now time.Time) {
	h := t.Header()
	fields := keptHeader(t.full, t.before)
	e := t.ask.stale.freshened(fields, t.full, now)
	fresh := lifetime(t.ask.r, http.StatusOK, e.Header, now, t.cache.opts.TTL)
	e.Fresh = fresh.Milliseconds()
	for name := range h { // what the handler said with its 304
		if _, mine := t.before[name]; !mine && name != "Set-Cookie" {
			delete(h, name)
		}
	}
	if fresh > 0 && t.full.Get("Set-Cookie") == "" {
		vary, _ := varyNames(e.Header)
		t.cache.save(t.ask, e, vary)
	}
	t.ask.leave()
	h.Add("Cache-Status", "pulsectl; hit; detail=revalidated")
	e.replay(t.ResponseWriter, t.ask.r, now)
}
