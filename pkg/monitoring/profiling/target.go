package profiling

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Target is another process whose /debug/pprof pages profiles are pulled from.
type Target struct {
	Name   string        // what captures call it
	URL    string        // http(s)://HOST:PORT, or the address that its pages are below
	Header http.Header   // sent to it, such as Authorization
	Every  time.Duration // polled so often: 10 s of cpu, and the heap; 0 means only when asked
}

const (
	maxTargets  = 64
	pollCPU     = 10 * time.Second
	pollLeast   = 30 * time.Second
	fetchSlack  = 30 * time.Second // beyond the time that a profile takes
	maxPageText = 200              // of an answer that is an error
)

func (t *Target) check() error {
	u, err := url.Parse(t.URL)
	switch {
	case t.Name == "" || len(t.Name) > 128:
		return fmt.Errorf("profile target %q: want a name of at most 128 bytes", t.Name)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("profile target %s: want a URL like http://127.0.0.1:6060", t.Name)
	case t.Every != 0 && t.Every < pollLeast:
		return fmt.Errorf("profile target %s: polled every %v, want at least %v", t.Name, t.Every, pollLeast)
	}
	return nil
}

// page returns the address of a type of profile.
func (t *Target) page(typ string, d time.Duration) string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return t.URL // it was checked
	}
	if !strings.Contains(u.Path, "/debug/pprof") {
		u = u.JoinPath("debug", "pprof")
	}
	if typ == "cpu" {
		typ = "profile"
	}
	u = u.JoinPath(typ)
	if d > 0 {
		u.RawQuery = url.Values{"seconds": {strconv.Itoa(int(d.Seconds()))}}.Encode()
	}
	return u.String()
}

func (p *Profiler) target(name string) *Target {
	i := slices.IndexFunc(p.opts.Targets, func(t Target) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &p.opts.Targets[i]
}

// Targets returns the names of what profiles can be pulled from.
func (p *Profiler) Targets() []string {
	names := []string{}
	for _, t := range p.opts.Targets {
		names = append(names, t.Name)
	}
	return names
}

func (p *Profiler) targetNames() string {
	if len(p.opts.Targets) == 0 {
		return "none: this server has no targets configured, it profiles itself"
	}
	return strings.Join(p.Targets(), ", ")
}

// noRedirects asks what it was configured to ask, and nobody else.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// fetch pulls a profile from a target and keeps it.
func (p *Profiler) fetch(ctx context.Context, s api.Profile, t *Target, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d+fetchSlack)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.page(s.Type, d), nil)
	if err != nil {
		return err
	}
	req.Header = t.Header.Clone()
	resp, err := noRedirects.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxUpload+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %.*q", resp.Status, maxPageText, body)
	case len(body) > MaxUpload:
		return fmt.Errorf("the profile is larger than %d MiB", MaxUpload>>20)
	}
	s.State, s.Duration = "", api.Seconds(d)
	if isTrace(body) {
		p.keepTrace(s, body)
		return nil
	}
	parsed, err := hotspot.Parse(body, uploadLimits)
	if err != nil {
		return err
	}
	data, err := hotspot.Gzipped(body, parsed)
	if err != nil {
		return err
	}
	p.keep(s, data)
	return nil
}

// poll pulls from the targets that are polled, one after the other, until ctx is
// done. A slow target makes the others late, not more numerous.
func (p *Profiler) poll(ctx context.Context) {
	next := make([]time.Time, len(p.opts.Targets))
	for {
		wait := time.Duration(-1)
		for i := range p.opts.Targets {
			t := &p.opts.Targets[i]
			if t.Every == 0 {
				continue
			}
			if !time.Now().Before(next[i]) {
				next[i] = time.Now().Add(t.Every)
				p.pull(ctx, t)
			}
			if left := max(time.Until(next[i]), 0); wait < 0 || left < wait {
				wait = left
			}
		}
		if wait < 0 {
			return // none is polled
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return
		}
	}
}

func (p *Profiler) pull(ctx context.Context, t *Target) {
	for _, typ := range []string{"cpu", "heap"} {
		s := newSummary(NewID(), typ, api.TriggerScrape, time.Now())
		s.Type, s.Service, s.Target = typ, t.Name, t.Name
		d := time.Duration(0)
		if typ == "cpu" {
			d = pollCPU
		}
		if err := p.fetch(ctx, s, t, d); err != nil && ctx.Err() == nil {
			p.failed(s, err)
		}
	}
}
