package main

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// globalFlags are the flags that every command knows.
type globalFlags struct {
	context        string
	servers        []string
	instances      []string // patterns of those servers that are asked; all without
	output         string
	fields         []string // columns that are asked for; those of the drawing without
	sortBy         string
	limit          int // items of an answer; 0 means all
	requestTimeout time.Duration
	color          string
	theme          string
	width          int
	noHeaders      bool
	utc            bool
	yes            bool
	dryRun         bool
	reason         string
	from           string // a snapshot to ask instead of servers

	ascii     bool
	noPager   bool
	quiet     bool
	verbose   bool
	printCurl bool

	err error // of an environment variable that is a flag's default
}

var (
	colours = []string{"auto", "always", "never"}
	themes  = []string{"auto", "dark", "light"}
)

// defaultServer is asked where none is named.
const defaultServer = "http://127.0.0.1:8000"

func (f *globalFlags) register(root *cobra.Command, getenv func(string) string) {
	fs := root.PersistentFlags()
	env := func(name, def string) string { return cmp.Or(getenv(name), def) }
	if err := (durationValue{&f.requestTimeout}).Set(env("PULSECTL_REQUEST_TIMEOUT", "10s")); err != nil {
		f.err = fmt.Errorf("PULSECTL_REQUEST_TIMEOUT: %w", err)
	}
	fs.StringVarP(&f.context, "context", "c", getenv("PULSECTL_CONTEXT"), "`NAME` of a context of the configuration: its servers, tokens and defaults (PULSECTL_CONTEXT)")
	fs.StringSliceVarP(&f.instances, "instance", "i", nil, "ask only those servers whose host:port or URL matches `GLOB`; repeatable")
	fs.StringSliceVarP(&f.servers, "server", "s", strings.Split(env("PULSECTL_SERVER", defaultServer), ","),
		"server `URL`; repeat it or give a comma list for a fleet (PULSECTL_SERVER)")
	fs.StringVarP(&f.output, "output", "o", env("PULSECTL_OUTPUT", "table"), "`FORM` of the output: "+outputFormNames+"; of traces also otlp, jaeger, zipkin, chrome, of metrics prom, of profiles pprof, folded, speedscope, svg (PULSECTL_OUTPUT)")
	fs.StringSliceVar(&f.fields, "columns", nil, "`FIELDS` of -o json to show, with dots for those within others: name,stats.calls; with table, wide, csv, env")
	fs.StringVar(&f.sortBy, "sort-by", "", "`FIELD` to sort by: numbers the largest first, text as it is spelled; -FIELD the other way round")
	fs.IntVarP(&f.limit, "limit", "n", 0, "at most this many of a list; 0 shows all")
	fs.Var(durationValue{&f.requestTimeout}, "request-timeout", "for one server's answer (PULSECTL_REQUEST_TIMEOUT)")
	fs.StringVar(&f.color, "color", env("PULSECTL_COLOR", "auto"), "auto, always or never (PULSECTL_COLOR, NO_COLOR)")
	fs.StringVar(&f.theme, "theme", env("PULSECTL_THEME", "auto"), "auto, dark or light: the terminal's background (PULSECTL_THEME)")
	fs.IntVar(&f.width, "width", 0, "columns to draw for; 0 asks the terminal (COLUMNS)")
	fs.BoolVar(&f.ascii, "ascii", truthy(getenv("PULSECTL_ASCII")), "draw with ASCII characters alone (PULSECTL_ASCII)")
	fs.BoolVar(&f.noPager, "no-pager", false, "do not page what is longer than the terminal (PULSECTL_PAGER, PAGER)")
	fs.BoolVar(&f.noHeaders, "no-headers", false, "tables without title, header and totals")
	fs.BoolVar(&f.utc, "utc", false, "show times in UTC")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "nothing on standard error but failures")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "tell each request and its answer on standard error")
	fs.BoolVar(&f.printCurl, "print-curl", false, "print the equivalent curl lines, the token as $PULSECTL_TOKEN, and do nothing")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask before an action")
	fs.BoolVar(&f.dryRun, "dry-run", false, "show what an action would do, do nothing")
	fs.StringVar(&f.from, "from", "", "`FILE` of a snapshot to ask instead of servers; - for standard input")
	fs.StringVar(&f.reason, "reason", getenv("PULSECTL_REASON"), "`TEXT` for the audit log of an action (PULSECTL_REASON)")
}

func (f *globalFlags) check() error {
	switch {
	case f.err != nil:
		return f.err
	case f.limit < 0:
		return fmt.Errorf("limit %d: want 0 or more", f.limit)
	case !slices.Contains(colours, f.color):
		return fmt.Errorf("color %q: want auto, always or never", f.color)
	case !slices.Contains(themes, f.theme):
		return fmt.Errorf("theme %q: want auto, dark or light", f.theme)
	case f.requestTimeout <= 0:
		return fmt.Errorf("request timeout %s: want more than 0s", f.requestTimeout)
	case !validPatterns(f.instances):
		return fmt.Errorf("instance %q: want patterns of *, ? and [a-z]", f.instances)
	case f.width < 0:
		return fmt.Errorf("width %d: want 0 or more", f.width)
	}
	return nil
}

// truthy tells whether a variable that is a switch is on.
func truthy(text string) bool {
	on, err := strconv.ParseBool(text)
	return on && err == nil
}

func validPatterns(all []string) bool {
	return !slices.ContainsFunc(all, func(p string) bool {
		_, err := path.Match(p, "")
		return err != nil
	})
}

// width is the flag's, else COLUMNS, else the terminal's, else 0 for the
// drawers' own default.
func (a *app) width() int {
	if a.flags.width > 0 {
		return a.flags.width
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
