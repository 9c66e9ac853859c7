package cache

import "github.com/redis/go-redis/v9"

// NewClient returns a client of the Redis at o.URL for something else than a
// cache: by the same forms of URL, with the same deadlines, and without retries
// of its own. It does not connect; its caller closes it.
func NewClient(o RedisOptions) (redis.UniversalClient, error) {
	r, err := NewRedis(o)
	if err != nil {
		return nil, err
	}
	return r.client, nil
}
