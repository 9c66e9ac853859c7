package live_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/pulsectl/pulsectl/internal/live"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) api.Time { return api.Time{Time: noon.Add(-d)} }

func seconds(d time.Duration) *api.Seconds { s := api.Seconds(d); return &s }

func float(v float64) *api.Float { f := api.Float(v); return &f }

// watching sits before a dashboard of so many servers.
func watching(t testing.TB, servers int, o render.Options) *person {
	t.Helper()
	var all []live.Server
	for i := range servers {
		c, err := client.New(fmt.Sprintf("http://10.0.0.%d:8000", i+1), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, live.Server{Client: c, Flags: []string{"--server", c.Instance()}})
	}
	o.Now = noon
	p := &person{t, live.NewTop(live.Target{Name: "prod-eu", Flags: []string{"-c", "prod-eu"}, Servers: all}, o)}
	p.tell(tea.WindowSizeMsg{Width: 80, Height: 24})
	return p
}

// told tells a dashboard what a server with an outage has to say.
func (p *person) told(member int) {
	n := func(part live.Part, v any) live.News { return live.News{Member: member, Part: part, Value: v} }
	news := []live.News{
		n(live.PartStream, nil), n(live.PartIndex, api.Index{Service: "shop", Capabilities: []string{"breakers"}}),
		n(live.PartRates, api.RouteRates{}),
	}
	for i := range 6 {
		news = append(news, n(live.PartRates, rates(float64(i+1))))
	}
	news = append(news,
		n(live.PartBreakers, breakers()), n(live.PartRunning, api.TraceList{Traces: []api.Trace{trace("a0", "POST /order", api.StatusActive, 0, 3*time.Second)}}),
		n(live.PartFinished, api.TraceList{Traces: []api.Trace{trace("b1", "GET /cart", api.StatusOK, 12*time.Millisecond, time.Minute)}}),
		n(live.PartEvents, happened()), n(live.PartCache, caches(100)), n(live.PartCache, caches(180)), n(live.PartTop, hot()),
		n(live.PartAlerts, alerts()),
	)
	p.tell(live.Batch{Now: noon, News: news})
}

func rates(v float64) api.RouteRates {
	route := func(method, endpoint string, rate, errors float64) api.RouteRate {
		return api.RouteRate{
			Method: method, Endpoint: endpoint, Interval: api.Seconds(2 * time.Second), Requests: api.Float(2 * rate), Rate: api.Float(rate),
			Errors: api.Float(2 * rate * errors), ErrorRate: api.Float(errors), P50: float(.004), P95: float(.02 * rate), P99: float(.1), Avg: float(.006),
		}
	}
	return api.RouteRates{
		Routes: []api.RouteRate{route("GET", "/cart", 4*v, 0), route("POST", "/order/{id}/lines/{line}/of/a/long/route", v, .25)},
		Total:  route("", "", 5*v, .05), Idle: 3, InFlight: float(2),
	}
}

func breakers() api.Breakers {
	since, retry := ago(38*time.Second), api.Time{Time: noon.Add(22 * time.Second)}
	return api.Breakers{
		"github_api": {Name: "github_api", State: api.StateOpen, Mode: api.ModeAutomatic, Since: &since, RetryAt: &retry,
			Stats: api.BreakerStats{TotalRequests: 1284, FailureRate: .41, ConsecutiveFailures: 5}, Config: api.BreakerConfig{FailureThreshold: 5}},
		"openai_api": {Name: "openai_api", State: api.StateHalfOpen, Mode: api.ModeAutomatic, Since: &since, Config: api.BreakerConfig{FailureThreshold: 5, SuccessThreshold: 3}},
		"linear_api": {Name: "linear_api", State: api.StateClosed, Mode: api.ModeAutomatic, Since: &since, Config: api.BreakerConfig{FailureThreshold: 5}},
	}
}

func trace(id, root string, st api.Status, took, begun time.Duration) api.Trace {
	t := api.Trace{TraceID: id + strings.Repeat("0", 30), Root: root, Service: "shop", Status: st, StartTime: ago(begun), SpanCount: api.CountOf(7)}
	if st != api.StatusActive {
		t.Duration, t.EndTime = seconds(took), ago(begun-took)
	}
	return t
}

