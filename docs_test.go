package pulsectl_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each requirement of go.mod has its row with its version, and no row has one
// that go.mod has not.
func TestDependenciesAreListed(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	page := read(t, "docs/dependencies.md")
	required := map[string]string{}
	for _, r := range mod.Require {
		required[r.Path] = r.Version
		if row := "| `" + r.Path + "` " + r.Version + " |"; !r.Indirect && !strings.Contains(page, row) {
			t.Errorf("docs/dependencies.md has no row that begins %q", row)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` (v\\S+) \\|").FindAllStringSubmatch(page, -1) {
		if required[row[1]] != row[2] {
			t.Errorf("docs/dependencies.md has %s %s; go.mod has %q", row[1], row[2], required[row[1]])
		}
	}
}

// The page shows the map that TestImports holds.
func TestArchitectureShowsTheMap(t *testing.T) {
	page := read(t, "docs/architecture.md")
	for room, allowed := range rooms {
		_, rest, found := strings.Cut(page, "\n| `"+room+"` | ")
		if !found {
			t.Errorf("docs/architecture.md has no row for %s", room)
			continue
		}
		row, _, _ := strings.Cut(rest, "\n")
		cells := strings.Split(row, " | ")
		if room == "cmd/pulsectl" {
			continue // all of the above
		}
		var shown []string
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[len(cells)-1], -1) {
			shown = append(shown, m[1])
		}
		slices.Sort(shown)
		want := slices.Sorted(slices.Values(allowed))
		if !slices.Equal(shown, want) {
			t.Errorf("docs/architecture.md lets %s import %q; the map allows %q", room, shown, want)
		}
	}
}

// Each program in the README compiles within this module.
func TestReadmeCompiles(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md shows no Go")
	}
	for _, b := range blocks {
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(b[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, b[1])
		}
	}
}

// The picture in the README is what pkg/render draws.
func TestReadmeShowsTheWaterfall(t *testing.T) {
	if !strings.Contains(read(t, "README.md"), "```\n"+read(t, "pkg/render/testdata/trace-80.golden")+"```\n") {
		t.Error("README.md does not show pkg/render/testdata/trace-80.golden")
	}
}

// Each link from a page to a file of the project leads somewhere.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Glob("docs/decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```.*?```")
	for _, page := range slices.Concat([]string{"README.md"}, pages, records) {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(code.ReplaceAllString(read(t, page), ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
