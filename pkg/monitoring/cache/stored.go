package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stored is an answer as it is kept, or, where Vary is not nil, the index of
// the answers of one URL that depend on request headers. It is never changed.
type stored struct {
	Vary       []string `json:",omitempty"`
	Generation uint64   `json:",omitempty"` // of an index: part of its answers' keys

	Status int         `json:",omitempty"`
	Header http.Header `json:",omitempty"`
	Body   []byte      `json:"-"`
	Came   int64       `json:",omitempty"` // Unix milliseconds
	Age    int64       `json:",omitempty"` // milliseconds old when it came
	Fresh  int64       `json:",omitempty"` // milliseconds of life from its making
	ForAll bool        `json:",omitempty"` // authorized requests may have it too
}

// storedCodec keeps the body as it is, behind the rest as JSON.
func storedCodec() Codec[*stored] {
	return Codec[*stored]{
		Encode: func(s *stored) ([]byte, error) {
			head, err := json.Marshal(s)
			if err != nil {
				return nil, err
			}
			out := binary.AppendUvarint(make([]byte, 0, len(head)+len(s.Body)+binary.MaxVarintLen32), uint64(len(head)))
			return append(append(out, head...), s.Body...), nil
		},
		Decode: func(b []byte) (*stored, error) {
			n, width := binary.Uvarint(b)
			if width <= 0 || n > uint64(len(b)-width) {
				return nil, errors.New("an answer's head is cut off")
			}
			s := new(stored)
			if err := json.Unmarshal(b[width:width+int(n)], s); err != nil {
				return nil, err
			}
			if s.Vary == nil && (s.Status < 200 || s.Status > 599) {
				return nil, errors.New("an answer without a status")
			}
			s.Body = bytes.Clone(b[width+int(n):])
			return s, nil
		},
	}
}

// perConnection are the headers that belong to one connection or one caller,
// and those that are made anew for each: none is kept.
var perConnection = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Proxy-Connection", "Te",
	"Trailer", "Transfer-Encoding", "Upgrade", "Set-Cookie", "Age", "Cache-Status", "Content-Length",
	"X-Request-Id", "X-Correlation-Id", "X-Trace-Id", "X-Profile-Id", "Traceparent", "Tracestate", "Server-Timing",
}

// keptHeader copies what of an answer's header is kept: not what stood there
// before its handler ran, which is this caller's.
func keptHeader(h, before http.Header) http.Header {
	out := http.Header{}
	drop := slices.Clone(perConnection)
	for _, field := range h.Values("Connection") {
		for name := range strings.SplitSeq(field, ",") {
			drop = append(drop, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range h {
		if !slices.Contains(drop, name) && !slices.Equal(values, before[name]) && !strings.HasPrefix(name, http.TrailerPrefix) {
			out[name] = slices.Clone(values)
		}
	}
	return out
}

// keep makes an answer of what a handler wrote.
func keep(status int, header http.Header, full http.Header, body []byte, fresh time.Duration, now time.Time) *stored {
	made := dateOf(full, now)
	age := max(now.Sub(made), time.Duration(seconds(full.Get("Age")))*time.Second, 0)
	if header.Get("Date") == "" {
		header.Set("Date", made.UTC().Format(http.TimeFormat))
	}
	return &stored{
		Status: status, Header: header, Body: body, Came: now.UnixMilli(), Age: age.Milliseconds(), Fresh: fresh.Milliseconds(),
		ForAll: forAll(parseControl(full.Values("Cache-Control"))),
	}
}

// age is how old the answer is (RFC 9111, section 4.2.3).
func (s *stored) age(now time.Time) time.Duration {
	return time.Duration(max(now.UnixMilli()-s.Came, 0)+s.Age) * time.Millisecond
}

func (s *stored) lifetime() time.Duration { return time.Duration(s.Fresh) * time.Millisecond }

// validator tells whether a handler can be asked if the answer still holds.
func (s *stored) validator() bool {
	return s.Status == http.StatusOK && (s.Header.Get("Etag") != "" || s.Header.Get("Last-Modified") != "")
}

// usable tells whether the answer may be given to a request without asking.
func (s *stored) usable(r *http.Request, cc control, now time.Time) bool {
	age, fresh := s.age(now), s.lifetime()
	if age >= fresh || cc.has("no-cache", "no-store") || r.Header.Get("Authorization") != "" && !s.ForAll {
		return false
	}
	if most, ok := cc.duration("max-age"); ok && age > most {
		return false
	}
	least, _ := cc.duration("min-fresh")
	return fresh-age >= least
}

// freshened is the answer after its handler has said that it still holds: with
// what that said of it (RFC 9111, section 3.2). Its caller sets Fresh.
func (s *stored) freshened(header, full http.Header, now time.Time) *stored {
	merged := s.Header.Clone()
	for name, values := range header {
		if !strings.HasPrefix(name, "Content-") {
			merged[name] = values
		}
	}
	merged.Set("Date", dateOf(full, now).UTC().Format(http.TimeFormat))
	return keep(s.Status, merged, full, s.Body, 0, now)
}

// replay writes the answer to another caller: as 304 where that has it.
func (s *stored) replay(w http.ResponseWriter, r *http.Request, now time.Time) {
	h := w.Header()
	if s.Status == http.StatusOK && unchanged(r, s.Header) {
		for _, name := range []string{"Cache-Control", "Content-Location", "Date", "Etag", "Expires", "Last-Modified", "Vary"} {
			if values := s.Header[name]; values != nil {
				h[name] = slices.Clone(values)
			}
		}
		setAge(h, s.age(now))
		w.WriteHeader(http.StatusNotModified)
		return
	}
	for name, values := range s.Header {
		h[name] = slices.Clone(values)
	}
	setAge(h, s.age(now))
	if s.Status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(s.Body)))
	}
	w.WriteHeader(s.Status)
	if r.Method != http.MethodHead {
		w.Write(s.Body) // a client that has gone needs no answer
	}
}

func setAge(h http.Header, age time.Duration) {
	h.Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
}

// unchanged tells whether a request's conditions say that its caller has the
// answer already (RFC 9110, section 13.2.2).
func unchanged(r *http.Request, h http.Header) bool {
	if match := r.Header.Values("If-None-Match"); len(match) > 0 {
		etag := h.Get("Etag")
		return etag != "" && etagIn(strings.Join(match, ","), etag)
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	return err == nil && !modified.After(since)
}

// etagIn compares weakly, as If-None-Match wants it.
func etagIn(list, etag string) bool {
	etag = strings.TrimPrefix(etag, "W/")
	for rest := strings.TrimSpace(list); rest != ""; {
		if rest[0] == '*' {
			return true
		}
		rest = strings.TrimPrefix(rest, "W/")
		if rest == "" || rest[0] != '"' {
			return false
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			return false
		}
		if rest[:end+2] == etag {
			return true
		}
		rest = strings.TrimLeft(rest[end+2:], " \t,")
	}
	return false
}
