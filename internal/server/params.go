package server

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// params reads a query. Each method returns the parameter's value, or its
// default and remembers what is wrong; problem tells all of it at once. Of a
// repeated parameter the last counts.
type params struct {
	values url.Values
	errs   []api.FieldError
}

// query reads the parameters of r; a query that cannot be parsed is an error.
func query(r *http.Request) *params {
	v, err := url.ParseQuery(r.URL.RawQuery)
	p := &params{values: v}
	if err != nil {
		p.wrong("query", "cannot be parsed: "+err.Error())
	}
	return p
}

func (p *params) wrong(name, message string) {
	p.errs = append(p.errs, api.FieldError{Parameter: name, Message: message})
}

// got quotes a value for a message, cut so that no answer echoes a megabyte.
func got(s string) string { return fmt.Sprintf(", got %.100q", s) }

// problem returns the 422 that names every wrong parameter, or nil.
func (p *params) problem() error {
	if len(p.errs) == 0 {
		return nil
	}
	all := make([]string, len(p.errs))
	for i, e := range p.errs {
		all[i] = e.Parameter + ": " + e.Message
	}
	return &api.Error{Status: http.StatusUnprocessableEntity, Detail: strings.Join(all, "; "), Errors: p.errs}
}

// text returns the last value of a parameter, "" if there is none.
func (p *params) text(name string) string {
	vs := p.values[name]
	if len(vs) == 0 {
		return ""
	}
	return vs[len(vs)-1]
}

// glob reads a pattern of package path, "" where there is none.
func (p *params) glob(name string) string {
	s := p.text(name)
	if _, err := path.Match(s, ""); err != nil {
		p.wrong(name, "want a pattern of *, ? and [a-z]"+got(s))
	}
	return s
}

// all returns each value of a repeatable parameter.
func (p *params) all(name string) []string { return p.values[name] }

func (p *params) integer(name string, def, least, most int) int {
	s := p.text(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		p.wrong(name, "want a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most)+got(s))
		return def
	}
	return n
}

// duration reads a Go duration, or a number of seconds.
func (p *params) duration(name string, def, least, most time.Duration) time.Duration {
	s := p.text(name)
	if s == "" {
		return def
	}
	d, err := api.ParseDuration(s)
	if err != nil || d < least || d > most {
		p.wrong(name, "want a duration from "+least.String()+" to "+most.String()+" like 250ms or 10m"+got(s))
		return def
	}
	return d
}

// instant reads an RFC 3339 time, Unix seconds, or a duration back from now.
// The start of 1970 and what is before it is the zero Time: no bound.
func (p *params) instant(name string, now time.Time) time.Time {
	s := p.text(name)
	if s == "" {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds >= 0 && seconds < 1<<33 {
		var unix api.Time
		if err := unix.UnmarshalJSON([]byte(s)); err == nil {
			return unix.Time
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d)
	}
	p.wrong(name, "want an RFC 3339 time, Unix seconds or a duration like 15m"+got(s))
	return time.Time{}
}

func (p *params) oneOf(name, def string, choices ...string) string {
	s := p.text(name)
	if s == "" {
		return def
	}
	if !slices.Contains(choices, s) {
		p.wrong(name, "want one of "+strings.Join(choices, ", ")+got(s))
		return def
	}
	return s
}

// boolean reads true or false. Here empty is not absent: who writes ?dry_run
// means something by it.
func (p *params) boolean(name string) bool {
	if !p.values.Has(name) {
		return false
	}
	v, err := strconv.ParseBool(p.text(name))
	if err != nil {
		p.wrong(name, "want true or false"+got(p.text(name)))
	}
	return v
}
