package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/internal/datadir"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
)

// syncAlways is the value of --sync that makes each acknowledgement wait for
// the disk.
const syncAlways = "always"

// syncValue is a flag that takes "always", kept as 0, or a duration.
type syncValue struct{ d *time.Duration }

func (v syncValue) String() string {
	if v.d == nil || *v.d == 0 {
		return syncAlways
	}
	return v.d.String()
}

func (v syncValue) Type() string { return "always|WINDOW" }

func (v syncValue) Set(s string) error {
	if s == syncAlways {
		*v.d = 0
		return nil
	}
	d, err := api.ParseDuration(s)
	if err != nil || d < 10*time.Millisecond || d > time.Hour {
		return fmt.Errorf("sync %q: want always, or a duration from 10ms to 1h", s)
	}
	*v.d = d
	return nil
}

// keep opens the data directory and has the stack keep what it has in it; nil
// without --data-dir. That it cannot is the server's failure, not the command
// line's.
func (o *serveOptions) keep(mo *monitoring.Options) (*datadir.Dir, error) {
	if o.DataDir == "" {
		return nil, nil
	}
	dir, err := datadir.Open(o.DataDir, datadir.Options{Sync: o.Sync, Log: mo.Log})
	if err != nil {
		return nil, &serverError{err}
	}
	mo.TraceLog, mo.ProfileLog, mo.AuditLog = dir.Traces(), dir.Profiles(), dir.Audit()
	return dir, nil
}

// watchDisk has health tell of the data directory, and returns what must run
// for it.
func watchDisk(m *monitoring.Monitor, dir *datadir.Dir) (task, error) {
	err := m.AddCheck(health.Check{Name: "data_dir", Run: func(ctx context.Context) (map[string]any, error) { return dir.Check(ctx) }})
	return dir.Run, err
}

// storageConfig is the group storage of /monitoring/debug/config.
func (o *serveOptions) storageConfig(dir *datadir.Dir) func() map[string]any {
	return func() map[string]any {
		out := map[string]any{"data_dir": o.DataDir, "sync": syncValue{&o.Sync}.String()}
		if dir != nil {
			out["bytes"] = dir.Bytes()
		}
		return out
	}
}

func closeDir(dir *datadir.Dir) error {
	if dir == nil {
		return nil
	}
	return dir.Close()
}
