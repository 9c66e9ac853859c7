package client

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
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
		at := net.JoinHostPort(ip.String(), port)
		c := newClient(named.base, o, "tcp", at)
		c.instance = (&url.URL{Scheme: c.base.Scheme, Host: at, Path: c.base.Path}).String()
		all = append(all, c)
	}
	return all, nil
}

// CheckServer tells what is wrong with a server's address, without looking it up.
func CheckServer(server string) error {
	_, err := New(strings.TrimPrefix(server, "dns+"), Options{})
	return err
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

// Instances dials each of several servers and leaves doubles out.
func Instances(ctx context.Context, servers []string, o Options) ([]*Client, error) {
	return InstancesWith(ctx, servers, func(string) Options { return o })
}

// InstancesWith is Instances with options of each server's own: a token is for
// the servers that it was made for.
func InstancesWith(ctx context.Context, servers []string, options func(server string) Options) ([]*Client, error) {
	found := make([][]*Client, len(servers))
	errs := make([]error, len(servers))
	bounded(len(servers), func(i int) {
		server := strings.TrimSpace(servers[i])
		found[i], errs[i] = Dial(ctx, server, options(server))
	})
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

// Matches tells whether the server is one that a pattern of *, ? and [a-z] means:
// by its whole URL, or by host and port with the path if it has one.
func (c *Client) Matches(pattern string) bool {
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") } // to path.Match a slash is a border
	for _, name := range []string{c.Instance(), c.place()} {
		if ok, err := path.Match(flat(pattern), flat(name)); err == nil && ok {
			return true
		}
	}
	return false
}

// place is the server's host and port, with the path if it has one.
func (c *Client) place() string {
	_, rest, _ := strings.Cut(c.Instance(), "://")
	return strings.TrimRight(rest, "/")
}
