package api

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine/limit"
)

// Whoever loops must not take the server from the others, nor from the person behind the same token who has to stop something
// now. So requests are counted by who asks and by what they are for: a flood of one class leaves the others alone.

// Class is what a request is for, as far as its limit is concerned. It is also the label under which a refusal is counted.
type Class string

// The classes. Each has a limit of its own.
const (
	ClassRead      Class = "read"
	ClassWrite     Class = "write"
	ClassProposal  Class = "proposal"  // reading what waits for a yes: who may answer has to see it
	ClassUrgent    Class = "urgent"    // answers to proposals, and break-glass
	ClassInstance  Class = "instance"  // instances that connect, or ask and report
	ClassAnonymous Class = "anonymous" // without a token that is known: counted by address
)

// Reasons beside the classes for which a request is refused or a reader cut off.
const (
	LimitedStreams  = "streams"  // the principal has too many event streams open
	LimitedOverload = "overload" // too much is being carried out at once
	LimitedSlow     = "slow"     // a reader of events did not read
)

// LimitReasons are all there are, for whoever counts them.
func LimitReasons() []string {
	reasons := []string{LimitedStreams, LimitedOverload, LimitedSlow}
	for _, c := range []Class{ClassRead, ClassWrite, ClassProposal, ClassUrgent, ClassInstance, ClassAnonymous} {
		reasons = append(reasons, string(c))
	}
	slices.Sort(reasons)
	return reasons
}

// Limits bound what one client may ask. Rates are requests a second; four seconds' worth may be saved up, and five requests in any
// case. What is 0 has no limit.
type Limits struct {
	Reads     float64 // of a principal
	Writes    float64 // of a principal
	Urgent    float64 // of a principal; and as many readings of proposals besides
	Instances float64 // of a principal, for all its instances together
	Anonymous float64 // of an address
	Streams   int     // of events, that a principal may have open
	AtOnce    int     // requests of each class that are carried out at once; others wait a moment
}

// The most clients that are known apart: beyond, new ones share a limit. Principals stand in the server's own file, so that only
// addresses can be made up.
const (
	maxPrincipals = 20_000
	maxAddresses  = 20_000
)

// overloadRetry is when a request may come again that found the server busy for queueTime.
const overloadRetry = 5 * time.Second

// queueTime is how long a request waits for those before it before it is refused.
const queueTime = time.Second

// Limiter applies limits. It is safe for concurrent use; a nil one limits nothing.
type Limiter struct {
	limits  Limits
	refused func(reason string)
	buckets map[Class]*limit.Buckets
	rates   map[Class]float64
	atOnce  map[Class]chan struct{} // one element for each request that is carried out

	mu      sync.Mutex // guards what follows
	streams map[string]int
}

// NewLimiter applies limits, and tells refused, where that is not nil, of each request that was not let through.
func NewLimiter(l Limits, refused func(reason string)) *Limiter {
	if refused == nil {
		refused = func(string) {}
	}
	m := &Limiter{limits: l, refused: refused, buckets: map[Class]*limit.Buckets{}, atOnce: map[Class]chan struct{}{}, streams: map[string]int{}}
	m.rates = map[Class]float64{
		ClassRead: l.Reads, ClassWrite: l.Writes, ClassProposal: l.Urgent, ClassUrgent: l.Urgent, ClassInstance: l.Instances, ClassAnonymous: l.Anonymous,
	}
	for class, rate := range m.rates {
		most := maxPrincipals
		if class == ClassAnonymous {
			most = maxAddresses
		}
		m.buckets[class] = limit.New(rate, max(5, 4*rate), most)
		if l.AtOnce > 0 {
			m.atOnce[class] = make(chan struct{}, l.AtOnce)
		}
	}
	return m
}

// Admit returns 0 when a client may go ahead with a request, else how long it has to wait.
func (m *Limiter) Admit(class Class, who string) time.Duration {
	if m == nil {
		return 0
	}
	wait := m.buckets[class].Take(who, time.Now())
	if wait > 0 {
		m.refused(string(class))
	}
	return wait
}

// Stranger is how a client without a token is known: by its address, of IPv6 by the network that one client has to itself.
func Stranger(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap()
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
	return network.String()
}

// admit is Admit with the answer to whoever has to wait. r may be nil.
func (m *Limiter) admit(r *http.Request, class Class, who string) error {
	wait := m.Admit(class, who)
	if wait == 0 {
		return nil
	}
	status := http.StatusTooManyRequests
	if r != nil && retriesOnlyFaults(r) {
		status = http.StatusServiceUnavailable
	}
	return &later{problem(status, CodeTooMany, fmt.Sprintf("%s asks too often: of requests of the kind %q it may send %v a second; come again in %s",
		who, class, m.rates[class], seconds(wait))), wait}
}

