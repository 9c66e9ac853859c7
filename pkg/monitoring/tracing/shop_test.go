package tracing_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// template is a request of a web shop as a Collector sends it: 50 traces of 8 to
// 12 spans by 13 services, grouped by service, 7 to 9 attributes and 390 bytes a
// span, one trace in twenty failed. Sending it again with other ids takes a copy
// and a few writes.
type template struct {
	body  []byte
	ids   []int // where ids stand in body
	spans int
}

var shopServices = []string{"gateway", "cart", "checkout", "payments", "stock", "users", "mail", "search", "prices", "images", "orders", "auth", "audit"}

func templates(n int) (out []*template) {
	r := rand.New(rand.NewPCG(1, 1))
	for range n {
		out = append(out, newTemplate(r))
	}
	return out
}

func newTemplate(r *rand.Rand) *template {
	bySender := map[string][]otlp.Span{}
	for range 50 {
		var id [16]byte
		binary.BigEndian.PutUint64(id[:], r.Uint64())
		binary.BigEndian.PutUint64(id[8:], r.Uint64())
		shift, failed := uint64(r.IntN(1e9)), r.IntN(20) == 0
		var parents [][8]byte
		for n := range 8 + r.IntN(5) {
			service := shopServices[0]
			if n > 0 {
				service = shopServices[1+r.IntN(len(shopServices)-1)]
			}
			sp := shopSpan(r, service, failed)
			sp.TraceID = id
			sp.Start, sp.End = t0+shift, t0+shift+uint64(r.IntN(100e6))
			binary.BigEndian.PutUint64(sp.SpanID[:], r.Uint64())
			if n > 0 {
				sp.ParentID = parents[r.IntN(len(parents))]
			}
			parents = append(parents, sp.SpanID)
			bySender[service] = append(bySender[service], sp)
		}
	}
	t := &template{}
	for _, service := range shopServices {
		res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{
			{Key: "service.name", Value: otlp.String(service)}, {Key: "service.version", Value: otlp.String("2.18.0")}, {Key: "host.name", Value: otlp.String("node-7.example")},
			{Key: "k8s.pod.name", Value: otlp.String(fmt.Sprintf("%s-6c5d8-%05d", service, r.IntN(1e5)))}, {Key: "telemetry.sdk.language", Value: otlp.String("java")},
		}})
		var encoded [][]byte
		for i := range bySender[service] {
			encoded = append(encoded, otlp.AppendSpan(nil, &bySender[service][i]))
		}
		t.spans += len(encoded)
		t.body = otlp.AppendResourceSpans(t.body, res, &otlp.Scope{Name: "io.opentelemetry.servlet-5.0", Version: "2.18.0-alpha"}, encoded...)
	}
	t.find(bySender)
	return t
}

func shopSpan(r *rand.Rand, service string, failed bool) otlp.Span {
	text := func(k, v string) otlp.KeyValue { return otlp.KeyValue{Key: k, Value: otlp.String(v)} }
	number := func(k string, n int) otlp.KeyValue { return otlp.KeyValue{Key: k, Value: otlp.Int(int64(n))} }
	route := fmt.Sprintf("/api/v1/%s/{id}/%d", service, r.IntN(6))
	sp := otlp.Span{Name: "GET " + route, Kind: int32(1 + r.IntN(4)), Flags: 0x101, Attrs: []otlp.KeyValue{
		text("http.request.method", "GET"), text("http.route", route), number("http.response.status_code", 200), text("server.address", service+".shop.svc.cluster.local"),
		text("request.id", fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())), number("thread.id", r.IntN(64)), text("network.protocol.version", "1.1"),
	}}
	if r.IntN(2) == 0 {
		sp.Attrs = append(sp.Attrs, text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"), number("enduser.id", r.IntN(1e6)))
	}
	if failed {
		sp.Status, sp.StatusMessage = 2, "upstream refused"
		sp.Attrs[2].Value = otlp.Int(500)
		sp.Events = []otlp.Event{{Time: t0, Name: "exception", Attrs: []otlp.KeyValue{
			text("exception.type", "java.io.IOException"), text("exception.stacktrace", strings.Repeat("\tat com.example.shop.Client.call(Client.java:42)\n", 12))}}}
	}
	return sp
}

// find notes where the ids stand.
func (t *template) find(spans map[string][]otlp.Span) {
	for _, of := range spans {
		for i := range of {
			sp := &of[i]
			raw := otlp.AppendSpan(nil, sp)
			at := bytes.Index(t.body, raw)
			t.ids = append(t.ids, at+2, at+20)
			if sp.ParentID != [8]byte{} {
				t.ids = append(t.ids, at+bytes.Index(raw, append([]byte{4<<3 | 2, 8}, sp.ParentID[:]...))+2)
			}
		}
	}
}

// request returns the template with other ids than under any other number.
func (t *template) request(dst []byte, number uint32) []byte {
	dst = append(dst[:0], t.body...)
	for _, at := range t.ids {
		binary.LittleEndian.PutUint32(dst[at:], binary.LittleEndian.Uint32(dst[at:])^number*2654435761)
	}
	return dst
}
