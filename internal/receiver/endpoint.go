package receiver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/klauspost/compress/gzip"
)

// endpoint is where a Forwarder sends to.
type endpoint struct {
	url     *url.URL
	grpc    bool
	headers http.Header
	client  *http.Client
}

func (e endpoint) String() string { return e.url.String() }

// ParseEndpoint reads the URL of an OTLP endpoint: http:// or https:// for
// OTLP/HTTP, with or without /v1/traces at its end, grpc:// or grpcs:// for
// OTLP/gRPC. It refuses credentials in it.
func ParseEndpoint(s string) (u *url.URL, grpc bool, err error) {
	u, err = url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return nil, false, errors.New("want a URL like https://collector:4318, http://tempo:4318/v1/traces or grpc://collector:4317")
	}
	if u.User != nil {
		return nil, false, fmt.Errorf("%s: want no credentials in the URL: put an Authorization header into the headers file", u.Redacted())
	}
	switch u.Scheme {
	case "http", "https":
		if u.Path = strings.TrimRight(u.Path, "/"); !strings.HasSuffix(u.Path, "/v1/traces") {
			u.Path += "/v1/traces"
		}
		return u, false, nil
	case "grpc", "grpcs":
		if strings.Trim(u.Path, "/") != "" || u.Port() == "" {
			return nil, false, fmt.Errorf("%s: want grpc://HOST:PORT or grpcs://HOST:PORT", s)
		}
		u.Scheme, u.Path = map[string]string{"grpc": "http", "grpcs": "https"}[u.Scheme], traceExport
		return u, true, nil
	}
	return nil, false, fmt.Errorf("%s: want http, https, grpc or grpcs", s)
}

func newEndpoint(o ForwardOptions) (e endpoint, err error) {
	e.headers = o.Headers
	if e.url, e.grpc, err = ParseEndpoint(o.URL); err != nil {
		return e, fmt.Errorf("forward to: %w", err)
	}
	t := &http.Transport{MaxIdleConnsPerHost: o.Parallel, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: o.Timeout, DisableCompression: true}
	t.Protocols = new(http.Protocols)
	switch {
	case e.grpc && e.url.Scheme == "http":
		t.Protocols.SetUnencryptedHTTP2(true)
	case e.grpc:
		t.Protocols.SetHTTP2(true)
	default:
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		t.Proxy = http.ProxyFromEnvironment
	}
	e.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return e, nil
}

// prepared is a batch ready to be sent, as often as it takes.
type prepared struct {
	body []byte
	via  string
}

// prepare compresses a batch.
func (e endpoint) prepare(batch []parcel) (prepared, error) {
	var out bytes.Buffer
	if e.grpc {
		out.Write([]byte{1, 0, 0, 0, 0})
	}
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return prepared{}, err
	}
	for _, p := range batch {
		if _, err := z.Write(p.body); err != nil {
			return prepared{}, err
		}
	}
	if err := z.Close(); err != nil {
		return prepared{}, err
	}
	if e.grpc {
		binary.BigEndian.PutUint32(out.Bytes()[1:], uint32(out.Len()-prefixSize))
	}
	return prepared{out.Bytes(), batch[0].via}, nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// send makes one attempt. It returns how many spans the endpoint did not keep;
// or an error: a *finalError if the batch must not be sent again, one that
// wraps a *backoff.RetryAfterError if the endpoint says when.
func (e endpoint) send(ctx context.Context, p prepared) (lost int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.String(), bytes.NewReader(p.body))
	if err != nil {
		return 0, err
	}
	for name, values := range e.headers {
		req.Header[name] = values
	}
	if host := e.headers.Get("Host"); host != "" {
		req.Host = host
	}
	req.Header.Set("User-Agent", "pulsectl")
	req.Header.Set(viaHeader, p.via)
	if e.grpc {
		req.Header.Set("Content-Type", "application/grpc+proto")
		req.Header.Set("Te", "trailers")
		req.Header.Set("Grpc-Encoding", "gzip")
	} else {
		req.Header.Set("Content-Type", typeProto)
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := e.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the log line names the endpoint already
		}
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, err
	}
	if e.grpc {
		return grpcAnswer(resp, body)
	}
	return httpAnswer(resp, body)
}

// httpAnswer reads the answer to an OTLP/HTTP request.
func httpAnswer(resp *http.Response, body []byte) (lost int, err error) {
	if resp.StatusCode/100 == 2 {
		if resp.Header.Get("Content-Type") != typeProto {
			return 0, nil
		}
		return parseResponse(body), nil
	}
	said := ""
	if resp.Header.Get("Content-Type") == typeProto {
		said = parseStatus(body).message
	}
	return 0, httpError(resp, said)
}

// httpError is the error of an HTTP status: to be sent again or not, as the
// OTLP specification says of each.
func httpError(resp *http.Response, said string) error {
	text := resp.Status
	if said != "" {
		text += ": " + said
	}
	switch resp.StatusCode {
	case http.StatusLoopDetected:
		return final(circle, text)
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if wait, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
			return fmt.Errorf("%s: %w", text, &backoff.RetryAfterError{Duration: wait})
		}
		return errors.New(text)
	}
	return final(refusedBatch, text)
}

// maxRetryAfter bounds how long an endpoint can make the Forwarder wait.
const maxRetryAfter = time.Minute

// retryAfter reads a Retry-After header: seconds, or a date.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	if header == "" {
		return 0, false
	}
	if n, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter), true
	}
	at, err := http.ParseTime(header)
	return min(max(at.Sub(now), 0), maxRetryAfter), err == nil
}

// grpcAnswer reads the answer to a gRPC call.
func grpcAnswer(resp *http.Response, body []byte) (lost int, err error) {
	end := resp.Trailer
	if resp.Header.Get("Grpc-Status") != "" { // "Trailers-Only"
		end = resp.Header
	}
	code, err := strconv.Atoi(end.Get("Grpc-Status"))
	switch {
	case err != nil && resp.StatusCode != http.StatusOK:
		return 0, httpError(resp, "")
	case err != nil:
		return 0, errors.New("the answer has no grpc-status")
	case code == 0 && len(body) > prefixSize && body[0] == 0:
		return parseResponse(body[prefixSize:]), nil
	case code == 0:
		return 0, nil
	}
	return 0, grpcError(code, end)
}

// retryable are the codes after which a call is made again (OTLP specification,
// "Failures" of OTLP/gRPC); RESOURCE_EXHAUSTED only with a RetryInfo.
var retryable = map[int]bool{1: true, 4: true, 10: true, 11: true, 14: true, 15: true}

func grpcError(code int, end http.Header) error {
	message, err := url.PathUnescape(end.Get("Grpc-Message"))
	if err != nil {
		message = end.Get("Grpc-Message")
	}
	text := fmt.Sprintf("grpc-status %d: %s", code, message)
	details, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(end.Get("Grpc-Status-Details-Bin"), "="))
	st := parseStatus(details)
	switch {
	case st.again && (retryable[code] || code == codeExhausted):
		return fmt.Errorf("%s: %w", text, &backoff.RetryAfterError{Duration: min(st.retry, maxRetryAfter)})
	case retryable[code]:
		return errors.New(text)
	case end.Get(loopHeader) != "":
		return final(circle, text)
	}
	return final(refusedBatch, text)
}