// retriesOnlyFaults reports whether a client takes 429 as final and drops what it has to say: Alertmanager's webhooks are sent
// again after 5xx alone.
// Source: prometheus/alertmanager, notify/webhook and notify/util.go (Retrier without RetryCodes).
func retriesOnlyFaults(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), "Alertmanager/")
}

// begin lets a request of a class be carried out, or says after a moment that there are too many. done has to be called.
func (m *Limiter) begin(ctx context.Context, class Class) (done func(), err error) {
	if m == nil || m.atOnce[class] == nil {
		return func() {}, nil
	}
	slots := m.atOnce[class]
	done = func() { <-slots }
	select {
	case slots <- struct{}{}:
		return done, nil
	default:
	}
	patience := time.NewTimer(queueTime)
	defer patience.Stop()
	select {
	case slots <- struct{}{}:
		return done, nil
	case <-patience.C:
	case <-ctx.Done():
	}
	m.refused(LimitedOverload)
	return nil, &later{problem(http.StatusServiceUnavailable, CodeUnavailable,
		fmt.Sprintf("the server has too much to do: %d requests of this kind are being carried out", cap(slots))), overloadRetry}
}

// open counts an event stream of a principal. done has to be called at its end.
func (m *Limiter) open(principal string) (done func(), err error) {
	if m == nil || m.limits.Streams == 0 {
		return func() {}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[principal] >= m.limits.Streams {
		m.refused(LimitedStreams)
		return nil, &later{problem(http.StatusTooManyRequests, CodeTooMany,
			fmt.Sprintf("%s has %d event streams open, which is as many as it may; close one", principal, m.limits.Streams)), streamRetry}
	}
	m.streams[principal]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.streams[principal]--; m.streams[principal] == 0 {
			delete(m.streams, principal)
		}
	}, nil
}

// slow counts a reader that was cut off.
func (m *Limiter) slow() {
	if m != nil {
		m.refused(LimitedSlow)
	}
}

// streamRetry is when a stream may be asked for again: when one of the others ends nobody knows, and a dead one is noticed within
// as much.
const streamRetry = 10 * time.Second

// later is a request that may come again.
type later struct {
	*Problem
	wait time.Duration
}

// Unwrap returns the problem.
func (l *later) Unwrap() error { return l.Problem }

// seconds is a wait as Retry-After has it: not a moment too early.
func seconds(d time.Duration) time.Duration {
	return time.Duration(math.Ceil(d.Seconds())) * time.Second
}

func retryAfter(d time.Duration) string { return strconv.Itoa(int(seconds(d) / time.Second)) }

// enter finds out whose token a request carries, whether they may ask so often, and whether they have a role in a scope. An empty
// class is counted later, by whoever knows the request.
func enter(tokens *Tokens, m *Limiter, r *http.Request, class Class, allowed func(Token) error) (Token, error) {
	token, err := tokens.Authenticate(r)
	if err != nil {
		if held := m.admit(r, ClassAnonymous, Stranger(r)); held != nil {
			return Token{}, held
		}
		return Token{}, err
	}
	if class != "" {
		if err := m.admit(r, class, token.Principal); err != nil {
			return Token{}, err
		}
	}
	return token, allowed(token)
}

// public bounds who reads what needs no token.
func (a *API) public(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		class, who := ClassAnonymous, Stranger(r)
		if token, err := a.opts.Tokens.Authenticate(r); err == nil {
			class, who = ClassRead, token.Principal
		}
		if err := a.opts.Limiter.admit(r, class, who); err != nil {
			writeProblem(w, err)
			return
		}
		next(w, r)
	}
}

// classOf is the class of an operation; empty where only its body tells.
func classOf(op *huma.Operation) Class {
	switch {
	case op.OperationID == "review-approval":
		return ClassUrgent
	case op.OperationID == "list-approvals" || op.OperationID == "get-approval":
		return ClassProposal
	case op.OperationID == setMode:
		return ""
	case op.Method == http.MethodGet:
		return ClassRead
	}
	return ClassWrite
}

// setMode is the operation whose body says whether it is break-glass.
const setMode = "set-mode"

// classOfBody is the class of a request whose operation does not tell.
func classOfBody(in any) Class {
	if set, is := in.(*requestInput[SetRequest]); is && set.Body.Force {
		return ClassUrgent
	}
	return ClassWrite
}
