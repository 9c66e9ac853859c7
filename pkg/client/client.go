// Package client asks a /monitoring API: one server by a [Client], a fleet of
// them by [Each].
//
// It is the one place that knows that there are two kinds of servers, this
// project's and the Python Pulse API. It reads the Python server's other
// spellings, asks it only what it can answer, and refuses what it would
// misunderstand: there an unknown parameter is ignored and the request acts.
//
// Every error is an [api.Error]: its Status is that of the answer, or 0 with a
// Code where no usable answer came.
package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// The codes of errors without an HTTP status.
const (
	CodeUnreachable = "unreachable" // no connection, or it broke
	CodeTimeout     = "timeout"     // the deadline passed
	CodeCanceled    = "canceled"    // the caller gave up
	CodeUnreadable  = "unreadable"  // an answer that is not the API's
	CodeUnsupported = "unsupported" // the server cannot do it, or not safely; nothing was sent
)

// maxBody bounds an answer: the largest one that the API gives is 64 MiB.
const maxBody = 96 << 20

// maxProblem bounds an error's text; a longer one is of something else.
const maxProblem = 1 << 20

// Options configures a [Client]. The zero value asks without a token.
type Options struct {
	Token     string            // sent as a bearer token; "" for none
	Reason    string            // why an action is taken, for the audit log
	Timeout   time.Duration     // of one request with its answer; 0 means 10s
	TLS       *tls.Config       // of the client's own transport; nil means the system's authorities
	Transport http.RoundTripper // nil means a transport of the client's own
	Resolver  *net.Resolver     // what [Dial] looks names up with; nil means the system's
	UserAgent string            // "" means pulsectl
	Instance  string            // names the server in answers; "" means its URL
	ReadOnly  bool              // refuse to send what may change something
	Sent      func(Exchange)    // told of each request when its answer has begun; nil means nobody
}

// Exchange is one request and how its answer began.
type Exchange struct {
	Method, URL string
	Status      int // 0 where no answer came
	Err         error
	Took        time.Duration // until then
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	base     *url.URL
	opts     Options
	http     *http.Client
	instance string     // "" means base
	broken   *api.Error // why the server cannot be asked; nil if it can
	address  address    // that all connections go to; the zero value for the base's host

	mu    sync.Mutex
	index *api.Index // what the server said it is; nil until asked
}

// New returns a client of the server at an address: a URL, or host:port.
func New(server string, o Options) (*Client, error) {
	if socket, ok := strings.CutPrefix(server, "unix://"); ok {
		return newUnix(server, socket, o)
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", server, errors.Unwrap(err))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("server %q: want an http, https or unix URL", server)
	case u.Hostname() == "":
		return nil, fmt.Errorf("server %q: it names no host", server)
	case u.User != nil:
		return nil, fmt.Errorf("server %s: a token belongs into PULSECTL_TOKEN or a file, not into the URL", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("server %q: want no query and no fragment", server)
	}
	u.Path, u.RawPath = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/monitoring"), ""
	return newClient(u, o, "", ""), nil
}

// newUnix returns a client of the server at a socket of this machine.
func newUnix(server, socket string, o Options) (*Client, error) {
	if !strings.HasPrefix(socket, "/") {
		return nil, fmt.Errorf("server %q: want the whole path of the socket: unix:///run/pulse.sock", server)
	}
	c := newClient(&url.URL{Scheme: "http", Host: "localhost"}, o, "unix", socket)
	c.instance = server
	return c, nil
}

// newClient returns a client whose connections go to the base's host, or all to
// an address.
func newClient(base *url.URL, o Options, network, at string) *Client {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.UserAgent = cmp.Or(o.UserAgent, "pulsectl")
	rt := o.Transport
	if rt == nil {
		rt = ownTransport(base.Hostname(), network, at, &o)
	}
	// A redirect of an action would repeat it as a GET; none is followed across hosts.
	return &Client{base: base, opts: o, instance: o.Instance, http: &http.Client{Transport: rt, CheckRedirect: sameHost}, address: address{network, at}}
}

// address is where connections go, whatever a URL says.
type address struct{ network, at string }

type addressKey struct{}

// Address returns where a request's connection is to go if not to its URL's host,
// for an [Options.Transport] that wants to know.
func Address(r *http.Request) (network, at string, ok bool) {
	a, _ := r.Context().Value(addressKey{}).(address)
	return a.network, a.at, a.at != ""
}

// connectTime is the most that a connection may take: a host that is gone does
// not answer, and is not waited for as long as one that thinks.
const connectTime = 3 * time.Second

// ownTransport is one whose connections go to the host of a URL, or all to an
// address. Then there is no proxy: it would look the name up by itself.
func ownTransport(host, network, address string, o *Options) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	dialer := &net.Dialer{Timeout: min(connectTime, o.Timeout), KeepAlive: 30 * time.Second}
	t.DialContext = dialer.DialContext
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
		t.ForceAttemptHTTP2 = true
	}
	if address == "" {
		return t
	}
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.ServerName = cmp.Or(t.TLSClientConfig.ServerName, host)
	t.ForceAttemptHTTP2 = true
	return t
}

