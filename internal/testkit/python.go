package testkit

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

//go:embed python/*.json
var recordings embed.FS

// Recording is one answer that a running Python Pulse API gave.
type Recording struct {
	Case    string `json:"case"`
	How     string `json:"how"` // the state that server was in; not kept here
	Request struct {
		Method string `json:"method"`
		Path   string `json:"path"` // with its query
	} `json:"request"`
	Status      int    `json:"status"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
	Location    string `json:"location"` // of a redirect
}

// ReadRecording reads a recording as the files hold it.
func ReadRecording(t testing.TB, b []byte) Recording {
	t.Helper()
	var r Recording
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("recording: %v", err)
	}
	return r
}

// Recordings returns every recording kept here, in the order of their cases.
func Recordings(t testing.TB) (all []Recording) {
	t.Helper()
	files, err := recordings.ReadDir("python")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := recordings.ReadFile("python/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ReadRecording(t, b))
	}
	return all
}

// PythonServer answers as a Python Pulse API does, with what a real one was
// recorded to say. It takes part only where the real one does: it checks the
// bounds of parameters it knows, ignores those it does not know and acts. What
// was reset, cleared or switched is so from then on, health follows the
// breakers, and the list of traces holds the request for it.
type PythonServer struct {
	*httptest.Server

	cases  map[string]Recording
	routes map[string]map[string]func(*http.Request) Recording // by path, then method

	mu       sync.Mutex
	got      []string
	pinned   map[string]Recording // by "METHOD path"
	breakers map[string]json.RawMessage
	profiled bool             // profiling is on
	cached   map[string]int64 // entries by cache
}

// Python starts a server that replays the recordings; it ends with the test.
func Python(t testing.TB) *PythonServer {
	t.Helper()
	p := NewPython(t)
	t.Cleanup(p.Close)
	return p
}

// NewPython is Python for a caller that closes the server itself.
func NewPython(t testing.TB) *PythonServer {
	t.Helper()
	p := &PythonServer{cases: map[string]Recording{}, pinned: map[string]Recording{}, cached: map[string]int64{"redis": 3, "memory": 3}}
	for _, r := range Recordings(t) {
		p.cases[r.Case] = r
	}
	if err := json.Unmarshal([]byte(p.cases["b03_breakers_open"].Body), &p.breakers); err != nil {
		t.Fatal(err)
	}
	p.routes = p.table()
	p.Server = httptest.NewServer(p)
	return p
}

// Requests returns what was asked so far, in order: "POST /monitoring/…?query".
func (p *PythonServer) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.got...)
}

// Actions returns the requests that would have changed something.
func (p *PythonServer) Actions() []string {
	var out []string
	for _, r := range p.Requests() {
		if !strings.HasPrefix(r, "GET ") && !strings.HasPrefix(r, "HEAD ") {
			out = append(out, r)
		}
	}
	return out
}

// Replay makes the server answer to the method and path of a recording with it,
// from now on and whatever the parameters: a stats route that is 500 for ever.
func (p *PythonServer) Replay(r Recording) {
	path, _, _ := strings.Cut(r.Request.Path, "?")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pinned[r.Request.Method+" "+path] = r
}

// ReplayCase is Replay of one of the recordings kept here.
func (p *PythonServer) ReplayCase(t testing.TB, name string) {
	t.Helper()
	r, ok := p.cases[name]
	if !ok {
		t.Fatalf("no recording %q", name)
	}
	p.Replay(r)
}

// ServeHTTP finds the answer by the decoded path, as that server does: a name
// with a slash is no name there.
func (p *PythonServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, r.Method+" "+r.URL.RequestURI())
	answer := p.answer(w, r)
	w.Header().Set("Server", "uvicorn")
	w.Header().Set("Content-Type", answer.ContentType)
	if id := r.Header.Get("X-Request-ID"); id != "" {
		w.Header().Set("X-Request-ID", id)
	}
	if answer.Location != "" {
		w.Header().Set("Location", answer.Location)
	}
	w.WriteHeader(answer.Status)
	fmt.Fprint(w, answer.Body)
}

func (p *PythonServer) answer(w http.ResponseWriter, r *http.Request) Recording {
	if pinned, ok := p.pinned[r.Method+" "+r.URL.Path]; ok {
		return pinned
	}
	methods := p.routes[r.URL.Path]
	if name, ok := resetOf(r.URL.Path); ok {
		methods = map[string]func(*http.Request) Recording{"POST": func(*http.Request) Recording { return p.reset(name) }}
	}
	if f := methods[r.Method]; f != nil {
		return f(r)
	}
	if short := strings.TrimSuffix(r.URL.Path, "/"); methods == nil && short != r.URL.Path && p.routes[short] != nil {
		return Recording{Status: http.StatusTemporaryRedirect, Location: "http://" + r.Host + short}
	}
	for allowed := range methods {
		w.Header().Set("Allow", allowed)
		return p.cases["a24_traces_cleanup_get_405"]
	}
	return p.cases["e03_unknown_404"]
}
