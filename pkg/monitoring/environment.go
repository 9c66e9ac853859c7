package monitoring

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// The default call timeouts of the breakers that Pulse deployments have.
const (
	githubTimeout = 30 * time.Second
	linearTimeout = 30 * time.Second
	openaiTimeout = 60 * time.Second
)

// FromEnvironment returns the options that the variables of Pulse deployments
// set: DEBUG, REDIS_URL, REDIS_TIMEOUT, and GITHUB_TIMEOUT, LINEAR_TIMEOUT and
// OPENAI_TIMEOUT, the call timeouts of the breakers github_api, linear_api and
// openai_api. Each is overruled by the same name after PULSECTL_. A bare number
// is seconds, a Go duration works too. PULSECTL_BREAKERS_SHARED sets
// SharedBreakers. The error names the variable that cannot
// be read. getenv is [os.Getenv], or a stand-in.
func FromEnvironment(getenv func(string) string) (Options, error) {
	o := Options{RedisTimeout: 5 * time.Second, BreakerTimeouts: map[string]time.Duration{}}
	lookup := func(name string) (string, string) {
		if v := getenv("PULSECTL_" + name); v != "" {
			return "PULSECTL_" + name, v
		}
		return name, getenv(name)
	}
	if name, v := lookup("DEBUG"); v != "" {
		debug, err := strconv.ParseBool(v)
		if err != nil {
			return o, fmt.Errorf("%s: want true or false, got %q", name, v)
		}
		o.Debug = debug
	}
	if v := getenv("PULSECTL_BREAKERS_SHARED"); v != "" {
		shared, err := strconv.ParseBool(v)
		if err != nil {
			return o, fmt.Errorf("PULSECTL_BREAKERS_SHARED: want true or false, got %q", v)
		}
		o.SharedBreakers = shared
	}
	_, o.RedisURL = lookup("REDIS_URL")
	timeouts := []struct {
		name, breaker string
		def           time.Duration
	}{
		{"REDIS_TIMEOUT", "", 5 * time.Second}, {"GITHUB_TIMEOUT", "github_api", githubTimeout},
		{"LINEAR_TIMEOUT", "linear_api", linearTimeout}, {"OPENAI_TIMEOUT", "openai_api", openaiTimeout},
	}
	for _, t := range timeouts {
		d := t.def
		if name, v := lookup(t.name); v != "" {
			var err error
			if d, err = api.ParseDuration(v); err != nil || d <= 0 {
				return o, fmt.Errorf("%s: want seconds, or a duration like 30s, above 0; got %q", name, v)
			}
		}
		if t.breaker == "" {
			o.RedisTimeout = d
			continue
		}
		o.BreakerTimeouts[t.breaker] = d
	}
	return o, nil
}

// LoadTokens reads a token file: a line each, NAME ROLE sha256:HEX, as
// `pulsectl serve --new-token NAME:ROLE` prints it.
func LoadTokens(path string) ([]Token, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	defer f.Close()
	tokens, err := server.ParseTokens(f)
	if err != nil {
		return nil, fmt.Errorf("token file %s: %w", path, err)
	}
	return tokens, nil
}