func happened() []api.Event {
	failed := trace("c2", "POST /order", api.StatusError, 340*time.Millisecond, 20*time.Second)
	fine := trace("d3", "GET /cart", api.StatusOK, 9*time.Millisecond, 15*time.Second)
	began := ago(4 * time.Second)
	slow := api.Profile{ProfileID: "p_4QZXMN", OperationName: "GET /report/weekly", TraceID: "e4" + strings.Repeat("0", 30), Trigger: "slow", State: "active", StartTime: &began}
	return []api.Event{
		{Kind: "health", Time: ago(50 * time.Second), Health: &api.HealthChange{To: "healthy"}},
		{Kind: "breaker", Time: ago(38 * time.Second), Breaker: &api.BreakerEvent{Name: "github_api", From: api.StateClosed, To: api.StateOpen, Reason: "5 failures in a row: 502 Bad Gateway"}},
		{Kind: "health", Time: ago(36 * time.Second), Health: &api.HealthChange{From: "healthy", To: "degraded", Ill: map[string]string{"breaker/github_api": "failed"}}},
		{Kind: "audit", Time: ago(30 * time.Second), Audit: &api.AuditEntry{Actor: "oncall", Action: "breakers.reset", Target: "openai_api", Reason: "INC-42"}},
		{Kind: "trace", Time: failed.EndTime, Trace: &failed}, {Kind: "trace", Time: fine.EndTime, Trace: &fine},
		{Kind: "slow", Time: began, Slow: &slow},
	}
}

func alerts() api.AlertRules {
	firing := api.Alert{State: api.AlertFiring, ActiveAt: noon.Add(-38 * time.Second), Value: 3, Labels: map[string]string{"alertname": "PulseErrors", "route": "/cart"}, Annotations: map[string]string{"summary": "too many errors"}}
	return api.AlertRules{Data: api.RuleGroups{Groups: []api.RuleGroup{{Name: "pulse", Rules: []api.Rule{
		{Type: api.RuleAlerting, Name: "QuietRule", State: api.AlertInactive, Health: api.RuleOK},
		{Type: api.RuleAlerting, Name: "PulseErrors", State: api.AlertFiring, Health: api.RuleOK, Alerts: []api.Alert{firing}},
		{Type: api.RuleAlerting, Name: "BrokenRule", State: api.AlertInactive, Health: api.RuleErr, LastError: "no"},
		{Type: api.RuleRecording, Name: "recorded", Health: api.RuleOK},
	}}}}}
}

func caches(hits api.Count) api.CacheStatus {
	return api.CacheStatus{
		Memory: api.MemoryHealth{Status: "healthy", Stats: api.MemoryStats{Size: 38, MaxSize: 1000, Hits: hits, Misses: 40, Bytes: api.CountOf(29286)}},
		Redis:  api.RedisHealth{Status: "failed", Reason: "dial tcp: connection refused", Stats: api.RedisStats{CacheHits: hits, CacheMisses: 20}},
	}
}

func hot() api.ProfileTop {
	return api.ProfileTop{ProfileID: "p_HOTTEST", Type: "cpu", SampleType: "cpu", Unit: "nanoseconds", Total: 1e9, Duration: api.Seconds(30 * time.Second), Functions: 3, Rows: []api.TopEntry{
		{Function: "encoding/json.Unmarshal", Flat: 6e8, FlatRatio: .6, Cum: 7e8, CumRatio: .7},
		{Function: "github.com/acme/shop/internal/pricing.(*Engine).score", Flat: 4e8, FlatRatio: .4, Cum: 4e8, CumRatio: .4},
		{Function: "main.main", Cum: 1e9, CumRatio: 1},
	}}
}

// silenced tells a dashboard that a server gives no answer.
func (p *person) silenced(member int, why string) {
	e := &api.Error{Code: client.CodeUnreachable, Detail: why}
	var news []live.News
	for _, part := range []live.Part{live.PartStream, live.PartIndex, live.PartRates, live.PartBreakers, live.PartRunning, live.PartCache, live.PartTop, live.PartAlerts} {
		news = append(news, live.News{Member: member, Part: part, Error: e})
	}
	p.tell(live.Batch{Now: noon.Add(12 * time.Second), News: news})
}

var views = []string{"overview", "breakers", "traces", "functions", "caches", "alerts", "routes"}

