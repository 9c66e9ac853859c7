package client

import (
	"cmp"
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// pythonTop makes a top of the functions that a Python server's summary names.
// They are what it found, not samples: nothing can be focused below them.
func (c *Client) pythonTop(ctx context.Context, id string, q ProfileTopQuery) (api.ProfileTop, error) {
	p, err := c.Profile(ctx, id)
	if err != nil {
		return api.ProfileTop{}, err
	}
	if len(p.TopFunctions) == 0 {
		return api.ProfileTop{}, api.Errorf(http.StatusNotFound, "this server has no functions of profile %q", id)
	}
	if q.SampleType != "" && q.SampleType != "wall" {
		return api.ProfileTop{}, api.Invalid("sample_type", "a Python server's profile has wall only")
	}
	keep, err := q.matcher()
	if err != nil {
		return api.ProfileTop{}, err
	}
	out := api.ProfileTop{ProfileID: p.ProfileID, Type: "wall", SampleType: "wall", Unit: "nanoseconds", Total: int64(p.Duration), Duration: p.Duration}
	for _, f := range p.TopFunctions {
		if keep(f.FilenameFunction) {
			out.Rows = append(out.Rows, topEntry(f, out.Total))
		}
	}
	slices.SortStableFunc(out.Rows, func(a, b api.TopEntry) int {
		if q.Cum {
			return cmp.Compare(b.Cum, a.Cum)
		}
		return cmp.Compare(b.Flat, a.Flat)
	})
	out.Functions = len(out.Rows)
	if q.Limit > 0 {
		out.Rows = out.Rows[:min(len(out.Rows), q.Limit)]
	}
	return out, nil
}

// matcher applies focus and ignore to a function's file and name.
func (q ProfileTopQuery) matcher() (func(string) bool, error) {
	focus, err := regexp.Compile(q.Focus)
	if err != nil {
		return nil, api.Invalid("focus", "%v", err)
	}
	ignore, err := regexp.Compile(q.Ignore)
	if err != nil {
		return nil, api.Invalid("ignore", "%v", err)
	}
	return func(s string) bool { return focus.MatchString(s) && (q.Ignore == "" || !ignore.MatchString(s)) }, nil
}

// topEntry takes Python's "path/file.py:12(name)" apart; of a built-in there is
// only the name.
func topEntry(f api.TopFunction, total int64) api.TopEntry {
	out := api.TopEntry{Function: f.FilenameFunction, Flat: int64(f.TotTime), Cum: int64(f.CumTime)}
	if at := strings.IndexByte(out.Function, '('); at > 0 && strings.HasSuffix(out.Function, ")") {
		out.File, out.Function = out.Function[:at], out.Function[at+1:len(out.Function)-1]
	}
	if total > 0 {
		out.FlatRatio, out.CumRatio = float64(out.Flat)/float64(total), float64(out.Cum)/float64(total)
	}
	return out
}
