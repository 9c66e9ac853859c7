package contexts_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/contexts"
)

const commented = `# of the platform team
current: prod  # since March

contexts:
  # two replicas
  prod:
    servers: [http://10.0.0.1:8000, http://10.0.0.2:8000]  # behind the balancer
    token-file: prod.token
    protected: true

  # on my machine
  local:
    servers:
      - http://127.0.0.1:8000
    # dark room
    theme: dark
# the end
`

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pulsectl", "config.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) *contexts.File {
	t.Helper()
	f, err := contexts.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRead(t *testing.T) {
	f := open(t, write(t, commented, 0o644))
	want := contexts.Context{Servers: []string{"http://10.0.0.1:8000", "http://10.0.0.2:8000"}, TokenFile: "prod.token", Protected: true}
	if got := f.Contexts["prod"]; f.Current != "prod" || !reflect.DeepEqual(got, want) {
		t.Errorf("current %q, prod = %+v, want %+v", f.Current, got, want)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a typo", "contexts:\n  prod:\n    severs: [http://a]\n", `config.yaml:3:5: there is no setting "severs"`},
		{"a typo at the top", "currant: prod\n", `config.yaml:1:1: there is no setting "currant"`},
		{"no YAML", "contexts: [\n", "config.yaml:1:11: "},
		{"a wrong kind", "contexts:\n  prod:\n    readonly: [maybe]\n", "config.yaml:3:15: "},
		{"a key twice", "current: a\ncurrent: b\n", "config.yaml:2:1: "},
		{"two tokens", "contexts:\n  prod:\n    token: x\n    token-file: y\n", "contexts.prod: want one of token"},
		{"a certificate without its key", "contexts:\n  prod:\n    cert: y\n", "contexts.prod: cert and key go together"},
		{"a name like a flag", "contexts:\n  --prod:\n    theme: dark\n", "the name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := contexts.Read(write(t, tt.text, 0o600))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error = %v, want %q on one line", err, tt.want)
			}
		})
	}
}

// What is wrong is said without what may be a token.
func TestErrorsHoldNoToken(t *testing.T) {
	for _, text := range []string{
		"contexts:\n  prod:\n    token: [s3cret-token]\n", "contexts:\n  prod:\n    token: s3cret-token\n    s: [\n",
		"contexts:\n  prod:\n    readonly: s3cret-token\n", "contexts: s3cret-token\n", "s3cret-token\n",
	} {
		if _, err := contexts.Read(write(t, text, 0o600)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error of %q = %v", text, err)
		}
	}
}

