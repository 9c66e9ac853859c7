package testkit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// table is the routes of a Python server, each with the answer to it.
func (p *PythonServer) table() map[string]map[string]func(*http.Request) Recording {
	out := map[string]map[string]func(*http.Request) Recording{}
	add := func(method, path string, f func(*http.Request) Recording) {
		out["/monitoring"+path] = map[string]func(*http.Request) Recording{method: f}
	}
	same := func(name string) func(*http.Request) Recording {
		return func(*http.Request) Recording { return p.cases[name] }
	}
	add("GET", "/metrics", same("a01_metrics_fresh"))
	add("GET", "/health/detailed", p.health)
	add("GET", "/traces", p.traces)
	add("POST", "/traces/cleanup", p.cleanup("a20_traces_cleanup", 60, 3600))
	add("GET", "/circuit-breakers", p.list)
	add("POST", "/circuit-breakers/reset-all", p.resetAll)
	add("GET", "/profiling/stats", p.stats)
	add("GET", "/profiling/profiles", p.profiles)
	add("POST", "/profiling/enable", p.profile("c07_profiling_enable", true))
	add("POST", "/profiling/disable", p.profile("c11_profiling_disable", false))
	add("POST", "/profiling/cleanup", p.cleanup("c12_profiling_cleanup", 300, 86400))
	add("GET", "/cache/status", p.cacheStatus)
	add("GET", "/cache/redis/info", same("d02_cache_redis_info"))
	add("GET", "/cache/memory/stats", same("d03_cache_memory_stats"))
	add("POST", "/cache/redis/clear", p.clearRedis)
	add("POST", "/cache/memory/clear", p.clearMemory)
	add("GET", "/system/info", same("e01_system_info"))
	add("GET", "/debug/config", same("e02_debug_config"))
	return out
}

func (p *PythonServer) traces(r *http.Request) Recording {
	id := last(r, "trace_id")
	found := p.cases["a08_trace_by_id"]
	switch {
	case id != "" && strings.HasSuffix(found.Request.Path, "="+id):
		return found
	case id != "":
		return p.cases["a11_trace_unknown_404"]
	}
	out := p.bounded("a07_traces_active", "limit", 1, 100)(r)
	if out.Status != http.StatusOK {
		return out
	}
	return edited(out, func(body map[string]any) {
		all, _ := body["traces"].([]any)
		own, _ := all[0].(map[string]any)["metadata"].(map[string]any) // of the request for the list
		own["http.url"], own["http.user_agent"] = "http://"+r.Host+r.URL.RequestURI(), r.UserAgent()
		body["traces"] = all[:min(len(all), number(r, "limit", 10))]
	})
}

// profiles gives the oldest, as that server does: the recording is in their order.
func (p *PythonServer) profiles(r *http.Request) Recording {
	list := p.cases["i02_profiles_repaired"]
	var all struct {
		Profiles map[string]json.RawMessage `json:"profiles"`
	}
	if json.Unmarshal([]byte(list.Body), &all) != nil {
		return p.cases["c10_profiles_500"]
	}
	if id := last(r, "profile_id"); id != "" {
		if all.Profiles[id] == nil {
			return p.cases["c03_profile_404"]
		}
		list.Body = fmt.Sprintf(`{"profile":%s}`, all.Profiles[id])
		return list
	}
	out := p.bounded(list.Case, "limit", 1, 50)(r)
	if out.Status == http.StatusOK && number(r, "limit", 10) == 1 {
		const oldest = "http_GET_/demo/cpu_1795415793436"
		out.Body = fmt.Sprintf(`{"profiles":{%q:%s},"total_profiles":6}`, oldest, all.Profiles[oldest])
	}
	return out
}

func (p *PythonServer) profile(name string, on bool) func(*http.Request) Recording {
	return func(*http.Request) Recording {
		p.profiled = on
		return p.cases[name]
	}
}

func (p *PythonServer) stats(*http.Request) Recording {
	return edited(p.cases["c01_profiling_stats_empty"], func(body map[string]any) { body["profiler_enabled"] = p.profiled })
}

// health is 200 whatever the verdict in its body: an open breaker makes it
// unhealthy, one that failed in 10 % of the calls of its life degraded.
func (p *PythonServer) health(*http.Request) Recording {
	return edited(p.cases["a02_health_detailed_healthy"], func(body map[string]any) {
		body["monitoring"].(map[string]any)["profiling_enabled"] = p.profiled
		verdicts, circuits := map[string]int{"healthy": 0, "degraded": 0, "failed": 0, "total": len(p.breakers)}, map[string]any{}
		for name, raw := range p.breakers {
			var b struct {
				State string
				Stats struct {
					FailureRate float64 `json:"failure_rate"`
					Total       int     `json:"total_requests"`
					InARow      int     `json:"consecutive_failures"`
				}
			}
			_ = json.Unmarshal(raw, &b) // it was read before
			verdict := "healthy"
			switch {
			case b.State == "open":
				verdict, body["status"] = "failed", "unhealthy"
			case b.State == "half_open" || b.Stats.FailureRate >= 0.1:
				verdict = "degraded"
			}
			verdicts[verdict]++
			circuits[name] = map[string]any{"status": verdict, "state": b.State, "failure_rate": b.Stats.FailureRate,
				"total_requests": b.Stats.Total, "consecutive_failures": b.Stats.InARow}
		}
		overall := "healthy"
		if verdicts["failed"] > 0 {
			overall = "failed"
		} else if verdicts["degraded"] > 0 {
			overall, body["status"] = "degraded", "degraded"
		}
		body["circuit_breakers"] = map[string]any{"status": overall, "summary": verdicts, "circuits": circuits}
	})
}