// The screens of all views, of one server and of a fleet that a member of has
// fallen silent, by width and colour.
func TestTopScreens(t *testing.T) {
	for _, size := range []struct{ width, height int }{{60, 24}, {80, 24}, {140, 40}, {250, 60}} {
		for _, colour := range []render.Color{render.NoColor, render.TrueColor} {
			name := fmt.Sprintf("top-%d%s.golden", size.width, map[bool]string{true: "-colour"}[colour != render.NoColor])
			t.Run(name, func(t *testing.T) {
				var out bytes.Buffer
				for _, servers := range []int{1, 3} {
					if servers == 3 && colour != render.NoColor {
						continue
					}
					p := watching(t, servers, render.Options{Color: colour})
					p.tell(tea.WindowSizeMsg{Width: size.width, Height: size.height})
					p.told(0)
					if servers == 3 {
						p.told(1)
						p.silenced(1, "connection refused")
						p.silenced(2, "no such host")
					}
					for i, view := range views {
						p.press(fmt.Sprint(i + 1))
						p.fits(size.width, size.height)
						fmt.Fprintf(&out, "== %s, %d server\n%s\n", view, servers, p.model.View().Content)
					}
				}
				testkit.Golden(t, name, out.Bytes())
			})
		}
	}
}

// fits checks that the screen is as large as the terminal.
func (p *person) fits(width, height int) {
	p.t.Helper()
	lines := p.lines()
	if len(lines) > height {
		p.t.Fatalf("%d×%d: %d lines", width, height, len(lines))
	}
	for _, l := range lines {
		if n := tea.NewView(l); len([]rune(plain(n.Content))) > width {
			p.t.Fatalf("%d×%d: a line of %d: %q", width, height, len([]rune(plain(l))), l)
		}
	}
}

// plain is a line without its colours.
func plain(s string) string {
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return s
		}
		j := strings.IndexByte(s[i:], 'm')
		s = s[:i] + s[i+j+1:]
	}
}

func TestTopKeys(t *testing.T) {
	p := watching(t, 1, render.Options{})
	p.told(0)
	p.sees("[1 overview]", "◐ degraded", "30.0", "github_api  ✗ open", "p_4QZXMN", "requests  30.0/s  30.0/s  ▂▃▅▆▇█")
	p.press("end")
	p.sees("oncall", "5 failures in a row")
	p.press("2")
	p.sees("[2 breakers]", "▌ github_api", "by worst")
	p.press("s")
	p.sees("by name", "▌ github_api")
	p.press("down")
	p.sees("▌ linear_api")
	p.press("j", "j", "j")
	p.sees("▌ openai_api")
	p.press("k", "home")
	p.sees("▌ github_api")
	p.press("/LINEAR")
	p.sees("/LINEAR█", "▌ linear_api")
	p.seesNot("github_api")
	p.press("enter")
	p.sees("filter LINEAR", "1 of 3 rows")
	p.press("esc")
	p.sees("github_api")
	p.press("/zzz", "esc")
	p.sees("github_api")
	p.tell(tea.KeyPressMsg{Code: tea.KeyTab})
	p.sees("[3 traces]", "Running", "Failed", "Finished", "a0000000", "c2000000", "b1000000")
	p.tell(tea.KeyPressMsg{Code: tea.KeyTab, Mod: tea.ModShift})
	p.sees("[2 breakers]")
	p.press("7", "end", "enter") // the traces of a route
	p.sees("[3 traces]", "filter /order/{id}")
	p.press("esc", "esc")
	p.sees("[1 overview]")
	p.press("?")
	p.sees("any key goes back", "another order")
	if p.press("x") {
		t.Error("a key in the help quits")
	}
	p.press("6")
	p.sees("QuietRule")
	p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartAlerts, Error: &api.Error{Code: client.CodeUnsupported, Status: 404}}}})
	p.sees("this server has no alerts")
	p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartAlerts, Value: alerts()}, {Part: live.PartEvents, Value: []api.Event{
		{Kind: "alert", Time: ago(time.Second), Alert: &api.AlertChange{Group: "pulse", Rule: "PulseErrors", State: api.AlertFiring}}}}}})
	p.sees("● inactive", "QuietRule", "✗ firing", "PulseErrors", "route=/cart", "38s", "too many errors", "✗ error", "BrokenRule")
	p.press("/cart", "enter")
	p.sees("PulseErrors")
	p.seesNot("QuietRule")
	p.press("esc", "1", "end")
	p.sees("PulseErrors  ✗ firing")
	p.press("6")
	if p.press("/q"); p.press("esc") || !p.press("q") {
		t.Error("q does not quit, or esc does")
	}
	if p.press("/"); !p.press("ctrl+c") {
		t.Error("ctrl-c does not quit while something is typed")
	}
}

