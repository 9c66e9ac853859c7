package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

const topHelp = `Show the hottest functions of a profile.

SOURCE is the id of a profile on the server or a unique prefix of it, a file, -
for standard input, or the URL of a pprof endpoint. Without one it is the newest
profile of the server. Files may be pprof, gzipped or not, the legacy formats
that pprof reads, or folded stacks.

  pulsectl profiles top
  pulsectl profiles top p_4QZX --cum
  pulsectl profiles top cpu.pb.gz -n 0
  pulsectl profiles top http://127.0.0.1:6060/debug/pprof/heap`

func newProfilesTopCmd(a *app) *cobra.Command {
	var q client.ProfileTopQuery
	cmd := &cobra.Command{
		Use:   "top [SOURCE]",
		Short: "Show the hottest functions of a profile",
		Long:  topHelp,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source := ""
			if len(args) == 1 {
				source = args[0]
			}
			return a.profileTop(cmd.Context(), source, q)
		},
	}
	fs := cmd.Flags()
	fs.IntVarP(&q.Limit, "limit", "n", 12, "functions; 0 shows all")
	fs.BoolVar(&q.Cum, "cum", false, "sort by the value with callees")
	fs.StringVar(&q.Focus, "focus", "", "only samples with a frame that matches `REGEXP`")
	fs.StringVar(&q.Ignore, "ignore", "", "no samples with a frame that matches `REGEXP`")
	fs.StringVar(&q.SampleType, "sample-type", "", "`NAME` of the values: cpu, alloc_space, …")
	return cmd
}

func (a *app) profileTop(ctx context.Context, source string, q client.ProfileTopQuery) error {
	if q.Limit < 0 {
		return &usageError{fmt.Errorf("limit %d: want 0 or more", q.Limit), "pulsectl profiles top"}
	}
	rs, err := a.topOf(ctx, source, q)
	if err != nil {
		return err
	}
	return show(a, rs, view[api.ProfileTop]{
		kind: "ProfileTop",
		items: func(t api.ProfileTop) (items []render.Item) {
			for _, row := range t.Rows {
				items = append(items, render.Item{Name: row.Function, Value: row})
			}
			return items
		},
		unit: func(t api.ProfileTop) string { return t.Unit },
		draw: func(w io.Writer, rs []api.Result[api.ProfileTop], o render.Options) error {
			return render.ProfileTop(w, rs, q.Cum, o)
		},
	})
}

// topOf reads a local source, or asks the servers.
func (a *app) topOf(ctx context.Context, source string, q client.ProfileTopQuery) ([]api.Result[api.ProfileTop], error) {
	in, err := a.openProfile(ctx, source)
	if err != nil {
		return nil, err
	}
	if in != nil {
		defer in.Close()
		top, err := readTop(in, q)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		return []api.Result[api.ProfileTop]{{Instance: source, Value: top}}, nil
	}
	return ask(ctx, a, func(c *client.Client, ctx context.Context) (api.ProfileTop, error) {
		id := source
		if id == "" {
			var err error
			if id, err = newestProfile(ctx, c); err != nil {
				return api.ProfileTop{}, err
			}
		}
		return c.ProfileTop(ctx, id, q)
	})
}

// pythonID is what a Python server's ids of profiles end in; they may hold
// slashes.
var pythonID = regexp.MustCompile(`_\d{13}$`)

// openProfile opens a source that is not a server's: a file, - or a URL. It
// returns nil for an id.
func (a *app) openProfile(ctx context.Context, source string) (io.ReadCloser, error) {
	switch {
	case source == "":
		return nil, nil
	case source == "-":
		return io.NopCloser(a.streams.in), nil
	case strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://"):
		return a.fetchProfile(ctx, source)
	}
	f, err := os.Open(source)
	if os.IsNotExist(err) && (!strings.ContainsAny(source, "/.") || pythonID.MatchString(source)) {
		return nil, nil
	}
	return f, err
}

// fetchProfile gets a profile from a pprof endpoint. One that collects for some
// seconds is given them beside the time of a request.
func (a *app) fetchProfile(ctx context.Context, source string) (io.ReadCloser, error) {
	u, err := url.Parse(source)
	if err != nil {
		return nil, &usageError{err, "pulsectl profiles top"}
	}
	timeout := a.flags.requestTimeout
	if n, err := strconv.Atoi(u.Query().Get("seconds")); err == nil && n > 0 && n <= 3600 {
		timeout += time.Duration(n) * time.Second
	} else if strings.HasSuffix(u.Path, "/pprof/profile") {
		timeout += 30 * time.Second
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, &usageError{err, "pulsectl profiles top"}
	}
	resp, err := (&http.Client{Timeout: timeout}).Do(req)
	if err != nil {
		return nil, client.TransportError(err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, api.Errorf(resp.StatusCode, "%s answered %s", u.Redacted(), resp.Status)
	}
	return resp.Body, nil
}

func readTop(in io.Reader, q client.ProfileTopQuery) (api.ProfileTop, error) {
	o := hotspot.TopOptions{Selection: hotspot.Selection{SampleType: q.SampleType}, N: q.Limit, Cum: q.Cum}
	var err error
	if q.Focus != "" {
		if o.Focus, err = regexp.Compile(q.Focus); err != nil {
			return api.ProfileTop{}, err
		}
	}
	if q.Ignore != "" {
		if o.Ignore, err = regexp.Compile(q.Ignore); err != nil {
			return api.ProfileTop{}, err
		}
	}
	p, err := hotspot.ParseReader(in, hotspot.Limits{})
	if err != nil {
		return api.ProfileTop{}, err
	}
	return hotspot.Top(p, o)
}

// newestProfile returns the id of a server's newest profile that is done.
func newestProfile(ctx context.Context, c *client.Client) (string, error) {
	l, err := c.Profiles(ctx, client.ProfileQuery{Limit: 50})
	if err != nil {
		return "", err
	}
	for _, p := range l.Profiles {
		if p.State != "active" {
			return p.ProfileID, nil
		}
	}
	return "", api.Errorf(http.StatusNotFound, "the server keeps no profile yet: pulsectl profiles capture takes one")
}
