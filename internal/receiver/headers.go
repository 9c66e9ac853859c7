package receiver

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ParseHeaders reads headers for a [Forwarder]: lines of NAME: VALUE, blank
// ones and those that begin with # apart. An error names the line, and never
// holds a value.
func ParseHeaders(text string) (http.Header, error) {
	h := http.Header{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("line %d: want NAME: VALUE", n)
		}
		if err := addHeader(h, name, value); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return h, nil
}

// ParseHeaderList reads headers as OpenTelemetry's variables have them:
// NAME=VALUE pairs with commas between, special characters as %XX.
func ParseHeaderList(text string) (http.Header, error) {
	h := http.Header{}
	for i, pair := range strings.Split(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(value)
		if !ok || err != nil {
			return nil, fmt.Errorf("header %d: want NAME=VALUE, with special characters as %%XX", i+1)
		}
		if err := addHeader(h, name, value); err != nil {
			return nil, fmt.Errorf("header %d: %w", i+1, err)
		}
	}
	return h, nil
}

// addHeader adds one header that an export does not have by itself.
func addHeader(h http.Header, name, value string) error {
	name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
	switch {
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(nameChars, r) }):
		return fmt.Errorf("%.100q is no header's name", name)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return fmt.Errorf("the value of %.100q holds control characters", name)
	case strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "Grpc-") || name == "Te" || name == viaHeader:
		return fmt.Errorf("%s cannot be set: the export has its own", name)
	}
	h.Add(name, value)
	return nil
}

// nameChars are those of a header's name (RFC 9110, section 5.6.2).
const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