func (p *person) seesNot(text string) {
	p.t.Helper()
	if screen := p.model.View().Content; strings.Contains(screen, text) {
		p.t.Errorf("%q is on the screen:\n%s", text, screen)
	}
}

// While it is paused what is shown stays.
func TestTopPause(t *testing.T) {
	p := watching(t, 1, render.Options{})
	p.told(0)
	p.press("2", "p")
	p.sees("paused", "github_api")
	all := breakers()
	delete(all, "github_api")
	p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartBreakers, Value: all}}})
	p.sees("github_api")
	p.press("p")
	p.seesNot("github_api")
	p.seesNot("paused")
}

// The selection stays on what it is on when others come before it.
func TestTopSelectionStays(t *testing.T) {
	p := watching(t, 1, render.Options{})
	p.told(0)
	p.press("3", "down", "down")
	p.sees("▌ c2000000")
	more := trace("f0", "POST /order", api.StatusError, time.Second, time.Second)
	p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartEvents, Value: []api.Event{{Kind: "trace", Time: more.EndTime, Trace: &more}}}}})
	p.sees("▌ c2000000", "  f0000000")
}

// y copies the command that shows the same, as a shell must read it.
func TestTopCopies(t *testing.T) {
	p := watching(t, 2, render.Options{})
	p.tell(tea.WindowSizeMsg{Width: 200, Height: 24})
	p.told(0)
	all := api.Breakers{}
	for _, name := range []string{"a;rm -rf ~", "it's", "-x", "wipe\x1b[2J"} {
		all[name] = api.Breaker{Name: name, State: api.StateClosed}
	}
	p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartBreakers, Value: all}}})
	p.press("2", "s")
	for _, want := range []string{
		"pulsectl --server http://10.0.0.1:8000 breakers show -- -x", "pulsectl --server http://10.0.0.1:8000 breakers show 'a;rm -rf ~'", `breakers show 'it'\''s'`, "",
	} {
		_, cmd := p.model.Update(tea.KeyPressMsg{Code: 'y', Text: "y"})
		if want == "" {
			p.sees("nothing copied")
			continue
		}
		p.sees("copied: ", want)
		if cmd == nil || !strings.Contains(fmt.Sprint(cmd()), want) {
			t.Errorf("the clipboard does not get %q", want)
		}
		p.press("down")
	}
	for view, want := range map[string]string{"1": "pulsectl --server http://10.0.0.1:8000 status", "4": "pulsectl -c prod-eu profiles top", "5": "pulsectl -c prod-eu cache status", "6": "pulsectl -c prod-eu alerts list", "7": "pulsectl -c prod-eu metrics top"} {
		p.press(view)
		p.model.Update(tea.KeyPressMsg{Code: 'y', Text: "y"})
		p.sees("copied: " + want)
	}
}

// What a row is opened to is drawn for the screen, and scrolls.
func TestTopOpens(t *testing.T) {
	p := watching(t, 1, render.Options{})
	p.told(0)
	p.press("2", "enter")
	p.sees("Circuit breaker github_api", "asking …")
	drawn := func(key string, lines int) live.News {
		return live.News{Part: live.PartDetail, Value: live.Detail{Key: key, Draw: func(w io.Writer, o render.Options) error {
			for i := range lines {
				fmt.Fprintf(w, "line %d of %s at %d\n", i, key, o.Width)
			}
			return nil
		}}}
	}
	p.tell(live.Batch{Now: noon, News: []live.News{drawn("breaker other", 3)}}) // of a question before
	p.sees("asking …")
	p.tell(live.Batch{Now: noon, News: []live.News{drawn("breaker github_api", 50)}})
	p.sees("line 0 of breaker github_api at 80", "lines 1–19 of 50", "esc back")
	p.press("down", "j", "pgdown")
	p.sees("line 20 of")
	p.press("end")
	p.sees("line 49 of")
	p.tell(tea.WindowSizeMsg{Width: 60, Height: 30})
	p.sees("line 49 of breaker github_api at 60")
	p.tell(tea.WindowSizeMsg{Width: 100, Height: 30})
	p.press("y")
	p.sees("copied: pulsectl --server http://10.0.0.1:8000 breakers show github_api")
	p.press("esc")
	p.sees("Circuit breakers")
	p.press("enter")
	p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartDetail, Value: live.Detail{Key: "breaker github_api"}, Error: &api.Error{Status: 404, Detail: "no \x1b[2Jbreaker"}}}})
	p.sees("no ·breaker")
}

