package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/contexts"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

const (
	completeTime  = 300 * time.Millisecond // that a person at a shell may wait
	completeKept  = 10 * time.Second       // that an answer is offered again
	completeWords = 500                    // at most
)

// word is something that may come next on a command line.
type word struct{ Text, About string }

// wordsOf asks a server for the words that a command takes.
type wordsOf func(context.Context, *client.Client) ([]word, error)

// addCompletions gives the commands that take names of what is on a server, or in
// the configuration, those names.
func (a *app) addCompletions(root *cobra.Command) {
	for path, c := range map[string]struct {
		most  int // arguments; 0 means any number
		words wordsOf
	}{
		"breakers show": {1, liveBreakers}, "breakers events": {1, liveBreakers}, "breakers reset": {0, liveBreakers}, "breakers open": {0, liveBreakers},
		"breakers disable": {0, liveBreakers}, "breakers enable": {0, liveBreakers}, "breakers exec": {1, liveBreakers},
		"traces show": {1, liveTraces}, "traces diff": {2, liveTraces}, "traces export": {0, liveTraces},
		"profiles show": {1, liveProfiles}, "profiles top": {1, liveProfiles}, "profiles flame": {1, liveProfiles}, "profiles tree": {1, liveProfiles},
		"profiles tags": {1, liveProfiles}, "profiles export": {1, liveProfiles}, "profiles diff": {2, liveProfiles},
		"metrics get": {1, liveMetrics}, "metrics list": {1, liveMetrics}, "health": {1, liveChecks},
		"check breakers": {0, liveBreakers}, "check health": {0, liveChecks}, "wait": {0, liveConditions},
	} {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil || cmd.CommandPath() != "pulsectl "+path || cmd.ValidArgsFunction != nil {
			continue
		}
		cmd.ValidArgsFunction = a.completion(path, c.most, c.words)
	}
	names := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.contextNames(), cobra.ShellCompDirectiveNoFileComp
	}
	for _, path := range []string{"context use", "context show", "context rm"} {
		if cmd, _, err := root.Find(strings.Fields(path)); err == nil {
			cmd.ValidArgsFunction = names
		}
	}
	if cmd, _, err := root.Find([]string{"config", "set"}); err == nil {
		cmd.ValidArgs = contexts.Keys
	}
	for flag, f := range map[string]cobra.CompletionFunc{
		"context": names, "instance": a.completeInstances,
		"output": cobra.FixedCompletions(slices.Concat(outputForms[:8], []string{"jq=", "go-template="}), cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		"color":  cobra.FixedCompletions(colours, cobra.ShellCompDirectiveNoFileComp), "theme": cobra.FixedCompletions(themes, cobra.ShellCompDirectiveNoFileComp),
	} {
		_ = root.RegisterFlagCompletionFunc(flag, f) // the flags are there
	}
}

// completion offers what servers have, for so many arguments. It says nothing of
// what goes wrong.
func (a *app) completion(question string, most int, ask wordsOf) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) (out []string, _ cobra.ShellCompDirective) {
		directive := cobra.ShellCompDirectiveNoFileComp
		if strings.HasPrefix(question, "traces") || strings.HasPrefix(question, "profiles") {
			directive = cobra.ShellCompDirectiveDefault // a file's name does as well
		}
		if most > 0 && len(args) >= most {
			return nil, directive
		}
		for _, w := range a.words(cmd, question, ask) {
			if strings.HasPrefix(w.Text, begun) && !slices.Contains(args, w.Text) {
				out = append(out, cobra.CompletionWithDesc(w.Text, w.About))
			}
		}
		return out, directive | cobra.ShellCompDirectiveKeepOrder
	}
}

// words are those of every server that answers in time, or of a moment ago.
func (a *app) words(cmd *cobra.Command, question string, ask wordsOf) []word {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	a.streams.err = io.Discard
	if a.aim(cmd) != nil {
		return nil
	}
	noun, of, _ := strings.Cut(question, " ")
	if noun == "check" { // its verbs are of several nouns
		noun += "-" + of
	}
	kept := a.keptWords(noun)
	if all, fresh := readWords(kept); fresh {
		return all
	}
	a.flags.requestTimeout = min(cmp.Or(a.flags.requestTimeout, completeTime), completeTime)
	cs, err := a.clients(ctx)
	if err != nil {
		return nil
	}
	var all []word
	seen := map[string]bool{}
	for _, r := range client.Each(ctx, cs, func(c *client.Client, ctx context.Context) ([]word, error) { return ask(ctx, c) }) {
		for _, w := range r.Value {
			w.About = render.Clean(w.About)
			if !seen[w.Text] && render.Clean(w.Text) == w.Text && len(all) < completeWords {
				seen[w.Text] = true
				all = append(all, w)
			}
		}
	}
	if len(all) > 0 {
		writeWords(kept, all)
	}
	return all
}

