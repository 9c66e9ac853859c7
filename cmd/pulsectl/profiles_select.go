package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// profileReading is what a command that reads one profile is told of it: which,
// and which of its samples and frames count.
type profileReading struct {
	source profileSource
	sel    selectFlags
	limit  int // rows; 0 means all
}

func (r *profileReading) register(cmd *cobra.Command, withBase bool) {
	r.source.register(cmd.Flags())
	r.sel.register(cmd, withBase)
}

// parse takes the arguments and checks the flags.
func (r *profileReading) parse(args []string, command string) (src profileSource, sel hotspot.Selection, err error) {
	if r.limit < 0 {
		return src, sel, &usageError{fmt.Errorf("limit %d: want 0 or more", r.limit), command}
	}
	if src, err = r.source.parse(args, command); err != nil {
		return src, sel, err
	}
	sel, err = r.sel.selection(command)
	return src, sel, err
}

// selectFlags say which samples and frames of a profile count, in the words of
// go tool pprof.
type selectFlags struct {
	sampleType                          string
	focus, ignore, hide, show, showFrom pattern
	tagFocus, tagIgnore                 string
	granularity                         string
	noInlines                           bool
	base, diffBase                      string
}

// pattern is a flag that takes a regular expression.
type pattern struct{ re *regexp.Regexp }

func (p *pattern) Type() string { return "regexp" }
func (p *pattern) String() string {
	if p.re == nil {
		return ""
	}
	return p.re.String()
}
func (p *pattern) Set(s string) (err error) {
	p.re = nil
	if s != "" {
		p.re, err = regexp.Compile(s)
	}
	return err
}

func (f *selectFlags) register(cmd *cobra.Command, withBase bool) {
	fs := cmd.Flags()
	fs.Var(&f.focus, "focus", "only samples with a frame that matches `REGEXP`")
	fs.Var(&f.ignore, "ignore", "no samples with a frame that matches `REGEXP`")
	fs.Var(&f.hide, "hide", "leave out frames that match `REGEXP`")
	fs.Var(&f.show, "show", "leave out frames that do not match `REGEXP`")
	fs.Var(&f.showFrom, "show-from", "leave out what is above the first frame that matches `REGEXP`")
	fs.StringVar(&f.tagFocus, "tagfocus", "", "only samples with this label: `LABEL` is KEY=REGEXP, REGEXP, or a range like 128kb:4mb")
	fs.StringVar(&f.tagIgnore, "tagignore", "", "no samples with this `LABEL`")
	fs.StringVar(&f.sampleType, "sample-index", "", "`NAME` or number of the values: cpu, alloc_space, …")
	fs.StringVar(&f.sampleType, "sample-type", "", "the same as --sample-index")
	fs.StringVar(&f.granularity, "granularity", "functions", "what makes two frames the same: functions, filefunctions, files, lines, addresses")
	fs.BoolVar(&f.noInlines, "noinlines", false, "count inlined calls as their caller")
	words(cmd, "granularity", "functions", "filefunctions", "files", "lines", "addresses")
	if withBase {
		fs.StringVar(&f.base, "base", "", "subtract this profile, a `SOURCE`")
		fs.StringVar(&f.diffBase, "diff-base", "", "subtract this profile, a `SOURCE`, and take shares of it")
	}
}

// selection checks the flags.
func (f *selectFlags) selection(command string) (hotspot.Selection, error) {
	s := hotspot.Selection{
		SampleType: f.sampleType, Focus: f.focus.re, Ignore: f.ignore.re, Hide: f.hide.re, Show: f.show.re, ShowFrom: f.showFrom.re,
		TagFocus: f.tagFocus, TagIgnore: f.tagIgnore, NoInlines: f.noInlines,
	}
	var err error
	if s.Granularity, err = hotspot.ParseGranularity(f.granularity); err != nil {
		return s, &usageError{err, command}
	}
	if f.base != "" && f.diffBase != "" {
		return s, &usageError{fmt.Errorf("--base and --diff-base: want one of them"), command}
	}
	return s, nil
}

// plain tells whether the flags ask for no more than a server's own top knows.
func (f *selectFlags) plain() bool {
	return f.hide.re == nil && f.show.re == nil && f.showFrom.re == nil && f.tagFocus+f.tagIgnore+f.base+f.diffBase == "" &&
		!f.noInlines && f.granularity == "functions"
}

// readSelected reads the profiles that are named, less the base that the flags
// name.
func (a *app) readSelected(ctx context.Context, src profileSource, f *selectFlags) ([]api.Result[parsedProfile], error) {
	rs, err := a.parseProfiles(ctx, src)
	name := f.base + f.diffBase
	if err != nil || name == "" {
		return rs, err
	}
	base, err := a.oneProfile(ctx, name, src.command)
	if err != nil {
		return nil, err
	}
	return each(rs, func(p parsedProfile) (parsedProfile, error) {
		d, err := hotspot.Diff(p.Profile, base.Profile, hotspot.DiffOptions{Subtract: f.base != ""})
		return parsedProfile{d, p.summary, p.id}, err
	}), nil
}

// oneProfile reads the one profile that a name stands for. Of several servers it
// is the newest that one has.
func (a *app) oneProfile(ctx context.Context, name, command string) (parsedProfile, error) {
	src, err := profileSource{}.parse([]string{name}, command)
	if err != nil {
		return parsedProfile{}, err
	}
	rs, err := a.parseProfiles(ctx, src)
	if err != nil {
		return parsedProfile{}, err
	}
	return newest(a, rs, func(p parsedProfile) api.Profile { return p.summary })
}

// newest is the profile that began last of those that several servers had.
func newest[T any](a *app, rs []api.Result[T], summary func(T) api.Profile) (T, error) {
	best := -1
	for i, r := range rs {
		if r.Error == nil && (best < 0 || began(summary(r.Value)).After(began(summary(rs[best].Value)).Time)) {
			best = i
		}
	}
	if best < 0 {
		var none T
		return none, &fleetError{a.report(failures(rs)), 0}
	}
	return rs[best].Value, nil
}
