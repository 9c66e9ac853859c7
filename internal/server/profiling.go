package server

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

const profilingPath = "/monitoring/profiling"

// The bounds of an upload's labels.
const (
	maxUploadLabels = 32
	maxUploadText   = 256
)

// The bounds of uploads in time and number: each may take some 500 MB while it
// is read, for a profile inflates.
const (
	uploadPlaces = 2
	topPlaces    = 4                // of those who have a profile added up
	uploadWait   = 10 * time.Second // for a place
	uploadTime   = time.Minute      // for the body to come in
)

// places bounds how many requests do something dear at once.
type places chan struct{}

// enter takes a place, and returns what gives it back. Where none gets free in
// time the error is a 503 that says when to try again.
func (p places) enter(r *http.Request) (release func(), err error) {
	late := time.NewTimer(uploadWait)
	defer late.Stop()
	select {
	case p <- struct{}{}:
		return func() { <-p }, nil
	case <-r.Context().Done():
		return nil, api.Errorf(http.StatusServiceUnavailable, "the request ended before there was room for it")
	case <-late.C:
		again := api.Seconds(5 * time.Second)
		e := api.Errorf(http.StatusServiceUnavailable, "%d such requests are being served, the most at once: try again", cap(p))
		e.RetryAfter = &again
		return nil, e
	}
}

func (s *Server) profilingRoutes() []route {
	return []route{
		s.get(profilingPath+"/stats", "what profiling does and costs", s.profilingStats),
		s.get(profilingPath+"/profiles", "the newest profiles", s.listProfiles),
		{http.MethodGet, profilingPath + "/profiles/{id}", "one profile, as a summary or as pprof", Viewer, http.HandlerFunc(s.getProfile)},
		s.get(profilingPath+"/profiles/{id}/top", "a profile's hottest functions", s.profileTop),
		{http.MethodPost, profilingPath + "/profiles", "keep a profile taken elsewhere", Writer, http.HandlerFunc(s.uploadProfile)},
		s.action("profiling.capture", profilingPath+"/capture", "take a profile of this process, or of a target", s.captureProfile),
		s.action("profiling.enable", profilingPath+"/enable", "profile more, for a while", s.enableProfiling),
		s.action("profiling.disable", profilingPath+"/disable", "profile slow requests only, or nothing", s.disableProfiling),
		s.action("profiling.cleanup", profilingPath+"/cleanup", "remove old profiles", s.cleanupProfiles),
	}
}

func (s *Server) profilingStats(*http.Request) (any, error) { return s.opts.Profiler.Stats(), nil }

func (s *Server) listProfiles(r *http.Request) (any, error) {
	p := query(r)
	q := profiling.Query{
		Limit: p.integer("limit", 10, 1, 50), Type: p.text("type"), Operation: p.text("operation"),
		Trigger: p.oneOf("trigger", "", api.TriggerSlow, api.TriggerRequest, api.TriggerManual, api.TriggerScrape, api.TriggerUpload),
		TraceID: p.text("trace_id"), Since: p.instant("since", time.Now()),
	}
	if err := p.problem(); err != nil {
		return nil, err
	}
	if id := p.text("profile_id"); id != "" {
		one, err := s.opts.Profiler.Get(id)
		return api.ProfileGet{Profile: one}, err
	}
	out := api.Profiles{Profiles: map[string]api.Profile{}}
	for _, one := range s.opts.Profiler.List(q) {
		out.Profiles[one.ProfileID] = one
	}
	stats := s.opts.Profiler.Stats()
	out.TotalProfiles = stats.TotalProfiles + stats.ActiveProfiles
	return out, nil
}

