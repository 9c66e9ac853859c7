package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

const auditTailHelp = `Follow what is changed, a line each, until interrupted.

A stream that breaks is taken up again, which is said on standard error. -o json
writes an object a line.

  pulsectl audit tail
  pulsectl audit tail -s a,b -o json | jq -r .action`

func newAuditTailCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tail",
		Short: "Follow what is changed",
		Long:  auditTailHelp,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.tailAudit(cmd.Context()) },
	}
}

// auditTail writes the changes on the servers of a fleet as they come.
type auditTail struct {
	followers
	fleet bool
}

// tailAudit follows each server until all have failed, or ctx is done.
func (a *app) tailAudit(ctx context.Context) error {
	if err := a.checkStream("pulsectl audit tail"); err != nil {
		return err
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return err
	}
	f := &auditTail{followers{app: a}, len(cs) > 1}
	return f.each(ctx, cs, func(c *client.Client) streamReader {
		return func(opened func()) error {
			return c.Events(ctx, []string{api.EventAudit}, opened, func(e api.Event) error {
				if e.Audit == nil {
					return nil
				}
				if e.Lost > 0 {
					f.say(c, fmt.Sprintf("%d changes came too fast to be shown: audit list has them", e.Lost.Value()))
				}
				return f.write(c.Instance(), *e.Audit)
			})
		}
	})
}

func (f *auditTail) write(instance string, e api.AuditEntry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if done, err := f.streamed(render.Item{Instance: instance, Name: e.RequestID, Value: e}); done {
		return err
	}
	if !f.fleet {
		instance = ""
	}
	return render.AuditChange(f.streams.out, instance, e, f.renderOptions(0))
}
