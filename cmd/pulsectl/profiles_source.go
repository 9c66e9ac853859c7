package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// sourceHelp tells how a profile is named.
const sourceHelp = `SOURCE is the id of a profile on the server or a unique prefix of 4 or more
characters, a file, - for standard input, the URL of a pprof endpoint, or one of
  @last  the newest profile that is done; the same without a SOURCE
  @prev  the one before it of the same type and operation
Files may be pprof, gzipped or not, the legacy formats that pprof reads, or
folded stacks. --trace names the newest profile of a trace instead.`

// maxProfileFile bounds what is read of a file or an endpoint.
const maxProfileFile = 512 << 20

// profileSource is how a command line names a profile.
type profileSource struct {
	Text    string
	Trace   string // a trace's id or name; "" for none
	command string
}

func (p *profileSource) register(fs *pflag.FlagSet) {
	fs.StringVar(&p.Trace, "trace", "", "the newest profile of this trace: its `ID`, @slowest and the like")
}

// parse takes the arguments of a command that reads one profile.
func (p profileSource) parse(args []string, command string) (profileSource, error) {
	p.command = command
	if len(args) == 1 {
		p.Text = args[0]
	}
	switch {
	case p.Text != "" && p.Trace != "":
		return p, &usageError{fmt.Errorf("%s and --trace %s: want one of them", p.Text, p.Trace), command}
	case len(args) == 1 && p.Text == "":
		return p, &usageError{errors.New("an empty name: want an id, a file, -, a URL, @last or @prev"), command}
	case strings.HasPrefix(p.Text, "@") && p.Text != "@last" && p.Text != "@prev":
		return p, &usageError{fmt.Errorf("%s: want an id, a file, -, a URL, @last or @prev", p.Text), command}
	}
	if _, err := parseSelector(p.Trace, command); err != nil {
		return p, err
	}
	return p, nil
}

// profileData is one profile as it came.
type profileData struct {
	summary api.Profile // what the server says of it; of a file its name alone
	bytes   []byte
}

// isTrace tells whether it is a Go execution trace, which has no stacks that
// could be added up.
func (d profileData) isTrace() bool {
	return bytes.HasPrefix(d.bytes, []byte("go 1.")) && bytes.HasPrefix(d.bytes[min(len(d.bytes), 8):], []byte("trace"))
}

// parsedProfile is one that can be computed with.
type parsedProfile struct {
	*hotspot.Profile
	summary api.Profile
	id      string // on its server; "" of a file
}

func (d profileData) parse() (parsedProfile, error) {
	out := parsedProfile{summary: d.summary}
	if d.isTrace() {
		id := d.summary.ProfileID
		return out, api.Errorf(http.StatusUnprocessableEntity, "it is a Go execution trace: pulsectl profiles export %s -O trace.out, and go tool trace trace.out", id)
	}
	var err error
	out.Profile, err = hotspot.Parse(d.bytes, hotspot.Limits{})
	return out, err
}

// readProfiles reads a local source, or asks the servers. Of several servers
// those that have no such profile are left out if another has.
func (a *app) readProfiles(ctx context.Context, src profileSource) ([]api.Result[profileData], error) {
	in, err := a.openProfile(ctx, src)
	if err != nil {
		return nil, err
	}
	if in != nil {
		defer in.Close()
		b, err := readAll(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", src.Text, err)
		}
		return []api.Result[profileData]{{Instance: src.Text, Value: profileData{api.Profile{ProfileID: src.Text, Size: api.CountOf(int64(len(b)))}, b}}}, nil
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (profileData, error) {
		p, err := src.find(ctx, c)
		if err != nil {
			return profileData{}, err
		}
		b, err := c.ProfileData(ctx, p.ProfileID)
		return profileData{p, b}, err
	})
	return found(rs), err
}

// parseProfiles reads a source and parses what came.
func (a *app) parseProfiles(ctx context.Context, src profileSource) ([]api.Result[parsedProfile], error) {
	rs, err := a.readProfiles(ctx, src)
	if err != nil {
		return nil, err
	}
	return each(rs, func(d profileData) (parsedProfile, error) {
		p, err := d.parse()
		if !src.isLocal() {
			p.id = d.summary.ProfileID
		}
		if err != nil && !d.isTrace() && !src.isLocal() { // that is no fault of the command line
			err = &api.Error{Code: client.CodeUnreadable, Detail: err.Error(), Cause: err}
		}
		return p, err
	}), nil
}

// each computes something of each profile. What cannot be is the fault of what
// was asked for.
func each[T, U any](rs []api.Result[T], f func(T) (U, error)) []api.Result[U] {
	out := make([]api.Result[U], len(rs))
	for i, r := range rs {
		out[i] = api.Result[U]{Instance: r.Instance, Error: r.Error}
		if r.Error != nil {
			continue
		}
		v, err := f(r.Value)
		if err != nil && !errors.As(err, &out[i].Error) {
			out[i].Error = &api.Error{Status: http.StatusUnprocessableEntity, Detail: err.Error(), Cause: err}
		}
		out[i].Value = v
	}
	return out
}

