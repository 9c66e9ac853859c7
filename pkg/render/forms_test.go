package render_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// hostile is text that a terminal, a shell, a spreadsheet or a parser of YAML
// would act on.
var hostile = []string{
	"\x1b[2J\x1b]0;x\a", "\u009b31m", "\x7f", "a\nb\r\nc\td", "'; touch pwned; '", "$(touch pwned)", "`touch pwned`", `\`, `"`, "=1+1", "@x", "-x", "+1",
	"null", "true", "on", "0x1f", "1e3", "1.50", "~", "- x", "a: b", "a #b", "#", "&a", "*a", "!x", "|", ">", "%x", "", " ", "2001-01-01", "ü€🦊", "\u2028", "=", "<<", "y", "?", ":", "a:", "{", "[x", ",",
}

func hostileEnvelope() render.Envelope {
	e := render.NewEnvelope("BreakerList", noon)
	for _, s := range hostile {
		e.Items = append(e.Items, render.Item{Instance: "http://a:1", Name: s, Value: map[string]any{
			"name": s, "n": json.Number("1795648821.421506461"), "small": 1e-7, "stats": map[string]any{"calls": 3, s: s, "none": nil}, "list": []any{s, []any{}, map[string]any{}, []any{s, 1}, map[string]any{"a": s}},
		}})
	}
	e.Errors = append(e.Errors, render.Failure{Instance: "http://b:1", Status: 503, Detail: hostile[0]})
	return e
}

// No machine form holds a character that a terminal acts on.
func TestFormsAreInert(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer, render.Envelope) error{
		"json":   func(w *bytes.Buffer, e render.Envelope) error { return render.JSON(w, e) },
		"yaml":   func(w *bytes.Buffer, e render.Envelope) error { return render.YAML(w, e) },
		"ndjson": func(w *bytes.Buffer, e render.Envelope) error { return render.Lines(w, e) },
		"csv":    func(w *bytes.Buffer, e render.Envelope) error { return render.CSV(w, e, nil, true) },
		"env":    func(w *bytes.Buffer, e render.Envelope) error { return render.Env(w, e, nil) },
		"name":   func(w *bytes.Buffer, e render.Envelope) error { return render.Names(w, e) },
		"fields": func(w *bytes.Buffer, e render.Envelope) error { return render.Fields(w, e, nil, "", render.Options{}) },
	} {
		var out bytes.Buffer
		if err := write(&out, hostileEnvelope()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range out.String() {
			if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%s holds %q", name, r)
				break
			}
		}
	}
}

// YAML says what JSON says, to a parser that is not its author's.
func TestYAMLIsTheJSON(t *testing.T) {
	var asJSON, asYAML bytes.Buffer
	if err := render.JSON(&asJSON, hostileEnvelope()); err != nil {
		t.Fatal(err)
	}
	if err := render.YAML(&asYAML, hostileEnvelope()); err != nil {
		t.Fatal(err)
	}
	sameYAML(t, asJSON.Bytes(), asYAML.Bytes())
	for _, want := range []string{"    \"n\": 1795648821.421506461\n", "    small: 1.0e-7\n", "kind: BreakerList\n"} {
		if !strings.Contains(asYAML.String(), want) {
			t.Errorf("no %q in\n%.900s", want, asYAML.String())
		}
	}
}

func sameYAML(t *testing.T, asJSON, asYAML []byte) {
	t.Helper()
	var want, got any
	if err := json.Unmarshal(asJSON, &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(asYAML, &got); err != nil {
		t.Fatalf("%v\n%s", err, asYAML)
	}
	if b, err := json.Marshal(got); err != nil || json.Unmarshal(b, &got) != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("YAML reads as\n%v\nJSON as\n%v", got, want)
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		name, text = strings.ToValidUTF8(name, ""), strings.ToValidUTF8(text, "")
		e := render.NewEnvelope("X", noon)
		e.Items = append(e.Items, render.Item{Value: map[string]any{name: text, "l": []any{text, map[string]any{name: []string{text}}}}})
		var asJSON, asYAML bytes.Buffer
		if render.JSON(&asJSON, e) != nil || render.YAML(&asYAML, e) != nil {
			t.Fatal("no output")
		}
		sameYAML(t, asJSON.Bytes(), asYAML.Bytes())
	})
}

// A shell that evaluates the form has the values, and has run nothing.
func TestEnvIsEvaluated(t *testing.T) {
	var out bytes.Buffer
	if err := render.Env(&out, hostileEnvelope(), nil); err != nil {
		t.Fatal(err)
	}
	script := out.String() + `printf '%s\n' "$BREAKER_COUNT" "$BREAKER_ERRORS" "$BREAKER_5_NAME" "$BREAKER_6_NAME" "$BREAKER_6_STATS_CALLS"; ls -A`
	cmd := exec.Command("sh", "-eu")
	cmd.Dir, cmd.Stdin = t.TempDir(), strings.NewReader(script)
	got, err := cmd.CombinedOutput()
	if want := "44\n1\n'; touch pwned; '\n$(touch pwned)\n3\n"; err != nil || string(got) != want {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
	out.Reset()
	e := render.NewEnvelope("TraceDiff", noon)
	e.Items = append(e.Items, render.Item{Value: map[string]any{"a": map[string]any{"traceID": "x y"}, "path": nil}})
	if err := render.Env(&out, e, []string{"a.traceID", "path"}); err != nil {
		t.Fatal(err)
	}
	if want := "TRACE_DIFF_COUNT=1\nTRACE_DIFF_ERRORS=0\nTRACE_DIFF_A_TRACE_ID='x y'\nTRACE_DIFF_PATH=''\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestCSV(t *testing.T) {
	var out bytes.Buffer
	if err := render.CSV(&out, hostileEnvelope(), []string{"name", "n", "stats.calls", "list"}, true); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(hostile)+2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if want := []string{"name", "n", "stats.calls", "list", "error"}; !slices.Equal(rows[0], want) {
		t.Errorf("header %q", rows[0])
	}
	for _, row := range rows[1 : len(rows)-1] {
		if strings.ContainsAny(row[0][:min(1, len(row[0]))], "=+-@") || row[1] != "1795648821.421506461" || row[2] != "3" {
			t.Errorf("row %q", row)
		}
	}
	if last := rows[len(rows)-1]; last[4] == "" || last[0] != "" {
		t.Errorf("of the one that failed: %q", last)
	}
}

func TestSort(t *testing.T) {
	items := func() (out []render.Item) {
		for _, v := range []map[string]any{{"name": "b", "stats": map[string]any{"p": 2}}, {"name": "c"}, {"name": "a", "stats": map[string]any{"p": 10.5}, "on": true}, {"name": "d", "stats": map[string]any{"p": nil}}} {
			out = append(out, render.Item{Value: v})
		}
		return out
	}
	for _, tt := range []struct {
		by    string
		want  []int
		known bool
	}{
		{"name", []int{2, 0, 1, 3}, true}, {"-name", []int{3, 1, 0, 2}, true},
		{"stats.p", []int{2, 0, 1, 3}, true}, {"-stats.p", []int{0, 2, 1, 3}, true},
		{"on", []int{2, 0, 1, 3}, true}, {"nope", []int{0, 1, 2, 3}, false},
	} {
		if got, known := render.Sort(items(), tt.by); !slices.Equal(got, tt.want) || known != tt.known {
			t.Errorf("by %s: %v, %v; want %v, %v", tt.by, got, known, tt.want, tt.known)
		}
	}
}
