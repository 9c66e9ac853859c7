package render_test

import (
	"bytes"
	"regexp"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func TestCallGraph(t *testing.T) {
	tree, err := hotspot.Tree(demoProfile(t), hotspot.GraphOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tree.Entries = tree.Entries[8:12]
	evil, err := hotspot.Peek(demoProfile(t, "main.a;main.\x1b[2J\x1b]0;x\x07b", "main.\u200dc;d\te;main.\x1b[2J\x1b]0;x\x07b;e.f"), regexp.MustCompile("b$"), hotspot.GraphOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rs := []api.Result[render.CallGraphShown]{
		{Instance: "http://a:1", Value: render.CallGraphShown{CallGraph: tree, ProfileID: "p_01HZX3QW5T7R"}},
		{Instance: "http://b:1", Value: render.CallGraphShown{CallGraph: evil}}, refused[render.CallGraphShown]("http://c:1"),
		{Instance: "http://d:1", Value: render.CallGraphShown{CallGraph: &hotspot.CallGraph{}}},
	}
	golden(t, "callgraph", func(w *bytes.Buffer, o render.Options) error { return render.CallGraph(w, rs, o) })
}

func TestProfileTags(t *testing.T) {
	values := func(names ...string) (out []hotspot.TagValue) {
		for i, n := range names {
			out = append(out, hotspot.TagValue{Label: n, Value: int64(900-40*i) * 1e6, Ratio: .45 - .02*float64(i)})
		}
		return out
	}
	report := &hotspot.TagReport{
		Header: hotspot.Header{Type: "cpu", SampleType: "cpu", Unit: "nanoseconds", Total: 2e9, Samples: 200, Seconds: 30},
		Keys: []hotspot.TagKey{
			{Key: "route", Values: values("GET /report/weekly", "POST /priority/generate", "a", "b", "c", "d", "e", "f", "g", "h", "i")},
			{Key: "evil\x1b[2J", Values: values("\x1b]0;x\x07")},
		},
	}
	rs := []api.Result[render.TagsShown]{
		{Instance: "http://a:1", Value: render.TagsShown{TagReport: report, ProfileID: "p_01HZX3QW5T7R"}},
		{Instance: "http://b:1", Value: render.TagsShown{TagReport: &hotspot.TagReport{Header: report.Header}}},
	}
	golden(t, "tags", func(w *bytes.Buffer, o render.Options) error { return render.ProfileTags(w, rs, o) })
}

func TestProfileDiff(t *testing.T) {
	before := demoProfile(t)
	after := demoProfile(t, "net/http.(*conn).serve;main.(*api).ServeHTTP;main.(*api).generate;github.com/acme/pulse/engine.(*Rank).Score;github.com/acme/pulse/engine.cosine",
		"runtime.gcBgMarkWorker;runtime.gcDrain;runtime.scanobject", "net/http.(*conn).serve;main.\x1b[2Jnew;sort.Slice;runtime.memmove")
	compare := func(a, b *hotspot.Profile, o hotspot.CompareOptions) render.ProfileDiffShown {
		c, err := hotspot.Compare(b, a, o)
		if err != nil {
			t.Fatal(err)
		}
		return render.ProfileDiffShown{Comparison: c, A: "p_01HZX3QW5T7RABCDEFGH", B: "p_4QZXABCDEFGHIJKLMNOP", Cum: o.Cum}
	}
	one := func(d render.ProfileDiffShown) []api.Result[render.ProfileDiffShown] {
		return []api.Result[render.ProfileDiffShown]{{Value: d}}
	}
	d := compare(before, after, hotspot.CompareOptions{N: 6})
	golden(t, "profile-diff", func(w *bytes.Buffer, o render.Options) error { return render.ProfileDiff(w, one(d), o) })
	failed := compare(before, after, hotspot.CompareOptions{N: 2, Cum: true, FailOver: .05})
	failed.Swapped, failed.Note, failed.A = "the base was taken 1m4s after the \x1b[2Jprofile", "one side has 30 samples: a share of it can be off by 18 %", "/tmp/\x1b[2Jbefore.pb.gz"
	golden(t, "profile-diff-failed", func(w *bytes.Buffer, o render.Options) error { return render.ProfileDiff(w, one(failed), o) })
	same := compare(before, before, hotspot.CompareOptions{N: 1, FailOver: .05})
	golden(t, "profile-diff-same", func(w *bytes.Buffer, o render.Options) error { return render.ProfileDiff(w, one(same), o) })
}
