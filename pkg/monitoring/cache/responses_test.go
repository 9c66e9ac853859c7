package cache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

// origin is a handler behind a response cache, and how often it was asked.
type origin struct {
	t     *testing.T
	cache http.Handler
	asked atomic.Int64
}

func newOrigin(t *testing.T, o cache.ResponseOptions, answer http.HandlerFunc, tiers ...cache.Tier) *origin {
	t.Helper()
	if len(tiers) == 0 {
		m, err := cache.NewMemory(cache.MemoryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() }) // never an error
		tiers = append(tiers, m)
	}
	c, err := cache.NewResponses(o, tiers...)
	if err != nil {
		t.Fatal(err)
	}
	og := &origin{t: t}
	og.cache = c.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		og.asked.Add(1)
		answer(w, r)
	}))
	return og
}

// do asks for a target; header are names and values in turn. Before the cache a
// middleware gives each request an id of its own.
func (og *origin) do(method, target string, header ...string) *http.Response {
	og.t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-ID", "outer-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	w.Header().Set("X-Frame-Options", "DENY")
	og.cache.ServeHTTP(w, r)
	return w.Result()
}

func (og *origin) get(target string, header ...string) *http.Response {
	og.t.Helper()
	return og.do("GET", target, header...)
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// How often a handler is asked for two requests, by what it answers and what
// they ask.
func TestWhatIsKept(t *testing.T) {
	for _, tt := range []struct {
		name          string
		answer        []string // header of the answer, names and values in turn
		status        int
		first, second []string // headers of the requests
		asked         int64
	}{
		{"says nothing", nil, 200, nil, nil, 2},
		{"max-age", []string{"Cache-Control", "max-age=60"}, 200, nil, nil, 1},
		{"quoted", []string{"Cache-Control", `ext="a,no-store", max-age="60"`}, 200, nil, nil, 1},
		{"in capitals, on two lines", []string{"Cache-Control", "PUBLIC", "Cache-Control", "Max-Age=60"}, 200, nil, nil, 1},
		{"two max-ages, the smaller counts", []string{"Cache-Control", "max-age=60, max-age=0"}, 200, nil, nil, 2},
		{"max-age that is none", []string{"Cache-Control", "max-age=soon"}, 200, nil, nil, 2},
		{"max-age beyond all bounds", []string{"Cache-Control", "max-age=99999999999999999999"}, 200, nil, nil, 1},
		{"s-maxage before max-age", []string{"Cache-Control", "max-age=60, s-maxage=0"}, 200, nil, nil, 2},
		{"no-store", []string{"Cache-Control", "no-store, max-age=60"}, 200, nil, nil, 2},
		{"private", []string{"Cache-Control", "private, max-age=60"}, 200, nil, nil, 2},
		{"private of a field", []string{"Cache-Control", `private="X-User", max-age=60`}, 200, nil, nil, 2},
		{"no-cache", []string{"Cache-Control", "no-cache, max-age=60"}, 200, nil, nil, 2},
		{"sets a cookie", []string{"Cache-Control", "max-age=60", "Set-Cookie", "a=b"}, 200, nil, nil, 2},
		{"Expires", []string{"Expires", "Fri, 01 Jan 2100 00:00:00 GMT"}, 200, nil, nil, 1},
		{"Expires in the past", []string{"Expires", "Thu, 01 Jan 1970 00:00:00 GMT"}, 200, nil, nil, 2},
		{"Expires 0", []string{"Expires", "0"}, 200, nil, nil, 2},
		{"max-age before Expires", []string{"Cache-Control", "max-age=60", "Expires", "0"}, 200, nil, nil, 1},
		{"Age uses the time up", []string{"Cache-Control", "max-age=60", "Age", "60"}, 200, nil, nil, 2},
		{"an old Date does, too", []string{"Cache-Control", "max-age=60", "Date", "Thu, 01 Jan 1970 00:00:00 GMT"}, 200, nil, nil, 2},
		{"a redirect", []string{"Cache-Control", "max-age=60", "Location", "/"}, 302, nil, nil, 1},
		{"not found", []string{"Cache-Control", "max-age=60"}, 404, nil, nil, 1},
		{"a failure", []string{"Cache-Control", "max-age=60"}, 500, nil, nil, 2},
		{"a part", []string{"Cache-Control", "max-age=60", "Content-Range", "bytes 0-1/2"}, 206, nil, nil, 2},
		{"Vary: *", []string{"Cache-Control", "max-age=60", "Vary", "*"}, 200, nil, nil, 2},
		{"Vary, the same", []string{"Cache-Control", "max-age=60", "Vary", "accept-language"}, 200, []string{"Accept-Language", "de"}, []string{"Accept-Language", "de"}, 1},
		{"Vary, another", []string{"Cache-Control", "max-age=60", "Vary", "Accept, Accept-Language"}, 200, []string{"Accept-Language", "de"}, []string{"Accept-Language", "en"}, 2},
		{"authorized", []string{"Cache-Control", "max-age=60"}, 200, []string{"Authorization", "Bearer a"}, []string{"Authorization", "Bearer a"}, 2},
		{"authorized, after one that is not", []string{"Cache-Control", "max-age=60"}, 200, nil, []string{"Authorization", "Bearer a"}, 2},
		{"authorized and public", []string{"Cache-Control", "max-age=60, public"}, 200, []string{"Authorization", "Bearer a"}, []string{"Authorization", "Bearer b"}, 1},
		{"authorized and s-maxage", []string{"Cache-Control", "s-maxage=60"}, 200, []string{"Authorization", "Bearer a"}, nil, 1},
		{"authorized and must-revalidate", []string{"Cache-Control", "max-age=60, must-revalidate"}, 200, []string{"Authorization", "Bearer a"}, nil, 1},
		{"asked no-store", []string{"Cache-Control", "max-age=60"}, 200, []string{"Cache-Control", "no-store"}, nil, 2},
		{"then asked no-cache", []string{"Cache-Control", "max-age=60"}, 200, nil, []string{"Cache-Control", "no-cache"}, 2},
		{"then asked Pragma", []string{"Cache-Control", "max-age=60"}, 200, nil, []string{"Pragma", "no-cache"}, 2},
		{"Pragma beside Cache-Control is void", []string{"Cache-Control", "max-age=60"}, 200, nil, []string{"Pragma", "no-cache", "Cache-Control", "max-age=60"}, 1},
		{"then asked max-age=0", []string{"Cache-Control", "max-age=60", "Age", "1"}, 200, nil, []string{"Cache-Control", "max-age=0"}, 2},
		{"then asked min-fresh", []string{"Cache-Control", "max-age=60"}, 200, nil, []string{"Cache-Control", "min-fresh=61"}, 2},
		{"a range passes", []string{"Cache-Control", "max-age=60"}, 200, nil, []string{"Range", "bytes=0-1"}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(tt.answer); i += 2 {
					w.Header().Add(tt.answer[i], tt.answer[i+1])
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, "hello")
			})
			first, second := og.get("/a?b=c", tt.first...), og.get("/a?b=c", tt.second...)
			if n := og.asked.Load(); n != tt.asked {
				t.Errorf("the handler was asked %d times, want %d: %v", n, tt.asked, second.Header)
			}
			for _, r := range []*http.Response{first, second} {
				if b := body(t, r); r.StatusCode != tt.status || b != "hello" {
					t.Errorf("answer %d %q", r.StatusCode, b)
				}
			}
		})
	}
}

