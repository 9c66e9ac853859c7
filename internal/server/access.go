package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Role is what a caller may do.
type Role string

// The roles: a viewer may read, a writer may only bring data, an operator may
// do all.
const (
	Viewer   Role = "viewer"
	Writer   Role = "writer"
	Operator Role = "operator"

	public Role = "" // a route that needs no token at all
)

// Access says who may ask. The zero value admits whoever comes over loopback,
// and no one else.
type Access struct {
	Tokens []Token
	// Anonymous is what needs no token once there are tokens: "none", "metrics"
	// or "viewer"; "" means none.
	Anonymous string
	// AllowAnonymous admits everyone from everywhere where there are no tokens:
	// for a handler that stands behind authentication of its own.
	AllowAnonymous bool
}

type access struct {
	Access
	sameOrigin *http.CrossOriginProtection
}

func (a Access) compile() (access, error) {
	switch a.Anonymous {
	case "", "none", "metrics", "viewer":
	default:
		return access{}, fmt.Errorf("anonymous %q: want none, metrics or viewer", a.Anonymous)
	}
	return access{a, http.NewCrossOriginProtection()}, nil
}

// identity is who asks. Without tokens everyone admitted is an operator.
type identity struct {
	Name string // of the token; "" for those without one
	Role Role
}

type identityKey struct{}

func caller(r *http.Request) identity {
	id, _ := r.Context().Value(identityKey{}).(identity)
	return id
}

// actor names the caller in the audit log.
func (id identity) actor(r *http.Request) string {
	if id.Name != "" {
		return id.Name
	}
	return r.RemoteAddr
}

// guard lets a request through to its route if its caller may make it.
func (s *Server) guard(rt route) http.Handler {
	return s.Protect(rt.Role, rt.Path == "/monitoring/metrics", rt.Handler)
}

// Refuser is a handler with a form of its own for the refusal of a request that
// its caller may not make: a protocol other than this API's.
type Refuser interface {
	http.Handler
	Refuse(w http.ResponseWriter, r *http.Request, err *api.Error)
}

// Protect lets through to h who has the role; metrics marks the route that
// Anonymous "metrics" opens. It is for handlers mounted beside the server's
// own, like the one that receives traces; a [Refuser] tells the others itself.
func (s *Server) Protect(need Role, metrics bool, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requestID(r) == "" { // a handler beside the server's own
			r = identified(w, r)
		}
		id, err := s.access.admit(r, need, metrics)
		if err != nil {
			if err.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="pulsectl"`)
			}
			if own, ok := h.(Refuser); ok {
				own.Refuse(w, r, err)
				return
			}
			s.fail(w, r, err)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
	})
}

// Trusted tells whether r proves the operator role by a token in the given
// header, or needs no proof because there are no tokens and r is local.
func (s *Server) Trusted(r *http.Request, header string) bool {
	if len(s.access.Tokens) == 0 {
		return s.access.AllowAnonymous || isLocal(r)
	}
	t, ok := s.access.find(r.Header.Get(header))
	return ok && t.Role == Operator
}

func (a access) admit(r *http.Request, need Role, metrics bool) (identity, *api.Error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := a.sameOrigin.Check(r); err != nil {
			return identity{}, api.Errorf(http.StatusForbidden, "a page of another origin may not change this server: %v", err)
		}
	}
	if key := presented(r); len(a.Tokens) > 0 && key != "" {
		t, ok := a.find(key)
		switch {
		case !ok && need == public: // an application's own, on a probe
			return identity{}, nil
		case !ok:
			return identity{}, api.Errorf(http.StatusUnauthorized, "the token is not one of this server's")
		case !t.Role.may(need) && !a.open(need, metrics):
			return identity{}, api.Errorf(http.StatusForbidden, "token %s has the role %s; this needs %s", t.Name, t.Role, need)
		}
		return identity{t.Name, t.Role}, nil
	}
	if err := checkHost(r); err != nil {
		return identity{}, err
	}
	switch {
	case len(a.Tokens) > 0 && a.open(need, metrics):
		return identity{}, nil
	case len(a.Tokens) > 0:
		return identity{}, api.Errorf(http.StatusUnauthorized, "this needs a token: send Authorization: Bearer TOKEN")
	case a.AllowAnonymous || isLocal(r):
		return identity{Role: Operator}, nil
	case need == public:
		return identity{}, nil
	}
	return identity{}, api.Errorf(http.StatusForbidden, "without tokens this server answers on loopback only; "+
		"make one with `pulsectl serve --new-token NAME:ROLE`, and start it with --auth-token-file")
}

// open tells whether a route needs no token where there are tokens.
func (a access) open(need Role, metrics bool) bool {
	return need == public || a.Anonymous == "viewer" && need == Viewer || a.Anonymous == "metrics" && metrics
}

// may tells whether a token of role r may use a route that needs n.
func (r Role) may(n Role) bool { return r == Operator || r == n || n == public }

func (a access) find(key string) (Token, bool) {
	sum := sha256.Sum256([]byte(key))
	var found Token
	ok := false
	for _, t := range a.Tokens { // all of them, so that time tells nothing
		if subtle.ConstantTimeCompare(sum[:], t.SHA256[:]) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}

// presented returns the token that r brings, "" if none. Never the query: URLs
// are logged.
func presented(r *http.Request) string {
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return r.Header.Get("X-API-Key")
}

// isLocal tells whether r came over loopback and from no proxy.
func isLocal(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil || !loopback(local.String()) || !loopback(r.RemoteAddr) {
		return false
	}
	for name := range r.Header {
		if name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") {
			return false
		}
	}
	return true
}

// checkHost refuses a loopback listener's request for another host: a page that
// points a name of its own at 127.0.0.1 (DNS rebinding).
func checkHost(r *http.Request) *api.Error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil || !loopback(local.String()) {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "" || strings.EqualFold(host, "localhost") || loopback(host) || loopback(strings.Trim(host, "[]")) {
		return nil
	}
	return api.Errorf(http.StatusMisdirectedRequest, "this server listens on loopback; it does not answer for the host %.100q", host)
}

// loopback tells whether an address, with or without a port, is of this machine.
func loopback(addr string) bool {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return ap.Addr().Unmap().IsLoopback()
	}
	ip, err := netip.ParseAddr(addr)
	return err == nil && ip.Unmap().IsLoopback()
}
