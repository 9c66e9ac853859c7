package shipped

import (
	"bytes"
	"encoding/json"
)

// panel is one panel of the dashboard: what it shows, and by which queries.
type panel struct {
	title, kind, unit string
	width             int // of 24
	queries           []query
	note              string
}

type query struct{ expr, legend string }

// selector picks the servers that the dashboard's variables do.
const selector = `job=~"$job",instance=~"$instance"`

// rows are the dashboard from top to bottom.
var rows = []struct {
	title  string
	panels []panel
}{
	{"Requests", []panel{
		{"Requests", "timeseries", "reqps", 8, []query{{`sum by (instance) (rate(pulse_api_requests_total{` + selector + `}[$__rate_interval]))`, "{{instance}}"}}, "Requests a second by server."},
		{"Error ratio", "timeseries", "percentunit", 8, []query{{`sum by (instance) (rate(pulse_api_requests_total{` + selector + `,status_code=~"5.."}[$__rate_interval])) / sum by (instance) (rate(pulse_api_requests_total{` + selector + `}[$__rate_interval]))`, "{{instance}}"}}, "Share of requests answered with 5xx."},
		{"In flight", "timeseries", "short", 8, []query{{`pulse_api_active_connections{` + selector + `}`, "{{instance}}"}}, "Requests that are being answered."},
		{"p95 by route", "timeseries", "s", 12, []query{{`histogram_quantile(0.95, sum by (le, endpoint) (rate(pulse_api_request_duration_seconds_bucket{` + selector + `,endpoint!~"/monitoring/.*"}[$__rate_interval])))`, "{{endpoint}}"}}, "How long the slowest twentieth of requests takes at least."},
		{"Errors by route", "timeseries", "reqps", 12, []query{{`sum by (endpoint, status_code) (rate(pulse_api_requests_total{` + selector + `,status_code=~"5.."}[$__rate_interval]))`, "{{endpoint}} {{status_code}}"}}, "Requests a second answered with 5xx."},
	}},
	{"Circuit breakers", []panel{
		{"State", "state-timeline", "short", 12, []query{{`pulse_api_circuit_breaker_state{` + selector + `}`, "{{name}} {{instance}}"}}, "Closed, open, half-open."},
		{"Calls", "timeseries", "ops", 12, []query{{`sum by (name, outcome) (rate(pulse_api_circuit_breaker_calls_total{` + selector + `}[$__rate_interval]))`, "{{name}} {{outcome}}"}}, "Calls through breakers by outcome, rejected ones among them."},
		{"Openings", "timeseries", "short", 12, []query{{`sum by (name) (increase(pulse_api_circuit_breaker_transitions_total{` + selector + `,to="open"}[$__rate_interval]))`, "{{name}}"}}, "How often breakers opened."},
		{"External services, p95", "timeseries", "s", 12, []query{{`histogram_quantile(0.95, sum by (le, service) (rate(pulse_api_external_duration_seconds_bucket{` + selector + `}[$__rate_interval])))`, "{{service}}"}}, "How long calls of other services take."},
	}},
	{"Caches and database", []panel{
		{"Hit ratio", "timeseries", "percentunit", 8, []query{{`sum by (cache) (rate(pulse_api_cache_requests_total{` + selector + `,result="hit"}[$__rate_interval])) / sum by (cache) (rate(pulse_api_cache_requests_total{` + selector + `,result=~"hit|miss"}[$__rate_interval]))`, "{{cache}}"}}, "Share of reads that were hits."},
		{"Evictions", "timeseries", "ops", 8, []query{{`sum by (cache, reason) (rate(pulse_api_cache_evictions_total{` + selector + `}[$__rate_interval]))`, "{{cache}} {{reason}}"}}, "Entries that left the caches, by cause."},
		{"Database, p95", "timeseries", "s", 8, []query{{`histogram_quantile(0.95, sum by (le, query_type, table) (rate(pulse_api_db_query_duration_seconds_bucket{` + selector + `}[$__rate_interval])))`, "{{query_type}} {{table}}"}}, "How long queries take."},
	}},
	{"Process", []panel{
		{"Memory", "timeseries", "bytes", 8, []query{{`pulse_api_memory_usage_bytes{` + selector + `}`, "{{instance}}"}}, "Resident set."},
		{"Processor", "timeseries", "percent", 8, []query{{`pulse_api_cpu_usage_percent{` + selector + `}`, "{{instance}}"}}, "Percent of one core."},
		{"Traces and spans dropped", "timeseries", "ops", 8, []query{{`sum by (reason) (rate(pulse_api_spans_dropped_total{` + selector + `}[$__rate_interval]))`, "{{reason}}"}}, "Spans that were not kept, by reason."},
	}},
}

type object = map[string]any

// Dashboard is a dashboard for Grafana 9 and later, to be imported. It asks for
// the data source, and lets jobs and servers be picked; job is the one that is
// picked at first.
func Dashboard(job string) ([]byte, error) {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var panels []object
	id, y := 1, 0
	add := func(p object) {
		p["id"] = id
		id++
		panels = append(panels, p)
	}
	const height = 8
	for _, r := range rows {
		add(object{"type": "row", "title": r.title, "collapsed": false, "panels": []object{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		x := 0
		for _, p := range r.panels {
			if x+p.width > 24 {
				x, y = 0, y+height
			}
			drawn := p.object(source)
			drawn["gridPos"] = object{"x": x, "y": y, "w": p.width, "h": height}
			add(drawn)
			x += p.width
		}
		y += height
	}
	picker := func(name, label, of string, current any) object {
		return object{
			"name": name, "label": label, "type": "query", "datasource": source, "query": object{"query": of, "refId": name}, "definition": of,
			"includeAll": true, "multi": true, "allValue": ".+", "refresh": 2, "sort": 1, "current": current,
		}
	}
	all := object{"text": []string{"All"}, "value": []string{"$__all"}}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(object{
		"title": "Pulse API", "uid": "pulse-api", "tags": []string{"pulsectl"}, "schemaVersion": 37, "version": 1, "editable": true, "refresh": "30s",
		"time": object{"from": "now-1h", "to": "now"}, "timezone": "browser", "graphTooltip": 1, "annotations": object{"list": []any{}},
		"templating": object{"list": []object{
			{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": object{}},
			picker("job", "Job", "label_values(pulse_api_info, job)", object{"text": []string{job}, "value": []string{job}}),
			picker("instance", "Server", `label_values(pulse_api_info{job=~"$job"}, instance)`, all),
		}},
		"panels": panels,
	})
	return out.Bytes(), err
}

func (p *panel) object(source object) object {
	var targets []object
	for i, q := range p.queries {
		targets = append(targets, object{"refId": string(rune('A' + i)), "datasource": source, "expr": q.expr, "legendFormat": q.legend})
	}
	defaults := object{"unit": p.unit, "min": 0}
	if p.kind == "state-timeline" {
		defaults["mappings"] = []object{{"type": "value", "options": object{
			"0": object{"text": "closed", "color": "green", "index": 0}, "1": object{"text": "open", "color": "red", "index": 1}, "2": object{"text": "half-open", "color": "yellow", "index": 2},
		}}}
	}
	return object{
		"type": p.kind, "title": p.title, "description": p.note, "datasource": source, "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}}, "options": object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true}},
	}
}
