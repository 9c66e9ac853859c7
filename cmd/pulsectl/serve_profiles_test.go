package main

import (
	"strings"
	"testing"
	"time"
)

func TestSlowRoutes(t *testing.T) {
	got, err := parseSlowRoutes(`GET /export=30s, /ping=50ms,,/a=2`)
	if err != nil || len(got) != 3 || got["GET /export"] != 30*time.Second || got["/ping"] != 50*time.Millisecond || got["/a"] != 2*time.Second {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"/a", "/a=", "/a=0", "/a=-1s", "=1s", "export=1s", "GET /a b=1s"} {
		if _, err := parseSlowRoutes(bad); err == nil || !strings.HasPrefix(err.Error(), "slow-threshold-routes: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestProfileTargets(t *testing.T) {
	o := serveOptions{Targets: "shop=http://127.0.0.1:6060,api=https://user:pass@api:8000/", TargetsEvery: time.Minute}
	got, err := o.profileTargets()
	if err != nil || len(got) != 2 || got[0].Name != "shop" || got[1].URL != "https://user:pass@api:8000/" || got[1].Every != time.Minute {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []serveOptions{{Targets: "http://127.0.0.1:6060"}, {Targets: "a=http://h", TargetHeaders: "/nowhere"}} {
		if _, err := bad.profileTargets(); err == nil || !strings.HasPrefix(err.Error(), "profile-targets") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