func readAll(in io.Reader) ([]byte, error) {
	var b bytes.Buffer
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Size() <= maxProfileFile {
			b.Grow(int(info.Size()) + bytes.MinRead)
		}
	}
	if _, err := io.Copy(&b, io.LimitReader(in, maxProfileFile+1)); err != nil {
		return nil, err
	}
	if b.Len() > maxProfileFile {
		return nil, fmt.Errorf("it is larger than %d MiB", maxProfileFile>>20)
	}
	return b.Bytes(), nil
}

// find asks a server which of its profiles is meant.
func (p profileSource) find(ctx context.Context, c *client.Client) (api.Profile, error) {
	switch {
	case p.Trace != "":
		return profileOfTrace(ctx, c, p.Trace, p.command)
	case p.Text == "" || p.Text == "@last":
		return newestProfile(ctx, c, client.ProfileQuery{})
	case p.Text == "@prev":
		return previousProfile(ctx, c)
	}
	return c.Profile(ctx, p.Text)
}

// newestProfile is a server's newest profile that is done.
func newestProfile(ctx context.Context, c *client.Client, q client.ProfileQuery) (api.Profile, error) {
	q.Limit = mostListed
	l, err := c.Profiles(ctx, q)
	if err != nil {
		return api.Profile{}, err
	}
	for _, p := range l.Profiles {
		if p.State != "active" {
			return p, nil
		}
	}
	if q.TraceID != "" {
		return api.Profile{}, api.Errorf(http.StatusNotFound, "the server keeps no profile of the trace %s", q.TraceID)
	}
	return api.Profile{}, api.Errorf(http.StatusNotFound, "the server keeps no profile yet: pulsectl profiles capture takes one")
}

const mostListed = 50 // profiles of one answer

// previousProfile is the one before the newest that is like it.
func previousProfile(ctx context.Context, c *client.Client) (api.Profile, error) {
	last, err := newestProfile(ctx, c, client.ProfileQuery{})
	if err != nil {
		return api.Profile{}, err
	}
	l, err := c.Profiles(ctx, client.ProfileQuery{Type: last.Type, Operation: last.OperationName, Limit: mostListed})
	if err != nil {
		return api.Profile{}, err
	}
	past := false
	for _, p := range l.Profiles {
		if past && p.State != "active" {
			return p, nil
		}
		past = past || p.ProfileID == last.ProfileID
	}
	return api.Profile{}, api.Errorf(http.StatusNotFound, "the server keeps no profile before %s of type %s and operation %q", last.ProfileID, last.Type, last.OperationName)
}

// profileOfTrace is the newest profile of a trace, which itself may be gone.
func profileOfTrace(ctx context.Context, c *client.Client, trace, command string) (api.Profile, error) {
	sel, err := parseSelector(trace, command)
	if err != nil {
		return api.Profile{}, err
	}
	id := trace
	if sel.isName() {
		p, err := sel.summary(ctx, c, client.TraceQuery{})
		if err != nil {
			return api.Profile{}, err
		}
		id = p.trace.TraceID
	} else if t, err := c.Trace(ctx, id); err == nil {
		id = t.TraceID
	} else if e := asProblem(err); e.Status != http.StatusNotFound || len(e.Candidates) > 0 {
		return api.Profile{}, err
	}
	return newestProfile(ctx, c, client.ProfileQuery{TraceID: id})
}

// pythonID is what a Python server's ids of profiles end in; they may hold
// slashes.
var pythonID = regexp.MustCompile(`_\d{13}$`)

// isID tells whether a source that is not local is a profile's id, not a name.
func (p profileSource) isID() bool { return p.Trace == "" && p.Text != "" && p.Text[0] != '@' }

// isLocal tells whether a source is read here, not by asking a server.
func (p profileSource) isLocal() bool {
	switch {
	case p.Trace != "", p.Text == "", strings.HasPrefix(p.Text, "@"):
		return false
	case p.Text == "-", isURL(p.Text):
		return true
	}
	_, err := os.Stat(p.Text)
	return !os.IsNotExist(err) || strings.ContainsAny(p.Text, "/.") && !pythonID.MatchString(p.Text)
}

// openProfile opens a local source. It returns nil for one of a server.
func (a *app) openProfile(ctx context.Context, p profileSource) (io.ReadCloser, error) {
	switch {
	case !p.isLocal():
		return nil, nil
	case p.Text == "-":
		return io.NopCloser(a.streams.in), nil
	case isURL(p.Text):
		return a.fetchProfile(ctx, p.Text, p.command)
	}
	return os.Open(p.Text)
}
