package render_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func TestSnapshots(t *testing.T) {
	m := api.Snapshot{
		Service: "pulse-api", Version: "1.4.2", Environment: "production", Instance: "api-0", Created: *unix(2 * time.Hour),
		Cause: "crash", Detail: "panic of type runtime.boundsError in GET /priority/{id}\x1b[2J", Bytes: 1_204_233, Redacted: 3,
		Parts: []api.SnapshotPart{
			{Name: "index.json", Bytes: 4968}, {Name: "circuit-breakers.json", Bytes: 4132}, {Name: "circuit-breakers/events.json", Bytes: 812},
			{Name: "traces/00001.otlp.pb", Bytes: 1_048_912}, {Name: "traces/00001.json", Bytes: 145_409},
		},
		LeftOut: []api.LeftOut{
			{What: "traces", Why: "1204 of 1360 traces, the oldest, find no room"},
			{What: "cache/redis/keys.json", Why: "all keys but 10000"},
		},
	}
	one := []api.Result[api.Snapshot]{{Instance: "http://127.0.0.1:8000", Value: m}}
	golden(t, "snapshot", func(w *bytes.Buffer, o render.Options) error { return render.Snapshots(w, one, o) })
	fleet := append(one, refused[api.Snapshot]("http://10.0.0.2:8000"))
	golden(t, "snapshot-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Snapshots(w, fleet, o) })
}