// C6: a hit has ids of its own, and no header that was another caller's.
func TestNothingOfTheFirstCallerIsReplayed(t *testing.T) {
	og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "max-age=60")
		h.Set("X-Request-ID", "of the handler")
		h.Set("X-Trace-ID", "t1")
		h.Set("Connection", "close, X-Hop")
		h.Set("X-Hop", "1")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("X-Frame-Options", "DENY") // as the middleware before had it
		h.Set("X-Content", "yes")
		fmt.Fprint(w, "body")
	})
	og.get("/")
	hit := og.get("/")
	if id := hit.Header.Get("X-Request-ID"); !strings.HasPrefix(id, "outer-") {
		t.Errorf("X-Request-ID = %q", id)
	}
	for _, name := range []string{"X-Trace-ID", "Connection", "X-Hop", "Keep-Alive"} {
		if v := hit.Header.Get(name); v != "" {
			t.Errorf("%s = %q is replayed", name, v)
		}
	}
	if len(hit.Header.Values("X-Frame-Options")) != 1 || hit.Header.Get("X-Content") != "yes" || hit.Header.Get("Content-Length") != "4" ||
		hit.Header.Get("Age") != "0" || hit.Header.Get("Date") == "" || !strings.Contains(hit.Header.Get("Cache-Status"), "hit") || body(t, hit) != "body" {
		t.Errorf("hit = %v", hit.Header)
	}
}

func TestAgeAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		og := newOrigin(t, cache.ResponseOptions{TTL: 10 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Age", "3")
			fmt.Fprint(w, "x")
		})
		og.get("/")
		time.Sleep(5 * time.Second)
		hit := og.get("/")
		if hit.Header.Get("Age") != "8" || og.asked.Load() != 1 {
			t.Errorf("Age = %s after 3 and 5 s, asked %d times", hit.Header.Get("Age"), og.asked.Load())
		}
		time.Sleep(2 * time.Second)
		if og.get("/"); og.asked.Load() != 2 {
			t.Errorf("asked %d times past the end", og.asked.Load())
		}
	})
}

// A caller who has the answer gets 304, kept or fresh; the handler is asked for
// all of it, or the others would get nothing.
func TestConditions(t *testing.T) {
	modified := "Sat, 01 Jan 2022 00:00:00 GMT"
	og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "" {
			t.Error("the handler saw a caller's condition")
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `W/"v1"`)
		w.Header().Set("Last-Modified", modified)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "body")
	})
	for _, tt := range []struct {
		header []string
		status int
	}{
		{[]string{"If-None-Match", `"v0", "v1"`}, 304}, // a miss
		{nil, 200},
		{[]string{"If-None-Match", `"v1"`}, 304},
		{[]string{"If-None-Match", `W/"v1"`}, 304},
		{[]string{"If-None-Match", "*"}, 304},
		{[]string{"If-None-Match", `"v2"`}, 200},
		{[]string{"If-None-Match", `"a,b" , "v1`}, 200},
		{[]string{"If-None-Match", "v1"}, 200},
		{[]string{"If-None-Match", `"v0"`, "If-None-Match", `"v1"`}, 304},
		{[]string{"If-Modified-Since", modified}, 304},
		{[]string{"If-Modified-Since", "Fri, 01 Jan 2021 00:00:00 GMT"}, 200},
		{[]string{"If-None-Match", `"v2"`, "If-Modified-Since", modified}, 200},
		{[]string{"If-Modified-Since", "yesterday"}, 200},
	} {
		r := og.get("/", tt.header...)
		b := body(t, r)
		if r.StatusCode != tt.status || (b == "") != (tt.status == 304) || r.Header.Get("ETag") != `W/"v1"` {
			t.Errorf("%q: %d %q %v, want %d", tt.header, r.StatusCode, b, r.Header, tt.status)
		}
	}
	if og.asked.Load() != 1 {
		t.Errorf("the handler was asked %d times, want once", og.asked.Load())
	}
}

