package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// globalFlags are the flags that every command knows.
type globalFlags struct {
	servers        []string
	output         string
	requestTimeout time.Duration
	color          string
	theme          string
	columns        int
	noHeaders      bool
	utc            bool
	yes            bool
	dryRun         bool
	reason         string

	err error // of an environment variable that is a flag's default
}

var outputForms = []string{"table", "wide", "json", "yaml", "name"}

func (f *globalFlags) register(root *cobra.Command, getenv func(string) string) {
	fs := root.PersistentFlags()
	env := func(name, def string) string { return cmp.Or(getenv(name), def) }
	if err := (durationValue{&f.requestTimeout}).Set(env("PULSECTL_REQUEST_TIMEOUT", "10s")); err != nil {
		f.err = fmt.Errorf("PULSECTL_REQUEST_TIMEOUT: %w", err)
	}
	fs.StringSliceVarP(&f.servers, "server", "s", strings.Split(env("PULSECTL_SERVER", "http://127.0.0.1:8000"), ","),
		"server `URL`; repeat it or give a comma list for a fleet (PULSECTL_SERVER)")
	fs.StringVarP(&f.output, "output", "o", env("PULSECTL_OUTPUT", "table"), "`FORM` of the output: "+strings.Join(outputForms, ", ")+"; of traces also otlp, jaeger, zipkin, chrome, of metrics prom, of profiles pprof, folded, speedscope, svg (PULSECTL_OUTPUT)")
	fs.Var(durationValue{&f.requestTimeout}, "request-timeout", "for one server's answer (PULSECTL_REQUEST_TIMEOUT)")
	fs.StringVar(&f.color, "color", env("PULSECTL_COLOR", "auto"), "auto, always or never (PULSECTL_COLOR, NO_COLOR)")
	fs.StringVar(&f.theme, "theme", env("PULSECTL_THEME", "auto"), "auto, dark or light: the terminal's background (PULSECTL_THEME)")
	fs.IntVar(&f.columns, "width", 0, "columns to draw for; 0 asks the terminal (COLUMNS)")
	fs.BoolVar(&f.noHeaders, "no-headers", false, "tables without title, header and totals")
	fs.BoolVar(&f.utc, "utc", false, "show times in UTC")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask before an action")
	fs.BoolVar(&f.dryRun, "dry-run", false, "show what an action would do, do nothing")
	fs.StringVar(&f.reason, "reason", getenv("PULSECTL_REASON"), "`TEXT` for the audit log of an action (PULSECTL_REASON)")
}

func (f *globalFlags) check() error {
	switch {
	case f.err != nil:
		return f.err
	case !slices.Contains(slices.Concat(outputForms, traceForms, profileForms), f.output) && f.output != promForm:
		return fmt.Errorf("output %q: want one of %s", f.output, strings.Join(outputForms, ", "))
	case !slices.Contains([]string{"auto", "always", "never"}, f.color):
		return fmt.Errorf("color %q: want auto, always or never", f.color)
	case !slices.Contains([]string{"auto", "dark", "light"}, f.theme):
		return fmt.Errorf("theme %q: want auto, dark or light", f.theme)
	case f.requestTimeout <= 0:
		return fmt.Errorf("request timeout %s: want more than 0s", f.requestTimeout)
	case f.columns < 0:
		return fmt.Errorf("width %d: want 0 or more", f.columns)
	}
	return nil
}

// width is the flag's, else COLUMNS, else the terminal's, else 0 for the
// drawers' own default.
func (a *app) width() int {
	if a.flags.columns > 0 {
		return a.flags.columns
	}
	if n, err := strconv.Atoi(a.getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	n, _ := terminal(a.streams.out)
	return n
}

// colour is the flag's word, else the environment's, else whether the output is
// a terminal; then how many colours that terminal has.
func (a *app) colour() render.Color {
	_, tty := terminal(a.streams.out)
	force := a.getenv("CLICOLOR_FORCE")
	switch {
	case a.flags.color == "never":
		return render.NoColor
	case a.flags.color == "always":
	case a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb":
		return render.NoColor
	case force != "" && force != "0":
	case !tty:
		return render.NoColor
	}
	terminalName := a.getenv("TERM")
	switch {
	case slices.Contains([]string{"truecolor", "24bit"}, a.getenv("COLORTERM")):
		return render.TrueColor
	case strings.Contains(terminalName, "256color") || !tty:
		return render.Color256
	}
	return render.Color16
}

// light tells whether the background is light: by the flag, else by COLORFGBG,
// whose last number is the background's colour.
func (a *app) light() bool {
	if a.flags.theme != "auto" {
		return a.flags.theme == "light"
	}
	v := a.getenv("COLORFGBG")
	bg, err := strconv.Atoi(v[strings.LastIndexByte(v, ';')+1:])
	return err == nil && (bg == 7 || bg >= 9 && bg <= 15)
}