func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0].URL // https too, or the token would go out in the clear
	if len(via) > 3 || r.URL.Host != first.Host || r.URL.Scheme != first.Scheme || r.Method != via[0].Method {
		return http.ErrUseLastResponse
	}
	return nil
}

// Instance names the server: its URL, with the address for one of several
// behind a name.
func (c *Client) Instance() string { return cmp.Or(c.instance, c.base.String()) }

// Action is how every state-changing request is to be taken.
type Action struct {
	DryRun bool // tell what would change, change nothing
}

func (c *Client) act(ctx context.Context, path string, q url.Values, a Action, out any) error {
	if a.DryRun {
		var err error
		if q, err = c.DryRun(ctx, q); err != nil {
			return err
		}
	}
	return c.do(ctx, http.MethodPost, path, q, nil, out)
}

func (c *Client) get(ctx context.Context, path string, q url.Values, out any) error {
	return c.do(ctx, http.MethodGet, path, q, nil, out)
}

// do sends one request and decodes its answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, body io.Reader, out any) error {
	return c.doWith(ctx, method, path, q, nil, body, out)
}

// doWith is do with a header.
func (c *Client) doWith(ctx context.Context, method, path string, q url.Values, header http.Header, body io.Reader, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	resp, err := c.Send(ctx, method, path, q, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return transportError(err)
	case len(b) > maxBody:
		return unreadable(resp.StatusCode, "the answer is larger than %d MiB", maxBody>>20)
	case resp.StatusCode >= 300:
		return problem(resp, path, b)
	case out == nil:
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = b
		return nil
	}
	if err := decode(b, out); err != nil {
		return unreadable(0, "%s %s: the answer is not the API's: %v", method, path, err)
	}
	return nil
}

// Send makes one request of the server and returns the response whatever its
// status. path is escaped already. The caller closes the body and bounds ctx.
func (c *Client) Send(ctx context.Context, method, path string, q url.Values, header http.Header, body io.Reader) (*http.Response, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	if c.opts.ReadOnly && method != http.MethodGet && method != http.MethodHead && q.Get("dry_run") != "true" {
		return nil, unsupported("the context is read-only; nothing was sent")
	}
	target := strings.TrimRight(c.base.String(), "/") + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	if c.opts.Transport != nil {
		ctx = context.WithValue(ctx, addressKey{}, c.address)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, &api.Error{Code: CodeUnsupported, Detail: err.Error(), Cause: err}
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	if c.opts.Reason != "" && method != http.MethodGet {
		req.Header.Set("X-Pulsectl-Reason", c.opts.Reason)
	}
	begun := time.Now()
	resp, err := c.http.Do(req)
	if c.opts.Sent != nil {
		told := Exchange{Method: method, URL: strings.TrimRight(c.Instance(), "/") + strings.TrimPrefix(target, strings.TrimRight(c.base.String(), "/")), Took: time.Since(begun)}
		if err != nil {
			told.Err = transportError(err)
		} else {
			told.Status = resp.StatusCode
		}
		c.opts.Sent(told)
	}
	if err != nil {
		return nil, transportError(err)
	}
	return resp, nil
}

// problem makes an error of an answer that is one.
func problem(resp *http.Response, path string, body []byte) error {
	e := &api.Error{Status: resp.StatusCode}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	readable := (kind == "application/json" || kind == api.ProblemType) && len(body) <= maxProblem && json.Unmarshal(body, e) == nil
	if !readable || e.Detail == "" && e.Title == "" {
		*e = api.Error{Status: resp.StatusCode, Detail: fmt.Sprintf("the server answered %s to %s", resp.Status, path)}
	}
	if resp.StatusCode == http.StatusNotFound && e.Detail == "Not Found" {
		e.Detail = noRoute + path
	}
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode < http.StatusBadRequest {
		e.Detail = fmt.Sprintf("the server sends %s elsewhere, to %.200s: want the server's own URL", path, to)
	}
	e.Status = resp.StatusCode
	return e
}

// noRoute begins the detail of a route that the server does not have.
const noRoute = "this server has no "

func unreadable(status int, format string, args ...any) *api.Error {
	return &api.Error{Status: status, Code: CodeUnreadable, Detail: fmt.Sprintf(format, args...)}
}

// TransportError says in few words why a request of net/http got no answer.
func TransportError(err error) *api.Error { return transportError(err) }

// transportError says in few words why no answer came.
func transportError(err error) *api.Error {
	e := &api.Error{Code: CodeUnreachable, Cause: err}
	var op *net.OpError
	var dns *net.DNSError
	var sys syscall.Errno
	switch {
	case errors.Is(err, context.Canceled):
		e.Code, e.Detail = CodeCanceled, "interrupted"
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		e.Code, e.Detail = CodeTimeout, "no answer in time"
	case errors.As(err, &dns):
		e.Detail = dns.Error()
	case errors.As(err, &sys):
		e.Detail = sys.Error()
	case errors.As(err, &op):
		e.Detail = op.Err.Error()
	default:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		e.Detail = err.Error()
		if strings.Contains(e.Detail, "readLoopPeekFailLocked") { // net/http has no words for one that speaks first
			e.Detail = "malformed HTTP response: it came before the request"
		}
	}
	return e
}
