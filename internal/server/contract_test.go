package server_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// checked is a server whose every answer is held against the document: status,
// media type, headers and body; an error anywhere must be a problem; and what
// the document forbids in a request must not succeed.
type checked struct {
	*httptest.Server
	t      testing.TB
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]map[int]int // statuses of each operation, counted
}

// contract starts a checked server of h.
func contract(t testing.TB, h http.Handler) *checked {
	t.Helper()
	doc := value(loadDocument())(t)
	addressless := *doc
	addressless.Servers = nil // the router would want to find the address there
	router, err := legacy.NewRouter(&addressless)
	if err != nil {
		t.Fatal(err)
	}
	c := &checked{Server: httptest.NewServer(h), t: t, doc: doc, router: router, seen: map[string]map[int]int{}}
	t.Cleanup(c.Close)
	return c
}

// answerOf is what came back, its body read and decompressed.
type answerOf struct {
	*http.Response
	body []byte
}

func (a answerOf) problem(t testing.TB) api.Error {
	t.Helper()
	var p api.Error
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return p
}

// do asks "METHOD /path?query"; headers come in pairs.
func (c *checked) do(what string, body []byte, header ...string) answerOf {
	c.t.Helper()
	method, target, _ := strings.Cut(what, " ")
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+target, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		if req.Header.Set(pair[0], pair[1]); pair[0] == "Host" {
			req.Host = pair[1]
		}
	}
	resp, err := c.transport().RoundTrip(req)
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(resp.Body); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	a := answerOf{resp, got.Bytes()}
	c.check(what, req, body, a)
	return a
}

// transport follows no redirect.
func (c *checked) transport() http.RoundTripper { return c.Client().Transport }

func (c *checked) check(what string, req *http.Request, body []byte, a answerOf) {
	c.t.Helper()
	if a.Header.Get(api.RequestIDHeader) == "" {
		c.t.Errorf("%s: no %s on the answer", what, api.RequestIDHeader)
	}
	if a.StatusCode >= 400 && a.StatusCode != http.StatusServiceUnavailable && req.Method != http.MethodHead && strings.HasPrefix(req.URL.Path, "/monitoring") {
		c.checkProblem(what, a)
	}
	probe := req.Clone(context.Background())
	if req.Method == http.MethodHead {
		probe.Method = http.MethodGet
	}
	probe.Body = io.NopCloser(bytes.NewReader(body))
	route, params, err := c.router.FindRoute(probe)
	if err != nil {
		if a.StatusCode < 300 {
			c.t.Errorf("%s: answered %s and is not in the document", what, a.Status)
		}
		return
	}
	if item := c.doc.Paths.Value(probe.URL.Path); item != nil && item.GetOperation(probe.Method) != nil { // the router may take a pattern for it
		fixed := *route
		fixed.Path, fixed.PathItem, fixed.Operation = probe.URL.Path, item, item.GetOperation(probe.Method)
		route, params = &fixed, nil
	}
	c.count(route, a.StatusCode)
	in := &openapi3filter.RequestValidationInput{
		Request: probe, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true},
	}
	forbidden := openapi3filter.ValidateRequest(c.t.Context(), in)
	if forbidden != nil && a.StatusCode < 400 {
		c.t.Errorf("%s: answered %s; the document forbids it: %v", what, a.Status, forbidden)
	}
	if req.Method == http.MethodHead {
		return
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.StatusCode, Header: a.Header, Options: in.Options}
	out.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(c.t.Context(), out); err != nil {
		c.t.Errorf("%s: %s is not what the document says: %v\n%.2000s", what, a.Status, err, a.body)
	}
}

// checkProblem holds an error against RFC 9457, documented or not.
func (c *checked) checkProblem(what string, a answerOf) {
	c.t.Helper()
	if got := a.Header.Get("Content-Type"); got != api.ProblemType {
		c.t.Errorf("%s: %s with Content-Type %q, want %s: %.200s", what, a.Status, got, api.ProblemType, a.body)
		return
	}
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		c.t.Errorf("%s: %v", what, err)
		return
	}
	if err := c.doc.Components.Schemas["Problem"].Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		c.t.Errorf("%s: no problem of RFC 9457: %v: %s", what, err, a.body)
	}
	if p := a.problem(c.t); p.Status != a.StatusCode {
		c.t.Errorf("%s: the problem's status is %d, the answer's %d", what, p.Status, a.StatusCode)
	}
}

func (c *checked) count(route *routers.Route, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := route.Method + " " + route.Path
	if c.seen[name] == nil {
		c.seen[name] = map[int]int{}
	}
	c.seen[name][status]++
}

// operations lists those of the document that are the server's own, as "METHOD
// /path".
func (c *checked) operations() map[string]*openapi3.Operation {
	out := map[string]*openapi3.Operation{}
	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Extensions["x-beside"] == nil {
				out[method+" "+path] = op
			}
		}
	}
	return out
}

// served lists what the server says it serves, as "METHOD /path".
func (c *checked) served() []string {
	c.t.Helper()
	var ix api.Index
	if err := json.Unmarshal(c.do("GET /monitoring/", nil).body, &ix); err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, e := range ix.Endpoints {
		out = append(out, e.Method+" "+e.Path)
	}
	slices.Sort(out)
	return out
}

