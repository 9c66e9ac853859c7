package main

import (
	"fmt"
	"net"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// queryEngine makes the engine that keeps the server's own samples and evaluates
// the rules of --rules, and puts it into the options.
func (o *serveOptions) queryEngine(mo *monitoring.Options, api net.Addr) (*rules.Engine, error) {
	groups, err := rules.Load(o.Rules)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	e, err := rules.New(rules.Options{
		Groups: groups, Log: mo.Log, Labels: map[string]string{"job": mo.Service, "instance": api.String()},
	})
	if err != nil {
		return nil, err
	}
	mo.Query = e
	return e, nil
}