// What is stale but has a validator is asked about; the body need not be made
// again.
func TestRevalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version, cookie := 1, false
		og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
			etag := fmt.Sprintf(`"v%d"`, version)
			w.Header().Set("Cache-Control", "max-age=10")
			w.Header().Set("ETag", etag)
			w.Header().Set("X-Version", fmt.Sprint(version))
			if cookie {
				w.Header().Set("Set-Cookie", "a=b")
			}
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			fmt.Fprintf(w, "body %d", version)
		})
		check := func(what, want string, asked int64, header ...string) *http.Response {
			t.Helper()
			r := og.get("/", header...)
			if b := body(t, r); b != want || og.asked.Load() != asked {
				t.Errorf("%s: %d %q, asked %d times, want %q, %d", what, r.StatusCode, b, og.asked.Load(), want, asked)
			}
			return r
		}
		check("first", "body 1", 1)
		time.Sleep(11 * time.Second)
		if r := check("stale", "body 1", 2); r.StatusCode != 200 || r.Header.Get("Age") != "0" || !strings.Contains(r.Header.Get("Cache-Status"), "revalidated") {
			t.Errorf("revalidated: %d %v", r.StatusCode, r.Header)
		}
		check("fresh again", "body 1", 2)
		if r := check("asked for the newest", "body 1", 3, "Cache-Control", "no-cache"); r.StatusCode != 200 {
			t.Errorf("no-cache: %d", r.StatusCode)
		}
		time.Sleep(11 * time.Second)
		if r := check("stale, and the caller has it", "", 4, "If-None-Match", `"v1"`); r.StatusCode != 304 {
			t.Errorf("has it: %d", r.StatusCode)
		}
		time.Sleep(11 * time.Second)
		version = 2
		check("changed", "body 2", 5)
		check("kept", "body 2", 5)
		time.Sleep(11 * time.Second)
		cookie = true
		if r := check("a cookie for one caller", "body 2", 6); r.Header.Get("Set-Cookie") == "" {
			t.Error("the cookie did not reach its caller")
		}
		if r := check("not for the next", "body 2", 7); r.StatusCode != 200 {
			t.Errorf("after the cookie: %d", r.StatusCode)
		}
		time.Sleep(2 * time.Hour)
		check("kept no longer", "body 2", 8)
	})
}

func TestMethods(t *testing.T) {
	og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Query().Has("fail") {
			w.WriteHeader(http.StatusConflict)
		}
		fmt.Fprint(w, r.Method)
	})
	step := func(method, target string, asked int64, want string) {
		t.Helper()
		if got := body(t, og.do(method, target)); got != want || og.asked.Load() != asked {
			t.Errorf("%s %s = %q, asked %d times, want %q, %d", method, target, got, og.asked.Load(), want, asked)
		}
	}
	step("HEAD", "/", 1, "HEAD") // the recorder has no server that drops the body
	step("GET", "/", 2, "GET")
	step("HEAD", "/", 2, "")
	step("POST", "/", 3, "POST")
	step("GET", "/", 4, "GET") // the POST made it be forgotten
	step("OPTIONS", "/", 5, "OPTIONS")
	step("GET", "/", 5, "GET")
	step("GET", "/?fail", 6, "GET")
	step("DELETE", "/?fail", 7, "DELETE")
	step("GET", "/", 7, "GET")
	step("GET", "/monitoring/health", 8, "GET")
	step("GET", "/monitoring/health", 9, "GET")
	if r := og.get("/never", "Cache-Control", "only-if-cached"); r.StatusCode != 504 {
		t.Errorf("only-if-cached = %d", r.StatusCode)
	}
}

// A stream passes as it comes and is not kept; so is a takeover, and what is
// larger than allowed; and what broke off.
func TestWhatIsNotWhole(t *testing.T) {
	steps, done := make(chan string), make(chan struct{})
	og := newOrigin(t, cache.ResponseOptions{MaxBody: 1000}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		switch r.URL.Path {
		case "/stream":
			for s := range steps {
				fmt.Fprint(w, s)
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}
			close(done)
		case "/hijack":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
			conn.Close()
		case "/large":
			io.WriteString(w, strings.Repeat("x", 600))
			io.WriteString(w, strings.Repeat("x", 600))
		case "/short":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
		case "/panic":
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "early")
		}
	})
	ts := httptest.NewServer(og.cache)
	defer ts.Close()
	conn, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
	in := bufio.NewReader(conn)
	steps <- "one\n"
	for line := ""; line != "one\n"; { // it comes before the handler goes on
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	close(steps)
	<-done
	for path, want := range map[string]int64{"/hijack": 2, "/large": 2, "/short": 2, "/panic": 2, "/early": 1} {
		before := og.asked.Load()
		for range 2 {
			r, err := http.Get(ts.URL + path)
			if err == nil {
				_, _ = io.Copy(io.Discard, r.Body) // that some are cut off is the point
				r.Body.Close()
			}
		}
		if n := og.asked.Load() - before; n != want {
			t.Errorf("%s: asked %d times, want %d", path, n, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// Of many callers who miss one asks the handler; of what is not kept each asks
// by itself, and none waits for the end of another's.
func TestManyCallersAtOnce(t *testing.T) {
	for path, want := range map[string]int64{"/kept": 1, "/private": 20} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", map[string]string{"/kept": "max-age=60", "/private": "private"}[r.URL.Path])
					io.WriteString(w, "head")
					time.Sleep(time.Second)
				})
				start := time.Now()
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						if r := og.get(path); r.StatusCode != 200 {
							t.Errorf("status %d", r.StatusCode)
						}
					})
				}
				wg.Wait()
				if n := og.asked.Load(); n != want || time.Since(start) > time.Second {
					t.Errorf("asked %d times in %v, want %d in 1s", n, time.Since(start), want)
				}
			})
		})
	}
}

