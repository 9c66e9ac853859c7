package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/pflag"
)

// settings fills the flags of serve from where they were set: the command line,
// then PULSECTL_* variables, then the variables of Pulse deployments, then the
// configuration file, then the default. Each setting is a flag; its name is its
// key in the file, where dots and groups may part it, and in upper case after
// PULSECTL_ its variable.
type settings struct {
	flags   *pflag.FlagSet
	getenv  func(string) string
	sources map[string]string // by flag: flag, environment, file, default
}

// inherited are the variables that Pulse deployments set already.
var inherited = map[string]string{
	"debug": "DEBUG", "redis-url": "REDIS_URL", "redis-timeout": "REDIS_TIMEOUT",
	"github-timeout": "GITHUB_TIMEOUT", "linear-timeout": "LINEAR_TIMEOUT", "openai-timeout": "OPENAI_TIMEOUT",
}

// resolve sets every flag that the command line left alone. An error names the
// variable, or the file with line and column.
func (s *settings) resolve() error {
	s.sources = map[string]string{}
	var err error
	s.flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Name == "help" || f.Name == "new-token" {
			return // those are no settings
		}
		s.sources[f.Name] = "default"
		if f.Changed {
			s.sources[f.Name] = "flag"
			return
		}
		err = s.fromEnvironment(f)
	})
	if err != nil {
		return err
	}
	if file := s.flags.Lookup("config").Value.String(); file != "" {
		return s.fromFile(file)
	}
	return nil
}

func variable(flag string) string {
	return "PULSECTL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func (s *settings) fromEnvironment(f *pflag.Flag) error {
	for _, name := range []string{variable(f.Name), inherited[f.Name]} {
		if name == "" || s.getenv(name) == "" {
			continue
		}
		if err := f.Value.Set(s.getenv(name)); err != nil {
			return fmt.Errorf("%s: %w", name, hideURL(f.Name, err))
		}
		s.sources[f.Name] = "environment"
		return nil
	}
	return nil
}

// hideURL keeps a password in a URL out of the message.
func hideURL(flag string, err error) error {
	if strings.HasSuffix(flag, "url") {
		return fmt.Errorf("want a URL like redis://host:6379/0")
	}
	return err
}

// fromFile sets what neither the command line nor the environment did.
func (s *settings) fromFile(path string) error {
	src, err := readSettings(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	tree, err := parser.ParseBytes(src, 0)
	if err != nil {
		return fmt.Errorf("configuration %s: %s", filepath.Base(path), yaml.FormatError(err, false, true))
	}
	seen := map[string]bool{}
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		pairs, ok := doc.Body.(ast.MapNode)
		if !ok {
			return fmt.Errorf("configuration %s: want settings as NAME: VALUE, got %s", filepath.Base(path), doc.Body.Type())
		}
		if at, err := s.fromMap(pairs, "", seen); err != nil {
			return fmt.Errorf("configuration %s:%d:%d: %w", filepath.Base(path), at.Line, at.Column, err)
		}
	}
	return nil
}

// fromMap takes settings whose names go on from a prefix. A name's parts may
// stand apart by dots or as groups: trace.max-age is trace-max-age, and so is
// max-age below trace. Of an error it returns the place.
func (s *settings) fromMap(pairs ast.MapNode, prefix string, seen map[string]bool) (*token.Position, error) {
	for it := pairs.MapRange(); it.Next(); {
		key := it.Key().GetToken()
		name := prefix + strings.ReplaceAll(key.Value, ".", "-")
		if group, ok := it.Value().(ast.MapNode); ok {
			if at, err := s.fromMap(group, name+"-", seen); err != nil {
				return at, err
			}
			continue
		}
		if err := s.fromPair(name, it.Value(), seen); err != nil {
			return key.Position, err
		}
	}
	return nil, nil
}

// maxSettings bounds the file: there are not that many settings.
const maxSettings = 1 << 20

func readSettings(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err != nil {
		return nil, err
	}
	if len(src) > maxSettings {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxSettings)
	}
	return bytes.TrimPrefix(src, []byte("\uFEFF")), nil
}

func (s *settings) fromPair(name string, value ast.Node, seen map[string]bool) error {
	f := s.flags.Lookup(name)
	if f == nil || slices.Contains([]string{"config", "new-token", "help"}, name) {
		return fmt.Errorf("there is no setting %.100q", name)
	}
	if seen[name] {
		return fmt.Errorf("%s: it is set twice", name)
	}
	seen[name] = true
	text, err := scalar(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if s.sources[name] != "default" {
		return nil
	}
	if err := f.Value.Set(text); err != nil {
		return fmt.Errorf("%s: %w", name, hideURL(name, err))
	}
	s.sources[name] = "file"
	return nil
}

// scalar returns a value as it is written: 1.10 is not 1.1.
func scalar(node ast.Node) (string, error) {
	switch v := node.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value, nil
	case *ast.NullNode:
		return "", fmt.Errorf("it has no value: leave it out, or write \"\"")
	}
	return "", fmt.Errorf("want one value")
}