// A server that falls silent says so, and since when what is shown is old.
func TestTopSilence(t *testing.T) {
	p := watching(t, 2, render.Options{})
	p.tell(tea.WindowSizeMsg{Width: 140, Height: 30})
	p.told(0)
	p.told(1)
	p.sees("2 degraded")
	p.silenced(1, "connection refused")
	p.sees("1 no answer", "1 degraded", "✗ no answer", "as of 12s ago: connection refused")
	p.press("2")
	p.sees("10.0.0.2:8000  ✗ connection refused  as of 12s ago", "10.0.0.2:8000  github_api")
	p.told(1)
	p.sees("2 degraded")
	p.seesNot("no answer")
}

// However fast what happens, no more of it is kept than is bounded, and trimmed.
func TestTopIsBounded(t *testing.T) {
	p := watching(t, 1, render.Options{})
	for range 40 {
		var events []api.Event
		for i := range 100 {
			tr := trace(fmt.Sprintf("%02d", i), strings.Repeat("x", 1<<12), api.StatusError, time.Second, time.Minute)
			events = append(events, api.Event{Kind: "trace", Time: tr.EndTime, Trace: &tr})
		}
		p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartEvents, Value: events}}})
	}
	p.sees("of 310") // 300 events, and what stands around them
	p.press("3", "/x", "enter")
	p.sees("of 1,008")
}

// Whatever the size, the keys and the texts, each line fits, nothing of a text
// acts on the terminal, and there is no panic.
func TestTopAnySize(t *testing.T) {
	keys := []string{"1", "down", "enter", "esc", "2", "end", "s", "/a", "enter", "esc", "3", "pgdown", "pgdown", "?", "x", "4", "s", "5", "6", "7", "enter", "y", "p", "home", "up"}
	for width := 1; width < 260; width += 13 {
		for _, height := range []int{1, 2, 5, 6, 11, 30} {
			p := watching(t, 3, render.Options{})
			p.told(0)
			p.silenced(1, "\x1b]0;pwned\x07refused")
			evil := api.Event{Kind: "breaker\x1b[2J", Time: ago(0), Breaker: &api.BreakerEvent{Name: "\x1b[31mred\u202e", To: "op\x1ben", Reason: strings.Repeat("宽\x00", 90)}}
			p.tell(live.Batch{Now: noon, News: []live.News{{Member: 2, Part: live.PartEvents, Value: []api.Event{evil, {Kind: "odd", Time: ago(0)}}}, {Member: 9}}})
			for i, k := range keys {
				p.press(k)
				p.tell(tea.WindowSizeMsg{Width: width + i%3, Height: height})
				p.fits(width+i%3, height)
				if screen := p.model.View().Content; strings.ContainsAny(screen, "\x1b\x07\x00") {
					t.Fatalf("%d×%d after %s: not clean: %q", width, height, k, screen)
				}
			}
		}
	}
}

// Ten thousand breakers cost a screen what fits on it.
func BenchmarkTopScreen(b *testing.B) {
	p := watching(b, 1, render.Options{Color: render.TrueColor})
	p.tell(tea.WindowSizeMsg{Width: 140, Height: 50})
	all := api.Breakers{}
	for i := range 10_000 {
		name := fmt.Sprintf("breaker_%05d", i)
		all[name] = api.Breaker{Name: name, State: api.StateClosed}
	}
	p.told(0)
	p.tell(live.Batch{Now: noon, News: []live.News{{Part: live.PartBreakers, Value: all}}})
	p.press("2")
	for _, tt := range []struct {
		name string
		do   func()
	}{
		{"key", func() { p.press("down", "up") }},
		{"batch", func() { p.tell(live.Batch{Now: noon}) }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tt.do()
			}
		})
	}
}
