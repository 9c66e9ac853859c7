package main

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// resolved is what serve makes of an environment and a file.
func resolved(t *testing.T, env map[string]string, file string) (*serveOptions, error) {
	t.Helper()
	var o serveOptions
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	o.register(fs)
	if file != "" {
		path := filepath.Join(t.TempDir(), "s.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fs.Set("config", path); err != nil {
			t.Fatal(err)
		}
	}
	s := &settings{flags: fs, getenv: func(k string) string { return env[k] }}
	return &o, s.resolve()
}

func TestSettingsFileForms(t *testing.T) {
	for _, tt := range []struct{ name, file string }{
		{"plain", "environment: prod\ntrace-max-age: 12h\ndebug: true\n"},
		{"CRLF", "environment: prod\r\ntrace-max-age: 12h\r\ndebug: true\r\n"},
		{"byte order mark", "\ufeffenvironment: prod\ntrace-max-age: 12h\ndebug: true\n"},
		{"quotes and comments", "# the server\nenvironment: 'prod' # where\n\"trace-max-age\": \"12h\"\ndebug: true\n"},
		{"documents", "---\nenvironment: prod\n---\ntrace-max-age: 43200\ndebug: true\n"},
		{"one line", "{environment: prod, trace-max-age: 12h, debug: true}"},
		{"dots", "environment: prod\ntrace.max-age: 12h\ndebug: true\n"},
		{"groups", "environment: prod\ntrace:\n  max:\n    age: 12h\ndebug: true\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := resolved(t, nil, tt.file)
			if err != nil || o.Environment != "prod" || o.TraceMaxAge != 12*time.Hour || !o.Debug {
				t.Errorf("settings = %+v, %v", o, err)
			}
		})
	}
	if o, err := resolved(t, nil, "environment: 1.10\n"); err != nil || o.Environment != "1.10" {
		t.Errorf("environment = %q, %v; want it as written", o.Environment, err)
	}
	for _, empty := range []string{"\n", "# nothing\n", "---\n"} {
		if _, err := resolved(t, nil, empty); err != nil {
			t.Errorf("%q = %v", empty, err)
		}
	}
}

func TestSettingsFileNonsense(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"null", "redis-url:\n", "redis-url: it has no value"},
		{"tilde", "environment: ~\n", "environment: it has no value"},
		{"twice", "environment: a\nlisten: 127.0.0.1:1\nenvironment: b\n", "environment"},
		{"twice in two documents", "environment: a\n---\nenvironment: b\n", "it is set twice"},
		{"alias", "environment: &a prod\nlog-level: *a\n", "want one value"},
		{"merge", "x: &a {debug: true}\n<<: *a\n", "no setting"},
		{"tab", "environment:\tprod\n\tdebug: true\n", "s.yaml"},
		{"no group", "environment: a\ntrace:\n  max-age: 1h\n  most: 3\n", "s.yaml:4:3: there is no setting \"trace-most\""},
		{"twice in forms", "trace.max-age: 1h\ntrace:\n  max-age: 1h\n", "it is set twice"},
		{"a group of one that has none", "debug: {on: true}\n", "there is no setting \"debug-on\""},
		{"hidden file", "config: {}\nnew: {token: x}\n", "there is no setting"},
		{"list", "- debug\n", "want settings as NAME: VALUE"},
		{"text", "debug\n", "want settings as NAME: VALUE"},
		{"yes", "debug: yes\n", "s.yaml:1:1: debug: "},
		{"infinity", "slow-threshold: .inf\n", "slow-threshold: "},
		{"negative", "trace-max-age: -1h\n", "want 0 or more"},
		{"another file", "config: other.yaml\n", "there is no setting \"config\""},
		{"token", "new-token: a:operator\n", "there is no setting"},
		{"huge", "# " + strings.Repeat("x", maxSettings) + "\n", "larger than"},
		{"broken", "a: [\n", "s.yaml"},
		{"bytes", "\xff\xfe\x00d", "s.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := resolved(t, nil, tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("settings = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSettingsEnvironment(t *testing.T) {
	o, err := resolved(t, map[string]string{"DEBUG": "", "PULSECTL_DEBUG": "", "REDIS_TIMEOUT": "2", "PULSECTL_HELP": "x", "PULSECTL_NEW_TOKEN": "x"}, "debug: true\n")
	if err != nil || !o.Debug || o.RedisTimeout != 2*time.Second || o.NewToken != "" {
		t.Errorf("settings = %+v, %v; want empty variables to count as unset", o, err)
	}
	for name, value := range map[string]string{"DEBUG": "maybe", "REDIS_TIMEOUT": "soon", "PULSECTL_TRACE_MAX_BYTES": "-1"} {
		if _, err := resolved(t, map[string]string{name: value}, ""); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s=%s: %v, want an error that names it", name, value, err)
		}
	}
}

