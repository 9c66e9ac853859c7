package cache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ResponseOptions configures [NewResponses]. The zero value keeps what says
// that it may be kept.
type ResponseOptions struct {
	TTL       time.Duration            // of answers that do not say how long they are fresh; 0 means these are not kept
	KeepStale time.Duration            // how long past its end an answer with a validator is kept, to ask its handler whether it still holds; 0 means 1h, below 0 not
	MaxBody   int64                    // larger bodies pass through unkept; 0 means 1 MiB
	Skip      func(*http.Request) bool // requests that are none of the cache's business; nil for none
}

// Responses is a shared HTTP cache in front of handlers, after RFC 9111.
//
// It keeps answers to GET, by host, path, query and what Vary names, that say
// how long they are fresh and neither set a cookie nor forbid it; answers to
// authorized requests only where they say that these may be shared. A hit gets
// Age, and is 304 for a caller who has the answer. A stale answer with a
// validator asks its handler whether it still holds. Of several callers who
// miss one URL one asks the handler. Requests of other methods pass, and make
// the URL's answers be forgotten, also one that was begun before and is not done
// yet. Streams, takeovers, requests with a body and large answers pass.
//
// Headers that belong to one caller, like X-Request-ID, are never kept, nor any
// that stood in the answer before the handler ran.
type Responses struct {
	opts    ResponseOptions
	entries *Cache[*stored]
	group   flights
	urls    urls
}

const responsePrefix = "http" // of the keys

// NewResponses returns a cache of answers in tiers, the nearest first. No tier,
// and nonsense in the options, is an error.
func NewResponses(o ResponseOptions, tiers ...Tier) (*Responses, error) {
	if o.TTL < 0 || o.MaxBody < 0 {
		return nil, fmt.Errorf("response cache: ttl %v, max body %d: want 0 or more of both", o.TTL, o.MaxBody)
	}
	o.KeepStale = cmp.Or(o.KeepStale, time.Hour)
	o.MaxBody = cmp.Or(o.MaxBody, 1<<20)
	entries, err := New(Options[*stored]{Prefix: responsePrefix, Codec: storedCodec(), Shared: true, Version: 1}, tiers...)
	if err != nil {
		return nil, err
	}
	return &Responses{opts: o, entries: entries, urls: urls{seed: maphash.MakeSeed()}}, nil
}

// Middleware answers from the cache what it can, and has next answer the rest.
func (c *Responses) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asks := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case c.skips(r), asks && special(r), r.Method == http.MethodOptions, r.Method == http.MethodTrace:
			next.ServeHTTP(w, r)
		case asks:
			c.serve(w, r, next)
		default:
			c.change(w, r, next)
		}
	})
}

// skips tells of requests that are not looked at: of the monitoring API, which
// must always be true, and of what Options say.
func (c *Responses) skips(r *http.Request) bool {
	return r.URL.Path == "/monitoring" || strings.HasPrefix(r.URL.Path, "/monitoring/") || c.opts.Skip != nil && c.opts.Skip(r)
}

// special tells of requests whose answer no other one may get: for a part of an
// answer, for another protocol, with conditions that are not about having the
// answer already, or with a body, which the key does not tell of.
func special(r *http.Request) bool {
	return r.ContentLength != 0 || slices.ContainsFunc([]string{"Range", "If-Range", "If-Match", "If-Unmodified-Since", "Upgrade"}, func(name string) bool {
		return r.Header.Get(name) != ""
	})
}

// ask is one request that the cache takes.
type ask struct {
	r     *http.Request
	cc    control
	key   string  // of the URL
	seen  uint64  // the URL's changes when this began
	at    string  // where the answer would be; "" where no one waits for it
	stale *stored // to be asked about; nil for none
	leave func()  // ends the flight that others wait for; may be called often
}

func (c *Responses) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	a := ask{r: r, cc: requestControl(r.Header), key: urlKey(r), leave: func() {}}
	a.seen = c.urls.changes(a.key)
	passes, at := c.urls.passing(a.key), a.key
	if !passes {
		var e *stored
		if e, at = c.lookup(r, a.key); e != nil && e.usable(r, a.cc, time.Now()) {
			serveHit(w, r, e)
			return
		} else if e != nil && e.validator() {
			a.stale = e
		}
		passes = c.urls.passing(at)
	}
	switch {
	case a.cc.has("only-if-cached"):
		http.Error(w, "not in the cache", http.StatusGatewayTimeout)
	case r.Method == http.MethodHead || a.cc.has("no-store"):
		next.ServeHTTP(w, r)
	case passes || a.cc.has("no-cache") || r.Header.Get("Authorization") != "":
		c.forward(w, a, next)
	default:
		a.at = at
		c.together(w, a, next)
	}
}

