package client_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// nameServer answers A queries for replicas.test with addresses, and that there
// is no other name (RFC 1035).
func nameServer(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		for b := make([]byte, 1500); ; {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(dnsAnswer(b[:n], addresses), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func dnsAnswer(query []byte, addresses []string) []byte {
	end := 12 // of the question: its name, then type and class
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	question := query[12 : end+5]
	known := strings.HasPrefix(string(question), "\x08replicas\x04test\x00")
	isA := binary.BigEndian.Uint16(question[len(question)-4:]) == 1
	out := append([]byte{}, query[:2]...)
	flags := uint16(0x8180)
	if !known {
		flags |= 3 // NXDOMAIN
		addresses = nil
	}
	if !isA {
		addresses = nil
	}
	for _, v := range []uint16{flags, 1, uint16(len(addresses)), 0, 0} {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	out = append(out, question...)
	for _, a := range addresses {
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		out = append(out, net.ParseIP(a).To4()...)
	}
	return out
}

// replica serves one breaker, called by its address, on a port of 127.0.0.x.
func replica(t *testing.T, at, port string, tls bool) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(at, port))
	if err != nil {
		t.Skipf("this system has no second loopback address: %v", err)
	}
	ts := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Host, "replicas.test:") {
			w.WriteHeader(http.StatusMisdirectedRequest)
		}
		fmt.Fprintf(w, `{"at-%s":{"state":"closed"}}`, at)
	})}}
	if tls {
		ts.StartTLS()
	} else {
		ts.Start()
	}
	t.Cleanup(ts.Close)
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// Each address behind a name is a server of its own: asked by the name, shown
// by its address. A dead one is its own error.
func TestDialName(t *testing.T) {
	port := replica(t, "127.0.0.1", "0", false)
	replica(t, "127.0.0.2", port, false)
	cs, err := client.Dial(t.Context(), "dns+http://replicas.test:"+port, client.Options{Resolver: nameServer(t, "127.0.0.3", "127.0.0.2", "127.0.0.1", "127.0.0.2")})
	if err != nil || len(cs) != 3 {
		t.Fatalf("Dial = %d clients, %v", len(cs), err)
	}
	rs := client.Each(t.Context(), cs, (*client.Client).Breakers)
	for i, at := range []string{"127.0.0.1", "127.0.0.2"} {
		if _, ok := rs[i].Value["at-"+at]; !ok || rs[i].Instance != "http://"+at+":"+port {
			t.Errorf("answer %d = %+v", i, rs[i])
		}
	}
	if rs[2].Error == nil || rs[2].Error.Code != client.CodeUnreachable || rs[2].Instance != "http://127.0.0.3:"+port {
		t.Errorf("the dead one: %+v", rs[2])
	}
}

// Over TLS the certificate is held against the name, not the address.
func TestDialNameTLS(t *testing.T) {
	port := replica(t, "127.0.0.1", "0", true)
	cs, err := client.Dial(t.Context(), "dns+https://replicas.test:"+port, client.Options{Resolver: nameServer(t, "127.0.0.1")})
	if err != nil || len(cs) != 1 || cs[0].Instance() != "https://127.0.0.1:"+port {
		t.Fatalf("Dial = %v, %v", cs, err)
	}
	_, err = cs[0].Breakers(t.Context())
	if e := apiError(t, err); !strings.Contains(e.Detail, "certificate") {
		t.Errorf("a certificate of nobody we know: %v", e)
	}
}

// A name that is not there is a server that fails, and holds up no other.
func TestDialUnknownName(t *testing.T) {
	o := client.Options{Resolver: nameServer(t)}
	port := replica(t, "127.0.0.1", "0", false)
	cs, err := client.Instances(t.Context(), []string{"dns+http://gone.test:1", "http://127.0.0.1:" + port, " http://127.0.0.1:" + port}, o)
	if err != nil || len(cs) != 2 {
		t.Fatalf("Instances = %d, %v", len(cs), err)
	}
	_, err = cs[0].Breakers(t.Context())
	if e := apiError(t, err); !strings.Contains(e.Detail, "gone.test") || cs[0].Instance() != "dns+http://gone.test:1" {
		t.Errorf("%s: %v", cs[0].Instance(), e)
	}
	for _, bad := range []string{"dns+ftp://a", "dns+http://", "dns+http://u:p@a", "dns+a:1:2"} {
		if _, err := client.Dial(t.Context(), bad, o); err == nil {
			t.Errorf("Dial(%q) is content", bad)
		}
	}
}

// One after the other, with a pause, and on after one that failed.
func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var asked []time.Duration
		cs := fleet(t, 3, func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(start))
			if r.URL.Hostname() == "replica-1" {
				return nil, context.DeadlineExceeded
			}
			return one(r.URL.Hostname()), nil
		})
		told := 0
		rs := client.InTurn(t.Context(), cs, 5*time.Second, func(api.Result[api.Breakers]) { told++ }, (*client.Client).Breakers)
		if !slices.Equal(asked, []time.Duration{0, 5 * time.Second, 10 * time.Second}) || told != 3 {
			t.Errorf("asked after %v, told of %d", asked, told)
		}
		if rs[0].Error != nil || rs[1].Error == nil || rs[2].Error != nil {
			t.Errorf("answers: %+v", rs)
		}
	})
}

// Who gives up leaves the rest unasked.
func TestInTurnCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		cs := fleet(t, 3, func(r *http.Request) (*http.Response, error) { asked++; return one(r.URL.Hostname()), nil })
		time.AfterFunc(time.Second, cancel)
		rs := client.InTurn(ctx, cs, time.Minute, func(api.Result[api.Breakers]) {}, (*client.Client).Breakers)
		if asked != 1 || rs[0].Error != nil || rs[1].Error == nil || rs[2].Error.Code != client.CodeCanceled {
			t.Errorf("asked %d: %+v", asked, rs)
		}
	})
}
