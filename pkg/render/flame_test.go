package render_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// demoStacks are milliseconds of CPU and their stacks from the root on.
var demoStacks = []struct {
	ms   int64
	path string
}{
	{410, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).generate;main.buildContext;encoding/json.Unmarshal;encoding/json.(*decodeState).object"},
	{140, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).generate;main.buildContext;encoding/json.Unmarshal;encoding/json.(*decodeState).array;runtime.mallocgc"},
	{95, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).generate;main.buildContext;regexp.(*Regexp).FindAllString"},
	{520, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).generate;github.com/acme/pulse/engine.(*Rank).Score;github.com/acme/pulse/engine.cosine"},
	{160, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).generate;github.com/acme/pulse/engine.(*Rank).Score;sort.Slice;runtime.memmove"},
	{75, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).generate;github.com/acme/pulse/engine.(*Rank).Score"},
	{130, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).ingest;compress/gzip.(*Reader).Read;compress/flate.(*decompressor).huffmanBlock"},
	{60, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).ingest;crypto/sha256.block"},
	{40, "net/http.(*conn).serve;net/http.(*response).finishRequest;bufio.(*Writer).Flush;syscall.write"},
	{230, "runtime.gcBgMarkWorker;runtime.gcDrain;runtime.scanobject"},
	{60, "runtime.gcBgMarkWorker;runtime.gcDrain;runtime.greyobject"},
	{80, "runtime.mcall;runtime.schedule;runtime.findRunnable;runtime.futex"},
}

// demoProfile is the CPU profile of those stacks, of 100 Hz over 30 s.
func demoProfile(t testing.TB, stacks ...string) *hotspot.Profile {
	t.Helper()
	b := hotspot.NewBuilder([]hotspot.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}, 1e7)
	sum := int64(0)
	add := func(path string, ms int64) {
		var frames []hotspot.Frame
		for name := range strings.SplitSeq(path, ";") {
			frames = append(frames, hotspot.Frame{Function: name, File: "/src/file.go", Line: 12})
		}
		slices.Reverse(frames)
		b.Add(frames, (sum+ms)/10-sum/10, ms*1e6) // 200 in all
		sum += ms
	}
	for _, s := range demoStacks {
		if len(stacks) == 0 {
			add(s.path, s.ms)
		}
	}
	for _, s := range stacks {
		add(s, 100)
	}
	data, err := b.Encode(noon, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hotspot.Parse(data, hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func shownFlame(t testing.TB, p *hotspot.Profile) render.FlameShown {
	t.Helper()
	g, err := hotspot.Flame(p, hotspot.FlameOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return render.FlameShown{FlameGraph: g, ProfileID: "p_01HZX3QW5T7R"}
}

func TestFlame(t *testing.T) {
	one := []api.Result[render.FlameShown]{{Instance: "http://127.0.0.1:8000", Value: shownFlame(t, demoProfile(t))}}
	golden(t, "flame", func(w *bytes.Buffer, o render.Options) error { return render.Flame(w, one, o) })
	empty := shownFlame(t, demoProfile(t))
	empty.FlameGraph = &hotspot.FlameGraph{Header: empty.Header, Nodes: empty.Nodes[:1]}
	empty.Total = 0
	fleet := []api.Result[render.FlameShown]{
		{Instance: "http://a:1", Value: shownFlame(t, demoProfile(t, "main.\x1b[2Jevil\x1b]0;x\x07;a\tb\u200d.c", "main.\x1b[2Jevil"))},
		refused[render.FlameShown]("http://b:1"), {Instance: "http://c:1", Value: empty},
	}
	golden(t, "flame-fleet", func(w *bytes.Buffer, o render.Options) error { return render.Flame(w, fleet, o) })
}
