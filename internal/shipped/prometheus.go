package shipped

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scrape is what a scrape configuration is made of.
type Scrape struct {
	Job       string
	Servers   []string      // URLs as --server takes them
	Interval  time.Duration // 0 means Prometheus's own default
	TokenFile string        // that Prometheus reads the bearer token from; "" for none
	CA        string        // PEM file of the authorities; "" for the system's
	Cert, Key string        // PEM files of the client's certificate; "" for none
	Name      string        // in the servers' certificates; "" for the host of the URL
}

// group are the servers that one scrape_config is for.
type group struct {
	scheme, path string
	dns, port    string // of dns+http://dns:port
	targets      []string
}

// ScrapeConfig is a scrape configuration for the servers, a job for each kind of
// address.
func ScrapeConfig(s Scrape) (string, error) {
	groups, err := groupsOf(s.Servers)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(indent int, format string, args ...any) {
		b.WriteString(strings.Repeat("  ", indent) + fmt.Sprintf(format, args...) + "\n")
	}
	line(0, "# Scrape configuration for Prometheus: `pulsectl config prometheus`.")
	line(0, "# `pulsectl config alerts` writes rules for rule_files, `pulsectl config grafana` a dashboard.")
	line(0, "scrape_configs:")
	for i, g := range groups {
		job := s.Job
		if i > 0 {
			job += "-" + strconv.Itoa(i+1)
		}
		line(1, "- job_name: %s", yaml(job))
		line(2, "metrics_path: %s", yaml(g.path+"/monitoring/metrics"))
		line(2, "scheme: %s", g.scheme)
		if s.Interval > 0 {
			line(2, "scrape_interval: %s", promDuration(s.Interval))
		}
		if s.TokenFile != "" {
			line(2, "authorization:")
			line(3, "credentials_file: %s", yaml(s.TokenFile))
		}
		g.tls(&s, line)
		if g.dns != "" {
			line(2, "dns_sd_configs:")
			line(3, "- names: [%s]", yaml(g.dns))
			line(4, "type: A")
			line(4, "port: %s", g.port)
			continue
		}
		line(2, "static_configs:")
		line(3, "- targets:")
		for _, t := range g.targets {
			line(5, "- %s", yaml(t))
		}
	}
	return b.String(), nil
}

// tls writes how the servers' certificates are checked, and which is shown.
func (g *group) tls(s *Scrape, line func(int, string, ...any)) {
	name := s.Name
	if g.dns != "" {
		name = cmp.Or(name, g.dns) // Prometheus connects to an address
	}
	if g.scheme != "https" || s.CA+s.Cert+s.Key+name == "" {
		return
	}
	line(2, "tls_config:")
	for _, f := range [][2]string{{"ca_file", s.CA}, {"cert_file", s.Cert}, {"key_file", s.Key}, {"server_name", name}} {
		if f[1] != "" {
			line(3, "%s: %s", f[0], yaml(f[1]))
		}
	}
}

func groupsOf(servers []string) (out []*group, err error) {
	for _, server := range servers {
		address, dns := strings.CutPrefix(strings.TrimSpace(server), "dns+")
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("server %q: Prometheus scrapes http and https URLs only", server)
		}
		port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		g := &group{scheme: u.Scheme, path: strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/monitoring")}
		if dns {
			g.dns, g.port = u.Hostname(), port
		}
		target := net.JoinHostPort(u.Hostname(), port)
		i := slices.IndexFunc(out, func(o *group) bool {
			return o.scheme == g.scheme && o.path == g.path && o.dns == g.dns && o.port == g.port
		})
		if i < 0 {
			i, out = len(out), append(out, g)
		}
		if !slices.Contains(out[i].targets, target) {
			out[i].targets = append(out[i].targets, target)
		}
	}
	return out, nil
}

// yaml writes text as a YAML string in double quotes: it knows Go's escapes.
func yaml(s string) string { return strconv.QuoteToASCII(s) }

// promDuration writes a duration as Prometheus reads it: in whole milliseconds
// or seconds.
func promDuration(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10) + "ms"
}
