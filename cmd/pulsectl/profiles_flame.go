package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/internal/live"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

type profileFlameOptions struct {
	profileReading
	function string
	inverted bool
	static   bool
	file     string
}

func newProfilesFlameCmd(a *app) *cobra.Command {
	var o profileFlameOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{ownForms: strings.Join(profileForms, ",")},

		Use:   "flame [SOURCE]",
		Short: "Draw the flame graph of a profile in the terminal",
		Long: `Draw the flame graph of a profile: the root at the top, width is share. On a
terminal one can move about in it, zoom, search, and look at the callers and
callees of a function; ? tells the keys. In a pipe, or with --static, it is
drawn once. -o svg, folded, speedscope or pprof writes it for other tools.

` + sourceHelp + `

  pulsectl profiles flame
  pulsectl profiles flame --trace @slowest
  pulsectl profiles flame cpu.pb.gz --focus json --static
  pulsectl profiles flame p_4QZX -o svg -O flame.svg`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.profileFlame(cmd.Context(), args, o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.static, "static", false, "draw it once, on a terminal too")
	fs.StringVar(&o.function, "from", "", "begin at the calls of this `FUNCTION`, by its full name; samples without it do not count")
	fs.BoolVar(&o.inverted, "inverted", false, "callers instead of callees: from the functions that took the time up")
	fs.StringVarP(&o.file, "output-file", "O", "", "`FILE` for the form of -o, made with mode 0600; standard output without")
	o.register(cmd, true)
	return cmd
}

func (a *app) profileFlame(ctx context.Context, args []string, o profileFlameOptions) error {
	const command = "pulsectl profiles flame"
	src, sel, err := o.parse(args, command)
	if err != nil {
		return err
	}
	if form := a.profileForm(); form != "" {
		return a.writeProfile(ctx, src, &o.sel, profileExport{form: form, file: o.file, sel: sel, command: command})
	}
	if o.file != "" {
		return &usageError{errors.New("--output-file: want -o svg, folded, speedscope or pprof with it"), command}
	}
	rs, err := a.readSelected(ctx, src, &o.sel)
	if err != nil {
		return err
	}
	fo := hotspot.FlameOptions{Selection: sel, Function: o.function, Inverted: o.inverted}
	graphs := each(rs, func(p parsedProfile) (render.FlameShown, error) {
		g, err := hotspot.Flame(p.Profile, fo)
		return render.FlameShown{FlameGraph: g, ProfileID: p.id}, err
	})
	if len(rs) == 1 && graphs[0].Error == nil && graphs[0].Value.Width != 0 && a.interactive(o.static) {
		return a.moveAbout(ctx, rs[0].Value.Profile, graphs[0].Value, fo)
	}
	return show(a, graphs, flameView)
}

var flameView = view[render.FlameShown]{
	kind: "ProfileFlame",
	items: func(f render.FlameShown) []render.Item {
		return []render.Item{{Name: f.ProfileID, Value: f.FlameGraph}}
	},
	unit: func(f render.FlameShown) string { return f.Unit },
	draw: render.Flame,
}

// interactive tells whether a person sits before the output and can move about
// in it.
func (a *app) interactive(static bool) bool {
	_, tty := terminal(a.streams.out)
	return tty && !static && (a.flags.output == "table" || a.flags.output == "wide") && a.getenv("TERM") != "dumb"
}

// moveAbout lends the terminal to the flame graph until a person quits.
func (a *app) moveAbout(ctx context.Context, p *hotspot.Profile, shown render.FlameShown, fo hotspot.FlameOptions) error {
	in, isFile := a.streams.in.(*os.File)
	if _, tty := terminal(a.streams.in); !tty || !isFile {
		in = nil // the profile came from there: keys come from the terminal itself
	}
	o := a.renderOptions(0)
	return live.Run(ctx, live.NewFlame(p, shown, fo, o), in, a.streams.out, o.Color)
}

// began is when a profile began, for the order of several.
func began(p api.Profile) api.Time {
	if p.StartTime == nil {
		return api.Time{}
	}
	return *p.StartTime
}
