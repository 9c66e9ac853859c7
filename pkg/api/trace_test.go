package api_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/api"
)

func TestAttributesKeepWholeNumbersExact(t *testing.T) {
	const in = `{"tags":{"deep":[{"id":9007199254740993}],"float":1.5,"id":9223372036854775807,"more":18446744073709551615,"none":null,"on":true,"size":10485760}}`
	var s struct {
		Tags api.Attributes `json:"tags"`
	}
	if err := json.Unmarshal([]byte(in), &s); err != nil {
		t.Fatal(err)
	}
	if s.Tags["id"] != int64(9223372036854775807) || s.Tags["size"] != int64(10485760) || s.Tags["float"] != 1.5 {
		t.Errorf("read %#v", s.Tags)
	}
	if out, err := json.Marshal(s); err != nil || string(out) != in {
		t.Errorf("wrote %s, %v; want it as it was read", out, err)
	}
}

// An event of a Jaeger client has its text in an attribute "message", beside the
// event's name.
func TestSpanLogKeepsFieldsCalledLikeItsMembers(t *testing.T) {
	in := api.SpanLog{Timestamp: api.Unix(1e9), Level: "info", Message: "log", Fields: api.Attributes{
		"message": "connection reset", "level": int64(3), "timestamp": "noon", "n": int64(1),
	}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out api.SpanLog
	if err := json.Unmarshal(b, &out); err != nil || !reflect.DeepEqual(out, in) {
		t.Errorf("read %s as %+v, %v; want %+v", b, out, err, in)
	}
}
