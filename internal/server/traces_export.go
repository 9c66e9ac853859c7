package server

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/internal/traceformat"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Bounds of an exported trace: bytes of its spans in protobuf. JSON takes a
// multiple of them.
const (
	maxExportJSON     = 16 << 20
	maxExportProtobuf = 64 << 20
	maxExports        = 4 // at once
)

// getTrace answers with one trace, as the API has it or in another tool's form.
func (s *Server) getTrace(w http.ResponseWriter, r *http.Request) {
	p := query(r)
	format := traceformat.Format(p.oneOf("format", "json", "json", "otlp", "jaeger", "zipkin", "chrome"))
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	if format == traceformat.Native {
		s.json(func(r *http.Request) (any, error) { return s.trace(r.PathValue("id")) }).ServeHTTP(w, r)
		return
	}
	if format == traceformat.OTLP && accepts(r, traceformat.Protobuf.ContentType()) {
		format = traceformat.Protobuf
	}
	release, err := s.exports.enter(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer release()
	body, truncated, err := s.export(r.PathValue("id"), format)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", format.ContentType())
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if truncated {
		h.Set(api.TruncatedHeader, "true")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // a client that has gone needs no answer
}

// export returns a trace in a form that is not the API's own.
func (s *Server) export(id string, format traceformat.Format) (body []byte, truncated bool, err error) {
	most := maxExportJSON
	if format == traceformat.Protobuf {
		most = maxExportProtobuf
	}
	request, truncated, err := s.opts.Traces.Export(id, most)
	if err != nil {
		return nil, false, traceProblem(id, err)
	}
	data, _, err := traceformat.Read(request)
	if err != nil {
		return nil, false, err
	}
	body, err = traceformat.Write(format, data)
	return body, truncated, err
}

// accepts tells whether a request names a media type among those that it takes.
func accepts(r *http.Request, media string) bool {
	for _, header := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(header, ",") {
			if m, _, err := mime.ParseMediaType(one); err == nil && m == media {
				return true
			}
		}
	}
	return false
}
