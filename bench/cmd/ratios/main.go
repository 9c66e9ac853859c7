// Ratios turns the output of the benchmarks beside it into a table: what ours
// costs, what the best peer costs on the same machine in the same run, and
// whether the goal is reached.
//
//	ratios results/2026-11-23.txt             # the table, to standard output
//	ratios -readme README.md results/….txt    # into the page, between its markers
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	readme := flag.String("readme", "", "page to write the table into, between the lines <!-- ratios --> and <!-- end -->")
	flag.Parse()
	if err := run(flag.Args(), *readme); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

func run(files []string, readme string) error {
	if len(files) == 0 {
		return errors.New("want the benchmarks' output, got no file")
	}
	m, err := readFiles(files)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	writeTable(&out, m)
	if readme == "" {
		_, err = os.Stdout.Write(out.Bytes())
		return err
	}
	page, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(page), "<!-- ratios -->\n")
	_, tail, closed := strings.Cut(rest, "<!-- end -->")
	if !ok || !closed {
		return fmt.Errorf("%s: want the lines <!-- ratios --> and <!-- end -->", readme)
	}
	return os.WriteFile(readme, []byte(head+"<!-- ratios -->\n"+out.String()+"<!-- end -->"+tail), 0o644)
}
