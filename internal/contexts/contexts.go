// Package contexts keeps the operator's configuration: named contexts, each one
// server or a fleet with what it takes to ask it.
//
// A [File] is read whole and checked strictly: what is wrong is named with line
// and column, never with the value, which may be a secret. Edits change the
// lines that they concern and leave the rest of the file as it is, comments
// too; a file is replaced in one step or not at all.
package contexts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Context is what it takes to ask some servers. The zero value of a member
// leaves it to a flag's default.
type Context struct {
	Servers      []string `yaml:"servers" json:"servers"`                           // URLs, as --server takes them
	Token        string   `yaml:"token" json:"token,omitempty"`                     // the bearer token itself; at most one of the three
	TokenFile    string   `yaml:"token-file" json:"token_file,omitempty"`           // a file of mode 0600 that holds it
	TokenCommand string   `yaml:"token-command" json:"token_command,omitempty"`     // a command with its arguments that prints it
	CA           string   `yaml:"ca" json:"ca,omitempty"`                           // PEM file: whose certificates a server may have
	Cert         string   `yaml:"cert" json:"cert,omitempty"`                       // PEM file of the client's certificate
	Key          string   `yaml:"key" json:"key,omitempty"`                         // and of its key
	ServerName   string   `yaml:"server-name" json:"server_name,omitempty"`         // that the server's certificate is for; "" means the URL's host
	Readonly     bool     `yaml:"readonly" json:"readonly"`                         // refuse every change
	Protected    bool     `yaml:"protected" json:"protected"`                       // a change needs a yes and a reason
	Timeout      string   `yaml:"request-timeout" json:"request_timeout,omitempty"` // default of --request-timeout
	Output       string   `yaml:"output" json:"output,omitempty"`                   // default of --output
	Theme        string   `yaml:"theme" json:"theme,omitempty"`                     // default of --theme
}

// File is a configuration file.
type File struct {
	Path     string
	Current  string // the context used where none is named; "" for none
	Contexts map[string]Context
	DryRun   bool // check edits, write none

	src []byte // as it stands on disk
}

// content is the shape of the file.
type content struct {
	Current  string             `yaml:"current"`
	Contexts map[string]Context `yaml:"contexts"`
}

// maxBytes bounds the file.
const maxBytes = 1 << 20

// ErrRights is wrapped by errors about a file that others may read or write.
var ErrRights = errors.New("its rights are too wide")

// Path returns where the file is, by XDG_CONFIG_HOME or HOME; "" if neither is
// set.
func Path(getenv func(string) string) string {
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pulsectl", "config.yaml")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "pulsectl", "config.yaml")
	}
	return ""
}

// Read reads a file. One that is not there is empty. It refuses one that others
// may write, for it names commands to run, and one with a token that others may
// read.
func Read(path string) (*File, error) {
	f := &File{Path: path, Contexts: map[string]Context{}}
	if path == "" {
		return f, nil
	}
	in, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if f.src, err = io.ReadAll(io.LimitReader(in, maxBytes+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(f.src) > maxBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxBytes)
	}
	if err := f.parse(); err != nil {
		return nil, err
	}
	return f, f.checkRights(info.Mode())
}

func (f *File) checkRights(mode os.FileMode) error {
	if mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%s: others can write it: %w; make it mode 0600", f.Path, ErrRights)
	}
	for _, name := range f.Names() {
		if f.Contexts[name].Token != "" && mode.Perm()&0o077 != 0 {
			return fmt.Errorf("%s: others can read the token of context %s: %w; make it mode 0600", f.Path, name, ErrRights)
		}
	}
	return nil
}

// parse reads src.
func (f *File) parse() error {
	c, err := parse(f.src)
	if err != nil {
		return fmt.Errorf("%s%w", f.Path, err)
	}
	f.Current, f.Contexts = c.Current, c.Contexts
	return nil
}

// parse reads a file's content. Its errors begin with the place, :LINE:COLUMN:.
func parse(src []byte) (content, error) {
	var c content
	if len(bytes.TrimSpace(src)) > 0 {
		err := yaml.NewDecoder(bytes.NewReader(src), yaml.Strict()).Decode(&c)
		if err != nil && err != io.EOF { // of comments alone
			return c, place(err)
		}
	}
	if c.Contexts == nil {
		c.Contexts = map[string]Context{}
	}
	for name, context := range c.Contexts {
		if err := context.Check(name); err != nil {
			return c, fmt.Errorf(": contexts.%s: %w", name, err)
		}
	}
	return c, nil
}

// unknown is how the decoder says that there is no such key.
var unknown = regexp.MustCompile(`^unknown field "(.*)"$`)

// place says where in the file an error is, without the lines around it: they
// may hold a token.
func place(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return errors.New(": it is no configuration in YAML")
	}
	what := e.GetMessage()
	if m := unknown.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("there is no setting %.100q", m[1])
	}
	if value := e.GetToken().Value; len(value) > 3 && !strings.HasPrefix(what, "there is no") {
		what = strings.ReplaceAll(what, value, "…")
	}
	at := e.GetToken().Position
	return fmt.Errorf(":%d:%d: %s", at.Line, at.Column, what)
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,99}$`)

// Check tells what is wrong with a context and its name.
func (c *Context) Check(name string) error {
	given := 0
	for _, way := range []string{c.Token, c.TokenFile, c.TokenCommand} {
		if way != "" {
			given++
		}
	}
	switch {
	case !nameForm.MatchString(name):
		return fmt.Errorf("the name %.100q: want letters, digits, and _ . @ - behind the first", name)
	case given > 1:
		return errors.New("want one of token, token-file and token-command")
	case (c.Cert == "") != (c.Key == ""):
		return errors.New("cert and key go together")
	}
	return nil
}

// Names returns the names of the contexts, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.Contexts)) }

// Masked returns a context without its token.
func (c Context) Masked() Context {
	if c.Token != "" {
		c.Token = "***"
	}
	return c
}

// Expand is a file's name in a context: ~ is the home directory, and what is not
// absolute is beside the configuration file.
func (f *File) Expand(name, home string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok && home != "" {
		return filepath.Join(home, rest)
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(f.Path), name)
}