// getProfile answers with the summary, or with the pprof or the execution trace
// itself where that is asked for.
func (s *Server) getProfile(w http.ResponseWriter, r *http.Request) {
	p := query(r)
	format := p.oneOf("format", "", "json", "pprof")
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Add("Vary", "Accept")
	if format == "json" || format == "" && !strings.Contains(r.Header.Get("Accept"), "application/octet-stream") {
		s.json(func(r *http.Request) (any, error) { return s.opts.Profiler.Get(r.PathValue("id")) }).ServeHTTP(w, r)
		return
	}
	data, err := s.opts.Profiler.Data(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	name := "profile.pb.gz"
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) { // a Go execution trace
		name = "trace.out"
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(data) // a client that has gone needs no answer
}

func (s *Server) profileTop(r *http.Request) (any, error) {
	p := query(r)
	o := profiling.TopOptions{
		TopOptions: hotspot.TopOptions{
			N: p.integer("n", 50, 0, 1_000_000), Cum: p.oneOf("sort", "flat", "flat", "cum") == "cum", Selection: p.selection(),
		},
		Base: p.text("base"), Diff: hotspot.DiffOptions{Normalize: p.boolean("normalize")},
	}
	if err := p.problem(); err != nil {
		return nil, err
	}
	release, err := s.tops.enter(r)
	if err != nil {
		return nil, err
	}
	defer release()
	return s.opts.Profiler.Top(r.PathValue("id"), o)
}

// selection reads which samples and frames of a profile count, by the names that
// go tool pprof has for it.
func (p *params) selection() hotspot.Selection {
	s := hotspot.Selection{
		SampleType: p.text("sample_type"),
		Focus:      p.pattern("focus"), Ignore: p.pattern("ignore"), Hide: p.pattern("hide"), Show: p.pattern("show"),
		ShowFrom: p.pattern("show_from"), PruneFrom: p.pattern("prune_from"),
		TagFocus: p.short("tagfocus"), TagIgnore: p.short("tagignore"),
		NoInlines: p.boolean("noinlines"), Mean: p.boolean("mean"),
	}
	s.Granularity = hotspot.Granularity(p.oneOf("granularity", string(hotspot.ByFunction),
		string(hotspot.ByFunction), string(hotspot.ByFileFunction), string(hotspot.ByFile), string(hotspot.ByLine), string(hotspot.ByAddress)))
	return s
}

// pattern reads a regular expression, nil if there is none.
func (p *params) pattern(name string) *regexp.Regexp {
	text := p.text(name)
	if text == "" {
		return nil
	}
	re, err := regexp.Compile(text[:min(len(text), 1025)])
	if err != nil || len(text) > 1024 {
		p.wrong(name, fmt.Sprintf("want a regular expression of at most 1024 bytes, got %.100q", text))
		return nil
	}
	return re
}

// uploadProfile keeps a pprof body. It is data, so it is not audited.
func (s *Server) uploadProfile(w http.ResponseWriter, r *http.Request) {
	s.json(func(r *http.Request) (any, error) {
		p := query(r)
		operation, service := p.short("operation"), p.short("service")
		labels := p.labels("label")
		if err := p.problem(); err != nil {
			return nil, err
		}
		release, err := s.uploads.enter(r)
		if err != nil {
			return nil, err
		}
		defer release()
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTime)) // without one a slow sender only holds its place longer
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, profiling.MaxUpload))
		if err != nil {
			if _, tooLarge := err.(*http.MaxBytesError); tooLarge {
				return nil, api.Errorf(http.StatusRequestEntityTooLarge, "the profile is larger than %d MiB", profiling.MaxUpload>>20)
			}
			return nil, api.Errorf(http.StatusBadRequest, "the body ended early: %v", err)
		}
		kept, err := s.opts.Profiler.AddUpload(body, operation, service, labels)
		return answer{http.StatusCreated, kept}, err
	}).ServeHTTP(w, r)
}

// short reads a text of bounded length without control characters.
func (p *params) short(name string) string {
	text := p.text(name)
	if len(text) > maxUploadText || printable(text, maxUploadText) != text {
		p.wrong(name, fmt.Sprintf("want at most %d printable bytes", maxUploadText))
		return ""
	}
	return text
}

