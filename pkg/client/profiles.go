package client

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	profilingPath = "/monitoring/profiling"
	mostProfiles  = 50 // that one answer lists
)

// ProfileQuery selects profiles. The zero value means the newest ten.
type ProfileQuery struct {
	Type, Operation, Trigger, TraceID string        // exact; "" means any
	Since                             time.Duration // ended so long ago at most; 0 means any
	Limit                             int           // 1 to 50; 0 means 10
}

func (q ProfileQuery) values() url.Values {
	v := url.Values{"limit": {strconv.Itoa(cmp.Or(q.Limit, 10))}}
	for name, text := range map[string]string{"type": q.Type, "operation": q.Operation, "trigger": q.Trigger, "trace_id": q.TraceID} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if q.Since > 0 {
		v.Set("since", q.Since.String())
	}
	return v
}

// match applies the query to a profile of a Python server, which knows neither
// types nor traces: what it does not tell cannot match.
func (q ProfileQuery) match(p api.Profile) bool {
	return (q.Type == "" || q.Type == p.Type) && (q.Operation == "" || q.Operation == p.OperationName) &&
		(q.Trigger == "" || q.Trigger == p.Trigger) && (q.TraceID == "" || q.TraceID == p.TraceID) &&
		(q.Since == 0 || time.Since(ended(p)) <= q.Since)
}

// ProfileList is a selection of a server's profiles, newest first.
type ProfileList struct {
	Profiles []api.Profile
	Total    int64 // kept or active there, selected or not
	Unseen   int64 // newer ones that a Python server does not list: it gives its oldest
}

// Profiles returns the newest profiles that match. A Python server would give
// its oldest and apply no filter: it is asked for all it can give, and the rest
// is done here.
func (c *Client) Profiles(ctx context.Context, q ProfileQuery) (ProfileList, error) {
	python, err := c.isPython(ctx)
	if err != nil {
		return ProfileList{}, err
	}
	values := q.values()
	if python {
		if q.Limit < 0 || q.Limit > mostProfiles {
			return ProfileList{}, api.Invalid("limit", "want 1 to %d", mostProfiles)
		}
		values = url.Values{"limit": {strconv.Itoa(mostProfiles)}}
	}
	var got api.Profiles
	if err := c.get(ctx, profilingPath+"/profiles", values, &got); err != nil {
		return ProfileList{}, c.explainProfiles(ctx, err)
	}
	out := ProfileList{Total: int64(got.TotalProfiles), Profiles: []api.Profile{}}
	for id, p := range got.Profiles {
		p.ProfileID = cmp.Or(p.ProfileID, id)
		if !python || q.match(p) {
			out.Profiles = append(out.Profiles, p)
		}
	}
	if python {
		out.Unseen = max(out.Total-int64(len(got.Profiles)), 0)
	}
	slices.SortFunc(out.Profiles, func(a, b api.Profile) int {
		return cmp.Or(ended(b).Compare(ended(a)), strings.Compare(a.ProfileID, b.ProfileID))
	})
	out.Profiles = out.Profiles[:min(len(out.Profiles), cmp.Or(q.Limit, 10))]
	return out, nil
}

