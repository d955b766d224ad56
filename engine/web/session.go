package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of sessions and of signing in.
const (
	sessionLife = 12 * time.Hour // a shift
	sessionIdle = time.Hour
	maxSessions = 1000 // of all tokens; each is some hundred bytes
	maxPerToken = 10   // a token's own: nobody's sign-ins push out those of others
	maxFailures = 10   // wrong tokens an address may try in failWindow
	failWindow  = time.Minute
	maxAddrs    = 4096 // whose failures are remembered
)

// sum is the SHA-256 of a token.
type sum = [sha256.Size]byte

// session is one signed-in browser.
type session struct {
	token sum
	form  string // the key of the tokens in its forms
	began time.Time
	used  time.Time
}

// sessions are those that are open. They are found by the hash of what stands in the cookie, so that neither a dump of the
// memory nor the time a look-up takes tells a cookie.
type sessions struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	open     map[sum]*session
	failures map[netip.Addr]failure
}

type failure struct {
	count int
	since time.Time
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, open: map[sum]*session{}, failures: map[netip.Addr]failure{}}
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; it ends the program where the system has no randomness
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// begin opens a session and returns what goes into the cookie. It is always a new number: one that somebody planted in the
// browser beforehand is never taken over.
func (s *sessions) begin(token sum) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.sweep(now)
	for s.count(token) >= maxPerToken {
		s.evict(func(o *session) bool { return o.token == token })
	}
	for len(s.open) >= maxSessions {
		s.evict(func(*session) bool { return true })
	}
	cookie := random()
	s.open[sha256.Sum256([]byte(cookie))] = &session{token: token, form: random(), began: now, used: now}
	return cookie
}

// find returns the session of a cookie.
func (s *sessions) find(cookie string) (session, bool) {
	key := sha256.Sum256([]byte(cookie))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	o, there := s.open[key]
	if !there {
		return session{}, false
	}
	if o.over(now) {
		delete(s.open, key)
		return session{}, false
	}
	o.used = now
	return *o, true
}

// end closes a session.
func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(cookie)))
}

func (o *session) over(now time.Time) bool {
	return now.Sub(o.began) >= sessionLife || now.Sub(o.used) >= sessionIdle
}

// signingOut is what the form to sign out is about. No proposal has this name.
const signingOut = "sign-out"

// formFor is what stands in this session's form about a proposal, or about signing out. What was sent about one proposal is no
// answer to another: a proposal that is made again, of the same rules in the same mode, has the digest of the one before.
func (o *session) formFor(about string) string {
	mac := hmac.New(sha256.New, []byte(o.form))
	_, _ = mac.Write([]byte(about)) // a hash takes whatever it is given
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ours reports whether a form about something came from this session's page about it.
func (o *session) ours(form, about string) bool {
	return hmac.Equal([]byte(o.formFor(about)), []byte(form))
}

func (s *sessions) count(token sum) (n int) {
	for _, o := range s.open {
		if o.token == token {
			n++
		}
	}
	return n
}

// evict closes the session that was used longest ago among those for which of holds.
func (s *sessions) evict(of func(*session) bool) {
	var oldest sum
	var found *session
	for key, o := range s.open {
		if of(o) && (found == nil || o.used.Before(found.used)) {
			oldest, found = key, o
		}
	}
	delete(s.open, oldest)
}

// sweep forgets what is over.
func (s *sessions) sweep(now time.Time) {
	for key, o := range s.open {
		if o.over(now) {
			delete(s.open, key)
		}
	}
	for addr, f := range s.failures {
		if now.Sub(f.since) >= failWindow {
			delete(s.failures, addr)
		}
	}
}

// address is whom a request comes from, for counting failures: of IPv6 the network, which one machine has all of.
func address(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// mayTry reports whether an address may try a token, and when not, how long it has to wait.
func (s *sessions) mayTry(addr netip.Addr) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.failures[addr]
	wait := failWindow - s.now().Sub(f.since)
	if f.count < maxFailures || wait <= 0 {
		return 0, true
	}
	return wait, false
}

// failed counts a wrong token.
func (s *sessions) failed(addr netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	f := s.failures[addr]
	if now.Sub(f.since) >= failWindow {
		f = failure{since: now}
	}
	f.count++
	if _, there := s.failures[addr]; !there && len(s.failures) >= maxAddrs {
		s.sweep(now)
		for a := range s.failures { // still full: any of them makes room, this one is counted all the same
			if len(s.failures) < maxAddrs {
				break
			}
			delete(s.failures, a)
		}
	}
	s.failures[addr] = f
}