// keptWords is the file that keeps the words of a noun for these servers; "" for
// none.
func (a *app) keptWords(noun string) string {
	dir := a.getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(dir) {
		if a.getenv("HOME") == "" {
			return ""
		}
		dir = filepath.Join(a.getenv("HOME"), ".cache")
	}
	of := sha256.Sum256([]byte(strings.Join(append([]string{noun, a.target.name}, slices.Concat(a.flags.servers, []string{"-i"}, a.flags.instances)...), "\x00")))
	return filepath.Join(dir, "pulsectl", "words", fmt.Sprintf("%s-%x.json", noun, of[:12]))
}

func readWords(path string) (all []word, fresh bool) {
	info, err := os.Stat(path)
	if err != nil || time.Since(info.ModTime()) > completeKept {
		return nil, false
	}
	b, err := readBounded(path, 1<<20)
	return all, err == nil && json.Unmarshal(b, &all) == nil
}

// writeWords keeps words, and forgets those that have become old.
func writeWords(path string, all []word) {
	b, err := json.Marshal(all)
	dir := filepath.Dir(path)
	if path == "" || err != nil || os.MkdirAll(dir, 0o700) != nil {
		return
	}
	old, _ := filepath.Glob(filepath.Join(dir, "*.json")) // the pattern is well formed
	for _, name := range old {
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > completeKept {
			os.Remove(name)
		}
	}
	tmp, err := os.CreateTemp(dir, ".words-*")
	if err != nil {
		return
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	_, err = tmp.Write(b)
	if cmp.Or(err, tmp.Close()) == nil {
		_ = os.Rename(tmp.Name(), path) // what is not kept is asked again
	}
}

func liveBreakers(ctx context.Context, c *client.Client) (out []word, err error) {
	all, err := c.Breakers(ctx)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, word{name, string(all[name].State)})
	}
	return out, err
}

func liveTraces(ctx context.Context, c *client.Client) (out []word, err error) {
	list, err := c.Traces(ctx, client.TraceQuery{State: "all", Limit: 50})
	for _, t := range list.Traces {
		about := t.Root
		if t.Duration != nil {
			about += " " + t.Duration.Duration().Round(10*time.Microsecond).String()
		}
		if t.Status != api.StatusOK {
			about += " " + string(t.Status)
		}
		out = append(out, word{t.TraceID, about})
	}
	if err == nil {
		out = append(out, word{"@last", "begun last"}, word{"@slowest", "took longest"}, word{"@error", "the newest that failed"}, word{"@p50", "the median"}, word{"@p99", "of the slowest"})
	}
	return out, err
}

func liveProfiles(ctx context.Context, c *client.Client) (out []word, err error) {
	list, err := c.Profiles(ctx, client.ProfileQuery{Limit: 50})
	for _, p := range list.Profiles {
		out = append(out, word{p.ProfileID, p.Type + " " + p.OperationName})
	}
	return out, err
}

func liveMetrics(ctx context.Context, c *client.Client) (out []word, err error) {
	all, err := c.Metrics(ctx, client.MetricQuery{Count: true})
	for _, f := range all {
		out = append(out, word{f.Name, f.Help})
	}
	return out, err
}

func liveChecks(ctx context.Context, c *client.Client) (out []word, err error) {
	h, err := c.Health(ctx)
	for _, name := range slices.Sorted(maps.Keys(h.Checks)) {
		out = append(out, word{name, h.Checks[name].Status})
	}
	return out, err
}

// liveConditions are conditions that can be waited for.
func liveConditions(ctx context.Context, c *client.Client) ([]word, error) {
	out := []word{{"ready", "the critical checks pass"}, {"health=healthy", "the verdict"}, {"breaker/*=closed", "every breaker"}}
	breakers, err := liveBreakers(ctx, c)
	if err != nil {
		return out, err
	}
	for _, w := range breakers {
		out = append(out, word{"breaker/" + w.Text + "=closed", w.About})
	}
	checks, err := liveChecks(ctx, c)
	for _, w := range checks {
		out = append(out, word{"check/" + w.Text + "=healthy", w.About})
	}
	return out, err
}

// completeInstances offers the servers that there are, by host and port.
func (a *app) completeInstances(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	for _, w := range a.words(cmd, "instances", func(_ context.Context, c *client.Client) ([]word, error) {
		_, place, _ := strings.Cut(c.Instance(), "://")
		return []word{{place, ""}}, nil
	}) {
		out = append(out, w.Text)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
