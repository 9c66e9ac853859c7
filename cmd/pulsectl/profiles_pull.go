package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// maxUpload is the largest profile that a server takes.
const maxUpload = 64 << 20

type uploadOptions struct {
	client.ProfileUpload
	command string
}

func (o *uploadOptions) register(fs *pflag.FlagSet) {
	fs.StringVar(&o.Operation, "operation", "", "the `NAME` of what was profiled; its source without")
	fs.StringVar(&o.Service, "service", "", "the `NAME` of the service that was profiled")
	fs.StringArrayVar(&o.Labels, "label", nil, "a label of the profile, `KEY=VALUE`; repeatable")
}

func (o *uploadOptions) check() error {
	for _, l := range o.Labels {
		if k, _, ok := strings.Cut(l, "="); !ok || k == "" {
			return &usageError{fmt.Errorf("label %q: want KEY=VALUE", l), o.command}
		}
	}
	return nil
}

func newProfilesUploadCmd(a *app) *cobra.Command {
	o := uploadOptions{command: "pulsectl profiles upload"}
	cmd := &cobra.Command{
		Use:   "upload FILE|-",
		Short: "Bring a profile of a file to the server",
		Long: `Bring a profile of a file, or of standard input, to the server: pprof of any
language, gzipped or not, the legacy formats that pprof reads, or folded stacks.
--dry-run only says what is in the file.

  pulsectl profiles upload cpu.pb.gz --operation nightly-import --label host=db1
  perf script | stackcollapse-perf.pl | pulsectl profiles upload - --service import`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.uploadProfile(cmd.Context(), args[0], o) },
	}
	o.register(cmd.Flags())
	return cmd
}

func (a *app) uploadProfile(ctx context.Context, file string, o uploadOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	in := io.NopCloser(a.streams.in)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return &usageError{err, o.command}
		}
		in = f
		if o.Operation == "" {
			o.Operation = file[strings.LastIndexByte(file, '/')+1:]
		}
	}
	defer in.Close()
	b, err := readAll(in)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return a.bringProfile(ctx, profileData{api.Profile{ProfileID: file}, b}, o)
}

// bringProfile uploads a profile to every server, or says what would be.
func (a *app) bringProfile(ctx context.Context, d profileData, o uploadOptions) error {
	if err := a.mayChange(false); err != nil {
		return err
	}
	what, err := d.contents()
	switch {
	case err != nil:
		return &usageError{fmt.Errorf("%s: %w", d.summary.ProfileID, err), o.command}
	case len(d.bytes) > maxUpload:
		return &usageError{fmt.Errorf("%s: it has %d bytes, a server takes at most %d MiB", d.summary.ProfileID, len(d.bytes), maxUpload>>20), o.command}
	case a.flags.dryRun:
		_, err := fmt.Fprintf(a.streams.out, "would upload %s\n", what)
		return err
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (api.Profile, error) {
		return c.UploadProfile(ctx, d.bytes, o.ProfileUpload)
	})
	if err != nil {
		return err
	}
	return show(a, rs, view[api.Profile]{
		kind:  "ProfileUpload",
		items: func(p api.Profile) []render.Item { return []render.Item{{Name: p.ProfileID, Value: p}} },
		draw: func(w io.Writer, rs []api.Result[api.Profile], ro render.Options) error {
			return render.Done(w, rs, func(p api.Profile) string { return "uploaded " + p.ProfileID + ", " + what }, ro)
		},
	})
}