func (p *PythonServer) list(*http.Request) Recording {
	out := p.cases["b03_breakers_open"]
	b, _ := json.Marshal(p.breakers) // of raw JSON that was read: it can be written
	out.Body = string(b)
	return out
}

// reset puts the breaker as it was recorded before its first call.
func (p *PythonServer) reset(name string) Recording {
	if p.breakers[name] == nil {
		return p.cases["b12_breaker_reset_404"]
	}
	p.close(name)
	out := p.cases["b10_breaker_reset"]
	out.Body = fmt.Sprintf(`{"message":"Circuit breaker '%s' reset"}`, name)
	return out
}

func (p *PythonServer) resetAll(*http.Request) Recording {
	for name := range p.breakers {
		p.close(name)
	}
	return p.cases["b15_breakers_reset_all"]
}

func (p *PythonServer) close(name string) {
	var fresh map[string]json.RawMessage
	if json.Unmarshal([]byte(p.cases["b01_breakers_initial"].Body), &fresh) == nil && fresh[name] != nil {
		p.breakers[name] = fresh[name]
	}
}

func (p *PythonServer) cacheStatus(*http.Request) Recording {
	return edited(p.cases["d01_cache_status"], func(body map[string]any) {
		body["memory"].(map[string]any)["stats"].(map[string]any)["size"] = p.cached["memory"]
	})
}

// clearRedis finds one key for any pattern but the whole.
func (p *PythonServer) clearRedis(r *http.Request) Recording {
	out := p.cases["d04_cache_redis_clear_pattern"]
	pattern, n := last(r, "pattern"), min(p.cached["redis"], 1)
	if pattern == "" || pattern == "*" {
		pattern, n = "*", p.cached["redis"]
	}
	p.cached["redis"] -= n
	out.Body = fmt.Sprintf(`{"message":"Cleared %d cache entries","pattern":%q}`, n, pattern)
	return out
}

// clearMemory knows no parameters: it clears all.
func (p *PythonServer) clearMemory(*http.Request) Recording {
	out := p.cases["d08_cache_memory_clear"]
	out.Body = fmt.Sprintf(`{"message":"Cleared %d memory cache entries"}`, p.cached["memory"])
	p.cached["memory"] = 0
	return out
}

// cleanup says in its message what it was asked.
func (p *PythonServer) cleanup(name string, least, most int) func(*http.Request) Recording {
	return func(r *http.Request) Recording {
		out := p.bounded(name, "max_age_seconds", least, most)(r)
		if age := last(r, "max_age_seconds"); out.Status == http.StatusOK && age != "" {
			head, _, _ := strings.Cut(out.Body, "than ")
			out.Body = head + "than " + age + ` seconds"}`
		}
		return out
	}
}

// edited is a recording whose JSON object was changed.
func edited(r Recording, change func(map[string]any)) Recording {
	var body map[string]any
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		panic(fmt.Sprintf("recording %s: %v", r.Case, err))
	}
	change(body)
	b, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("recording %s: %v", r.Case, err))
	}
	r.Body = string(b)
	return r
}

// number is a parameter that was found to be one, def where it is absent.
func number(r *http.Request, parameter string, def int) int {
	if n, err := strconv.Atoi(last(r, parameter)); err == nil {
		return n
	}
	return def
}

// bounded answers with a recording, or with a 422 where the parameter is not a
// whole number in its bounds.
func (p *PythonServer) bounded(name, parameter string, least, most int) func(*http.Request) Recording {
	return func(r *http.Request) Recording {
		text := last(r, parameter)
		n, err := strconv.Atoi(text)
		refusal := p.cases["a13_traces_422_limit_0"]
		switch {
		case text == "":
			return p.cases[name]
		case err != nil:
			refusal.Body = invalid(parameter, "value is not a valid integer", "type_error.integer")
			return refusal
		case n < least:
			refusal.Body = invalid(parameter, fmt.Sprintf("ensure this value is greater than or equal to %d", least), "value_error.number.not_ge")
			return refusal
		case n > most:
			refusal.Body = invalid(parameter, fmt.Sprintf("ensure this value is less than or equal to %d", most), "value_error.number.not_le")
			return refusal
		}
		return p.cases[name]
	}
}

func invalid(parameter, message, kind string) string {
	return fmt.Sprintf(`{"detail":[{"loc":["query",%q],"msg":%q,"type":%q}]}`, parameter, message, kind)
}

// resetOf returns the breaker's name in the path of its reset.
func resetOf(path string) (name string, ok bool) {
	name, ok = strings.CutPrefix(path, "/monitoring/circuit-breakers/")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "/reset")
	return name, ok && !strings.Contains(name, "/")
}

func last(r *http.Request, parameter string) string {
	q, _ := url.ParseQuery(r.URL.RawQuery) // what cannot be parsed is no parameter
	if vs := q[parameter]; len(vs) > 0 {
		return vs[len(vs)-1]
	}
	return ""
}
