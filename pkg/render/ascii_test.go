package render_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// With ASCII each cell stays in its place.
func TestASCII(t *testing.T) {
	all := api.Breakers{
		"github_api": {Name: "github_api", State: api.StateOpen}, "zahlung_münchen_世界": {Name: "zahlung_münchen_世界", State: api.StateHalfOpen}, "x": {Name: "x", State: api.StateClosed},
	}
	rs := []api.Result[api.Breakers]{{Instance: "http://a:1", Value: all}}
	var full, plain bytes.Buffer
	o := render.Options{Width: 100, Now: noon, Color: render.Color256}
	if err := render.Breakers(&full, rs, o); err != nil {
		t.Fatal(err)
	}
	o.ASCII = true
	if err := render.Breakers(&plain, rs, o); err != nil {
		t.Fatal(err)
	}
	want := strings.Split(full.String(), "\n")
	for i, line := range strings.Split(plain.String(), "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) || ansi.StringWidth(line) != ansi.StringWidth(want[i]) {
			t.Errorf("line %q of %q", line, want[i])
		}
	}
	if !strings.Contains(plain.String(), "x open") || !strings.Contains(plain.String(), "zahlung_m?nchen_????") {
		t.Errorf("no signs in\n%s", plain.String())
	}
}
