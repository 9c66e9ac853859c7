package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pulsectl/pulsectl/internal/child"
)

// docs/cli.md tells of each command and flag there is, and of no other. A
// command has a row that begins with its name and holds the names of its flags,
// or a section that does; flags that every command knows have a row each.
func TestCommandsAreDescribed(t *testing.T) {
	b, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	root := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" }).rootCmd()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	known := map[string]bool{"help": true, "version": true}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		known[f.Name] = true
		if !regexp.MustCompile("(?m)^\\| .*`--" + regexp.QuoteMeta(f.Name) + "[` ]").MatchString(page) {
			t.Errorf("docs/cli.md has no row for the flag --%s", f.Name)
		}
	})
	commands := map[string]bool{"pulsectl": true}
	walk(root, func(cmd *cobra.Command) {
		commands[cmd.CommandPath()] = true
		describeFlags(t, page, cmd, known)
	})
	for _, m := range regexp.MustCompile("--([a-z][a-z0-9-]+)").FindAllStringSubmatch(page, -1) {
		if !known[m[1]] {
			t.Errorf("docs/cli.md tells of --%s, which no command has", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(pulsectl[a-z -]*[a-z])").FindAllStringSubmatch(page, -1) {
		if !commands[m[1]] {
			t.Errorf("docs/cli.md has a row for %q, which is no command", m[1])
		}
	}
}

// Each command line that a page shows is one that pulsectl takes.
func TestExamplesAreCommands(t *testing.T) {
	for _, page := range []string{"README.md", "docs/cli.md"} {
		b, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		shown := 0
		for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
			for _, m := range regexp.MustCompile(`(?m)^pulsectl (.*?)( *#.*| >.*)?$`).FindAllStringSubmatch(block[1], -1) {
				shown++
				words, err := child.Split(m[1])
				if err == nil {
					err = takes(words)
				}
				if err != nil {
					t.Errorf("%s: pulsectl %s: %v", page, m[1], err)
				}
			}
		}
		if shown == 0 {
			t.Errorf("%s shows no command", page)
		}
	}
}

// The help of each noun shows three command lines or more, and each is one that
// pulsectl takes.
func TestHelpShowsExamples(t *testing.T) {
	root := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" }).rootCmd()
	for _, noun := range root.Commands() {
		if shown := strings.Count(noun.Example, "pulsectl"); shown < 3 && noun.Name() != "version" {
			t.Errorf("the help of %s shows %d examples, want 3", noun.Name(), shown)
		}
	}
	walk(root, func(cmd *cobra.Command) {
		for _, m := range regexp.MustCompile(`(?m)^  pulsectl *(.*?)( *#.*| \|.*| >.*)?$`).FindAllStringSubmatch(cmd.Example, -1) {
			words, err := child.Split(m[1])
			if err == nil {
				err = takes(words)
			}
			if err != nil {
				t.Errorf("the help of %s: pulsectl %s: %v", cmd.CommandPath(), m[1], err)
			}
		}
	})
}

// takes tells whether there is a command for args, with these flags and as many
// arguments.
func takes(args []string) error {
	root := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" }).rootCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// walk calls f for every command that is ours; cobra's own help and the shells
// of completion are not.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	for _, c := range cmd.Commands() {
		if c.Name() != "help" && c.Parent().Name() != "completion" {
			f(c)
			walk(c, f)
		}
	}
}

func describeFlags(t *testing.T, page string, cmd *cobra.Command, known map[string]bool) {
	t.Helper()
	text := strings.Join(regexp.MustCompile("(?m)^\\| `"+regexp.QuoteMeta(cmd.CommandPath())+"[` ].*$").FindAllString(page, -1), "\n")
	if text == "" {
		t.Errorf("docs/cli.md has no row for %q", cmd.CommandPath())
		return
	}
	if _, section, found := strings.Cut(page, "\n## "+cmd.Name()+"\n"); found {
		text += section
	}
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		known[f.Name] = true
		if f.Name != "help" && !strings.Contains(text, "`--"+f.Name) {
			t.Errorf("docs/cli.md does not tell of %s --%s", cmd.CommandPath(), f.Name)
		}
	})
}
