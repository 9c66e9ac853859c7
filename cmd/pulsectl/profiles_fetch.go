package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// The time that a pprof endpoint takes where its URL does not say so.
const (
	cpuTakes   = 30 * time.Second
	traceTakes = time.Second
)

// collects is how long a pprof endpoint collects before it answers.
func collects(u *url.URL) time.Duration {
	if n, err := strconv.ParseFloat(u.Query().Get("seconds"), 64); err == nil && n > 0 && n <= 3600 {
		return time.Duration(n * float64(time.Second))
	}
	switch {
	case strings.HasSuffix(u.Path, "/pprof/profile"):
		return cpuTakes
	case strings.HasSuffix(u.Path, "/pprof/trace"):
		return traceTakes
	}
	return 0
}

// fetchProfile gets a profile from a pprof endpoint. One that collects for some
// seconds is given them beside the time of a request, and a terminal is told
// how far it is.
func (a *app) fetchProfile(ctx context.Context, source, command string) (io.ReadCloser, error) {
	u, err := url.Parse(source)
	if err != nil {
		return nil, &usageError{err, command}
	}
	wait := collects(u)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, &usageError{err, command}
	}
	stop := a.meanwhile("collecting from "+u.Host, u.Host, wait)
	resp, err := (&http.Client{Timeout: a.flags.requestTimeout + wait}).Do(req)
	stop()
	if err != nil {
		e := client.TransportError(err)
		e.Detail = u.Redacted() + ": " + e.Detail
		return nil, e
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, api.Errorf(resp.StatusCode, "%s answered %s", u.Redacted(), resp.Status)
	}
	return resp.Body, nil
}

// meanwhile tells a terminal how much of a time that is known has passed, until
// it is told to stop. A time of 0 tells nothing.
func (a *app) meanwhile(what, instance string, d time.Duration) (stop func()) {
	if d <= 0 {
		return func() {}
	}
	line, begun := a.progress(what), time.Now()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			line.tell(instance, min(float64(time.Since(begun))/float64(d), 1), uncounted)
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		line.done()
	}
}
