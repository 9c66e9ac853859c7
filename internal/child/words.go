package child

import (
	"errors"
	"strings"
)

// Split splits a command line into words as a shell does, without anything
// else that a shell does: blanks part words, '…' keeps all as it is, "…" all
// but \" and \\, a backslash elsewhere the character after it.
func Split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inside := false // a word has begun, if only by quotes
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n', '\r':
			if inside {
				words = append(words, word.String())
				word.Reset()
				inside = false
			}
		case '\'', '"':
			n, err := quoted(&word, line[i+1:], c)
			if err != nil {
				return nil, err
			}
			i += n
			inside = true
		case '\\':
			if i++; i == len(line) {
				return nil, errors.New("it ends in a backslash")
			}
			word.WriteByte(line[i])
			inside = true
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words, nil
}

// quoted appends what stands before the closing quote, and returns how many
// bytes that takes with it.
func quoted(word *strings.Builder, rest string, quote byte) (int, error) {
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if c == quote {
			return i + 1, nil
		}
		if quote == '"' && c == '\\' && i+1 < len(rest) && (rest[i+1] == '"' || rest[i+1] == '\\') {
			i++
			c = rest[i]
		}
		word.WriteByte(c)
	}
	return 0, errors.New("a quote in it is not closed: " + string(quote))
}
