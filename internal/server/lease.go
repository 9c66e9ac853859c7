package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// maxLeases bounds the permits that are out over HTTP at once.
const maxLeases = 10_000

// leases are the permits that are out over HTTP. One that is neither reported
// nor renewed in its time ends as a timeout: a holder that was killed sticks in
// no half-open breaker.
//
// An id is a number and its signature, under a key of this process and with the
// breaker's name: so one that is not out any more is told from one that never
// was, and nothing is kept of it.
type leases struct {
	key [sha256.Size]byte

	mu   sync.Mutex
	last uint64
	out  map[string]*lease
}

type lease struct {
	name   string // the breaker's
	permit breaker.Permit
	term   time.Duration
	ends   time.Time
	timer  *time.Timer // may fire before ends, if it was set anew meanwhile
}

func newLeases() *leases {
	l := &leases{out: map[string]*lease{}}
	rand.Read(l.key[:]) // never fails
	return l
}

// grant gives a permit an id for its time.
func (l *leases) grant(name string, p breaker.Permit, term time.Duration) (id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out) >= maxLeases {
		wait := api.Seconds(time.Second)
		e := api.Errorf(http.StatusTooManyRequests, "%d permits are out already, the most that are given", maxLeases)
		e.RetryAfter = &wait
		return "", e
	}
	l.last++
	id = l.sign(name, l.last)
	l.out[id] = &lease{name, p, term, time.Now().Add(term), time.AfterFunc(term, func() { l.expire(id) })}
	return id, nil
}

// renew starts the time of a permit anew and returns it.
func (l *leases) renew(name, id string) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, err := l.find(name, id)
	if err != nil {
		return 0, err
	}
	it.ends = time.Now().Add(it.term)
	it.timer.Reset(it.term)
	return it.term, nil
}

// end takes a permit out, for its holder to say how the call ended.
func (l *leases) end(name, id string) (breaker.Permit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, err := l.find(name, id)
	if err != nil {
		return breaker.Permit{}, err
	}
	it.timer.Stop()
	delete(l.out, id)
	return it.permit, nil
}

// check tells whether a permit is out.
func (l *leases) check(name, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.find(name, id)
	return err
}

// find returns a permit that is out. The caller holds the lock.
func (l *leases) find(name, id string) (*lease, error) {
	if it := l.out[id]; it != nil && it.name == name {
		return it, nil
	}
	return nil, l.gone(name, id)
}

// holds tells whether a permit of the breaker is out.
func (l *leases) holds(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.out {
		if it.name == name {
			return true
		}
	}
	return false
}

func (l *leases) expire(id string) {
	l.mu.Lock()
	it := l.out[id]
	over := it != nil && !time.Now().Before(it.ends)
	if over {
		delete(l.out, id)
	}
	l.mu.Unlock()
	if over {
		it.permit.Done(breaker.Timeout, "not reported within "+it.term.String())
	}
}

// gone is the error of a permit that is not out.
func (l *leases) gone(name, id string) error {
	b, err := hex.DecodeString(id)
	if err == nil && len(b) == idSize && hmac.Equal([]byte(id), []byte(l.sign(name, binary.BigEndian.Uint64(b)))) {
		return api.Errorf(http.StatusConflict, "the permit has been reported already, or its time was over and it counts as a timeout")
	}
	return api.Errorf(http.StatusNotFound, "there is no such permit of circuit breaker %.200q: this server has not given it since it started", name)
}

const idSize = 8 + 16 // of a number and its signature

func (l *leases) sign(name string, n uint64) string {
	id := binary.BigEndian.AppendUint64(nil, n)
	mac := hmac.New(sha256.New, l.key[:])
	mac.Write(id)
	mac.Write([]byte(name))
	return hex.EncodeToString(mac.Sum(id)[:idSize])
}
