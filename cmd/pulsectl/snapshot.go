package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/replay"
	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func newSnapshotCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "snapshot",
		Aliases: []string{"snapshots"},
		Short:   "Keep everything that servers know in a file, and look into it",
		Long: `Keep everything that servers know in a file, without secrets: metrics, health,
breakers and their events, caches, traces, profiles, configuration and audit log.
Every command that reads shows it again with --from FILE, when the servers are
long gone.`,
		Example: `  pulsectl snapshot create incident.tar.gz
  pulsectl snapshot inspect incident.tar.gz
  pulsectl traces show @slowest --from incident.tar.gz`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		return asUsage(cmd, errors.New("want create FILE or inspect FILE"))
	}
	cmd.AddCommand(newSnapshotCreateCmd(a), newSnapshotInspectCmd(a))
	return cmd
}

type snapshotCreateOptions struct {
	MaxBytes int64
	Timeout  time.Duration
}

func newSnapshotCreateCmd(a *app) *cobra.Command {
	o := snapshotCreateOptions{MaxBytes: snapshot.DefaultBytes, Timeout: 2 * time.Minute}
	cmd := &cobra.Command{
		Use:   "create FILE",
		Short: "Write an archive of every server",
		Long: `Write an archive of every server that is asked, all in one file; - is standard
output. A server that does not answer is in it with the reason. What finds no
room is left out, the oldest traces first, and the archive says so. A file that
is there already is not written over.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.snapshotCreate(cmd.Context(), args[0], o) },
	}
	cmd.Flags().Var(sizeValue{&o.MaxBytes}, "max-bytes", "of all that is in the archive, unpacked, shared by the servers")
	cmd.Flags().Var(durationValue{&o.Timeout}, "timeout", "for one server's archive")
	return cmd
}

// The bounds of --max-bytes: those of the API, of one server.
const leastSnapshot, mostSnapshot = 1 << 20, 1 << 30

func (a *app) snapshotCreate(ctx context.Context, file string, o snapshotCreateOptions) error {
	if o.MaxBytes < leastSnapshot || o.MaxBytes > mostSnapshot {
		return &usageError{fmt.Errorf("max bytes %d: want 1MiB to 1GiB", o.MaxBytes), "pulsectl snapshot create"}
	}
	cs, err := a.clients(ctx)
	if err != nil {
		return err
	}
	share := max(o.MaxBytes/int64(len(cs)), leastSnapshot)
	if a.curl != nil { // the requests are all that is wanted
		for _, c := range cs {
			_, err = fetchSnapshot(ctx, c, share, o.Timeout)
		}
		return err
	}
	out, done, err := a.newFile(file)
	if err != nil {
		return err
	}
	fleet := snapshot.NewFleet(out, a.now().UTC())
	var failed []api.Result[struct{}]
	for _, c := range cs { // in turn: one is in memory at a time
		s, err := fetchSnapshot(ctx, c, share, o.Timeout)
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), done(false))
		}
		var e *api.Error
		switch {
		case errors.As(err, &e):
			failed = append(failed, api.Result[struct{}]{Instance: c.Instance(), Error: e})
			fleet.Fail(snapshot.FleetMember{Instance: c.Instance(), Status: e.Status, Code: e.Code, Detail: e.Error()})
		default:
			err = fleet.Add(c.Instance(), s)
		}
		if err != nil && e == nil {
			return errors.Join(err, done(false))
		}
	}
	if len(failed) == len(cs) {
		return errors.Join(&fleetError{failed: a.report(failed)}, done(false))
	}
	if err := errors.Join(fleet.Close(), done(true)); err != nil {
		return err
	}
	errs := a.report(failed)
	if !a.flags.quiet {
		fmt.Fprintf(a.streams.err, "%s: %d of %d servers\n", render.Clean(file), len(cs)-len(errs), len(cs))
	}
	if len(errs) > 0 {
		return &fleetError{errs, len(cs) - len(errs)}
	}
	return nil
}

// fetchSnapshot returns a server's archive, checked. Its error is the server's.
func fetchSnapshot(ctx context.Context, c *client.Client, most int64, timeout time.Duration) (*snapshot.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := c.Snapshot(ctx, most)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	read := &reading{Reader: body}
	got, err := snapshot.Open(read)
	switch {
	case read.err != nil:
		return nil, client.TransportError(read.err)
	case err != nil:
		return nil, &api.Error{Code: client.CodeUnreadable, Detail: fmt.Sprintf("the snapshot cannot be used: %v", err)}
	case len(got.Servers) != 1:
		return nil, &api.Error{Code: client.CodeUnreadable, Detail: "the snapshot is not of one server"}
	}
	return &got.Servers[0], nil
}

// newFile opens what a command writes: standard output for -, else a file that
// appears under its name when it is done, and only if it is.
func (a *app) newFile(name string) (w io.Writer, done func(keep bool) error, err error) {
	if name == "-" {
		if _, tty := terminal(a.streams.out); tty {
			return nil, nil, &usageError{errors.New("an archive is nothing for a terminal: name a file"), "pulsectl snapshot create"}
		}
		return a.streams.out, func(bool) error { return nil }, nil
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, nil, fmt.Errorf("%s is there already: %w", name, errDeclined)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".snapshot-*") // mode 0600
	if err != nil {
		return nil, nil, err
	}
	return f, func(keep bool) error {
		err := f.Close()
		if keep && err == nil {
			return os.Rename(f.Name(), name)
		}
		return errors.Join(err, os.Remove(f.Name()))
	}, nil
}

// openSnapshot reads an archive from a file, or from standard input for -.
func (a *app) openSnapshot(name string) (*snapshot.Archive, error) {
	in := a.streams.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	got, err := snapshot.Open(in)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return got, nil
}

// replayed returns a client for each server of the snapshot that --from names,
// and makes the snapshot's time now: ages are what they were.
func (a *app) replayed() ([]*client.Client, error) {
	got, err := a.openSnapshot(a.flags.from)
	if err != nil {
		return nil, err
	}
	var created time.Time
	for i := range got.Servers {
		s := &got.Servers[i]
		if s.Failed != nil {
			e := &api.Error{Status: s.Failed.Status, Code: s.Failed.Code, Detail: "when the snapshot was made: " + s.Failed.Detail}
			a.fleet = append(a.fleet, client.Unasked(s.Instance, e))
			continue
		}
		c, err := client.New("http://snapshot", client.Options{
			Transport: replay.New(s), Instance: s.Instance, Reason: a.flags.reason, Timeout: a.flags.requestTimeout, UserAgent: "pulsectl/" + version(),
		})
		if err != nil {
			return nil, err
		}
		a.fleet = append(a.fleet, c)
		if s.Manifest.Created.After(created) {
			created = s.Manifest.Created.Time
		}
	}
	real := a.now()
	if created.IsZero() {
		created = real
	}
	a.now = func() time.Time { return created }
	if !a.flags.quiet {
		fmt.Fprintf(a.streams.err, "snapshot of %s UTC, %s ago\n", created.UTC().Format("2006-01-02 15:04:05"), max(real.Sub(created), 0).Round(time.Second))
	}
	return a.fleet, nil
}

func newSnapshotInspectCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Check an archive, and say what it holds",
		Long: `Check an archive, and say what it holds and what it does not: every part must be
what the manifest says, byte for byte. - is standard input.`,
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{asksNobody: "yes"},
		RunE:        func(_ *cobra.Command, args []string) error { return a.snapshotInspect(args[0]) },
	}
}

var snapshotView = view[api.Snapshot]{
	kind:  "SnapshotList",
	items: func(m api.Snapshot) []render.Item { return []render.Item{{Name: m.Instance, Value: m}} },
	draw:  render.Snapshots,
}

func (a *app) snapshotInspect(file string) error {
	got, err := a.openSnapshot(file)
	if err != nil {
		return err
	}
	var rs []api.Result[api.Snapshot]
	for _, s := range got.Servers {
		r := api.Result[api.Snapshot]{Instance: s.Instance}
		if s.Failed == nil {
			r.Value = *s.Manifest
		} else {
			r.Error = &api.Error{Status: s.Failed.Status, Code: s.Failed.Code, Detail: "when the snapshot was made: " + s.Failed.Detail}
		}
		rs = append(rs, r)
	}
	return show(a, rs, snapshotView)
}