// contents says what a profile is, and fails if it is none.
func (d profileData) contents() (string, error) {
	if d.isTrace() {
		return fmt.Sprintf("a Go execution trace of %d bytes", len(d.bytes)), nil
	}
	p, err := hotspot.Parse(d.bytes, hotspot.Limits{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a %s profile of %s", p.Type(), render.Plural(p.Samples(), "stack")), nil
}

type pullOptions struct {
	uploadOptions
	Type     string
	Duration time.Duration
	File     string
}

func newProfilesPullCmd(a *app) *cobra.Command {
	o := pullOptions{uploadOptions: uploadOptions{command: "pulsectl profiles pull"}}
	cmd := &cobra.Command{
		Use:   "pull URL",
		Short: "Read a /debug/pprof from here, and bring the profile to the server or to a file",
		Long: `Read a profile from the pprof endpoint of any program, from this machine, and
bring it to the server, or to a file with --output-file. URL is that of one
profile, or of the whole of them (http://host:6060 or …/debug/pprof/), of which
--type picks.

  pulsectl profiles pull http://10.0.0.7:6060 --for 10s --service billing
  pulsectl profiles pull http://10.0.0.7:6060/debug/pprof/heap -O heap.pb.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("for") && o.Duration < time.Second {
				return &usageError{fmt.Errorf("for %s: want 1s or more", o.Duration), o.command}
			}
			return a.pullProfile(cmd.Context(), args[0], o)
		},
	}
	fs := cmd.Flags()
	o.register(fs)
	fs.StringVar(&o.Type, "type", "", "which, where URL names none: "+strings.Join(captureTypes, ", ")+"; cpu without")
	fs.Var(durationValue{&o.Duration}, "for", "how long it collects, 1s or more: cpu 30s, trace 1s, the others at once without it")
	fs.StringVarP(&o.File, "output-file", "O", "", "`FILE` to write, made with mode 0600, instead of bringing it to the server")
	words(cmd, "type", captureTypes...)
	return cmd
}

func (a *app) pullProfile(ctx context.Context, source string, o pullOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	u, err := o.target(source)
	if err != nil {
		return &usageError{err, o.command}
	}
	if a.flags.dryRun {
		_, err := fmt.Fprintf(a.streams.out, "would read %s\n", render.Clean(u.Redacted()))
		return err
	}
	body, err := a.fetchProfile(ctx, u.String(), o.command)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := readAll(body)
	if err != nil {
		return client.TransportError(err)
	}
	d := profileData{api.Profile{ProfileID: u.Redacted()}, b}
	if o.File != "" {
		return a.saveProfile(d, o.File)
	}
	if o.Operation == "" {
		o.Operation = u.Host + u.Path
	}
	return a.bringProfile(ctx, d, o.uploadOptions)
}

// target is the URL to read: of one profile, for as long as is asked.
func (o pullOptions) target(source string) (*url.URL, error) {
	if !strings.Contains(source, "://") {
		source = "http://" + source
	}
	u, err := url.Parse(source)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q: want the http or https URL of a /debug/pprof", source)
	}
	if o.Type != "" && !slices.Contains(captureTypes, o.Type) {
		return nil, fmt.Errorf("type %q: want one of %s", o.Type, strings.Join(captureTypes, ", "))
	}
	path := strings.TrimRight(u.Path, "/")
	if path == "" {
		path = "/debug/pprof"
	}
	switch {
	case strings.HasSuffix(path, "/pprof"):
		name := o.Type
		if name == "" || name == "cpu" {
			name = "profile"
		}
		u.Path = path + "/" + name
	case o.Type != "":
		return nil, fmt.Errorf("--type %s: %s names one profile already", o.Type, u.Redacted())
	}
	if o.Duration > 0 {
		q := u.Query()
		q.Set("seconds", strconv.FormatInt(int64((o.Duration+time.Second-1)/time.Second), 10)) // most endpoints take whole ones only
		u.RawQuery = q.Encode()
	}
	return u, nil
}

// saveProfile writes what was read, if it is a profile, and says so.
func (a *app) saveProfile(d profileData, file string) error {
	what, err := d.contents()
	if err != nil {
		return fmt.Errorf("%s: %w", d.summary.ProfileID, err)
	}
	if err := os.WriteFile(file, d.bytes, 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.streams.err, "wrote %s to %s\n", what, render.Clean(file))
	return err
}
