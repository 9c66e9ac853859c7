package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/contexts"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// tellExchange is what --verbose has each request told to: nil without.
func (a *app) tellExchange() func(client.Exchange) {
	if !a.flags.verbose {
		return nil
	}
	var mu sync.Mutex
	return func(e client.Exchange) {
		answer := strconv.Itoa(e.Status)
		if e.Err != nil {
			answer = e.Err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.streams.err, "%s %s: %s in %s\n", e.Method, render.Clean(e.URL), render.Clean(answer), e.Took.Round(100*time.Microsecond))
	}
}

// curlPrinter writes requests down as lines of curl instead of making them. It
// answers each as a server would that has everything and keeps nothing, so that
// a command goes as far as it can without an answer.
type curlPrinter struct {
	mu      sync.Mutex
	context contexts.Context
	lines   []string // guarded by mu
}

// anyServer is the index of a server that can do all: what is asked before an
// action, to know whether it is safe, is no part of it.
const anyServer = `{"service":"any","capabilities":["dry_run","breakers","permits"],"endpoints":[]}`

// RoundTrip implements [http.RoundTripper].
func (p *curlPrinter) RoundTrip(r *http.Request) (*http.Response, error) {
	body := "{}"
	if strings.HasSuffix(r.URL.Path, "/monitoring/") {
		body = anyServer
	} else {
		p.note(r)
	}
	kind := "application/json"
	if strings.HasSuffix(r.URL.Path, "/metrics") {
		body, kind = "", "text/plain"
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

func (p *curlPrinter) note(r *http.Request) {
	line := "curl -sS"
	if r.Method == http.MethodHead {
		line += " --head"
	} else if r.Method != http.MethodGet {
		line += " -X " + r.Method
	}
	for _, name := range []string{"Authorization", "Accept", "Content-Type", "X-Pulsectl-Reason", "Last-Event-ID"} {
		switch v := r.Header.Get(name); {
		case v == "":
		case name == "Authorization":
			line += ` -H "Authorization: Bearer $PULSECTL_TOKEN"`
		default:
			line += " -H " + shellQuote(name+": "+v)
		}
	}
	for _, option := range []struct{ name, value string }{{"--cacert", p.context.CA}, {"--cert", p.context.Cert}, {"--key", p.context.Key}} {
		if option.value != "" {
			line += " " + option.name + " " + shellQuote(option.value)
		}
	}
	switch network, at, ok := client.Address(r); {
	case ok && network == "unix":
		line += " --unix-socket " + shellQuote(at)
	case ok:
		line += " --connect-to " + shellQuote("::"+at)
	}
	if r.Body != nil && r.Body != http.NoBody {
		line += " --data-binary @-" // the body comes from standard input
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if line += " " + shellQuote(r.URL.String()); !slices.Contains(p.lines, line) {
		p.lines = append(p.lines, line)
	}
}

// shellQuote makes a word of text for a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// writeDown has a command's requests written down in place of being made.
func (a *app) writeDown(cmd *cobra.Command) error {
	if cmd.CommandPath() == execCommand {
		return &usageError{errors.New("exec asks a server before, while and after its command runs: --print-curl cannot print that"), execCommand}
	}
	a.curl = &curlPrinter{context: a.target.context}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.printCurl(cmd, run, args) }
	return nil
}

// printCurl runs a command without anything being sent, and prints what would
// have been.
func (a *app) printCurl(cmd *cobra.Command, run func(*cobra.Command, []string) error, args []string) error {
	out := a.streams.out
	a.streams.out, a.streams.err = io.Discard, io.Discard
	err := run(cmd, args)
	a.streams.out = out
	var usage *usageError
	if errors.As(err, &usage) || len(a.curl.lines) == 0 {
		return cmp.Or(err, error(&usageError{errors.New("it sends no request that --print-curl could print"), cmd.CommandPath()}))
	}
	var text bytes.Buffer
	for _, line := range a.curl.lines {
		fmt.Fprintln(&text, line)
	}
	_, err = out.Write(text.Bytes())
	return err
}
