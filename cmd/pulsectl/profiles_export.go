package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// profileForms are the forms of a profile that other tools read.
var profileForms = []string{"pprof", "folded", "speedscope", "svg"}

// profileForm is what -o names if it is such a form, else "".
func (a *app) profileForm() string {
	if slices.Contains(profileForms, a.flags.output) {
		return a.flags.output
	}
	return ""
}

func newProfilesExportCmd(a *app) *cobra.Command {
	var r profileReading
	e := profileExport{command: "pulsectl profiles export"}
	cmd := &cobra.Command{
		Annotations: map[string]string{ownForms: strings.Join(profileForms, ",")},

		Use:   "export [SOURCE]",
		Short: "Write a profile in the form of another tool",
		Long: `Write a profile to standard output or a file, in the form that -o names:
  pprof       as it is kept, for go tool pprof; of a Go execution trace that
              itself, for go tool trace. This is it without -o
  folded      folded stacks, for flamegraph.pl
  speedscope  for https://www.speedscope.app
  svg         a flame graph for browsers
--focus and the like select for the last three.

` + sourceHelp + `

  pulsectl profiles export p_4QZX -O cpu.pb.gz
  pulsectl profiles export @last -o folded > stacks.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			var src profileSource
			if src, e.sel, err = r.parse(args, e.command); err != nil {
				return err
			}
			if e.form = a.profileForm(); e.form == "" {
				if cmd.Flags().Changed("output") {
					return &usageError{fmt.Errorf("output %q: want one of %s", a.flags.output, strings.Join(profileForms, ", ")), e.command}
				}
				e.form = "pprof"
			}
			return a.writeProfile(cmd.Context(), src, &r.sel, e)
		},
	}
	cmd.Flags().StringVarP(&e.file, "output-file", "O", "", "`FILE` to write, made with mode 0600; standard output without")
	r.register(cmd, false)
	return cmd
}

// profileExport is how a profile is written.
type profileExport struct {
	form, file, command string
	sel                 hotspot.Selection
}

// writeProfile writes the one profile that is named.
func (a *app) writeProfile(ctx context.Context, src profileSource, f *selectFlags, e profileExport) error {
	_, tty := terminal(a.streams.out)
	switch {
	case e.form == "pprof" && (e.sel != hotspot.Selection{Granularity: e.sel.Granularity} || !f.plain()):
		return &usageError{fmt.Errorf("pprof is the profile as it is: want no --focus and the like, or another form"), e.command}
	case e.form == "pprof" && tty && e.file == "":
		return &usageError{fmt.Errorf("pprof is not for a terminal: want --output-file FILE, or a pipe"), e.command}
	case e.form == "pprof":
		rs, err := a.readProfiles(ctx, src)
		if err != nil {
			return err
		}
		return writeOne(a, rs, e, func(w io.Writer, d profileData) error {
			_, err := w.Write(d.bytes)
			return err
		})
	}
	rs, err := a.readSelected(ctx, src, f)
	if err != nil {
		return err
	}
	return writeOne(a, rs, e, func(w io.Writer, p parsedProfile) error { return e.write(w, p) })
}

// write writes a profile in a form that is not its own.
func (e profileExport) write(w io.Writer, p parsedProfile) error {
	switch e.form {
	case "folded":
		return p.WriteFolded(w, e.sel)
	case "speedscope":
		return p.WriteSpeedscope(w, p.summary.ProfileID, e.sel)
	}
	g, err := hotspot.Flame(p.Profile, hotspot.FlameOptions{Selection: e.sel})
	if err != nil {
		return err
	}
	return render.FlameSVG(w, g, p.summary.ProfileID)
}

// writeOne writes what one server, or a file, had. Of several that have it the
// first is taken, for a profile's id names one.
func writeOne[T any](a *app, rs []api.Result[T], e profileExport, write func(io.Writer, T) error) error {
	at := slices.IndexFunc(rs, func(r api.Result[T]) bool { return r.Error == nil })
	if at < 0 {
		return &fleetError{a.report(failures(rs)), 0}
	}
	var b bytes.Buffer
	if err := write(&b, rs[at].Value); err != nil {
		return err
	}
	if e.file == "" {
		_, err := a.streams.out.Write(b.Bytes())
		return err
	}
	if err := os.WriteFile(e.file, b.Bytes(), 0o600); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.streams.err, "wrote %d bytes to %s\n", b.Len(), render.Clean(e.file))
	return err
}
