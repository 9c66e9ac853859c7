package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// maxAddresses bounds how many servers a name may stand for.
const maxAddresses = 1000

// Dial returns a client for each server that an address stands for: one, or
// with dns+http://host:port and dns+https://host:port one for each address
// behind the name. Those send the name as Host header and check the
// certificate against it; their Instance has the address.
//
// A name that cannot be looked up is a server that cannot be asked: its client
// answers everything with that error, so that it holds up no other.
func Dial(ctx context.Context, server string, o Options) ([]*Client, error) {
	target, ok := strings.CutPrefix(server, "dns+")
	if !ok {
		c, err := New(server, o)
		return []*Client{c}, err
	}
	named, err := New(target, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server, err)
	}
	port := cmp.Or(named.base.Port(), map[string]string{"http": "80", "https": "443"}[named.base.Scheme])
	ctx, cancel := context.WithTimeout(ctx, named.opts.Timeout)
	defer cancel()
	found, err := cmp.Or(o.Resolver, net.DefaultResolver).LookupNetIP(ctx, "ip", named.base.Hostname())
	if err == nil && len(found) > maxAddresses {
		err = fmt.Errorf("%s stands for %d addresses; at most %d are asked", named.base.Hostname(), len(found), maxAddresses)
	}
	if err != nil {
		e := transportError(err)
		named.instance, named.broken = server, e
		return []*Client{named}, nil
	}
	var all []*Client
	for _, ip := range addresses(found) {
		c, err := New(target, o)
		if err != nil {
			return nil, err
		}
		at := net.JoinHostPort(ip.String(), port)
		c.instance = (&url.URL{Scheme: c.base.Scheme, Host: at, Path: c.base.Path}).String()
		if o.Transport == nil {
			c.http.Transport = pinned(at, c.base.Hostname())
		}
		all = append(all, c)
	}
	return all, nil
}

// addresses sorts what a name stands for and drops doubles, an IPv4 address
// inside an IPv6 one among them.
func addresses(found []netip.Addr) []netip.Addr {
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found)
}

// pinned is a transport whose every connection goes to one address, whatever
// the host in the URL. There is no proxy: it would look the name up by itself.
func pinned(address, name string) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.TLSClientConfig = &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	t.ForceAttemptHTTP2 = true
	dialer := &net.Dialer{}
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}
	return t
}

// Instances dials each of several servers and leaves doubles out.
func Instances(ctx context.Context, servers []string, o Options) ([]*Client, error) {
	found := make([][]*Client, len(servers))
	errs := make([]error, len(servers))
	bounded(len(servers), func(i int) { found[i], errs[i] = Dial(ctx, strings.TrimSpace(servers[i]), o) })
	seen := map[string]bool{}
	var all []*Client
	for i, cs := range found {
		if errs[i] != nil {
			return nil, errs[i]
		}
		for _, c := range cs {
			if !seen[c.Instance()] {
				seen[c.Instance()] = true
				all = append(all, c)
			}
		}
	}
	return all, nil
}
