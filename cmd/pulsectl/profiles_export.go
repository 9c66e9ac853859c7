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

// writeProfile writes the one profile that is named, of several servers the
// newest that one has.
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
		d, err := newest(a, rs, func(d profileData) api.Profile { return d.summary })
		if err != nil {
			return err
		}
		return a.writeOut(e.file, d.bytes)
	}
	rs, err := a.readSelected(ctx, src, f)
	if err != nil {
		return err
	}
	p, err := newest(a, rs, func(p parsedProfile) api.Profile { return p.summary })
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := e.write(&b, p); err != nil {
		return err
	}
	return a.writeOut(e.file, b.Bytes())
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

// writeOut writes to a file, or to standard output if it has no name.
func (a *app) writeOut(file string, b []byte) error {
	if file == "" {
		_, err := a.streams.out.Write(b)
		return err
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.streams.err, "wrote %d bytes to %s\n", len(b), render.Clean(file))
	return err
}
