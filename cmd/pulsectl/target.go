package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/child"
	"github.com/pulsectl/pulsectl/internal/contexts"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// target is what a command asks: servers, and the context that they are of.
type target struct {
	file    *contexts.File
	name    string // of the context; "" for none
	context contexts.Context
	sources map[string]string // of settings that a context may have: flag, environment, context, default
}

// aim settles what is asked and how: by the command line, then the PULSECTL_*
// variables, then the context, then the defaults.
//
// The context is the one that --context or PULSECTL_CONTEXT names, else the
// current one of the file, unless servers are named that are not that one's. A
// context on the command line sets PULSECTL_SERVER aside: what is typed wins.
func (a *app) aim(cmd *cobra.Command) error {
	file, err := contexts.Read(contexts.Path(a.getenv))
	if err != nil {
		return fmt.Errorf("configuration %w", err)
	}
	a.target = target{file: file, name: a.flags.context, sources: map[string]string{}}
	flags := cmd.Flags()
	named := flags.Changed("server") || a.getenv("PULSECTL_SERVER") != "" && !flags.Changed("context")
	others := named && slices.ContainsFunc(a.flags.servers, func(s string) bool { return !owns(file.Contexts[file.Current], s) })
	if a.target.name == "" && !others && !flags.Changed("context") {
		a.target.name = file.Current
	}
	var known bool
	if a.target.context, known = file.Contexts[a.target.name]; !known && a.target.name != "" {
		return fmt.Errorf("context %q: there is none of that name; `pulsectl context list` shows them", a.target.name)
	}
	if !named {
		a.flags.servers = []string{defaultServer}
		if len(a.target.context.Servers) > 0 {
			a.flags.servers = a.target.context.Servers
		}
	}
	for _, s := range []struct {
		flag, value string
	}{{"server", strings.Join(a.target.context.Servers, ",")}, {"request-timeout", a.target.context.Timeout}, {"output", a.target.context.Output}, {"theme", a.target.context.Theme}} {
		switch {
		case flags.Changed(s.flag):
			a.target.sources[s.flag] = "flag"
		case a.getenv(variable(s.flag)) != "" && (s.flag != "server" || named):
			a.target.sources[s.flag] = variable(s.flag)
		case s.value == "":
			a.target.sources[s.flag] = "default"
		default:
			a.target.sources[s.flag] = "context " + a.target.name
			if s.flag == "server" {
				continue
			}
			if err := flags.Lookup(s.flag).Value.Set(s.value); err != nil {
				return fmt.Errorf("context %s: %s: %w", a.target.name, s.flag, err)
			}
		}
	}
	return nil
}

// clients returns a client for each server that is asked, checked and without
// doubles.
func (a *app) clients(ctx context.Context) ([]*client.Client, error) {
	if a.fleet != nil {
		return a.fleet, nil
	}
	if a.flags.from != "" {
		fleet, err := a.replayed()
		if err == nil {
			a.fleet, err = a.chosen(fleet)
		}
		return a.fleet, err
	}
	own, others, err := a.clientOptions(ctx)
	if err != nil {
		return nil, err
	}
	fleet, err := client.InstancesWith(ctx, a.flags.servers, func(server string) client.Options {
		if owns(a.target.context, server) {
			return own
		}
		return others
	})
	if err != nil {
		return nil, &usageError{err, "pulsectl"}
	}
	if len(fleet) == 0 {
		return nil, &usageError{errors.New("no server named: want --server URL"), "pulsectl"}
	}
	a.fleet, err = a.chosen(fleet)
	return a.fleet, err
}

// owns tells whether a server is one of a context's.
func owns(c contexts.Context, server string) bool {
	plain := func(s string) string { return strings.TrimRight(strings.TrimSpace(s), "/") }
	return slices.ContainsFunc(c.Servers, func(s string) bool { return plain(s) == plain(server) })
}

