package main

import (
	"strings"
	"testing"
	"time"
)

const said = `Running 1s test @ http://127.0.0.1:1234/api/v1/users/7
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   417.43us  398.23us   7.06ms   92.10%
    Req/Sec    40.29k     2.21k   43.94k    70.00%
  Latency Distribution
     50%  325.00us
     75%  465.00us
     90%  706.00us
     99%    2.04ms
  40131 requests in 1.00s, 5.05MB read
Requests/sec:  40101.46
Transfer/sec:      5.05MB
`

func TestParse(t *testing.T) {
	r, err := parse(said)
	if err != nil || r.requests != 40131 || r.rate != 40101.46 || r.p50 != 325*time.Microsecond || r.p99 != 2040*time.Microsecond {
		t.Errorf("%+v, %v", r, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "an error": said + "  Non-2xx or 3xx responses: 3\n", "no p99": strings.Replace(said, "99%", "98%", 1),
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSpread(t *testing.T) {
	rs := []round{{requests: 30, cpu: time.Second}, {requests: 10, cpu: time.Second}, {requests: 20, cpu: time.Second}}
	if got := spread(rs, round.perCPUSecond); got != [3]float64{10, 20, 30} {
		t.Errorf("%v", got)
	}
}
