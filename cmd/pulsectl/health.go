package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var healthView = view[api.Health]{
	kind:  "Health",
	items: func(h api.Health) []render.Item { return []render.Item{{Name: h.Status, Value: h}} },
	draw:  render.Health,
}

var healthCheckView = view[map[string]api.Check]{
	kind: "HealthCheck",
	items: func(all map[string]api.Check) (items []render.Item) {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			items = append(items, render.Item{Name: name, Value: namedCheck{name, all[name]}})
		}
		return items
	},
	draw: render.HealthCheck,
}

// namedCheck is a check with its name among its members.
type namedCheck struct {
	name  string
	check api.Check
}

// MarshalJSON implements [json.Marshaler].
func (n namedCheck) MarshalJSON() ([]byte, error) {
	head, err := json.Marshal(n.name)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(n.check)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(`{"name":`), head, []byte(`,`), body[1:]), nil
}

func newHealthCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "health [CHECK]",
		Short: "Every dependency in detail; ends with 1 if unhealthy",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.healthCheck(cmd.Context(), args[0])
			}
			return a.health(cmd.Context())
		},
	}
}

func (a *app) health(ctx context.Context) error {
	rs, err := ask(ctx, a, (*client.Client).Health)
	if err != nil {
		return err
	}
	if err := show(a, rs, healthView); err != nil {
		return err
	}
	return noIf(slices.ContainsFunc(rs, func(r api.Result[api.Health]) bool { return r.Value.Status == api.Unhealthy }))
}

func (a *app) healthCheck(ctx context.Context, name string) error {
	bad := false
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (map[string]api.Check, error) {
		h, err := c.Health(ctx)
		if err != nil {
			return nil, err
		}
		check, ok := h.Checks[name]
		if !ok {
			return nil, api.Errorf(404, "health check not found: %q; there is: %s", name, strings.Join(slices.Sorted(maps.Keys(h.Checks)), ", "))
		}
		return map[string]api.Check{name: check}, nil
	})
	if err != nil {
		return err
	}
	if err := show(a, rs, healthCheckView); err != nil {
		return err
	}
	for _, r := range rs {
		bad = bad || r.Value[name].Status == api.Unhealthy
	}
	return noIf(bad)
}

// noIf is the error of a question whose answer is no.
func noIf(no bool) error {
	if no {
		return errNo
	}
	return nil
}
