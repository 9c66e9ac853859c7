package demo

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// Report sums up what happened in some weeks.
type Report struct {
	Weeks        int    `json:"weeks"`
	Lines        int    `json:"lines"`
	ArchiveBytes int    `json:"archive_bytes"` // what the lines take when compressed
	Terms        []Term `json:"terms"`         // the most frequent first
}

// Term is a word and how often it was found.
type Term struct {
	Word  string `json:"word"`
	Count int    `json:"count"`
}

const (
	defaultWeeks = 4
	maxWeeks     = 12
	maxTerms     = 10
)

// report serves GET /report/weekly. Long ones are slow requests, and leave a
// profile.
func (d *Demo) report(_ http.ResponseWriter, r *http.Request) (any, error) {
	weeks := defaultWeeks
	if text := r.FormValue("weeks"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxWeeks {
			return nil, api.Invalid("weeks", "want 1 to %d, got %.40q", maxWeeks, text)
		}
		weeks = n
	}
	trace.SpanFromContext(r.Context()).SetAttributes(attribute.Int("weeks", weeks))
	return monitoring.Profile(r.Context(), d.m, "weekly_report", func(ctx context.Context) (Report, error) {
		return d.summarise(ctx, weeks)
	})
}

// summarise works through the weeks one by one.
func (d *Demo) summarise(ctx context.Context, weeks int) (Report, error) {
	out := Report{Weeks: weeks}
	counts := map[string]int{}
	for week := range weeks {
		lines, err := d.db.linesOfWeek(ctx, week)
		if err != nil {
			return out, err
		}
		monitoring.Checkpoint(ctx, fmt.Sprintf("week %d loaded", week))
		size, err := monitoring.Trace(ctx, d.m, "report.week", func(ctx context.Context) (int, error) {
			trace.SpanFromContext(ctx).SetAttributes(attribute.Int("week", week), attribute.Int("lines", len(lines)))
			begin := time.Now()
			countTerms(counts, lines)
			monitoring.Timing(ctx, "count terms", time.Since(begin))
			begin = time.Now()
			defer func() { monitoring.Timing(ctx, "compress", time.Since(begin)) }()
			return compressedSize(lines)
		})
		if err != nil {
			return out, err
		}
		out.Lines += len(lines)
		out.ArchiveBytes += size
	}
	out.Terms = mostFrequent(counts)
	monitoring.Checkpoint(ctx, "report done")
	return out, nil
}

var word = regexp.MustCompile(`[a-z]{3,}(-[a-z]+)?|#[0-9]+`)

func countTerms(counts map[string]int, lines []string) {
	for _, line := range lines {
		for _, w := range word.FindAllString(line, -1) {
			counts[w]++
		}
	}
}

func compressedSize(lines []string) (int, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	for _, line := range lines {
		if _, err := z.Write([]byte(line)); err != nil {
			return 0, err
		}
	}
	if err := z.Close(); err != nil {
		return 0, err
	}
	return b.Len(), nil
}

func mostFrequent(counts map[string]int) []Term {
	terms := make([]Term, 0, len(counts))
	for w, n := range counts {
		terms = append(terms, Term{w, n})
	}
	slices.SortFunc(terms, func(a, b Term) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Word, b.Word)) })
	return terms[:min(len(terms), maxTerms)]
}

// makeArchive makes the lines of past weeks, the same in each process: about
// 100 KB a week.
func makeArchive() [][]string {
	r := rand.New(rand.NewPCG(20, 26))
	weeks := make([][]string, maxWeeks)
	for w := range weeks {
		weeks[w] = make([]string, maxWeekLines)
		for i := range weeks[w] {
			weeks[w][i] = fmt.Sprintf("u_%d closed #%d: %s, then %s\n", r.IntN(300), r.IntN(9000), subjects[r.IntN(len(subjects))], subjects[r.IntN(len(subjects))])
		}
	}
	return weeks
}
