package render_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func sampleExplanation() *api.Explanation {
	stack := func(took float64, n int, frames ...string) api.ExplainedStack {
		blames := frames[min(2, len(frames)-1)]
		return api.ExplainedStack{Duration: ms(took), Count: api.Count(n), Function: blames[:strings.LastIndexByte(blames, ' ')], Frames: frames}
	}
	e := &api.Explanation{
		Wall: ms(1740), Source: "exact (trace)",
		States: []api.ExplainedState{
			{State: api.StateChannel, Duration: ms(812), Ratio: .4667, Count: 12, Stacks: []api.ExplainedStack{
				stack(700, 8, "runtime.gopark /go/src/runtime/proc.go:462", "runtime.chanrecv1 /go/src/runtime/chan.go:509", "github.com/acme/pulse/report.(*Pool[go.shape.struct { a/b.C }]).wait /src/report/pool.go:88",
					"github.com/acme/pulse/report.(*Pool).Get /src/report/pool.go:40", "github.com/acme/pulse/report.Weekly /src/report/weekly.go:112", "main.(*api).report /src/main.go:40", "net/http.HandlerFunc.ServeHTTP /go/src/net/http/server.go:2322", "net/http.(*conn).serve /go/src/net/http/server.go:2109"),
				stack(112, 4, "main.\x1b[2Jwait main.go:1"),
			}},
			{State: api.StateNetwork, Duration: ms(410), Ratio: .2356, Count: 3, Stacks: []api.ExplainedStack{stack(410, 3, "database/sql.(*DB).QueryContext /go/src/database/sql/sql.go:1738")}},
			{State: api.StateRunning, Duration: ms(302), Ratio: .1736, Count: 121, Stacks: []api.ExplainedStack{stack(300, 90, "encoding/json.Marshal /go/src/encoding/json/encode.go:171")}},
			{State: api.StateMutex, Duration: ms(150), Ratio: .0862, Count: 2, Stacks: []api.ExplainedStack{stack(150, 2, "github.com/acme/pulse/report.(*cache).lookup /src/report/cache.go:31")}},
			{State: api.StateSleep, Duration: ms(50), Ratio: .0287, Count: 1, Stacks: []api.ExplainedStack{stack(50, 1, "github.com/acme/pulse/report.backoff /src/report/retry.go:17")}},
			{State: api.StateRunnable, Duration: ms(12), Ratio: .0069, Count: 120},
			{State: api.StateGC, Duration: ms(4), Ratio: .0023, Count: 2},
		},
		Allocated: &api.ExplainedFigure{Value: 46 << 20, Source: "process-wide"},
		CPU:       &api.ExplainedFigure{Value: .31, Source: "31 samples ±18 %", ErrorRatio: .18},
		Withheld:  &api.ExplainedFigure{Value: .012, Source: "CPU samples in the trace", ErrorRatio: .3},
		Notes:     []string{"the trace begins 140ms into the request: what was before is told as other"},
	}
	at := 0.0
	for _, t := range []struct {
		state string
		ms    float64
	}{
		{api.StateRunning, 100}, {api.StateChannel, 500}, {api.StateRunnable, 6}, {api.StateRunning, 50}, {api.StateNetwork, 410}, {api.StateGC, 4},
		{api.StateMutex, 150}, {api.StateRunning, 100}, {api.StateSleep, 50}, {api.StateChannel, 312}, {api.StateRunnable, 6}, {api.StateRunning, 52},
	} {
		e.Timeline = append(e.Timeline, api.ExplainedStretch{State: t.state, Start: ms(at), Duration: ms(t.ms)})
		at += t.ms
	}
	return e
}

func explainedProfile() api.Profile {
	p := sampleProfile()
	p.Note, p.Explanation = "", sampleExplanation()
	return p
}

func TestExplanation(t *testing.T) {
	one := func(p api.Profile) []api.Result[api.Profile] {
		return []api.Result[api.Profile]{{Instance: "http://127.0.0.1:8000", Value: p}}
	}
	golden(t, "explanation", func(w *bytes.Buffer, o render.Options) error {
		return render.Profile(w, one(explainedProfile()), false, o)
	})
	golden(t, "explanation-all", func(w *bytes.Buffer, o render.Options) error {
		return render.Profile(w, one(explainedProfile()), true, o)
	})

	watched := explainedProfile()
	watched.Explanation = &api.Explanation{
		Wall: ms(1740), Source: "31 samples ±18 %", Notes: []string{"only snapshots from 1s on: what was before is told as other"},
		States: []api.ExplainedState{
			{State: api.StateOther, Duration: ms(1000), Ratio: .575},
			{State: api.StateChannel, Duration: ms(740), Ratio: .425, Count: 31, ErrorRatio: .18, Stacks: []api.ExplainedStack{{Duration: ms(740), Count: 31, Function: "main.wait", Frames: []string{"main.wait /src/main.go:7"}}}},
		},
	}
	golden(t, "explanation-watch", func(w *bytes.Buffer, o render.Options) error { return render.Profile(w, one(watched), false, o) })

	few := explainedProfile()
	few.Type, few.Explanation = "trace", &api.Explanation{Wall: ms(1740), Source: "2 samples", Notes: []string{"2 samples are too few to tell the states apart"}}
	golden(t, "explanation-few", func(w *bytes.Buffer, o render.Options) error { return render.Profile(w, one(few), false, o) })
}

// What a server sends never reaches the terminal as it is, and no shape of an
// explanation breaks the drawing.
func TestExplanationIsHostile(t *testing.T) {
	evil := "\x1b[2J\x1b]0;x\x07\r\n\u200d"
	p := explainedProfile()
	p.ProfileID, p.OperationName, p.Service, p.TraceID, p.Note, p.Trigger = "p_"+evil, evil, evil, evil, evil, evil
	p.MemoryUsage, p.CustomTimings = map[string]api.Count{evil: -5}, map[string]api.Seconds{evil: 1}
	p.Explanation = &api.Explanation{
		Wall: -1, Source: evil, Notes: []string{evil},
		States:   []api.ExplainedState{{State: evil, Ratio: -7, Count: -1, Stacks: []api.ExplainedStack{{Function: evil, Frames: []string{evil, "", " ", "a b c"}}}}},
		Timeline: []api.ExplainedStretch{{State: evil, Start: -5, Duration: 1 << 60}, {State: "x", Start: 1 << 62, Duration: -1}},
		CPU:      &api.ExplainedFigure{Value: -1, Source: evil},
	}
	for _, wall := range []api.Seconds{-1, 0, 1, 1 << 62} {
		p.Explanation.Wall = wall
		for _, width := range []int{1, 20, 60, 300} {
			var out bytes.Buffer
			if err := render.Profile(&out, []api.Result[api.Profile]{{Value: p}}, true, render.Options{Width: width}); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(out.String(), "\x1b\x07\r\u200d") {
				t.Fatalf("wall %d, width %d: %q", wall, width, out.String())
			}
		}
	}
}
