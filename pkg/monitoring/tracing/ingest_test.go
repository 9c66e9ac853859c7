package tracing_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const t0 = 1_700_000_000_000_000_000

func traceID(n int) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(n)<<32|0xabcd)
	return id
}

// batch returns a request of traces with spans each: a root and its children.
func batch(t testing.TB, traces, spans int, change ...func(trace int, s *otlp.Span)) []byte {
	t.Helper()
	var encoded [][]byte
	for tr := range traces {
		for n := range spans {
			s := otlp.Span{TraceID: traceID(tr + 1), SpanID: [8]byte{1, byte(n), byte(n >> 8)}, Name: fmt.Sprint("op ", n), Kind: 2,
				Start: uint64(t0 + tr*1e9 + n*1e6), End: uint64(t0 + tr*1e9 + n*1e6 + (tr+1)*1e7)}
			if n > 0 {
				s.ParentID = [8]byte{1}
			}
			for _, f := range change {
				f(tr, &s)
			}
			encoded = append(encoded, otlp.AppendSpan(nil, &s))
		}
	}
	res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{
		{Key: "service.name", Value: otlp.String("shop")}, {Key: "deployment.environment", Value: otlp.String("prod")}}})
	return otlp.AppendResourceSpans(nil, res, &otlp.Scope{Name: "lib"}, encoded...)
}

func add(t testing.TB, s *tracing.Store, body []byte) {
	t.Helper()
	if _, rejected, err := s.AddOTLP(body); err != nil || rejected != 0 {
		t.Fatalf("AddOTLP: %d rejected, %v", rejected, err)
	}
}

func TestAddOTLP(t *testing.T) {
	s := newStore(t, tracing.Options{})
	body := batch(t, 2, 3)
	add(t, s, body)
	clear(body) // the store keeps nothing of it
	tr, err := s.Get(fmt.Sprintf("%x", traceID(1)))
	if err != nil {
		t.Fatal(err)
	}
	if tr.Root != "op 0" || tr.Service != "shop" || len(tr.Spans) != 3 || tr.Metadata["deployment.environment"] != "prod" ||
		tr.Spans[1].Scope != "lib" || tr.Spans[1].Kind != "server" || tr.StartUnixNano != t0 || tr.Duration.Duration() != 12*time.Millisecond || !*tr.Complete {
		t.Errorf("trace %+v", tr)
	}
}

func TestSentAgain(t *testing.T) {
	s := newStore(t, tracing.Options{})
	for range 3 {
		add(t, s, batch(t, 1, 100))
	}
	if st := s.Stats(); st.Spans != 100 || st.Dropped["duplicate"] != 200 {
		t.Errorf("stats %+v", st)
	}
}

