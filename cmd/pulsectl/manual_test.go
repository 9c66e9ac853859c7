package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/pulsectl/pulsectl/internal/testkit"
)

// docs/cli and docs/man hold a page of each command, as the commands are.
// -update writes them; those of commands that are gone are to be removed by hand.
func TestManual(t *testing.T) {
	root := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" }).rootCmd()
	root.DisableAutoGenTag = true
	root.InitDefaultCompletionCmd()
	pages := map[string]bool{}
	page := func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		var markdown, man bytes.Buffer
		if err := doc.GenMarkdownCustom(cmd, &markdown, func(link string) string { return strings.ReplaceAll(link, "_", "-") }); err != nil {
			t.Fatal(err)
		}
		date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := doc.GenMan(cmd, &doc.GenManHeader{Section: "1", Date: &date, Source: "pulsectl", Manual: "pulsectl"}, &man); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, "../../../docs/cli/"+name+".md", markdown.Bytes())
		testkit.Golden(t, "../../../docs/man/"+name+".1", man.Bytes())
		pages[name] = true
	}
	page(root)
	walk(root, page)
	shells, _, err := root.Find([]string{"completion"})
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range shells.Commands() {
		if shell.Name() != "help" {
			page(shell)
		}
	}
	for _, dir := range []string{"cli", "man"} {
		entries, err := os.ReadDir(filepath.Join("../../docs", dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())); !pages[name] && name != "README" {
				t.Errorf("docs/%s/%s is of no command", dir, e.Name())
			}
		}
	}
	if !slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Example != "" }) {
		t.Error("the pages show no example")
	}
}
