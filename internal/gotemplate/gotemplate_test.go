package gotemplate_test

import (
	"encoding/json"
	"strings"
	"testing"
	"text/template"

	"github.com/pulsectl/pulsectl/internal/gotemplate"
)

const document = `{"kind":"BreakerList","empty":[],"none":null,"n":3,"rate":0.5,"on":true,"s":"a-b",
"items":[{"name":"github_api","state":"open","stats":{"calls":10,"rate":0.4}},{"name":"openai_api","state":"closed","stats":{"calls":0,"rate":0}}],
"tags":{"b":"2","a":"1"},"deep":{"deep":{"deep":"end"}}}`

func decode(t *testing.T, numbers bool) (v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(document))
	if numbers {
		dec.UseNumber()
	}
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What both can do they do alike.
func TestAsTextTemplate(t *testing.T) {
	for _, text := range []string{
		"plain", "", "{{.kind}}", "{{ .kind -}}  \n x", "{{.missing}}", "{{.none}}", "{{.missing.deeper}}",
		`{{range .items}}{{.name}} {{.state}} {{.stats.rate}}{{"\n"}}{{end}}`,
		`{{range $i, $b := .items}}{{$i}}={{$b.name}},{{end}}{{range .empty}}x{{else}}none{{end}}`,
		`{{range $k, $v := .tags}}{{$k}}{{$v}}{{end}}{{range .missing}}x{{else}}y{{end}}`,
		`{{range .items}}{{if eq .state "open"}}{{continue}}{{end}}{{.name}}{{break}}{{end}}`,
		`{{if .empty}}a{{else if .on}}b{{else}}c{{end}}{{with .deep.deep}}{{.deep}}{{end}}{{with .none}}x{{else}}y{{end}}`,
		`{{$x := 1}}{{range .items}}{{$x = .name}}{{end}}{{$x}}{{$.kind}}`,
		`{{len .items}} {{len .s}} {{index .items 1 | printf "%v" | len}} {{(index .items 0).name}} {{index .tags "a"}}`,
		`{{printf "%s|%5.2f|%v|%q" .kind .rate .on .s}}`, `{{print "a" 1 2 "b"}}`, `{{println 1 "x"}}`, `{{.s | printf "%s-%s" "x"}}`,
		`{{and .on .n}} {{or .empty .kind}} {{not .on}} {{and 1 0}} {{or 0 ""}}`, `{{eq .kind "x" "BreakerList"}} {{ne .s "x"}} {{lt .rate 0.6}} {{ge .rate 0.5}} {{gt "b" "a"}} {{le 1 1}}`,
		`{{slice .s 1}} {{slice .s 0 1}} {{slice .items 1 | len}}`, `{{define "row"}}<{{.name}}>{{end}}{{range .items}}{{template "row" .}}{{end}}`,
		`{{/* said */}}x{{- " " -}}y`, "{{`raw`}}{{'a'}}{{1.5}}{{true}}{{0x10}}", `{{if and .on (gt .rate 0.1)}}yes{{end}}`, `{{.items}}`, `{{with $x := .kind}}{{$x}}{{end}}`,
		// errors
		"{{.kind.deeper}}", "{{nope}}", "{{.kind", "{{len .n}}", "{{index .items 9}}", "{{template \"nope\"}}", "{{$y}}", "{{eq 1}}", "{{range .kind}}{{end}}{{lt .on 1}}", "{{not}}", "{{.kind 1}}",
		`{{define "a"}}{{template "b"}}{{end}}{{define "b"}}{{template "a"}}{{end}}`, `{{slice .s 9}}`, "{{if}}x{{end}}", "{{.kind | .s}}", "{{eq .tags .tags}}",
	} {
		var want, got strings.Builder
		reference, wantErr := template.New("").Parse(text)
		if wantErr == nil {
			wantErr = reference.Execute(&want, decode(t, false))
		}
		ours, err := gotemplate.Parse(text)
		if err == nil {
			err = ours.Execute(&got, decode(t, true))
		}
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%s: error %v, want %v", text, err, wantErr)
		}
		if err == nil && got.String() != want.String() {
			t.Errorf("%s: %q, want %q", text, got.String(), want.String())
		}
	}
}

func TestBeyondTextTemplate(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{{json (index .items 0)}}`, `{"name":"github_api","state":"open","stats":{"calls":10,"rate":0.4}}`},
		{`{{join .empty ","}}|{{upper .s}}|{{lower .kind}}`, "|A-B|breakerlist"},
		{`{{gt .n 2.5}} {{eq .n 3}} {{printf "%d %.1f" .n .rate}}`, "true true 3 0.5"},
	} {
		tmpl, err := gotemplate.Parse(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := tmpl.Execute(&out, decode(t, true)); err != nil || out.String() != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.text, out.String(), err, tt.want)
		}
	}
}

// Whatever is parsed ends, in output or in an error, and calls for no memory beyond it.
func FuzzExecute(f *testing.F) {
	f.Add(`{{range .items}}{{.name}}{{end}}`)
	f.Add(`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`)
	f.Add(`{{with .deep}}{{.deep | json}}{{else}}{{break}}{{end}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if tmpl, err := gotemplate.Parse(text); err == nil {
			var out strings.Builder
			if err := tmpl.Execute(&out, decode(t, true)); err != nil && out.Len() > 0 {
				t.Errorf("%q: output %q beside %v", text, out.String(), err)
			}
		}
	})
}