func TestBrokenRequestLeavesNothing(t *testing.T) {
	s := newStore(t, tracing.Options{})
	body := append(batch(t, 1, 3), 0xff)
	if _, _, err := s.AddOTLP(body); !errors.Is(err, otlp.ErrMalformed) {
		t.Errorf("AddOTLP error = %v, want ErrMalformed", err)
	}
	if st := s.Stats(); st.Traces != 0 || st.Bytes != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestInvalidSpansAreRejected(t *testing.T) {
	s := newStore(t, tracing.Options{})
	n, rejected, err := s.AddOTLP(batch(t, 2, 2, func(tr int, sp *otlp.Span) {
		if tr == 1 {
			sp.TraceID = [16]byte{}
		}
	}))
	if n != 2 || rejected != 2 || err != nil || s.Stats().Dropped["invalid"] != 2 {
		t.Errorf("%d accepted, %d rejected, %v", n, rejected, err)
	}
}

func TestIncompleteTrace(t *testing.T) {
	s := newStore(t, tracing.Options{})
	add(t, s, batch(t, 1, 3, func(_ int, sp *otlp.Span) {
		if sp.ParentID == [8]byte{} {
			sp.ParentID = [8]byte{0xee}
		}
	}))
	if tr := get(t, s); *tr.Complete || tr.Root != "op 0" {
		t.Errorf("complete %v, root %q", *tr.Complete, tr.Root)
	}
}

func TestForeignSecretsAndHugeValues(t *testing.T) {
	s := newStore(t, tracing.Options{})
	body := batch(t, 1, 2, func(_ int, sp *otlp.Span) {
		sp.Attrs = []otlp.KeyValue{{Key: "http.request.header.cookie", Value: otlp.String("S3CRET")}, {Key: "huge", Value: otlp.String(strings.Repeat("x", 512<<10))}}
		if sp.ParentID != [8]byte{} {
			sp.Attrs[1].Value.Str = strings.Repeat("x", 2<<20)
		}
	})
	if accepted, rejected, err := s.AddOTLP(body); accepted != 2 || rejected != 0 || err != nil || s.Stats().Dropped["too_large"] != 0 {
		t.Errorf("a span of 512 kB and one of 2 MB: %d accepted, %d rejected, %v", accepted, rejected, err)
	}
	for _, sp := range get(t, s).Spans {
		if sp.Tags["http.request.header.cookie"] != "***" || len(sp.Tags["huge"].(string)) != 16<<10 || sp.Dropped.Value() != 1 {
			t.Errorf("cookie %v, huge of %d bytes, %d dropped", sp.Tags["http.request.header.cookie"], len(sp.Tags["huge"].(string)), sp.Dropped.Value())
		}
	}
	if n := s.Stats().Bytes; n > 1<<20 {
		t.Errorf("%d bytes kept, want the 2 MB cut", n)
	}
	tag, err := tracing.ParseTag("http.request.header.cookie=S3CRET")
	if page, _ := s.Find(tracing.Query{Tags: []tracing.Tag{tag}}); err != nil || page.Total != 0 {
		t.Error("a filter tells the secret")
	}
	if page, _ := s.Find(tracing.Query{Text: "s3cret"}); page.Total != 0 {
		t.Error("a text filter tells the secret")
	}
}

// A span that is too large within the limits, too, is refused.
func TestSpanBeyondAllLimits(t *testing.T) {
	s := newStore(t, tracing.Options{})
	body := batch(t, 1, 2, func(_ int, sp *otlp.Span) {
		if sp.ParentID != [8]byte{} {
			for i := range 100 {
				sp.Attrs = append(sp.Attrs, otlp.KeyValue{Key: fmt.Sprint(i), Value: otlp.String(strings.Repeat("x", 16<<10))})
			}
		}
	})
	if accepted, rejected, err := s.AddOTLP(body); accepted != 1 || rejected != 1 || err != nil || s.Stats().Dropped["too_large"] != 1 {
		t.Errorf("%d accepted, %d rejected, %v", accepted, rejected, err)
	}
}

func TestGetByPrefix(t *testing.T) {
	s := newStore(t, tracing.Options{})
	add(t, s, batch(t, 20, 1))
	if tr, err := s.Get("00000001"); err != nil || tr.TraceID != fmt.Sprintf("%x", traceID(1)) {
		t.Errorf("unique prefix: %s, %v", tr.TraceID, err)
	}
	add(t, s, batch(t, 1, 1, func(_ int, sp *otlp.Span) { sp.TraceID = [16]byte{0xab, 0xcd} }))
	for _, id := range []string{"ABCD", "abcd", "ABCD" + strings.Repeat("0", 28)} {
		if tr, err := s.Get(id); err != nil || tr.TraceID != "abcd"+strings.Repeat("0", 28) {
			t.Errorf("Get(%q): %s, %v", id, tr.TraceID, err)
		}
	}
	add(t, s, batch(t, 1, 1, func(_ int, sp *otlp.Span) { sp.TraceID = [16]byte{8: 0x5a, 15: 0xf1} }))
	if tr, err := s.Get("5a000000000000f1"); err != nil || tr.TraceID != strings.Repeat("0", 16)+"5a000000000000f1" {
		t.Errorf("a 64-bit id: %s, %v", tr.TraceID, err)
	}
	_, err := s.Get("0000")
	var ambiguous *tracing.AmbiguousError
	if !errors.As(err, &ambiguous) || ambiguous.Total != 21 || len(ambiguous.Candidates) != 10 {
		t.Errorf("ambiguous prefix: %v", err)
	}
	for _, id := range []string{"", "000", "ffff", strings.Repeat("0", 32), strings.Repeat("a", 33), "zzzz"} {
		if _, err := s.Get(id); !errors.Is(err, tracing.ErrNotFound) {
			t.Errorf("Get(%q) error = %v, want ErrNotFound", id, err)
		}
	}
}

func TestFind(t *testing.T) {
	s := newStore(t, tracing.Options{})
	add(t, s, batch(t, 9, 2, func(tr int, sp *otlp.Span) {
		sp.Attrs = []otlp.KeyValue{{Key: "n", Value: otlp.Int(int64(tr))}, {Key: "user", Value: otlp.String(fmt.Sprint("u", tr))}}
		sp.Events = []otlp.Event{{Name: fmt.Sprint("Log ", tr)}}
		if tr%3 == 0 {
			sp.Status = 2
		}
	}))
	s.Link(traceID(4), "p1")
	tag := func(e string) []tracing.Tag {
		tg, err := tracing.ParseTag(e)
		if err != nil {
			t.Fatal(err)
		}
		return []tracing.Tag{tg}
	}
	for _, tt := range []struct {
		name string
		q    tracing.Query
		want string
	}{
		{"recent", tracing.Query{}, "987654321"},
		{"slowest", tracing.Query{Sort: tracing.Slowest}, "987654321"},
		{"errors", tracing.Query{Sort: tracing.Errors}, "741986532"},
		{"finished", tracing.Query{State: tracing.Finished}, "987654321"},
		{"active", tracing.Query{State: tracing.Active}, ""},
		{"status", tracing.Query{Status: api.StatusError}, "741"},
		{"service", tracing.Query{Service: "shop"}, "987654321"},
		{"other service", tracing.Query{Service: "other"}, ""},
		{"operation", tracing.Query{Operation: "op 1", MaxDuration: 30 * time.Millisecond}, "21"},
		{"min duration", tracing.Query{MinDuration: 80 * time.Millisecond}, "98"},
		{"since", tracing.Query{Since: time.Unix(0, t0+7e9)}, "98"},
		{"until", tracing.Query{Until: time.Unix(0, t0+1e9)}, "21"},
		{"tag equal", tracing.Query{Tags: tag("n=3")}, "4"},
		{"tag above", tracing.Query{Tags: tag("n>6")}, "98"},
		{"tag below", tracing.Query{Tags: tag("n<2")}, "21"},
		{"tag differs", tracing.Query{Tags: tag("n!=3")}, "98765321"},
		{"tag regex", tracing.Query{Tags: tag("user~^u[12]$")}, "32"},
		{"tag present", tracing.Query{Tags: tag("user")}, "987654321"},
		{"tag absent", tracing.Query{Tags: tag("nothing")}, ""},
		{"two tags", tracing.Query{Tags: append(tag("n>3"), tag("user~[345]")...)}, "65"},
		{"resource tag", tracing.Query{Tags: tag("deployment.environment=prod")}, "987654321"},
		{"text in a log", tracing.Query{Text: "log 5"}, "6"},
		{"text in a tag", tracing.Query{Text: "U7"}, "8"},
		{"profile", tracing.Query{HasProfile: true}, "4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for q := tt.q; ; { // in pages of two
				q.Limit = 2
				page, err := s.Find(q)
				if err != nil || page.Total != len(tt.want) {
					t.Fatalf("Find: %d in all, %v; want %d", page.Total, err, len(tt.want))
				}
				for _, tr := range page.Traces {
					got += tr.TraceID[7:8]
				}
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
			}
			if got != tt.want {
				t.Errorf("found %s, want %s", got, tt.want)
			}
		})
	}
	if _, err := s.Find(tracing.Query{Cursor: "nonsense"}); !errors.Is(err, tracing.ErrCursor) {
		t.Errorf("Find with a made-up cursor: %v", err)
	}
}

// FuzzParseTag: what parses prints as it was.
func FuzzParseTag(f *testing.F) {
	for _, s := range []string{"a=b", "a!=b", "a~^b$", "a>1", "a<-2e3", "a", "=", "a!b", "a>b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if tag, err := tracing.ParseTag(s); err == nil && tag.String() != s {
			t.Errorf("ParseTag(%q).String() = %q", s, tag)
		}
	})
}

// FuzzAddOTLP: nothing panics, the figures add up, and what is kept can be read.
func FuzzAddOTLP(f *testing.F) {
	f.Add(batch(f, 2, 3))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newStore(t, tracing.Options{})
		accepted, _, err := s.AddOTLP(body)
		page, findErr := s.Find(tracing.Query{Spans: true, Limit: 1000, Text: "x"})
		if findErr != nil || err != nil && (accepted > 0 || page.Total > 0) {
			t.Errorf("%d accepted, %v; %d found, %v", accepted, err, page.Total, findErr)
		}
		if st := s.Stats(); err == nil && accepted != st.Spans+int(st.Dropped["duplicate"]) {
			t.Errorf("%d accepted, stats %+v", accepted, st)
		}
	})
}