// labels reads a repeatable KEY=VALUE.
func (p *params) labels(name string) map[string]string {
	var out map[string]string
	for _, text := range p.all(name) {
		k, v, ok := strings.Cut(text, "=")
		if !ok || k == "" || len(text) > maxUploadText || printable(text, maxUploadText) != text || len(out) >= maxUploadLabels {
			p.wrong(name, fmt.Sprintf("want KEY=VALUE, at most %d of them of %d printable bytes, got %.100q", maxUploadLabels, maxUploadText, text))
			return nil
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out
}

func (s *Server) captureProfile(r *http.Request, dry bool) (change, error) {
	p := query(r)
	o := profiling.CaptureOptions{
		Type: cmp.Or(p.short("type"), "cpu"), Target: p.short("target"), Operation: p.short("operation"), Labels: p.labels("label"),
		Duration: p.duration("seconds", 0, time.Second, 300*time.Second),
	}
	if err := p.problem(); err != nil {
		return change{}, err
	}
	out, what := api.ProfileStarted{DryRun: dry}, o.Type
	if o.Target != "" {
		what += " of " + o.Target
	}
	if dry {
		if err := s.opts.Profiler.CanCapture(o); err != nil {
			return change{Target: what}, err
		}
	} else {
		id, err := s.opts.Profiler.Capture(r.Context(), o)
		if err != nil {
			return change{Target: what}, err
		}
		out.ProfileID = id
	}
	return change{Target: what, After: out.ProfileID, Body: answer{http.StatusAccepted, out}}, nil
}

func (s *Server) enableProfiling(r *http.Request, dry bool) (change, error) {
	p := query(r)
	d := p.duration("duration", 10*time.Minute, 0, 30*24*time.Hour)
	var slow time.Duration
	if p.text("slow_threshold") != "" {
		slow = p.duration("slow_threshold", 0, time.Millisecond, time.Hour)
	}
	if err := p.problem(); err != nil {
		return change{}, err
	}
	out, before := api.ProfilingSwitch{Message: "Profiling enabled", Mode: string(profiling.ModeOn), DryRun: dry}, s.opts.Profiler.Mode()
	if d > 0 {
		out.EnabledUntil = &api.Time{Time: time.Now().Add(d)}
	}
	if !dry {
		if until := s.opts.Profiler.Enable(d, slow); !until.IsZero() {
			out.EnabledUntil.Time = until
		}
	}
	return change{Before: before, After: out.Mode, Body: out}, nil
}

func (s *Server) disableProfiling(r *http.Request, dry bool) (change, error) {
	p := query(r)
	mode := profiling.Mode(p.oneOf("mode", string(profiling.ModeWatch), string(profiling.ModeWatch), string(profiling.ModeOff)))
	if err := p.problem(); err != nil {
		return change{}, err
	}
	before := s.opts.Profiler.Mode()
	if !dry {
		if err := s.opts.Profiler.Disable(mode); err != nil {
			return change{Before: before}, err
		}
	}
	return change{Before: before, After: mode, Body: api.ProfilingSwitch{Message: "Profiling disabled", Mode: string(mode), DryRun: dry}}, nil
}

func (s *Server) cleanupProfiles(r *http.Request, dry bool) (change, error) {
	p := query(r)
	age := p.integer("max_age_seconds", 3600, 300, 86400)
	if err := p.problem(); err != nil {
		return change{}, err
	}
	removed, freed := s.opts.Profiler.Cleanup(time.Duration(age)*time.Second, dry)
	return change{Target: fmt.Sprintf("older than %ds", age), After: removed, Body: api.Cleanup{
		Message: fmt.Sprintf("Cleaned up profiles older than %d seconds", age),
		Removed: api.CountOf(removed), FreedBytes: api.CountOf(freed), DryRun: dry,
	}}, nil
}
