package server

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Token is the right to a role. The secret itself is not kept.
type Token struct {
	Name   string
	Role   Role
	SHA256 [sha256.Size]byte
}

// NewToken makes a token of "NAME:ROLE": the secret to hand out, and the line
// for the token file.
func NewToken(spec string) (secret, line string, err error) {
	name, role, ok := strings.Cut(spec, ":")
	if !ok || !validName(name) || !Role(role).valid() {
		return "", "", fmt.Errorf("new token %.100q: want NAME:ROLE, a role being viewer, writer or operator", spec)
	}
	var b [32]byte
	rand.Read(b[:]) // never fails
	secret = "pctl_" + base64.RawURLEncoding.EncodeToString(b[:])
	return secret, fmt.Sprintf("%s %s sha256:%x", name, role, sha256.Sum256([]byte(secret))), nil
}

// ParseTokens reads a token file: a line each, "NAME ROLE sha256:HEX", blank
// lines and those that begin with # apart. An error names the line.
func ParseTokens(r io.Reader) ([]Token, error) {
	var all []Token
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		t, err := parseToken(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		all = append(all, t)
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no token in it: want lines of NAME ROLE sha256:HEX")
	}
	return all, nil
}

func parseToken(line string) (Token, error) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return Token{}, fmt.Errorf("want NAME ROLE sha256:HEX, got %d words", len(f))
	}
	t := Token{Name: f[0], Role: Role(f[1])}
	switch {
	case !validName(t.Name):
		return t, fmt.Errorf("name %.100q: want printable characters, neither # nor : among them", f[0])
	case !t.Role.valid():
		return t, fmt.Errorf("role %.100q: want viewer, writer or operator", f[1])
	}
	digest, ok := strings.CutPrefix(f[2], "sha256:")
	sum, err := hex.DecodeString(digest)
	if !ok || err != nil || len(sum) != sha256.Size {
		return t, fmt.Errorf("digest of token %s: want sha256: and 64 hex digits", t.Name)
	}
	copy(t.SHA256[:], sum)
	return t, nil
}

// validName tells whether a name can stand in a token file, in NAME:ROLE and in
// the audit log.
func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '#' || r == ':' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}

func (r Role) valid() bool { return r == Viewer || r == Writer || r == Operator }
