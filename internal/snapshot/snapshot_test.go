package snapshot_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

func secret(name string) bool { return strings.Contains(strings.ToLower(name), "token") }

// archive is one of two parts.
func archive(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := snapshot.NewWriter(&b, snapshot.Manifest{Service: "s", Instance: "i", Cause: "request"}, 0, snapshot.NewRedactor(secret, nil))
	for _, name := range []string{"a.json", "b/c.json"} {
		if err := w.Add(snapshot.Part{Name: name, Path: "/" + name, Status: 200, ContentType: "application/json"}, snapshot.Text, []byte(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	w.LeaveOut("d", "it is too much")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	got, err := snapshot.Open(bytes.NewReader(archive(t)))
	if err != nil {
		t.Fatal(err)
	}
	m := got.Servers[0].Manifest
	data, found := got.Servers[0].File("b/c.json")
	if got.Servers[0].Instance != "i" || len(m.Parts) != 2 || m.Bytes != 14 || !found || string(data) != `{"n":1}` || len(m.LeftOut) != 1 {
		t.Errorf("got %+v", m)
	}
	var b bytes.Buffer
	f := snapshot.NewFleet(&b, time.Now())
	for _, name := range []string{"http://h:1", "https://h:1", "http://h:1/x"} {
		if err := f.Add(name, &got.Servers[0]); err != nil {
			t.Fatal(err)
		}
	}
	f.Fail(snapshot.FleetMember{Instance: "http://dead", Code: "unreachable", Detail: "no"})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err = snapshot.Open(&b); err != nil {
		t.Fatal(err)
	}
	if len(got.Servers) != 4 || got.Servers[1].Instance != "https://h:1" || got.Servers[3].Failed == nil {
		t.Errorf("got %+v", got.Servers)
	}
}

// What finds no room is left out, which the manifest says; the rest is there.
func TestBounds(t *testing.T) {
	var b bytes.Buffer
	w := snapshot.NewWriter(&b, snapshot.Manifest{}, 100, snapshot.NewRedactor(secret, nil))
	add := func(name string, n int) error {
		return w.Add(snapshot.Part{Name: name, ContentType: "text/plain"}, snapshot.Text, bytes.Repeat([]byte{'x'}, n))
	}
	if err := errors.Join(add("small", 60), add("last", 40)); err != nil {
		t.Fatal(err)
	}
	if err := add("more", 1); !errors.Is(err, snapshot.ErrFull) {
		t.Errorf("error = %v, want ErrFull", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := snapshot.Open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if m := got.Servers[0].Manifest; m.Bytes != 100 || len(m.LeftOut) != 1 || m.LeftOut[0].What != "more" {
		t.Errorf("got %+v", m)
	}
}

// member is a file of a hostile archive.
type member struct {
	name string
	kind byte
	size int64 // announced; 0 means that of data
	data string
}

func forge(members ...member) []byte {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, m := range members {
		size := int64(len(m.data))
		if m.size > 0 {
			size = m.size
		}
		kind := byte(tar.TypeReg)
		if m.kind != 0 {
			kind = m.kind
		}
		w.WriteHeader(&tar.Header{Name: m.name, Typeflag: kind, Size: size, Linkname: "/etc/passwd"})
		w.Write([]byte(m.data))
	}
	w.Close()
	gz.Close()
	return b.Bytes()
}

// manifest lists parts with the sum of the text "x".
func manifest(parts ...snapshot.Part) member {
	sum := sha256.Sum256([]byte("x"))
	for i := range parts {
		if parts[i].SHA256 == "" {
			parts[i].SHA256 = hex.EncodeToString(sum[:])
		}
		parts[i].Bytes = 1
	}
	b, _ := json.Marshal(snapshot.Manifest{Format: snapshot.Format, Created: api.Unix(1), Parts: parts})
	return member{name: "manifest.json", data: string(b)}
}

func TestHostile(t *testing.T) {
	good := archive(t)
	x := snapshot.Part{Name: "x", ContentType: "text/plain"}
	fleet := func(instances string) member {
		return member{name: "fleet.json", data: `{"format":"` + snapshot.FleetFormat + `","instances":[` + instances + `]}`}
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "no gzip"},
		{"no gzip", []byte("hello"), "no gzip"},
		{"cut off", good[:len(good)/2], "ends too early"},
		{"the last byte is missing", good[:len(good)-1], "ends too early"},
		{"no manifest", forge(member{name: "x", data: "x"}), "has no manifest.json"},
		{"out of it", forge(member{name: "../../etc/cron.d/x", data: "x"}), "no path inside"},
		{"absolute", forge(member{name: "/etc/x", data: "x"}), "no path inside"},
		{"backslash", forge(member{name: `..\x`, data: "x"}), "no path inside"},
		{"link", forge(member{name: "x", kind: tar.TypeSymlink}), "no plain file"},
		{"device", forge(member{name: "x", kind: tar.TypeChar}), "no plain file"},
		{"twice", forge(member{name: "x", data: "x"}, member{name: "x", data: "x"}), "twice"},
		{"huge", forge(member{name: "x", size: 1 << 40}), "a part has at most"},
		{"not all of it", forge(member{name: "x", data: "x"}, manifest(x, snapshot.Part{Name: "y"})), "in the manifest alone"},
		{"more than it says", forge(member{name: "x", data: "x"}, member{name: "y", data: "x"}, manifest(x)), "does not list"},
		{"changed", forge(member{name: "x", data: "z"}, manifest(x)), "not what the manifest says"},
		{"listed twice", forge(member{name: "x", data: "x"}, manifest(x, x)), "twice"},
		{"status", forge(member{name: "x", data: "x"}, manifest(snapshot.Part{Name: "x", Path: "/", Status: 7})), "the status 7"},
		{"another format", forge(member{name: "manifest.json", data: `{"format":"zip"}`}), "format"},
		{"manifest is no JSON", forge(member{name: "manifest.json", data: `{`}), "manifest.json"},
		{"deep JSON", forge(member{name: "manifest.json", data: strings.Repeat("[", 1<<20)}), "manifest.json"},
		{"fleet of none", forge(fleet("")), "of no server"},
		{"fleet without folder", forge(fleet(`{"instance":"a","folder":"a"}`)), "is not in it"},
		{"fleet with a guest", forge(fleet(`{"instance":"a"}`), member{name: "b/x", data: "x"}), "list of servers does not"},
		{"folder for two", forge(fleet(`{"instance":"a","folder":"a"},{"instance":"b","folder":"a"}`), member{name: "a/x", data: "x"},
			func() member { m := manifest(x); m.name = "a/" + m.name; return m }()), "is not in it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := snapshot.Open(bytes.NewReader(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error = %v, want one line with %q", err, tt.want)
			}
		})
	}
}

// A bomb is refused before it is in memory.
func TestBomb(t *testing.T) {
	var b bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	w := tar.NewWriter(gz)
	zeros := make([]byte, 33<<20)
	w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: int64(len(zeros)) + 1<<20})
	w.Write(zeros)
	gz.Close()
	if _, err := snapshot.Open(&b); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("error = %v, want that a part is too large", err)
	}
}

