package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/live"
	"github.com/pulsectl/pulsectl/pkg/client"
)

func newTopCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "top",
		Short: "Watch the servers live: requests, breakers, traces, functions, caches",
		Long: `Watch the servers live on a terminal. It changes nothing. Events come as they
happen, by one stream a server; rates are counted every two seconds, and what
only one view shows is asked for only while that is open. A server that gives no
answer is a row.

The keys 1 to 7 choose the view, enter opens a row (the waterfall of a trace, the
events of a breaker, where the time of a slow request went), / filters, y copies
the command that shows the same, ? tells the others.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.top(cmd) },
	}
}

func (a *app) top(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if _, tty := terminal(a.streams.out); !tty || a.getenv("TERM") == "dumb" || cmd.Flags().Changed("output") {
		return &usageError{errors.New("top needs a terminal, and shows no other form: pulsectl status is for pipes and scripts"), "pulsectl top"}
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return err
	}
	in, isFile := a.streams.in.(*os.File)
	if _, tty := terminal(a.streams.in); !tty || !isFile {
		in = nil // keys come from the terminal itself
	}
	o := a.renderOptions(0)
	o.Wide, o.NoHeaders = false, false // a screen has its size
	return live.RunTop(ctx, live.NewTop(a.liveTarget(cs), o), in, a.streams.out, o.Color)
}

// liveTarget is what the command line names, with what others must say to ask
// the same.
func (a *app) liveTarget(cs []*client.Client) live.Target {
	t := live.Target{Name: a.target.name}
	var urls []string
	for _, c := range cs {
		one := []string{"--server", c.Instance()}
		switch {
		case t.Name != "" && len(cs) == 1:
			one = []string{"--context", t.Name}
		case t.Name != "":
			one = []string{"--context", t.Name, "--instance", c.Instance()}
		case len(cs) == 1 && c.Instance() == defaultServer:
			one = nil
		}
		t.Servers = append(t.Servers, live.Server{Client: c, Flags: one})
		urls = append(urls, c.Instance())
	}
	t.Flags = []string{"--server", strings.Join(urls, ",")}
	switch {
	case len(cs) == 1:
		t.Flags = t.Servers[0].Flags
	case t.Name != "":
		t.Flags = []string{"--context", t.Name}
	}
	if t.Name == "" {
		t.Name = map[bool]string{true: urls[0], false: fmt.Sprintf("%d servers", len(cs))}[len(cs) == 1]
	}
	return t
}
