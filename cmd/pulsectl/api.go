package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type apiOptions struct {
	Data   string
	Header []string
}

func newAPICmd(a *app) *cobra.Command {
	var o apiOptions
	cmd := &cobra.Command{
		Use:   "api METHOD PATH",
		Short: "Make a raw call and print the body of the answer",
		Long: `Make a raw call and print the body of the answer as it came. PATH is relative to
/monitoring unless it begins with a slash, and may hold a query.`,
		Example: `  pulsectl api GET circuit-breakers
  pulsectl api POST 'traces/cleanup?max_age_seconds=600'
  pulsectl api POST 'profiling/profiles?operation=batch' --data cpu.pb.gz`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.api(cmd.Context(), args[0], args[1], o) },
	}
	cmd.Flags().StringVarP(&o.Data, "data", "d", "", "`FILE` to send as the body, - for standard input")
	cmd.Flags().StringArrayVarP(&o.Header, "header", "H", nil, "`NAME: VALUE` to send; may be repeated")
	return cmd
}

func (a *app) api(ctx context.Context, method, path string, o apiOptions) error {
	call, err := parseCall(method, path, o)
	if err != nil {
		return &usageError{err, "pulsectl api"}
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return err
	}
	if len(cs) > 1 {
		return &usageError{fmt.Errorf("api asks one server, not %d", len(cs)), "pulsectl api"}
	}
	if call.method != http.MethodGet && call.method != http.MethodHead {
		if err := a.mayChange(false); err != nil {
			return err
		}
	}
	if err := a.keepDry(ctx, cs[0], &call); err != nil {
		return a.asked(cs[0], err)
	}
	body, err := a.body(o.Data)
	if err != nil {
		return err
	}
	defer body.Close()
	ctx, cancel := context.WithTimeout(ctx, a.flags.requestTimeout)
	defer cancel()
	return a.call(ctx, cs[0], call, body)
}

// rawCall is a call as the operator wrote it.
type rawCall struct {
	method, path string
	query        url.Values
	header       http.Header
}

func parseCall(method, path string, o apiOptions) (rawCall, error) {
	if !strings.HasPrefix(path, "/") {
		path = "/monitoring/" + path
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return rawCall{}, fmt.Errorf("path %q: want a path like circuit-breakers or /health", path)
	}
	c := rawCall{strings.ToUpper(method), u.EscapedPath(), u.Query(), http.Header{}}
	for _, h := range o.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return c, fmt.Errorf("header %q: want NAME: VALUE", h)
		}
		c.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return c, nil
}

// keepDry makes a call that may change something a dry run, where the flag or
// the call itself asks for one, and refuses it where the server would act.
func (a *app) keepDry(ctx context.Context, c *client.Client, call *rawCall) error {
	asked := a.flags.dryRun || call.query.Has("dry_run") && call.query.Get("dry_run") != "false"
	if !asked || call.method == http.MethodGet || call.method == http.MethodHead {
		return nil
	}
	q, err := c.DryRun(ctx, call.query)
	if err != nil {
		return err
	}
	call.query = q
	return nil
}

// body opens what is to be sent: a file, standard input, or nothing.
func (a *app) body(name string) (io.ReadCloser, error) {
	switch name {
	case "":
		return http.NoBody, nil
	case "-":
		return io.NopCloser(a.streams.in), nil
	}
	return os.Open(name)
}

func (a *app) call(ctx context.Context, c *client.Client, call rawCall, body io.Reader) error {
	resp, err := c.Send(ctx, call.method, call.path, call.query, call.header, body)
	if err != nil {
		return a.asked(c, err)
	}
	defer resp.Body.Close()
	out := a.streams.out
	if _, tty := terminal(out); tty {
		out = &cleanWriter{w: out}
	}
	answer := &reading{Reader: resp.Body}
	if _, err := io.Copy(out, answer); err != nil {
		if answer.err != nil {
			return a.failed(c, client.TransportError(err))
		}
		return err
	}
	if c, ok := out.(*cleanWriter); ok {
		if err := c.endLine(); err != nil {
			return err
		}
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return a.failed(c, api.Errorf(resp.StatusCode, "%s", resp.Status))
	}
	return nil
}

// asked is the error of a server that could not be asked; an [api.Error] is
// said in the words of all commands.
func (a *app) asked(c *client.Client, err error) error {
	var e *api.Error
	if errors.As(err, &e) {
		return a.failed(c, e)
	}
	return err
}

// failed says that the one server asked failed, and returns the error for the
// exit status.
func (a *app) failed(c *client.Client, e *api.Error) error {
	return &fleetError{failed: a.report([]api.Result[struct{}]{{Instance: c.Instance(), Error: e}})}
}

// reading tells an answer that broke off from an output that did.
type reading struct {
	io.Reader
	err error
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// cleanWriter makes every line safe for a terminal.
type cleanWriter struct {
	w    io.Writer
	open bool // the last line has not ended
}

// endLine ends the last line: what follows on a terminal is not of the body.
func (c *cleanWriter) endLine() error {
	if !c.open {
		return nil
	}
	_, err := io.WriteString(c.w, "\n")
	return err
}

func (c *cleanWriter) Write(p []byte) (int, error) {
	if len(p) > 0 {
		c.open = p[len(p)-1] != '\n'
	}
	lines := strings.Split(string(p), "\n")
	for i := range lines {
		lines[i] = render.Clean(lines[i])
	}
	if _, err := io.WriteString(c.w, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