// together has one of several callers ask the handler.
func (c *Responses) together(w http.ResponseWriter, a ask, next http.Handler) {
	fl, leader := c.group.join(a.at)
	if leader {
		var left atomic.Bool
		a.leave = func() {
			if !left.Swap(true) {
				c.group.leave(a.at, fl)
			}
		}
		defer a.leave()
		c.forward(w, a, next)
		return
	}
	select {
	case <-fl.done:
	case <-a.r.Context().Done():
		http.Error(w, "the request was given up", http.StatusServiceUnavailable) // no one reads it
		return
	}
	if !c.urls.passing(a.at) {
		if e, _ := c.lookup(a.r, a.key); e != nil && e.usable(a.r, a.cc, time.Now()) {
			serveHit(w, a.r, e)
			return
		}
	}
	c.forward(w, a, next)
}

func serveHit(w http.ResponseWriter, r *http.Request, e *stored) {
	now := time.Now()
	w.Header().Add("Cache-Status", fmt.Sprintf("pulsectl; hit; ttl=%d", int64((e.lifetime()-e.age(now))/time.Second)))
	e.replay(w, r, now)
}

// forward has the handler answer, and keeps the answer if it may.
func (c *Responses) forward(w http.ResponseWriter, a ask, next http.Handler) {
	t := &teeWriter{ResponseWriter: w, cache: c, ask: a, before: w.Header().Clone()}
	inner := t.inner()
	next.ServeHTTP(t, inner)
	a.r.Pattern = inner.Pattern // a middleware outside reads it on its own request
	t.finish()
}

// change lets a request through that may change what answers say, and forgets
// those of its URL if it did not fail (RFC 9111, section 4.4).
func (c *Responses) change(w http.ResponseWriter, r *http.Request, next http.Handler) {
	t := &teeWriter{ResponseWriter: w, cache: c, ask: ask{r: r, leave: func() {}}, streaming: true}
	next.ServeHTTP(t, r)
	if t.status < http.StatusBadRequest && !t.hijacked {
		c.forget(r, urlKey(r))
	}
}

func (c *Responses) forget(r *http.Request, key string) {
	c.urls.change(key)
	_ = c.entries.Delete(context.WithoutCancel(r.Context()), key) // counted by the tier
}

// lookup finds the answer to a request, and the key where it is or would be.
func (c *Responses) lookup(r *http.Request, key string) (*stored, string) {
	e, ok, _ := c.entries.Get(r.Context(), key) // an error is counted by its tier, and a miss
	if !ok || e == nil {
		return nil, key
	}
	if e.Vary == nil {
		return e, key
	}
	at := variantKey(key, e, r)
	if e, ok, _ = c.entries.Get(r.Context(), at); !ok || e == nil || e.Vary != nil {
		return nil, at
	}
	return e, at
}

// save keeps an answer: by itself, or below the index of its URL's answers. One
// that was begun before a change of its URL may tell what was: it is not kept.
func (c *Responses) save(a ask, e *stored, vary []string) {
	ttl := e.lifetime() - e.age(time.Now())
	if e.validator() && c.opts.KeepStale > 0 {
		ttl += c.opts.KeepStale
	}
	changed := func() bool { return c.urls.changes(a.key) != a.seen }
	if ttl <= 0 || changed() {
		return
	}
	ctx, at := context.WithoutCancel(a.r.Context()), a.key
	if len(vary) > 0 {
		index, ok, _ := c.entries.Get(ctx, a.key)
		if !ok || index == nil || strings.Join(index.Vary, ",") != strings.Join(vary, ",") {
			index = &stored{Vary: vary, Generation: rand.Uint64()}
		}
		_ = c.entries.Set(ctx, a.key, index, max(ttl, 24*time.Hour)) // counted by the tier, as below
		at = variantKey(a.key, index, a.r)
	}
	_ = c.entries.Set(ctx, at, e, ttl)
	if changed() { // just now, and its forgetting may have come first
		_ = c.entries.Delete(ctx, a.key)
	}
}

// urlKey names a URL: its host and path for people, a hash of all of it, for a
// query may hold secrets.
func urlKey(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	host, path := strings.ToLower(r.Host), r.URL.EscapedPath()
	sum := sha256.Sum256([]byte(scheme + "://" + host + path + "?" + r.URL.RawQuery))
	return host[:min(len(host), 128)] + path[:min(len(path), 256)] + "?" + hex.EncodeToString(sum[:12])
}

// variantKey names one of the answers of a URL, by what the request says in the
// headers that they depend on.
func variantKey(key string, index *stored, r *http.Request) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d", index.Generation)
	for _, name := range index.Vary {
		fmt.Fprintf(h, "\n%q: %q", name, r.Header.Values(name))
	}
	return key + "#" + hex.EncodeToString(h.Sum(nil)[:12])
}