// chosen are the servers that --instance picks.
func (a *app) chosen(fleet []*client.Client) (picked []*client.Client, err error) {
	if len(a.flags.instances) == 0 {
		return fleet, nil
	}
	for _, c := range fleet {
		if slices.ContainsFunc(a.flags.instances, c.Matches) {
			picked = append(picked, c)
		}
	}
	if len(picked) > 0 {
		return picked, nil
	}
	names := make([]string, len(fleet))
	for i, c := range fleet {
		names[i] = c.Instance()
	}
	return nil, api.Errorf(http.StatusNotFound, "no instance matches %s; there is: %s", strings.Join(a.flags.instances, ", "), strings.Join(names, ", "))
}

// clientOptions are how the context's own servers are asked, and how others: a
// context's token and certificate are for its servers alone.
func (a *app) clientOptions(ctx context.Context) (own, others client.Options, err error) {
	others = client.Options{
		Reason: a.flags.reason, Timeout: a.flags.requestTimeout, UserAgent: "pulsectl/" + version(),
		ReadOnly: a.target.context.Readonly, Sent: a.tellExchange(),
	}
	if a.curl != nil {
		others.Transport = a.curl
	}
	if others.Token, err = a.token(); err != nil {
		return own, others, err
	}
	own = others
	if !slices.ContainsFunc(a.flags.servers, func(s string) bool { return owns(a.target.context, s) }) {
		return own, others, nil
	}
	if own.Token == "" {
		if own.Token, err = a.contextToken(ctx); err != nil {
			return own, others, err
		}
	}
	own.TLS, err = a.contextTLS()
	return own, others, err
}

// commandTime bounds a token-command: it may ask a person.
const commandTime = time.Minute

// contextToken is the token that the context says where to find; "" for none.
func (a *app) contextToken(ctx context.Context) (string, error) {
	c, told := a.target.context, "context "+a.target.name
	switch {
	case a.curl != nil && c.Token+c.TokenFile+c.TokenCommand != "":
		return "***", nil // it would be masked
	case c.TokenFile != "":
		text, err := readSecret(a.target.file.Expand(c.TokenFile, a.getenv("HOME")))
		if err != nil {
			return "", fmt.Errorf("%s: token-file: %w", told, err)
		}
		return strings.TrimSpace(text), nil
	case c.TokenCommand == "":
		return c.Token, nil
	}
	token, err := a.runTokenCommand(ctx, c.TokenCommand)
	if err != nil {
		return "", &api.Error{Status: http.StatusUnauthorized, Detail: fmt.Sprintf("%s: token-command: %v", told, err), Cause: err}
	}
	return token, nil
}

func (a *app) runTokenCommand(ctx context.Context, line string) (string, error) {
	words, err := child.Split(line)
	if err != nil {
		return "", err
	}
	if len(words) == 0 {
		return "", errors.New("there is no command in it")
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &bounded{w: &out, left: 64 << 10}, a.streams.err, time.Second
	if err := cmd.Run(); err != nil {
		return "", err
	}
	token := strings.TrimSpace(out.String())
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("want a token on its standard output, and nothing else")
	}
	return token, nil
}

// bounded is a writer that takes so many bytes.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("its output is too long")
	}
	return b.w.Write(p)
}

// contextTLS is how the context's servers are known and how this client is; nil
// for the usual.
func (a *app) contextTLS() (*tls.Config, error) {
	c, home := a.target.context, a.getenv("HOME")
	if c.CA == "" && c.Cert == "" && c.ServerName == "" {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CA != "" {
		pem, err := readBounded(a.target.file.Expand(c.CA, home), 1<<20)
		if err != nil {
			return nil, fmt.Errorf("context %s: ca: %w", a.target.name, err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("context %s: ca: %s holds no certificate", a.target.name, c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(a.target.file.Expand(c.Cert, home), a.target.file.Expand(c.Key, home))
		if err != nil {
			return nil, fmt.Errorf("context %s: cert and key: %w", a.target.name, err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}
