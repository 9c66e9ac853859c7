package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// streams are what a command reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer // results
	err io.Writer // everything said about them
}

// app is one run of pulsectl: its surroundings and the flags every command
// knows.
type app struct {
	streams   streams
	getenv    func(string) string
	now       func() time.Time
	flags     globalFlags
	form      form        // of the answer, by -o
	inherited []os.Signal // that this process was started to ignore
	started   bool        // a command's own code has begun: an error is no longer usage
	target    target
	fleet     []*client.Client // of the target, once they are asked
	curl      *curlPrinter     // writes requests down where they are not to be made; nil for the usual
	watching  bool             // this answer is one of many: see watch
}

func newApp(s streams, getenv func(string) string) *app {
	return &app{streams: s, getenv: getenv, now: time.Now}
}

// run executes one command line.
func (a *app) run(ctx context.Context, args []string) error {
	root := a.rootCmd()
	root.SetArgs(args)
	root.SetIn(a.streams.in)
	root.SetOut(a.streams.out)
	root.SetErr(a.streams.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = &usageError{err, cmd.CommandPath()}
	}
	if isCheck(cmd) {
		return a.checkFailed(cmd, err)
	}
	return err
}

func (a *app) rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:           "pulsectl",
		Short:         "Monitoring server and operator's tool",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.prepare(cmd)
		},
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return a.bare(cmd) }
	a.flags.register(root, a.getenv)
	root.AddCommand(
		newServeCmd(a), newStatusCmd(a), newTopCmd(a), newDoctorCmd(a), newHealthCmd(a), newSystemCmd(a), newAuditCmd(a), newBreakersCmd(a), newTracesCmd(a),
		newProfilesCmd(a), newCacheCmd(a), newMetricsCmd(a), newAlertsCmd(a), newCheckCmd(a), newWaitCmd(a), newSnapshotCmd(a), newAPICmd(a), newContextCmd(a), newConfigCmd(a), newVersionCmd(a),
	)
	addExamples(root)
	a.addCompletions(root)
	return root
}

// prepare settles, before a command runs, what it asks and how, and refuses what
// makes no sense or is not allowed there.
func (a *app) prepare(cmd *cobra.Command) error {
	aims := !asksNoServer(cmd)
	if aims {
		if err := a.aim(cmd); err != nil {
			a.started = true
			if cmd.CommandPath() == execCommand {
				return &usageError{err, execCommand}
			}
			return err
		}
	}
	if err := a.flags.check(); err != nil {
		return err
	}
	if err := a.checkForm(cmd); err != nil {
		return err
	}
	if a.flags.printCurl && !aims {
		return errors.New("it sends no request that --print-curl could print")
	}
	if a.flags.from != "" {
		switch {
		case !aims:
			return errors.New("it asks no server: there is nothing for a snapshot to answer")
		case a.flags.printCurl:
			return errors.New("a snapshot gets no request that --print-curl could print")
		case cmd.Flags().Changed("server"):
			return errors.New("want --server or --from, not both")
		}
	}
	a.started = true
	if !aims {
		return nil
	}
	if a.flags.printCurl {
		if err := a.writeDown(cmd); err != nil {
			return err
		}
	}
	return a.permitted(cmd.CommandPath())
}

// asksNoServer tells whether a command is of no use of a context, and must work
// where that is broken.
func asksNoServer(cmd *cobra.Command) bool {
	for c := cmd; c != nil; c = c.Parent() {
		if c.Annotations[asksNobody] != "" || slices.Contains([]string{"completion", "help", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, c.Name()) {
			return true
		}
	}
	return false
}

// asksNobody is the annotation of a command that asks no server and heeds no
// context.
const asksNobody = "asks nobody"

const rootHelp = `pulsectl asks and steers services that carry the /monitoring API, and is that
monitoring server itself.

  pulsectl serve --demo             a server with traffic of its own to look at
  pulsectl breakers                 which dependencies fail
  pulsectl breakers reset-all       after the outage

It is not the PulseAudio library of the same name.`

// token reads the bearer token of the environment, "" if there is none.
func (a *app) token() (string, error) {
	if t := a.getenv("PULSECTL_TOKEN"); t != "" {
		return t, nil
	}
	file := a.getenv("PULSECTL_TOKEN_FILE")
	if file == "" {
		return "", nil
	}
	b, err := readSecret(file)
	if err != nil {
		return "", fmt.Errorf("PULSECTL_TOKEN_FILE: %w", err)
	}
	return strings.TrimSpace(b), nil
}

// readSecret reads a file that only its owner may.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others can read %s: make it mode 0600", filepath.Base(path))
	}
	b, err := readBounded(path, 64<<10)
	return string(b), err
}

// readBounded reads a file of at most so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", filepath.Base(path), most)
	}
	return b, err
}

// renderOptions is how results are drawn for this output.
func (a *app) renderOptions(limit int) render.Options {
	o := render.Options{
		Width: a.width(), Color: a.colour(), Light: a.light(), Wide: a.flags.output == "wide", ASCII: a.flags.ascii,
		NoHeaders: a.flags.noHeaders, Limit: limit, Now: a.now(), Zone: time.Local,
	}
	if a.flags.utc {
		o.Zone = time.UTC
	}
	return o
}

// terminal tells whether a stream is one, and its columns: 0 where it does not
// know them.
func terminal(stream any) (columns int, ok bool) {
	f, isFile := stream.(interface{ Fd() uintptr })
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < 0 {
		columns = 0
	}
	return columns, true
}