// A caller who waits for another's answer and gives up is let go.
func TestWaitingCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, _ *http.Request) { time.Sleep(time.Minute) })
		var wg sync.WaitGroup
		wg.Go(func() { og.get("/") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		og.cache.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(ctx))
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited %v", d)
		}
		wg.Wait()
	})
}

// Replicas share answers through Redis; no secret of a URL is in a key.
func TestAnswersInRedis(t *testing.T) {
	s := testkit.Redis(t)
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		w.Header().Set("ETag", `"1"`)
		fmt.Fprintf(w, "in %s\x00\xff", r.Header.Get("Accept-Language"))
	}
	r := open(t, cache.RedisOptions{URL: s.URL()})
	one := newOrigin(t, cache.ResponseOptions{}, answer, memory(t, cache.MemoryOptions{}), r)
	two := newOrigin(t, cache.ResponseOptions{}, answer, memory(t, cache.MemoryOptions{}), open(t, cache.RedisOptions{URL: s.URL()}))
	for _, lang := range []string{"de", "en"} {
		first, second := one.get("/a/b?api_key=s3cret", "Accept-Language", lang), two.get("/a/b?api_key=s3cret", "Accept-Language", lang)
		if a, b := body(t, first), body(t, second); a != b || a != "in "+lang+"\x00\xff" || second.Header.Get("ETag") != `"1"` {
			t.Errorf("%q and %q", a, b)
		}
	}
	if one.asked.Load() != 2 || two.asked.Load() != 0 {
		t.Errorf("asked %d and %d times", one.asked.Load(), two.asked.Load())
	}
	page, err := r.Keys(t.Context(), cache.KeyQuery{Pattern: "http:example.com/a/b?*"})
	if err != nil || len(page.Keys) != 3 {
		t.Errorf("keys = %+v, %v", page, err)
	}
	for _, k := range page.Keys {
		if strings.Contains(k.Name, "s3cret") {
			t.Errorf("the key %q shows a secret", k.Name)
		}
	}
}

// A middleware outside reads the route of the request that it was given.
func TestPatternReachesOutside(t *testing.T) {
	m := memory(t, cache.MemoryOptions{})
	c, err := cache.NewResponses(cache.ResponseOptions{}, m)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.PathValue("id")) })
	r := httptest.NewRequest("GET", "/users/7", nil)
	r.Header.Set("If-None-Match", `"x"`)
	w := httptest.NewRecorder()
	if c.Middleware(mux).ServeHTTP(w, r); r.Pattern != "GET /users/{id}" || w.Body.String() != "7" {
		t.Errorf("pattern %q, body %q", r.Pattern, w.Body)
	}
}

func FuzzCacheControl(f *testing.F) { // property: what forbids keeping is found, whatever stands around it
	f.Add(`max-age="60, private`, "x=1")
	f.Add("", `,,a="\"",`)
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.ContainsAny(before, `"=`) || strings.ContainsAny(before+after, "\r\n\x00") || strings.Count(before, ",") > 30 {
			return // what a quote or an argument swallows is no directive
		}
		m := memory(t, cache.MemoryOptions{})
		og := newOrigin(t, cache.ResponseOptions{TTL: time.Hour}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", before+",no-store,"+after)
		}, m)
		og.get("/")
		if og.get("/"); og.asked.Load() != 2 {
			t.Errorf("%q was kept", before+",no-store,"+after)
		}
	})
}