func TestRights(t *testing.T) {
	const token = "contexts:\n  prod:\n    token: x\n"
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       bool
	}{
		{"a token that others can read", token, 0o644, false},
		{"a token that its group can read", token, 0o640, false},
		{"a token of the owner's", token, 0o600, true},
		{"no token", commented, 0o644, true},
		{"others can write it", commented, 0o666, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := contexts.Read(write(t, tt.text, tt.mode)); errors.Is(err, contexts.ErrRights) == tt.want || tt.want && err != nil {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// Edits leave what they do not concern as it is.
func TestEdits(t *testing.T) {
	for _, tt := range []struct {
		name, from string
		edit       func(*contexts.File) error
		want       string // of the lines that begin with - are gone and with + are new
	}{
		{"use", commented, func(f *contexts.File) error { return f.Use("local") }, "-current: prod  # since March\n+current: local # since March\n"},
		{"set anew", commented, func(f *contexts.File) error { return f.Set("prod", "output", "json") }, "+    output: json\n"},
		{"set", commented, func(f *contexts.File) error { return f.Set("local", "theme", "light") }, "-    theme: dark\n+    theme: light\n"},
		{"set the last of a list", commented, func(f *contexts.File) error { return f.Set("local", "servers", "http://a,unix:///run/b.sock") },
			"-    servers:\n-      - http://127.0.0.1:8000\n+    servers: [http://a, unix:///run/b.sock]\n"},
		{"set a list", commented, func(f *contexts.File) error { return f.Set("prod", "servers", "http://a") },
			"-    servers: [http://10.0.0.1:8000, http://10.0.0.2:8000]  # behind the balancer\n+    servers: [http://a] # behind the balancer\n"},
		{"take out", commented, func(f *contexts.File) error { return f.Set("prod", "protected", "") }, "-    protected: true\n"},
		{"remove", commented, func(f *contexts.File) error { return f.Remove("local") },
			"-  local:\n-    servers:\n-      - http://127.0.0.1:8000\n-    # dark room\n-    theme: dark\n"},
		{"remove the current", commented, func(f *contexts.File) error { return f.Remove("prod") },
			"-current: prod  # since March\n-  prod:\n-    servers: [http://10.0.0.1:8000, http://10.0.0.2:8000]  # behind the balancer\n-    token-file: prod.token\n-    protected: true\n"},
		{"add", commented, func(f *contexts.File) error {
			return f.Add("new", contexts.Context{Servers: []string{"dns+http://pulse:8000"}, TokenCommand: `pass show "a b"`})
		}, "+  new:\n+    servers: [dns+http://pulse:8000]\n+    token-command: \"pass show \\\"a b\\\"\"\n"},
		{"add to nothing", "", func(f *contexts.File) error {
			return f.Add("new", contexts.Context{Servers: []string{"http://a"}, Readonly: true})
		}, "+contexts:\n+  new:\n+    servers: [http://a]\n+    readonly: true\n"},
		{"add below nothing", "contexts:\n", func(f *contexts.File) error {
			return f.Add("new", contexts.Context{Servers: []string{"http://a"}})
		}, "+  new:\n+    servers: [http://a]\n"},
		{"add to comments", "# mine\n", func(f *contexts.File) error {
			return f.Add("new", contexts.Context{Servers: []string{"http://a"}})
		}, "+contexts:\n+  new:\n+    servers: [http://a]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.from, 0o644)
			f := open(t, path)
			if err := tt.edit(f); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := changes(tt.from, string(b)); got != tt.want {
				t.Errorf("changed\n%swant\n%sthe file is\n%s", got, tt.want, b)
			}
			again := open(t, path)
			if again.Current != f.Current || !reflect.DeepEqual(again.Contexts, f.Contexts) {
				t.Errorf("read again = %+v, want %+v", again, f)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

// changes lists the lines that are gone and those that are new.
func changes(from, to string) string {
	var out strings.Builder
	count := map[string]int{}
	for line := range strings.Lines(to) {
		count[line]++
	}
	for line := range strings.Lines(from) {
		if count[line]--; count[line] < 0 {
			out.WriteString("-" + line)
		}
	}
	for line := range strings.Lines(from) {
		count[line] = max(count[line], 0)
	}
	for line := range strings.Lines(to) {
		if count[line] > 0 {
			count[line]--
			out.WriteString("+" + line)
		}
	}
	return out.String()
}

// An edit that cannot be made in the lines of the file changes nothing.
func TestEditRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"in flow style", "contexts: {prod: {servers: [http://a]}}\n"},
		{"a context in flow style", "contexts:\n  prod: {servers: [http://a]}\n"},
		{"an alias", "contexts:\n  one: &one\n    theme: dark\n  prod: *one\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text, 0o600)
			if err := open(t, path).Set("prod", "theme", "light"); err == nil {
				t.Error("no error")
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != tt.text {
				t.Errorf("the file is %q, %v", b, err)
			}
		})
	}
	f := open(t, write(t, commented, 0o600))
	if err := f.Add("prod", contexts.Context{Servers: []string{"x"}}); !errors.Is(err, contexts.ErrExists) {
		t.Errorf("add: %v", err)
	}
	if err := f.Use("nope"); !errors.Is(err, contexts.ErrNotFound) {
		t.Errorf("use: %v", err)
	}
}

// A value that is set is read again as it was.
func FuzzSet(f *testing.F) {
	for _, s := range []string{"a", "http://a:1", "true", "0x1f", "a: b", "a #b", "- a", "'", `"\`, "ä\u0085b", "null", "~", "1e3", "a:", "2001-01-01", "!x", "&a", "*a", "|", "%", "@x", "`", "a\nb", "=", "<<"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ToValidUTF8(s, "") != s {
			t.Skip()
		}
		path := write(t, commented, 0o600)
		f := open(t, path)
		if err := f.Set("prod", "ca", s); err != nil {
			return
		}
		if got := open(t, path).Contexts["prod"].CA; got != s {
			t.Errorf("set %q, read %q", s, got)
		}
	})
}
