package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/contexts"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// namedContext is a context of the configuration, as -o json shows it.
type namedContext struct {
	Name    string `json:"name"`
	Current bool   `json:"current"` // used where none is named
	contexts.Context
}

var contextsView = view[[]namedContext]{
	kind:  "ContextList",
	items: contextItems,
	pick:  taken[namedContext],
	draw:  render.Rows(contextRows, "No contexts: `pulsectl context add NAME --server URL` makes one."),
}

var contextView = view[[]namedContext]{kind: "Context", items: contextItems, draw: render.Facts(contextFacts)}

func contextItems(all []namedContext) (items []render.Item) {
	for _, c := range all {
		items = append(items, render.Item{Name: c.Name, Value: c})
	}
	return items
}

func contextRows(all []namedContext) (header []string, rows [][]string) {
	for _, c := range all {
		mark := ""
		if c.Current {
			mark = "*"
		}
		rows = append(rows, []string{mark, c.Name, strings.Join(c.Servers, " "), c.auth(), c.guard()})
	}
	return []string{"", "NAME", "SERVERS", "AUTH", "GUARD"}, rows
}

// auth says by what the servers know this client.
func (c *namedContext) auth() string {
	var ways []string
	for _, way := range []struct{ name, value string }{{"token", c.Token}, {"token file", c.TokenFile}, {"token command", c.TokenCommand}, {"certificate", c.Cert}} {
		if way.value != "" {
			ways = append(ways, way.name)
		}
	}
	return strings.Join(ways, ", ")
}

func (c *namedContext) guard() string {
	switch {
	case c.Readonly:
		return "read-only"
	case c.Protected:
		return "protected"
	}
	return ""
}

func contextFacts(all []namedContext) (facts [][2]string) {
	for _, c := range all {
		facts = append(facts, [2]string{"context", c.Name})
		for _, f := range []([2]string){
			{"servers", strings.Join(c.Servers, " ")}, {"token", c.Token}, {"token file", c.TokenFile}, {"token command", c.TokenCommand},
			{"ca", c.CA}, {"cert", c.Cert}, {"key", c.Key}, {"server name", c.ServerName}, {"guard", c.guard()},
			{"request timeout", c.Timeout}, {"output", c.Output}, {"theme", c.Theme},
		} {
			if f[1] != "" {
				facts = append(facts, f)
			}
		}
	}
	return facts
}

func newContextCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "context",
		Aliases: []string{"contexts"},
		Short:   "Contexts: named servers with their tokens and defaults",
		Example: `  pulsectl context add prod --server http://10.0.0.1:8000,http://10.0.0.2:8000 --token-command 'pass show pulsectl/prod' --protected
  pulsectl context use prod
  pulsectl context list`,
		Args: cobra.NoArgs,
	}
	list := &cobra.Command{Use: "list", Short: "List the contexts", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return a.listContexts() }}
	cmd.RunE = list.RunE
	cmd.AddCommand(list, newContextUseCmd(a), newContextShowCmd(a), newContextAddCmd(a), newContextRemoveCmd(a))
	for _, c := range append(cmd.Commands(), cmd) {
		c.Annotations = map[string]string{asksNobody: "yes"}
	}
	return cmd
}

// configuration reads the file of contexts.
func (a *app) configuration() (*contexts.File, error) {
	f, err := contexts.Read(contexts.Path(a.getenv))
	if err != nil {
		return nil, fmt.Errorf("configuration %w", err)
	}
	return f, nil
}

// missingContext gives the error of a context that is not there its status.
func missingContext(err error) error {
	switch {
	case errors.Is(err, contexts.ErrNotFound):
		return &api.Error{Status: http.StatusNotFound, Detail: err.Error() + "; `pulsectl context list` shows them", Cause: err}
	case errors.Is(err, contexts.ErrExists):
		return &api.Error{Status: http.StatusConflict, Detail: err.Error() + "; `pulsectl config set` changes one", Cause: err}
	}
	return err
}

func (a *app) listContexts() error {
	f, err := a.configuration()
	if err != nil {
		return err
	}
	all := []namedContext{}
	for _, name := range f.Names() {
		all = append(all, namedContext{name, name == f.Current, f.Contexts[name].Masked()})
	}
	return show(a, local(f.Path, all), contextsView)
}

// local is an answer that no server gave.
func local[T any](from string, v T) []api.Result[T] {
	return []api.Result[T]{{Instance: from, Value: v}}
}

func newContextShowCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show one context, the current one without a name",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.configuration()
			if err != nil {
				return err
			}
			name := f.Current
			if a.flags.context != "" {
				name = a.flags.context
			}
			if len(args) == 1 {
				name = args[0]
			}
			c, known := f.Contexts[name]
			if !known {
				return missingContext(fmt.Errorf("context %q: %w", name, contexts.ErrNotFound))
			}
			return show(a, local(f.Path, []namedContext{{name, name == f.Current, c.Masked()}}), contextView)
		},
	}
}

func newContextUseCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "use NAME",
		Short: "Use a context from now on where none is named",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.editContexts(func(f *contexts.File) (string, error) {
				return fmt.Sprintf("context %s: %s", args[0], strings.Join(f.Contexts[args[0]].Servers, " ")), f.Use(args[0])
			})
		},
	}
}

func newContextRemoveCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME",
		Short: "Take a context out of the configuration",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.editContexts(func(f *contexts.File) (string, error) {
				line := "removed context " + args[0]
				if f.Current == args[0] {
					line += "; no context is current now"
				}
				return line, f.Remove(args[0])
			})
		},
	}
}

// editContexts makes a change to the configuration and says what it is; not in a
// dry run.
func (a *app) editContexts(edit func(*contexts.File) (string, error)) error {
	f, err := a.configuration()
	if err != nil {
		return err
	}
	f.DryRun = a.flags.dryRun
	line, err := edit(f)
	if err != nil {
		return missingContext(err)
	}
	if f.DryRun {
		line = "dry run: " + line
	}
	_, err = fmt.Fprintln(a.streams.out, render.Clean(line))
	return err
}

type contextAddOptions struct {
	contexts.Context
	Use bool
}

func newContextAddCmd(a *app) *cobra.Command {
	var o contextAddOptions
	cmd := &cobra.Command{
		Use:   "add NAME --server URL",
		Short: "Put a context into the configuration",
		Long: `Put a context into the configuration: the servers that --server names, and how
they are asked. A server is a URL, dns+http://host:port for every address behind
a name, or unix:///run/pulse.sock. A token is never given here: a file or a
command has it. Files are relative to the configuration; ~ is the home directory.`,
		Example: `  pulsectl context add local --server http://127.0.0.1:8000
  pulsectl context add prod --server dns+https://pulse.prod:8443 --token-file ~/.secrets/pulse --protected --use
  pulsectl context add edge --server https://edge:8443 --ca ca.pem --cert me.pem --key me.key --readonly`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("server") {
				return &usageError{errors.New("want --server URL: what the context is to ask"), cmd.CommandPath()}
			}
			o.Servers = a.flags.servers
			return a.addContext(args[0], o)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.TokenFile, "token-file", "", "`FILE` of mode 0600 that holds the token")
	fs.StringVar(&o.TokenCommand, "token-command", "", "`COMMAND` with its arguments that prints the token")
	fs.StringVar(&o.CA, "ca", "", "PEM `FILE` of the authorities of the servers' certificates")
	fs.StringVar(&o.Cert, "cert", "", "PEM `FILE` of the client's certificate")
	fs.StringVar(&o.Key, "key", "", "PEM `FILE` of its key")
	fs.StringVar(&o.ServerName, "server-name", "", "`NAME` in the servers' certificates, where it is not the URL's host")
	fs.BoolVar(&o.Readonly, "readonly", false, "refuse every change")
	fs.BoolVar(&o.Protected, "protected", false, "let a change need --yes and --reason")
	fs.BoolVar(&o.Use, "use", false, "use it from now on where none is named")
	return cmd
}

func (a *app) addContext(name string, o contextAddOptions) error {
	for _, server := range o.Servers {
		if err := client.CheckServer(server); err != nil {
			return &usageError{err, "pulsectl context add"}
		}
	}
	if err := o.Check(name); err != nil {
		return &usageError{err, "pulsectl context add"}
	}
	return a.editContexts(func(f *contexts.File) (string, error) {
		line := fmt.Sprintf("added context %s: %s", name, strings.Join(o.Servers, " "))
		if err := f.Add(name, o.Context); err != nil || !o.Use {
			return line, err
		}
		return line + ", from now on the current one", f.Use(name)
	})
}

// contextNames are the names of the contexts that there are, for completion.
func (a *app) contextNames() []string {
	f, err := a.configuration()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(f.Contexts))
}
