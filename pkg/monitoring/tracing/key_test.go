package tracing_test

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// What is set under prepared keys is what is set under their names: masked, cut
// and replaced alike, of the store that prepared them or not.
func TestPreparedKeysSetWhatNamesSet(t *testing.T) {
	o := tracing.Options{MaxValueBytes: 200, MaxAttrs: 12}
	long := strings.Repeat("n", 300)
	texts := [][2]string{
		{"plain", "text"}, {"db.password", "s3cret"}, {"url.full", "https://u:s3cret@h/?token=s3cret&a=1"}, {"plain", "again"},
		{"cut", strings.Repeat("é", 150)}, {"middling", strings.Repeat("m", 150)}, {long, "long name"}, {"", "no name"}, {"empty", ""},
	}
	named := newStore(t, o)
	_, sp := named.Start(context.Background(), "job", tracing.StartOptions{})
	for _, kv := range texts {
		sp.SetString(kv[0], kv[1])
	}
	sp.SetInt("int", math.MinInt64)
	sp.SetFloat("float", 0.5)
	sp.SetBool("bool", true)
	sp.SetInt("int", 7)
	sp.SetInt("beyond", 1)
	sp.SetInt("the limit", 1)
	sp.SetInt("of twelve", 1)
	sp.End()
	want := get(t, named).Spans[0]

	for _, own := range []bool{true, false} {
		s := newStore(t, o)
		from := s
		if !own {
			from = newStore(t, tracing.Options{Mask: func(string) bool { return false }})
		}
		_, sp := s.Start(context.Background(), "job", tracing.StartOptions{})
		var attrs []tracing.Attr
		for _, kv := range texts {
			attrs = append(attrs, from.TextKey(kv[0]).Of(kv[1]))
		}
		sp.Set(append(attrs, tracing.Attr{}, from.IntKey("int").Of(math.MinInt64), from.FloatKey("float").Of(0.5), from.BoolKey("bool").Of(true))...)
		sp.Set(from.IntKey("int").Of(7), from.IntKey("beyond").Of(1))
		sp.EndWith(tracing.EndOptions{}, from.IntKey("the limit").Of(1), from.IntKey("of twelve").Of(1))
		sp.Set(from.TextKey("late").Of("nothing"))
		got := get(t, s).Spans[0]
		if !reflect.DeepEqual(got.Tags, want.Tags) || !reflect.DeepEqual(got.Dropped, want.Dropped) {
			t.Errorf("own %v:\n%v\n%+v, want\n%v\n%+v", own, got.Tags, *got.Dropped, want.Tags, *want.Dropped)
		}
	}
}

// What a request is described by is masked and cut as attributes are.
func TestDescribeUnderKeys(t *testing.T) {
	s := newStore(t, tracing.Options{Service: "shop", MaxValueBytes: 100})
	_, sp := s.Start(context.Background(), "job", tracing.StartOptions{})
	sp.Describe("req-1", "ada", s.TextKey("http.url").Of("http://h/?token=s3cret"), s.TextKey("password").Of("s3cret"),
		s.TextKey("cut").Of(strings.Repeat("x", 200)), s.IntKey("n").Of(3), tracing.Attr{}, newStore(t, tracing.Options{}).TextKey("other").Of("store"))
	for range 2 { // while it runs, and afterwards
		tr, err := s.Get(sp.SpanContext().TraceID().String())
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"http.url": "http://h/?token=***", "password": "***", "cut": strings.Repeat("x", 100), "n": int64(3), "other": "store", "service.name": "shop"}
		if fmt.Sprint(tr.Metadata) != fmt.Sprint(want) || tr.RequestID != "req-1" || tr.UserID == nil || *tr.UserID != "ada" {
			t.Errorf("%v %v, want %v", tr.RequestID, tr.Metadata, want)
		}
		sp.End()
	}
}

// Notes share memory until their trace is kept for longer than its neighbours;
// none may change when that memory is used on.
func TestNotesStay(t *testing.T) {
	s := newStore(t, tracing.Options{MaxBytes: 1 << 20})
	key := s.TextKey("which")
	var slow []string
	for i := range 8_000 {
		_, sp := s.Start(context.Background(), "job", tracing.StartOptions{})
		sp.Describe(fmt.Sprint("req-", i), "", key.Of(fmt.Sprint("trace ", i)))
		if i%100 == 0 {
			sp.SetStatus(api.StatusError, "kept")
			slow = append(slow, sp.SpanContext().TraceID().String())
		}
		sp.End()
	}
	found := 0
	for i, id := range slow {
		tr, err := s.Get(id)
		if err != nil {
			continue // the oldest of those that are kept go, too
		}
		found++
		if want := fmt.Sprint("trace ", i*100); tr.Metadata["which"] != want || tr.RequestID != fmt.Sprint("req-", i*100) {
			t.Errorf("%v of %v, want %v", tr.Metadata, tr.RequestID, want)
		}
	}
	if found < 10 {
		t.Errorf("%d of the failed traces are there", found)
	}
}

func TestSetAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newStore(t, tracing.Options{})
	text, num := s.TextKey("http.route"), s.IntKey("user.id")
	_, sp := s.Start(context.Background(), "job", tracing.StartOptions{})
	sp.Set(text.Of("/users/{id}"), num.Of(7))
	if n := testing.AllocsPerRun(100, func() { sp.Set(text.Of("/users/{id}"), num.Of(7)) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
