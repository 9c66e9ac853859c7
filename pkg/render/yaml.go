package render

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// yamlOf writes JSON as YAML in block style: members in their order, numbers as
// they stand, strings that any parser might take for something else, or that a
// terminal might act on, in double quotes as in JSON. (goccy/go-yaml's own
// JSONToYAML rounds numbers, loses tabs and lets escape codes through.)
func yamlOf(b []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := yamlValue(&out, b, 0, false); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// yamlValue writes a value behind its name, or behind the dash of a list.
func yamlValue(out *bytes.Buffer, raw json.RawMessage, indent int, named bool) error {
	switch raw[0] {
	case '{':
		return yamlObject(out, raw, indent, named)
	case '[':
		return yamlList(out, raw, indent, named)
	}
	if named {
		out.WriteByte(' ')
	}
	out.Write(yamlScalar(raw))
	out.WriteByte('\n')
	return nil
}

func yamlObject(out *bytes.Buffer, raw json.RawMessage, indent int, named bool) error {
	all, err := membersOf(raw)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		out.WriteString(" {}\n"[oneIf(!named):])
		return nil
	}
	if named {
		out.WriteByte('\n')
	}
	for i, m := range all {
		if named || i > 0 {
			out.WriteString(blanks(indent))
		}
		name, err := marshal(m.name)
		if err != nil {
			return err
		}
		out.Write(yamlScalar(name))
		out.WriteByte(':')
		if err := yamlValue(out, m.raw, indent+2, true); err != nil {
			return err
		}
	}
	return nil
}

func yamlList(out *bytes.Buffer, raw json.RawMessage, indent int, named bool) error {
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	if len(all) == 0 {
		out.WriteString(" []\n"[oneIf(!named):])
		return nil
	}
	if named {
		out.WriteByte('\n')
	}
	for i, v := range all {
		if named || i > 0 {
			out.WriteString(blanks(indent))
		}
		out.WriteByte('-')
		switch {
		case (v[0] == '{' || v[0] == '[') && len(v) > 2:
			out.WriteByte(' ')
			if err := yamlValue(out, v, indent+2, false); err != nil {
				return err
			}
		default:
			if err := yamlValue(out, v, indent+2, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}

var (
	// plainYAML are strings that are themselves to every parser, in every place.
	plainYAML = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*( [A-Za-z0-9_./@+()-]+)*$`)
	// exponent is of a number that YAML 1.1 takes for a string.
	exponent = regexp.MustCompile(`^(-?[0-9]+)([eE][+-]?[0-9]+)$`)
	// notStrings are words that are values to some parser.
	notStrings = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
)

func yamlScalar(raw json.RawMessage) []byte {
	if raw[0] != '"' {
		return exponent.ReplaceAll(raw, []byte("$1.0$2"))
	}
	inner := raw[1 : len(raw)-1]
	if plainYAML.Match(inner) && !slices.Contains(notStrings, strings.ToLower(string(inner))) {
		return inner
	}
	return raw
}
