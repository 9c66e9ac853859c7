package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/contexts"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// setting is one of the settings that a command goes by, and where it is from.
type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // flag, a variable's name, context NAME, or default
}

var configView = view[[]setting]{
	kind: "ConfigView",
	items: func(all []setting) (items []render.Item) {
		for _, s := range all {
			items = append(items, render.Item{Name: s.Name, Value: s})
		}
		return items
	},
	pick: taken[setting],
	draw: render.Rows(func(all []setting) (header []string, rows [][]string) {
		for _, s := range all {
			rows = append(rows, []string{s.Name, s.Value, s.Source})
		}
		return []string{"SETTING", "VALUE", "FROM"}, rows
	}, ""),
}

func newConfigCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "The configuration: view, set, path; files for Prometheus and Grafana",
		Example: `  pulsectl config view
  pulsectl config set output wide --context prod
  pulsectl config path`,
		Args: cobra.NoArgs,
	}
	view := &cobra.Command{
		Use:   "view",
		Short: "Show the settings in effect here, and where each is from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return show(a, local(a.target.file.Path, a.settings()), configView)
		},
	}
	path := &cobra.Command{
		Use:         "path",
		Short:       "Print where the configuration is",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{asksNobody: "yes"},
		RunE: func(*cobra.Command, []string) error {
			path := contexts.Path(a.getenv)
			if path == "" {
				return errors.New("neither XDG_CONFIG_HOME nor HOME says where the configuration is")
			}
			_, err := fmt.Fprintln(a.streams.out, path)
			return err
		},
	}
	cmd.RunE = view.RunE
	cmd.AddCommand(view, newConfigSetCmd(a), path)
	cmd.AddCommand(newConfigCmds(a)...)
	return cmd
}

// settings are those in effect. A token is told of, never told.
func (a *app) settings() []setting {
	t, c := a.target, a.target.context
	origin := func(is bool, source string) string {
		if is {
			return source
		}
		return "default"
	}
	named := origin(t.name != "", "current of the file")
	if t.name != "" && a.getenv("PULSECTL_CONTEXT") == t.name {
		named = "PULSECTL_CONTEXT"
	} else if t.name != "" && a.flags.context == t.name {
		named = "flag"
	}
	of := "context " + t.name
	all := []setting{{"context", t.name, named}, {"server", strings.Join(a.flags.servers, " "), t.sources["server"]}}
	switch {
	case a.getenv("PULSECTL_TOKEN") != "":
		all = append(all, setting{"token", "***", "PULSECTL_TOKEN"})
	case a.getenv("PULSECTL_TOKEN_FILE") != "":
		all = append(all, setting{"token-file", a.getenv("PULSECTL_TOKEN_FILE"), "PULSECTL_TOKEN_FILE"})
	default:
		masked := c.Masked()
		all = append(all, setting{"token", masked.Token, origin(c.Token != "", of)}, setting{"token-file", c.TokenFile, origin(c.TokenFile != "", of)},
			setting{"token-command", c.TokenCommand, origin(c.TokenCommand != "", of)})
	}
	return append(all,
		setting{"ca", c.CA, origin(c.CA != "", of)}, setting{"cert", c.Cert, origin(c.Cert != "", of)}, setting{"key", c.Key, origin(c.Key != "", of)},
		setting{"server-name", c.ServerName, origin(c.ServerName != "", of)},
		setting{"readonly", fmt.Sprint(c.Readonly), origin(c.Readonly, of)}, setting{"protected", fmt.Sprint(c.Protected), origin(c.Protected, of)},
		setting{"request-timeout", a.flags.requestTimeout.String(), t.sources["request-timeout"]},
		setting{"output", a.flags.output, t.sources["output"]}, setting{"theme", a.flags.theme, t.sources["theme"]})
}

func newConfigSetCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY [VALUE]",
		Short: "Change a setting of the current context, or of --context",
		Long: "Change a setting of the current context, or of --context. Without a value it is\ntaken out. KEY is one of " +
			strings.Join(slices.DeleteFunc(slices.Clone(contexts.Keys), func(k string) bool { return k == "token" }), ", ") + ".",
		Args:        cobra.RangeArgs(1, 2),
		Annotations: map[string]string{asksNobody: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			value := ""
			if len(args) == 2 {
				value = args[1]
			}
			if err := checkSetting(args[0], value); err != nil {
				return &usageError{err, cmd.CommandPath()}
			}
			return a.setConfig(args[0], value)
		},
	}
}

// checkSetting refuses what no command could be run with.
func checkSetting(key, value string) error {
	var probe globalFlags
	switch {
	case key == "token":
		return errors.New("a token is never on the command line: want token-file or token-command, or write it into the file")
	case !slices.Contains(contexts.Keys, key):
		return fmt.Errorf("there is no setting %q", key)
	case value == "":
		return nil
	case key == "request-timeout":
		return durationValue{&probe.requestTimeout}.Set(value)
	case key == "output":
		_, err := parseForm(value, nil)
		return err
	case key == "theme" && !slices.Contains(themes, value):
		return fmt.Errorf("theme %q: want %s", value, strings.Join(themes, ", "))
	case key == "servers":
		for server := range strings.SplitSeq(value, ",") {
			if err := client.CheckServer(strings.TrimSpace(server)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *app) setConfig(key, value string) error {
	return a.editContexts(func(f *contexts.File) (string, error) {
		name := f.Current
		if a.flags.context != "" {
			name = a.flags.context
		}
		if name == "" {
			return "", &api.Error{Status: 404, Detail: "no context is current: want --context NAME, or `pulsectl context use NAME` before"}
		}
		line := fmt.Sprintf("context %s: %s: %s", name, key, value)
		if value == "" {
			line = fmt.Sprintf("context %s: %s is taken out", name, key)
		}
		return line, f.Set(name, key, value)
	})
}
