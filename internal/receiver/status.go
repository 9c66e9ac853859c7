package receiver

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/easyproto"
)

// The messages that answer an export: ExportTraceServiceResponse, and
// google.rpc.Status with a google.rpc.RetryInfo.

const retryInfoType = "type.googleapis.com/google.rpc.RetryInfo"

// appendResponse appends an ExportTraceServiceResponse in protobuf; that of a
// request that was kept whole is empty.
func appendResponse(dst []byte, rejected int) []byte {
	if rejected == 0 {
		return dst
	}
	partial := binary.AppendUvarint([]byte{1 << 3}, uint64(rejected))
	partial = appendField(partial, 2, rejectedMessage(rejected))
	return appendField(dst, 1, string(partial))
}

func responseJSON(rejected int) []byte {
	if rejected == 0 {
		return []byte("{}")
	}
	return marshal(map[string]any{"partialSuccess": map[string]any{
		"rejectedSpans": strconv.Itoa(rejected), "errorMessage": rejectedMessage(rejected),
	}})
}

func rejectedMessage(n int) string {
	return fmt.Sprintf("%d spans were not kept: their ids are missing or all zeros, or a limit on the span or its trace is reached", n)
}

// appendStatus appends a google.rpc.Status in protobuf.
func (r *refusal) appendStatus(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, 1<<3), uint64(r.code))
	dst = appendField(dst, 2, r.message)
	if r.retry > 0 {
		delay := binary.AppendUvarint([]byte{1 << 3}, uint64(r.retry/time.Second))
		delay = binary.AppendUvarint(append(delay, 2<<3), uint64(r.retry%time.Second))
		info := appendField(nil, 1, string(delay))
		detail := appendField(appendField(nil, 1, retryInfoType), 2, string(info))
		dst = appendField(dst, 3, string(detail))
	}
	return dst
}

func (r *refusal) statusJSON() []byte {
	st := map[string]any{"code": r.code, "message": r.message}
	if r.retry > 0 {
		st["details"] = []any{map[string]any{"@type": retryInfoType, "retryDelay": strconv.FormatFloat(r.retry.Seconds(), 'f', -1, 64) + "s"}}
	}
	return marshal(st)
}

// marshal writes numbers and text, which encoding/json always can.
func marshal(v map[string]any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	return b
}

func appendField(dst []byte, field byte, s string) []byte {
	return append(binary.AppendUvarint(append(dst, field<<3|2), uint64(len(s))), s...)
}

// rpcStatus is a google.rpc.Status that another server sent.
type rpcStatus struct {
	message string
	retry   time.Duration // of its RetryInfo
	again   bool          // it has a RetryInfo
}

// eachField calls f with each field of a protobuf message, until one is broken.
func eachField(b []byte, f func(fc *easyproto.FieldContext)) {
	var fc easyproto.FieldContext
	var err error
	for len(b) > 0 {
		if b, err = fc.NextField(b); err != nil {
			return
		}
		f(&fc)
	}
}

// parseStatus reads what there is of a status; a broken one is empty.
func parseStatus(b []byte) (st rpcStatus) {
	eachField(b, func(fc *easyproto.FieldContext) {
		switch fc.FieldNum {
		case 2:
			message, _ := fc.String()
			st.message = message
		case 3:
			detail, _ := fc.MessageData()
			st.retryInfo(detail)
		}
	})
	return st
}

// retryInfo reads the delay from a google.protobuf.Any that holds one.
func (st *rpcStatus) retryInfo(detail []byte) {
	var kind string
	var value []byte
	eachField(detail, func(fc *easyproto.FieldContext) {
		switch fc.FieldNum {
		case 1:
			kind, _ = fc.String()
		case 2:
			value, _ = fc.Bytes()
		}
	})
	if kind != retryInfoType {
		return
	}
	st.again = true
	eachField(value, func(fc *easyproto.FieldContext) {
		delay, _ := fc.MessageData()
		eachField(delay, func(fc *easyproto.FieldContext) {
			switch fc.FieldNum {
			case 1:
				seconds, _ := fc.Int64()
				st.retry += time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
			case 2:
				nanos, _ := fc.Int32()
				st.retry += time.Duration(min(max(nanos, 0), 1e9))
			}
		})
	})
}

// parseResponse reads how many spans an ExportTraceServiceResponse rejects.
func parseResponse(b []byte) (rejected int) {
	eachField(b, func(fc *easyproto.FieldContext) {
		if fc.FieldNum != 1 {
			return
		}
		partial, _ := fc.MessageData()
		eachField(partial, func(fc *easyproto.FieldContext) {
			if fc.FieldNum == 1 {
				n, _ := fc.Int64()
				rejected = int(max(n, 0))
			}
		})
	})
	return rejected
}
