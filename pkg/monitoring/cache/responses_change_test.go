package cache_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

// A change makes a URL's answers be forgotten whatever conditions it has: an
// If-Match is how careful clients make changes.
func TestConditionalChange(t *testing.T) {
	for _, header := range []string{"If-Match", "If-Unmodified-Since", "Range"} {
		t.Run(header, func(t *testing.T) {
			var version atomic.Int64
			og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					version.Add(1)
				}
				w.Header().Set("Cache-Control", "max-age=60")
				fmt.Fprint(w, version.Load())
			})
			og.get("/")
			og.do("PUT", "/", header, "*")
			if got := body(t, og.get("/")); got != "1" {
				t.Errorf("after the change the answer is that of version %s", got)
			}
		})
	}
}

// An answer that was begun before a change and ends after it is not kept: it
// may say what was.
func TestChangeWhileAnAnswerIsMade(t *testing.T) {
	for _, vary := range []string{"", "Accept"} {
		t.Run("Vary "+vary, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var version atomic.Int64
				og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
					was := version.Load()
					if r.Method == http.MethodPut {
						version.Add(1)
					} else {
						time.Sleep(time.Second)
					}
					w.Header().Set("Cache-Control", "max-age=60")
					if vary != "" {
						w.Header().Set("Vary", vary)
					}
					fmt.Fprint(w, was)
				})
				go og.get("/")
				time.Sleep(time.Second / 2)
				og.do("PUT", "/")
				time.Sleep(time.Second)
				if got := body(t, og.get("/")); got != "1" {
					t.Errorf("after the change the answer is that of version %s", got)
				}
				asked := og.asked.Load()
				if got := body(t, og.get("/")); got != "1" || og.asked.Load() != asked {
					t.Errorf("the new answer is not kept: asked %d times, got version %s", og.asked.Load(), got)
				}
			})
		})
	}
}

// An answer to a GET with a body may depend on that body, which the key does not
// tell: it is neither kept nor answered from what is.
func TestGetWithABody(t *testing.T) {
	og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
		in, _ := io.ReadAll(r.Body) // of a string: never an error
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "for %q", in)
	})
	ask := func(text string) string {
		w := httptest.NewRecorder()
		og.cache.ServeHTTP(w, httptest.NewRequest("GET", "/", strings.NewReader(text)))
		return w.Body.String()
	}
	if got := ask("evil"); got != `for "evil"` {
		t.Fatalf("with a body = %s", got)
	}
	if got := body(t, og.get("/")); got != `for ""` {
		t.Errorf("without one = %s: another caller's body made it", got)
	}
	if got := ask("mine"); got != `for "mine"` {
		t.Errorf("with a body = %s", got)
	}
}

// Many URLs whose answers are not kept take nothing from one whose answer is.
func TestUnkeptAnswersSpoilNoOthers(t *testing.T) {
	og := newOrigin(t, cache.ResponseOptions{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/kept" {
			w.Header().Set("Cache-Control", "max-age=60")
		}
	})
	og.get("/kept")
	for i := range 20_000 {
		og.get(fmt.Sprintf("/no/%d", i))
	}
	asked := og.asked.Load()
	if og.get("/kept"); og.asked.Load() != asked {
		t.Error("the kept answer was not given")
	}
}