func TestRedactText(t *testing.T) {
	r := snapshot.NewRedactor(secretName, []string{"APP_TOKEN=abc\"def", "DATABASE_URL=postgres://u:p%40ssword@h/d", "HOME=/root", "SHORT_TOKEN=on"}, "redis://:red1spw@h")
	for _, tt := range []struct{ in, want string }{
		{`{"token":"x y","n":1}`, `{"token":"***","n":1}`},
		{`{"Api-Key": "a\"b", "tokens": 12, "token_file":"/run/t"}`, `{"Api-Key": "***", "tokens": 12, "token_file":"/run/t"}`},
		{`dial redis://app:hunter2@h:1/0: refused`, `dial redis://app:***@h:1/0: refused`},
		{`GET /x?access_token=abc123&n=1 HTTP`, `GET /x?access_token=***&n=1 HTTP`},
		{`Authorization: Bearer abc.def-123, next`, `Authorization: Bearer ***, next`},
		{`x{session_id="s3cr",code="200"} 1`, `x{session_id="***",code="200"} 1`},
		{`run --db-password hunter2 --verbose`, `run --db-password *** --verbose`},
		{`run --token=hunter2 -v`, `run --token=*** -v`},
		{`password: hunter2.`, `password: ***.`},
		{`a ghp_0123456789abcdefghij b`, `a *** b`},
		{`it said abc"def and p@ssword and p%40ssword and red1spw`, `it said *** and *** and *** and ***`},
		{`cookie.go:12 net/http.readCookies on`, `cookie.go:12 net/http.readCookies on`},
		{`{"state":"open","n":2.5}`, `{"state":"open","n":2.5}`},
		{`already ***, password=***`, `already ***, password=***`},
	} {
		got, _, err := r.Mask(snapshot.Text, []byte(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s becomes %s (%v), want %s", tt.in, got, err, tt.want)
		}
		again, n, _ := r.Mask(snapshot.Text, slices.Clone(got))
		if string(again) != string(got) || n != 0 {
			t.Errorf("masked again, %s becomes %s", got, again)
		}
	}
}

func secretName(name string) bool {
	lower := strings.ToLower(name)
	for _, w := range []string{"token", "password", "authorization", "api_key", "api-key", "cookie", "session_id"} {
		if strings.Contains(lower, w) {
			return true
		}
	}
	return false
}

func FuzzOpen(f *testing.F) {
	f.Add(archive(f))
	f.Add(forge(manifest()))
	f.Add(forge(member{name: "../x", data: "x"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := snapshot.Open(bytes.NewReader(data))
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %v", err)
		}
		if err == nil && len(got.Servers) == 0 {
			t.Error("an archive of nothing")
		}
	})
}

// Whatever a message is, masking it neither fails hard nor changes its length.
func FuzzMask(f *testing.F) {
	f.Add([]byte("\x0a\x05hello"), byte(1))
	f.Add([]byte("\x05\x0a\x03abc"), byte(3))
	f.Add([]byte(`{"token":"x"}`), byte(0))
	r := snapshot.NewRedactor(secretName, nil)
	f.Fuzz(func(t *testing.T, data []byte, form byte) {
		before := len(data)
		out, _, err := r.Mask(snapshot.Form(form%4), data)
		if err == nil && (form%4 == byte(snapshot.OTLP) || form%4 == byte(snapshot.Metrics)) && len(out) != before {
			t.Errorf("%d bytes became %d", before, len(out))
		}
	})
}