// Property: no file makes the settings panic, and what is read of one can be.
func FuzzSettingsFile(f *testing.F) {
	for _, s := range []string{"debug: true\n", "a: &b [*b]\n", "environment: |\n  x\n", "? a\n: b\n", "---\n...\n", "\ufeff{}", "debug: !!str true\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		o, err := resolved(t, nil, file)
		if err == nil && (o.TraceMaxAge < 0 || o.TraceMaxBytes < 0) {
			t.Errorf("%q gave %+v", file, o)
		}
	})
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{"1048576": 1 << 20, "64MiB": 64 << 20, "1GB": 1e9, "1.5 KiB": 1536, "7B": 7, "0": 0, "2kB": 2000, "1TiB": 1 << 40} {
		var n int64
		if err := (sizeValue{&n}).Set(in); err != nil || n != want {
			t.Errorf("%s = %d, %v; want %d", in, n, err, want)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "NaN", "NaNKiB", "inf", "1e30", "1PiB", "64 M", "0x", "1EB"} {
		var n int64
		if err := (sizeValue{&n}).Set(in); err == nil {
			t.Errorf("%q = %d, want an error", in, n)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1 << 10: "1KiB", 1536: "1536", 256 << 20: "256MiB", 1 << 40: "1TiB"} {
		if got := (sizeValue{&n}).String(); got != want {
			t.Errorf("%d = %s, want %s", n, got, want)
		}
	}
}

// Property: a size that is read prints as one that reads the same.
func FuzzSize(f *testing.F) {
	f.Add("1.5GiB")
	f.Add("NaN")
	f.Fuzz(func(t *testing.T, s string) {
		var n, back int64
		if (sizeValue{&n}).Set(s) != nil {
			return
		}
		if err := (sizeValue{&back}).Set((sizeValue{&n}).String()); err != nil || back != n || n < 0 || n > math.MaxInt64/2 {
			t.Errorf("%q is %d, which prints as %s and reads as %d, %v", s, n, (sizeValue{&n}).String(), back, err)
		}
	})
}

func TestServeAddresses(t *testing.T) {
	for _, tt := range []struct {
		listen, want string
		status       int
	}{
		{"8000", "want HOST:PORT", exitUsage},
		{"127.0.0.1:", "want HOST:PORT", exitUsage},
		{":8000", "without tokens", exitUsage},
		{"192.0.2.1:8000", "without tokens", exitUsage},
		{"127.0.0.1:99999", "listen on 127.0.0.1:99999: ", exitUnreachable},
	} {
		a := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" })
		err := a.run(t.Context(), []string{"serve", "--listen", tt.listen})
		if err == nil || !strings.Contains(err.Error(), tt.want) || exitStatus(err) != tt.status {
			t.Errorf("%s: %v (status %d), want %q and %d", tt.listen, err, exitStatus(err), tt.want, tt.status)
		}
	}
}

func TestServeSaysThatThePortIsTaken(t *testing.T) {
	r := serve(t, nil)
	taken := strings.TrimPrefix(r.base, "http://")
	a := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" })
	err := a.run(t.Context(), []string{"serve", "--listen", taken})
	if err == nil || err.Error() != "listen on "+taken+": address already in use" || exitStatus(err) != exitUnreachable {
		t.Errorf("serve = %v, status %d", err, exitStatus(err))
	}
}

func TestServeOnOtherLoopbacks(t *testing.T) {
	for _, listen := range []string{"localhost:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			r := serve(t, nil, "--listen", listen)
			if status, body := r.get(t, "/monitoring/circuit-breakers"); status != 200 {
				t.Errorf("%s = %d %s", r.base, status, body)
			}
		})
	}
}
