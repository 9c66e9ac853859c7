package server_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/server"
)

func TestNewToken(t *testing.T) {
	secret, line, err := server.NewToken("ci:writer")
	must(t, err)
	all := value(server.ParseTokens(strings.NewReader("# tokens\r\n\r\n  " + line + "\r\n")))(t)
	if len(all) != 1 || all[0].Name != "ci" || all[0].Role != server.Writer || all[0].SHA256 != sha256.Sum256([]byte(secret)) {
		t.Errorf("token of %q = %+v", line, all)
	}
	if other, _, _ := server.NewToken("ci:writer"); other == secret || len(secret) < 40 {
		t.Errorf("secrets %q and %q: want long ones, never the same", secret, other)
	}
	if strings.Contains(line, secret) {
		t.Errorf("the line %q holds the secret", line)
	}
	for _, spec := range []string{"", "ci", ":viewer", "ci:", "ci:root", "ci:viewer:x", "c i:viewer", "#ci:viewer", "c\x1bi:viewer"} {
		if _, _, err := server.NewToken(spec); err == nil {
			t.Errorf("NewToken(%q): no error", spec)
		}
	}
}

func TestParseTokensErrors(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "\n# nothing\n", "no token in it"},
		{"two words", "ci viewer", "line 1: want NAME ROLE sha256:HEX, got 2 words"},
		{"unknown role", "\nci root " + digest, `line 2: role "root"`},
		{"escape in a name", "c\x1bi viewer " + digest, `name "c\x1bi"`},
		{"hash in a name", "c#i viewer " + digest, `name "c#i"`},
		{"no digest", "ci viewer secret", "digest of token ci"},
		{"short digest", "ci viewer sha256:abcd", "digest of token ci"},
		{"endless line", "ci viewer " + strings.Repeat("a", 1<<20), "token too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if all, err := server.ParseTokens(strings.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseTokens = %v, %v, want an error with %q", all, err, tt.want)
			}
		})
	}
}

// What parses prints as lines that parse to the same; each has a role.
func FuzzParseTokens(f *testing.F) {
	digest := strings.Repeat("0f", 32)
	f.Add("ci viewer sha256:" + digest)
	f.Add("# comment\n\na writer sha256:" + digest + "\nb operator sha256:" + strings.ToUpper(digest))
	f.Add("ci viewer sha256:")
	f.Fuzz(func(t *testing.T, in string) {
		all, err := server.ParseTokens(strings.NewReader(in))
		if err != nil {
			return
		}
		var lines strings.Builder
		for _, tok := range all {
			fmt.Fprintf(&lines, "%s %s sha256:%x\n", tok.Name, tok.Role, tok.SHA256)
			if tok.Role != server.Viewer && tok.Role != server.Writer && tok.Role != server.Operator {
				t.Errorf("role %q", tok.Role)
			}
		}
		again, err := server.ParseTokens(strings.NewReader(lines.String()))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(all) {
			t.Errorf("%q parsed to %v, and its lines to %v (%v)", in, all, again, err)
		}
	})
}
