package otlp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

func TestFind(t *testing.T) {
	var buf []byte
	starts := map[string][2]int{}
	add := func(name string, longer []byte) {
		starts[name] = [2]int{len(buf), len(longer)}
		buf = longer
	}
	for _, key := range []string{"a", "b", strings.Repeat("k", 200)} {
		add(key, otlp.AppendTextAttr(buf, otlp.FieldAttrs, key, strings.Repeat("v", len(key)*2)))
		buf = otlp.AppendLink(buf, &otlp.Link{Attrs: []otlp.KeyValue{{Key: "missing", Value: otlp.Int(1)}}})
	}
	add("event", otlp.AppendEvent(buf, &otlp.Event{Name: "missing"}))
	buf = otlp.AppendEvent(buf, &otlp.Event{Name: "second"})
	for name, want := range starts {
		from, to := otlp.FindAttr(buf, name)
		if name == "event" {
			from, to = otlp.FindField(buf, otlp.FieldEvents)
		}
		if got := [2]int{from, to}; got != want {
			t.Errorf("%.10s at %v, want %v", name, got, want)
		}
	}
	if from, to := otlp.FindAttr(buf, "missing"); from != 0 || to != 0 {
		t.Errorf("an attribute of a link counts as the span's: %s", fmt.Sprint(from, to))
	}
}