// ended is when a profile ended. A Python server tells it only by the
// milliseconds at the end of the id.
func ended(p api.Profile) time.Time {
	if p.StartTime != nil {
		return p.StartTime.Add(p.Duration.Duration())
	}
	ms, err := strconv.ParseInt(p.ProfileID[strings.LastIndexByte(p.ProfileID, '_')+1:], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// explainProfiles says what a Python server's 500 means: once one profile has
// finished there, none can be read any more.
func (c *Client) explainProfiles(ctx context.Context, err error) error {
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusInternalServerError {
		return err
	}
	if python, _ := c.isPython(ctx); python { // an error leaves the 500 as it came
		e.Detail = "profiles are unreadable on this server: a Python server fails so once a profile has finished"
	}
	return err
}

// Profile returns the summary of one profile, by its id or a unique prefix of 4
// or more characters.
func (c *Client) Profile(ctx context.Context, id string) (api.Profile, error) {
	var out api.ProfileGet
	err := c.get(ctx, profilingPath+"/profiles", url.Values{"profile_id": {id}}, &out)
	if err != nil {
		return c.pythonProfile(ctx, id, c.explainProfiles(ctx, err))
	}
	out.Profile.ProfileID = cmp.Or(out.Profile.ProfileID, id)
	return out.Profile, nil
}

// pythonProfile finds the profile whose id begins with a prefix, where a Python
// server knows no such id; else err stands.
func (c *Client) pythonProfile(ctx context.Context, prefix string, err error) (api.Profile, error) {
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusNotFound || len(prefix) < leastPrefix {
		return api.Profile{}, err
	}
	if python, unasked := c.isPython(ctx); unasked != nil || !python {
		return api.Profile{}, err
	}
	list, unread := c.Profiles(ctx, ProfileQuery{Limit: mostProfiles})
	if unread != nil {
		return api.Profile{}, err
	}
	return unique("profiles", prefix, list.Profiles, func(p api.Profile) string { return p.ProfileID }, err)
}

// ProfileTopQuery says which rows of a profile are wanted.
type ProfileTopQuery struct {
	Limit         int    // 0 means all
	Cum           bool   // sort by the value with callees
	Focus, Ignore string // regular expressions; "" for none
	SampleType    string // "" means the profile's default
}

// ProfileTop returns a profile's hottest functions. Of a Python server's those
// are the few of its summary, where it has any.
func (c *Client) ProfileTop(ctx context.Context, id string, q ProfileTopQuery) (api.ProfileTop, error) {
	switch python, err := c.isPython(ctx); {
	case err != nil:
		return api.ProfileTop{}, err
	case python:
		return c.pythonTop(ctx, id, q)
	}
	v := url.Values{"n": {strconv.Itoa(q.Limit)}}
	if q.Cum {
		v.Set("sort", "cum")
	}
	for name, text := range map[string]string{"focus": q.Focus, "ignore": q.Ignore, "sample_type": q.SampleType} {
		if text != "" {
			v.Set(name, text)
		}
	}
	var out api.ProfileTop
	err := c.get(ctx, profilingPath+"/profiles/"+url.PathEscape(id)+"/top", v, &out)
	return out, err
}

// ProfilingStats returns what profiling does on the server and costs it.
func (c *Client) ProfilingStats(ctx context.Context) (api.ProfilingStats, error) {
	var out api.ProfilingStats
	err := c.get(ctx, profilingPath+"/stats", nil, &out)
	if err != nil {
		return out, c.explainProfiles(ctx, err)
	}
	return out, nil
}

// Capture is a profile that a server is to take. The zero value of Duration and
// Target leaves them to the server.
type Capture struct {
	Type     string        // cpu, heap, allocs, goroutine, mutex, block, threadcreate, trace
	Duration time.Duration // that it covers, in whole seconds; of what is counted since the start, the difference
	Target   string        // the name of a pprof target of the server's configuration; "" means itself
}

// CaptureProfile has the server take a profile and returns the id that it will
// have.
func (c *Client) CaptureProfile(ctx context.Context, p Capture, a Action) (api.ProfileStarted, error) {
	var out api.ProfileStarted
	q := url.Values{"type": {p.Type}}
	if p.Duration > 0 {
		q.Set("seconds", strconv.FormatInt(int64((p.Duration+time.Second-1)/time.Second), 10))
	}
	if p.Target != "" {
		q.Set("target", p.Target)
	}
	err := c.act(ctx, profilingPath+"/capture", q, a, &out)
	return out, err
}

// EnableProfiling turns profiling on for a duration, 0 meaning until it is
// turned off, which is all that a Python server can do. A slow threshold of 0
// leaves the server's.
func (c *Client) EnableProfiling(ctx context.Context, d, slow time.Duration, a Action) (api.ProfilingSwitch, error) {
	var out api.ProfilingSwitch
	python, err := c.isPython(ctx)
	q := url.Values{}
	switch {
	case err != nil:
		return out, err
	case python && slow > 0:
		return out, unsupported("a Python server knows no threshold and would profile every request; nothing was sent")
	case python && d > 0:
		return out, unsupported("a Python server profiles until it is told to stop, it knows no duration but 0; nothing was sent")
	case !python:
		q.Set("duration", d.String())
	}
	if slow > 0 {
		q.Set("slow_threshold", slow.String())
	}
	err = c.act(ctx, profilingPath+"/enable", q, a, &out)
	return out, err
}

// DisableProfiling turns profiling back to slow requests only, or off, which is
// all that a Python server can do.
func (c *Client) DisableProfiling(ctx context.Context, off bool, a Action) (api.ProfilingSwitch, error) {
	var out api.ProfilingSwitch
	python, err := c.isPython(ctx)
	if err != nil {
		return out, err
	}
	q := url.Values{}
	if off && !python {
		q.Set("mode", "off")
	}
	err = c.act(ctx, profilingPath+"/disable", q, a, &out)
	return out, err
}

// CleanupProfiles removes the profiles older than maxAge.
func (c *Client) CleanupProfiles(ctx context.Context, maxAge time.Duration, a Action) (api.Cleanup, error) {
	var out api.Cleanup
	q := url.Values{"max_age_seconds": {strconv.FormatInt(int64(maxAge/time.Second), 10)}}
	err := c.act(ctx, profilingPath+"/cleanup", q, a, &out)
	return out, err
}
