package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/shipped"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// newConfigCmds are the verbs of config that print files for other tools.
func newConfigCmds(a *app) []*cobra.Command {
	return []*cobra.Command{newConfigPrometheusCmd(a), newConfigAlertsCmd(a), newConfigGrafanaCmd(a)}
}

// jobFlag is --job of what Prometheus or what asks it is told.
type jobFlag struct{ name string }

func (j *jobFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&j.name, "job", shipped.DefaultJob, "`NAME` under which Prometheus scrapes the servers")
}

// printed writes a file to standard output.
func (a *app) printed(text string) error {
	_, err := io.WriteString(a.streams.out, text)
	return err
}

func newConfigPrometheusCmd(a *app) *cobra.Command {
	var job jobFlag
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "prometheus",
		Short: "Print a scrape configuration for Prometheus",
		Long: `Print a scrape configuration for Prometheus that asks the servers which this
command line names, by the same token and certificates. A token itself is never
printed: Prometheus reads it from the file that holds it.`,
		Example: `  pulsectl config prometheus > prometheus.yml
  pulsectl config prometheus -s dns+http://pulse.prod:8000 --interval 30s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shipped.CheckJob(job.name); err != nil {
				return asUsage(cmd, err)
			}
			s, err := a.scraped()
			if err != nil {
				return err
			}
			s.Job, s.Interval = job.name, interval
			text, err := shipped.ScrapeConfig(s)
			if err != nil {
				return asUsage(cmd, err)
			}
			return a.printed(text)
		},
	}
	job.register(cmd)
	interval = 15 * time.Second
	cmd.Flags().Var(durationValue{&interval}, "interval", "between two scrapes; 0 leaves it to Prometheus")
	return cmd
}

// tokenPlace is the file that Prometheus is told of where the token is not in
// one: there somebody has to put it.
const tokenPlace = "/etc/prometheus/pulsectl.token"

// scraped is how the servers are asked.
func (a *app) scraped() (shipped.Scrape, error) {
	servers, err := a.scrapedServers()
	if err != nil {
		return shipped.Scrape{}, err
	}
	s := shipped.Scrape{Servers: servers, TokenFile: a.getenv("PULSECTL_TOKEN_FILE")}
	c, place := a.target.context, ""
	if a.getenv("PULSECTL_TOKEN") != "" {
		s.TokenFile, place = tokenPlace, "PULSECTL_TOKEN"
	}
	if !slices.ContainsFunc(servers, func(server string) bool { return !owns(c, server) }) { // else it is not theirs
		if s.TokenFile == "" && c.Token+c.TokenFile+c.TokenCommand != "" {
			if s.TokenFile = c.TokenFile; c.TokenFile == "" {
				s.TokenFile, place = tokenPlace, "context "+a.target.name
			}
		}
		for from, to := range map[string]*string{c.CA: &s.CA, c.Cert: &s.Cert, c.Key: &s.Key, c.TokenFile: &s.TokenFile} {
			if from != "" && (*to == "" || *to == from) {
				*to = a.target.file.Expand(from, a.getenv("HOME"))
			}
		}
		s.Name = c.ServerName
	}
	if place != "" {
		a.note("the token is in %s: put it into %s, readable by Prometheus alone", place, tokenPlace)
	}
	for _, file := range []*string{&s.TokenFile, &s.CA, &s.Cert, &s.Key} { // Prometheus looks beside its own configuration
		if *file != "" && err == nil {
			*file, err = filepath.Abs(*file)
		}
	}
	return s, err
}

// scrapedServers are the servers that the command line names, those that
// --instance picks.
func (a *app) scrapedServers() (out []string, err error) {
	for _, server := range a.flags.servers {
		c, err := client.New(strings.TrimPrefix(strings.TrimSpace(server), "dns+"), client.Options{})
		if err != nil {
			return nil, &usageError{err, "pulsectl config prometheus"}
		}
		if len(a.flags.instances) == 0 || slices.ContainsFunc(a.flags.instances, c.Matches) {
			out = append(out, server)
		}
	}
	if len(out) == 0 {
		return nil, api.Errorf(http.StatusNotFound, "no server matches --instance %s", strings.Join(a.flags.instances, ", "))
	}
	return out, nil
}

func newConfigAlertsCmd(a *app) *cobra.Command {
	var job jobFlag
	ratio, rate := .05, .1
	latency, memory := time.Second, int64(1<<30)
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "Print alert rules for Prometheus",
		Long: `Print alert rules for Prometheus: a server that is down, many errors by rate and
by ratio, slow routes, breakers that are open or flap, caches that fail or hardly
hit, memory. pulsectl serve --rules takes them, too.`,
		Example: `  pulsectl config alerts > alerts.yaml
  pulsectl config alerts --latency 250ms --error-ratio 0.01 --memory 4GiB`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{asksNobody: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(shipped.CheckJob(job.name), checkLimits(ratio, rate)); err != nil {
				return asUsage(cmd, err)
			}
			return a.printed(shipped.Alerts(shipped.Thresholds{Job: job.name, ErrorRate: rate, ErrorRatio: ratio, Latency: latency, Memory: memory}))
		},
	}
	job.register(cmd)
	cmd.Flags().Float64Var(&rate, "error-rate", rate, "failed requests a second")
	cmd.Flags().Float64Var(&ratio, "error-ratio", ratio, "share of failed requests, 0 to 1")
	cmd.Flags().Var(durationValue{&latency}, "latency", "p95 of a route")
	cmd.Flags().Var(sizeValue{&memory}, "memory", "resident set of a server")
	return cmd
}

func checkLimits(ratio, rate float64) error {
	switch {
	case !(ratio >= 0 && ratio <= 1):
		return fmt.Errorf("error-ratio %v: want 0 to 1", ratio)
	case !(rate >= 0 && rate < 1e9):
		return fmt.Errorf("error-rate %v: want 0 or more", rate)
	}
	return nil
}

func newConfigGrafanaCmd(a *app) *cobra.Command {
	var job jobFlag
	cmd := &cobra.Command{
		Use:         "grafana",
		Short:       "Print a Grafana dashboard",
		Long:        "Print a dashboard for Grafana 9 and later, as JSON to import. It asks Prometheus,\nand lets jobs and servers be picked.",
		Example:     "  pulsectl config grafana > dashboard.json",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{asksNobody: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shipped.CheckJob(job.name); err != nil {
				return asUsage(cmd, err)
			}
			out, err := shipped.Dashboard(job.name)
			if err != nil {
				return err
			}
			return a.printed(string(out))
		},
	}
	job.register(cmd)
	return cmd
}
