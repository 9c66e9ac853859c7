package hotspot

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Selection says which samples and which of their frames count, in the
// vocabulary of `go tool pprof`. The zero value selects everything.
type Selection struct {
	SampleType string // name or number of the values; "" means the profile's default, or its last

	Focus     *regexp.Regexp // keep only samples with a matching frame
	Ignore    *regexp.Regexp // drop samples with a matching frame
	Hide      *regexp.Regexp // leave matching frames out
	Show      *regexp.Regexp // leave all other frames out
	ShowFrom  *regexp.Regexp // leave out what is above the outermost matching frame, and samples without one
	PruneFrom *regexp.Regexp // leave out what is below the innermost matching frame

	// Labels: "regexp" against key:value, "key=regexp", or for numbers a range:
	// "128kb", ":64kb", "4mb:", "bytes=12kb:64mb". Commas join expressions.
	TagFocus, TagIgnore string

	Granularity  Granularity
	NoInlines    bool    // count inlined calls as their caller
	Mean         bool    // divide by the first sample type: the mean of a call, of an object
	DivideBy     float64 // divides all values; 0 means 1
	Relative     bool    // percentages are of what is selected, not of the whole profile
	DropNegative bool    // leave out what is below zero, in a difference
}

// Granularity is what makes two frames the same.
type Granularity string

// The granularities of pprof.
const (
	ByFunction     Granularity = "functions" // also the zero value
	ByFileFunction Granularity = "filefunctions"
	ByFile         Granularity = "files"
	ByLine         Granularity = "lines"
	ByAddress      Granularity = "addresses"
)

// ParseGranularity checks a granularity's name.
func ParseGranularity(s string) (Granularity, error) {
	switch g := cmp.Or(Granularity(s), ByFunction); g {
	case ByFunction, ByFileFunction, ByFile, ByLine, ByAddress:
		return g, nil
	}
	return "", fmt.Errorf("granularity %q: want functions, filefunctions, files, lines or addresses", s)
}

// Header says what the numbers of a report are.
type Header struct {
	Type       string  `json:"type"`        // of the profile: cpu, heap, …
	SampleType string  `json:"sample_type"` // of the values: cpu, inuse_space, …
	Unit       string  `json:"unit"`        // nanoseconds, bytes, count, …
	Total      int64   `json:"total"`       // what percentages are of; the base's in a difference
	Samples    int64   `json:"samples"`     // that were taken
	Seconds    float64 `json:"seconds"`     // that the profile covers; 0 where it has none
}

// ratio is part's share of the total, 0 without one.
func (h *Header) ratio(part int64) float64 {
	if h.Total == 0 {
		return 0
	}
	return float64(part) / float64(h.Total)
}

// sampleIndex finds a sample type by its name or number, as pprof does:
// "inuse_space" also finds "space", and "" the default.
func (p *Profile) sampleIndex(name string) (int, error) {
	last := len(p.SampleTypes) - 1
	if name == "" {
		for i, t := range p.SampleTypes {
			if t.Type == p.DefaultSampleType && t.Type != "" {
				return i, nil
			}
		}
		return last, nil
	}
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i <= last {
		return i, nil
	}
	var have []string
	for i, t := range p.SampleTypes {
		if t.Type == name || t.Type == strings.TrimPrefix(name, "inuse_") {
			return i, nil
		}
		have = append(have, t.Type)
	}
	return 0, fmt.Errorf("sample type %q: the profile has %s", name, strings.Join(have, ", "))
}
