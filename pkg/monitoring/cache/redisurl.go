package cache

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The kinds of Redis that a URL may name.
const (
	standalone = "standalone"
	sentinel   = "sentinel"
	cluster    = "cluster"
)

// target is what a Redis URL says: of kind standalone the options are in one,
// of the others in theirs.
type target struct {
	kind     string
	shown    string // the URL without credentials
	one      *redis.Options
	failover *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

// parseURL reads a Redis URL:
//
//	redis://[user:password@]host:port/db             one server; rediss:// by TLS, unix:// by socket
//	redis+sentinel://[user:password@]h1:p1,h2:p2/name/db   the master of that name, asked of sentinels
//	redis+cluster://[user:password@]h1:p1,h2:p2      a Cluster, known by some of its nodes
//
// What is wrong with it is said without a word of it that may be secret.
func parseURL(name, text string) (t target, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return t, fmt.Errorf("%s is not a URL: want redis://[user:password@]host:port/db", name)
	}
	plain, kind := splitScheme(scheme)
	if kind == "" {
		return t, fmt.Errorf("%s: the scheme is none of redis, rediss, unix, redis+sentinel, redis+cluster and their rediss forms", name)
	}
	hosts, rest := splitHosts(rest)
	if kind == standalone && len(hosts) > 1 {
		return t, fmt.Errorf("%s names %d hosts: want redis+cluster:// or redis+sentinel:// before them", name, len(hosts))
	}
	u, err := url.Parse(plain + "://" + rest)
	if err != nil {
		return t, fmt.Errorf("%s is not a URL: want redis://[user:password@]host:port/db", name)
	}
	t = target{kind: kind, shown: masked(u, scheme, hosts)}
	switch kind {
	case sentinel:
		t.failover, err = parseSentinel(u, hosts)
	case cluster:
		t.cluster, err = parseCluster(u, hosts)
	default:
		if t.one, err = redis.ParseURL(u.String()); err != nil {
			err = describe(u)
		}
	}
	if err != nil {
		return t, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// splitScheme returns the scheme as go-redis has it, and the kind of Redis, ""
// for none.
func splitScheme(scheme string) (plain, kind string) {
	plain, suffix, found := strings.Cut(strings.Replace(scheme, "-", "+", 1), "+")
	switch {
	case !found && slices.Contains([]string{"redis", "rediss", "unix"}, plain):
		return plain, standalone
	case plain != "redis" && plain != "rediss":
		return plain, ""
	case suffix == sentinel || suffix == cluster:
		return plain, suffix
	}
	return plain, ""
}

// splitHosts takes the hosts out of what follows the scheme and leaves the
// first, for [url.Parse] takes no list.
func splitHosts(rest string) (hosts []string, one string) {
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	hosts = strings.Split(rest[at:end], ",")
	return hosts, rest[:at] + hosts[0] + rest[end:]
}

func parseSentinel(u *url.URL, hosts []string) (*redis.FailoverOptions, error) {
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	if path[0] == "" || len(path) > 2 {
		return nil, errors.New("want the master's name after the sentinels: redis+sentinel://host:26379/mymaster/0")
	}
	one, err := withoutList(u, cmp.Or(strings.Join(path[1:], "/"), "0"))
	if err != nil {
		return nil, err
	}
	o := &redis.FailoverOptions{
		MasterName: path[0], SentinelAddrs: withPorts(hosts, "26379"), Username: one.Username, Password: one.Password, DB: one.DB, TLSConfig: one.TLSConfig,
		PoolSize: one.PoolSize, MinIdleConns: one.MinIdleConns, ConnMaxIdleTime: one.ConnMaxIdleTime, ConnMaxLifetime: one.ConnMaxLifetime,
		SentinelUsername: u.Query().Get("sentinel_username"), SentinelPassword: u.Query().Get("sentinel_password"),
	}
	return o, nil
}

func parseCluster(u *url.URL, hosts []string) (*redis.ClusterOptions, error) {
	if p := strings.Trim(u.Path, "/"); p != "" && p != "0" {
		return nil, errors.New("a Cluster has database 0 only: want no path after the hosts")
	}
	one, err := withoutList(u, "0")
	if err != nil {
		return nil, err
	}
	return &redis.ClusterOptions{
		Addrs: withPorts(hosts, "6379"), Username: one.Username, Password: one.Password, TLSConfig: one.TLSConfig,
		PoolSize: one.PoolSize, MinIdleConns: one.MinIdleConns, ConnMaxIdleTime: one.ConnMaxIdleTime, ConnMaxLifetime: one.ConnMaxLifetime,
	}, nil
}

// withoutList has go-redis read what the URL says beside its hosts.
func withoutList(u *url.URL, db string) (*redis.Options, error) {
	c := *u
	c.Path = "/" + db
	q := c.Query()
	q.Del("sentinel_username")
	q.Del("sentinel_password")
	c.RawQuery = q.Encode()
	o, err := redis.ParseURL(c.String())
	if err != nil {
		return nil, describe(&c)
	}
	return o, nil
}

func withPorts(hosts []string, port string) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		u := url.URL{Host: h}
		if out[i] = h; u.Port() == "" {
			out[i] = h + ":" + port
		}
	}
	return out
}

// describe says which part of a URL go-redis did not take.
func describe(u *url.URL) error {
	if _, err := strconv.Atoi(strings.Trim(u.Path, "/")); u.Scheme != "unix" && u.Path != "" && u.Path != "/" && err != nil {
		return errors.New("the database after the host is not a number")
	}
	return errors.New("an option after the question mark is unknown or has a wrong value")
}

// secretOptions are the options of a URL that are credentials.
var secretOptions = []string{"password", "username", "sentinel_password", "sentinel_username"}

// masked writes a URL with its credentials as ***, and all its hosts.
func masked(u *url.URL, scheme string, hosts []string) string {
	c := *u
	c.User, c.Host = nil, ""
	q := c.Query()
	for _, name := range secretOptions {
		q.Del(name)
	}
	c.RawQuery = q.Encode()
	c.Scheme = ""
	out := scheme + "://"
	if u.User != nil {
		out += "***@"
	}
	return out + strings.Join(hosts, ",") + strings.TrimPrefix(c.String(), "//")
}
