package check

import (
	"fmt"
	"slices"
	"strings"
)

// Words are the states that raise a warning and those that are critical.
type Words struct{ Warn, Crit []string }

// ParseWords reads two comma lists of states. known are those that there are.
func ParseWords(warn, crit string, known ...string) (w Words, err error) {
	if w.Warn, err = words(warn, known); err != nil {
		return w, err
	}
	w.Crit, err = words(crit, known)
	return w, err
}

func words(list string, known []string) (out []string, err error) {
	for word := range strings.SplitSeq(list, ",") {
		word = strings.ReplaceAll(strings.TrimSpace(word), "_", "-")
		switch {
		case word == "" || word == "none":
		case !slices.Contains(known, word):
			return nil, fmt.Errorf("threshold %q: there is no state %q: want some of %s, or none", list, word, strings.Join(known, ", "))
		default:
			out = append(out, word)
		}
	}
	return out, nil
}

// of is the status of something in all of these states.
func (w Words) of(states ...string) Status {
	for _, level := range []struct {
		status Status
		words  []string
	}{{Critical, w.Crit}, {Warning, w.Warn}} {
		for _, s := range states {
			if slices.Contains(level.words, s) {
				return level.status
			}
		}
	}
	return OK
}
