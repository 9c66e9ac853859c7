package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// pairs calls f with each NAME=VALUE of a list with commas between.
func pairs(setting, text, want string, f func(name, value string) error) error {
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return fmt.Errorf("%s: want %s, got %.100q", setting, want, one)
		}
		if err := f(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	}
	return nil
}

// parseSlowRoutes reads ROUTE=TIME,…: from when on a request of a route is slow.
func parseSlowRoutes(text string) (map[string]time.Duration, error) {
	out := map[string]time.Duration{}
	err := pairs("slow-threshold-routes", text, "ROUTE=TIME", func(route, value string) error {
		d, err := api.ParseDuration(value)
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("%s: want a time of at least 1ms, got %.100q", route, value)
		}
		if _, path, ok := strings.Cut(route, "/"); !ok || strings.Contains(path, " ") {
			return fmt.Errorf("%.100q: want a route like /export or \"GET /export\"", route)
		}
		out[route] = d
		return nil
	})
	return out, err
}

// profileTargets reads the processes that profiles can be pulled from.
func (o *serveOptions) profileTargets() (out []profiling.Target, err error) {
	headers := http.Header{}
	if o.TargetHeaders != "" {
		text, err := readSecret(o.TargetHeaders)
		if err != nil {
			return nil, fmt.Errorf("profile-targets-headers-file: %w", err)
		}
		if headers, err = receiver.ParseHeaders(text); err != nil {
			return nil, fmt.Errorf("profile-targets-headers-file %s: %w", o.TargetHeaders, err)
		}
	}
	err = pairs("profile-targets", o.Targets, "NAME=URL", func(name, url string) error {
		out = append(out, profiling.Target{Name: name, URL: url, Header: headers, Every: o.TargetsEvery})
		return nil
	})
	return out, err
}
