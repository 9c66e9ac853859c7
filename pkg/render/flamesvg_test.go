package render_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// TestFlameSVG draws names that would break out of a picture, and holds the
// result against what was read once.
func TestFlameSVG(t *testing.T) {
	folded := "main.main;net/http.(*conn).serve;engine.(*Rank).Score 60\n" +
		"main.main;net/http.(*conn).serve;engine.(*Rank).Score;sort.Slice[go.shape.int] 10\n" +
		"main.main;</text><script>alert('&\"')</script> 20\n" +
		"runtime.gcBgMarkWorker;runtime.scanobject 10\n"
	p, err := hotspot.Parse([]byte(folded), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := hotspot.Flame(p, hotspot.FlameOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := render.FlameSVG(&out, g, "CPU <flame> graph"); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "flame.svg", out.Bytes())
	tags := map[string]int{}
	for d := xml.NewDecoder(&out); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if s, ok := tok.(xml.StartElement); ok {
			tags[s.Name.Local]++
		}
	}
	if tags["script"] != 0 || tags["title"] != len(g.Nodes) {
		t.Errorf("tags %v of %d nodes", tags, len(g.Nodes))
	}
}