// Every route is in the document, and everything in the document is a route.
func TestDocumentIsTheTable(t *testing.T) {
	c := contract(t, newServer(t, filled(t)))
	served, documented := c.served(), slices.Sorted(maps.Keys(c.operations()))
	for _, op := range served {
		if !slices.Contains(documented, op) {
			t.Errorf("%s is served, but not in openapi.yaml", op)
		}
	}
	for _, op := range documented {
		if !slices.Contains(served, op) {
			t.Errorf("%s is in openapi.yaml, but not served", op)
		}
	}
}

// Every operation, with input that is good and input that is not.
func TestContract(t *testing.T) {
	o := filled(t)
	c := contract(t, newServer(t, o))
	profile := o.upload(t)
	fill := strings.NewReplacer("{profile}", profile, "{prefix}", profile[:6], "{trace}", o.ended, "{start}", o.ended[:8], "{permit}", c.permit("github_api?lease=7"))
	for _, tt := range contractCases {
		t.Run(tt.ask, func(t *testing.T) {
			a := c.do(fill.Replace(tt.ask), []byte(fill.Replace(string(tt.body(t)))), tt.header...)
			if a.StatusCode != tt.status {
				t.Errorf("status %d, want %d: %.300s", a.StatusCode, tt.status, a.body)
			}
			if tt.names != "" && !names(a.problem(t), tt.names) {
				t.Errorf("the problem does not name the parameter %s: %s", tt.names, a.body)
			}
			if tt.has != "" && !bytes.Contains(a.body, []byte(tt.has)) {
				t.Errorf("the answer lacks %s: %.300s", tt.has, a.body)
			}
		})
	}
	for _, op := range c.served() {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(c.seen[op])), func(status int) bool { return status < 300 }) {
			t.Errorf("%s was never asked with success", op)
		}
	}
}

func names(p api.Error, parameter string) bool {
	return slices.ContainsFunc(p.Errors, func(e api.FieldError) bool { return e.Parameter == parameter })
}

// HEAD is GET without the body.
func TestHead(t *testing.T) {
	c := contract(t, newServer(t, filled(t)))
	for _, path := range []string{"/monitoring/", "/monitoring/openapi.json", "/monitoring/circuit-breakers", "/monitoring/circuit-breakers/nope"} {
		get, head := c.do("GET "+path, nil), c.do("HEAD "+path, nil)
		if head.StatusCode != get.StatusCode || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") || len(head.body) > 0 {
			t.Errorf("HEAD %s: %s %s with %d bytes, GET %s %s", path, head.Status, head.Header.Get("Content-Type"), len(head.body), get.Status, get.Header.Get("Content-Type"))
		}
	}
}

func TestTrailingSlash(t *testing.T) {
	c := contract(t, newServer(t, filled(t)))
	for _, tt := range []struct{ ask, location string }{
		{"GET /monitoring/circuit-breakers/?state=open", "/monitoring/circuit-breakers?state=open"},
		{"POST /monitoring/circuit-breakers/reset-all/?dry_run=true", "/monitoring/circuit-breakers/reset-all?dry_run=true"},
		{"GET /monitoring/circuit-breakers/github_api//", "/monitoring/circuit-breakers/github_api"},
		{"GET /monitoring/circuit-breakers/a%2Fb/", "/monitoring/circuit-breakers/a%2Fb"},
		{"GET /monitoring", "/monitoring/"},
	} {
		a := c.do(tt.ask, nil)
		if a.StatusCode != http.StatusTemporaryRedirect || a.Header.Get("Location") != tt.location {
			t.Errorf("%s: %s to %q, want 307 to %q", tt.ask, a.Status, a.Header.Get("Location"), tt.location)
		}
	}
	for _, ask := range []string{"GET /monitoring/nope/", "GET //monitoring/circuit-breakers/", "GET //example.com/"} {
		if a := c.do(ask, nil); strings.HasPrefix(a.Header.Get("Location"), "//") {
			t.Errorf("%s: %s to %q, another host", ask, a.Status, a.Header.Get("Location"))
		}
	}
}

// A body over 1 KiB is compressed as the client likes it, a smaller one never.
func TestCompression(t *testing.T) {
	c := contract(t, newServer(t, filled(t)))
	for _, tt := range []struct{ path, accept, want string }{
		{"/monitoring/openapi.json", "gzip", "gzip"},
		{"/monitoring/openapi.json", "zstd", "zstd"},
		{"/monitoring/openapi.json", "gzip, zstd", "zstd"},
		{"/monitoring/openapi.json", "br", ""},
		{"/monitoring/openapi.json", "gzip;q=0", ""},
		{"/monitoring/", "gzip", "gzip"},
		{"/monitoring/circuit-breakers?name=none", "gzip", ""},
	} {
		req, err := http.NewRequest(http.MethodGet, c.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", tt.accept) // by hand: the transport leaves the body as it is
		resp, err := c.transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := decompress(resp)
		if got := resp.Header.Get("Content-Encoding"); got != tt.want || err != nil || !json.Valid(body) {
			t.Errorf("%s for %q: encoding %q, want %q (%v)", tt.path, tt.accept, got, tt.want, err)
		}
	}
}

func decompress(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	switch e := resp.Header.Get("Content-Encoding"); e {
	case "":
		return io.ReadAll(resp.Body)
	case "gzip":
		z, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	case "zstd":
		return unzstd(resp.Body)
	default:
		return nil, fmt.Errorf("encoding %s: %w", e, errors.ErrUnsupported)
	}
}
