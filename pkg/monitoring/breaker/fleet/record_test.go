package fleet

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What parses is within its bounds, and is the same when it is written again.
func FuzzParseRecord(f *testing.F) {
	f.Add(`7 1764103000000 0a1b {"n":"api","s":"open","m":"automatic","l":60000,"r":"5 failures in a row","o":"ab","i":"web-1","g":"5"}`)
	f.Add(`8 1764103000000 0a1b {"n":"api","s":"closed","m":"disabled","o":"ab","g":"6","x":true,"a":"ops"}`)
	f.Add(`9 0 ab {"n":"api","s":"half_open","m":"forced_open","o":"","g":""}`)
	f.Add(`-1 x  {}`)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseRecord(s)
		if err != nil {
			return
		}
		if r.seq == 0 || len(s) > maxRecord || r.body.Left < 0 || len(r.body.Reason) > 2*maxWords || strings.ContainsAny(r.body.Name, " /{}") {
			t.Errorf("parseRecord(%q) = %+v", s, r)
		}
		text, err := json.Marshal(r.body)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRecord(fmt.Sprintf("%d %d %s %s", r.seq, r.at, r.epoch, text))
		if err != nil && len(text) < maxRecord/2 || err == nil && again != r {
			t.Errorf("%q is %+v, and written again %+v, %v", s, r, again, err)
		}
	})
}
